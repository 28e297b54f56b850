"""`benchmarks/grpo_step.py` runs in all its local ways, on a tiny model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from r1env_trainers.model.memory import ModelShape

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "grpo_step.py"
spec = importlib.util.spec_from_file_location("grpo_step", SCRIPT)
assert spec is not None
assert spec.loader is not None
grpo_step = sys.modules["grpo_step"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(grpo_step)

SMALL = ["--shape", "tiny", "--prompts", "2", "--group", "2", "--prompt-tokens", "5", "--new-tokens", "4", "--steps", "1"]
ADAPTERS = ["--lora", "2", "--dtype", "bfloat16", "--checkpointing"]


@pytest.mark.parametrize(
    "options",
    [["local"], ["sft"], ["local", *ADAPTERS, "--kl", "0.1"], ["sft", *ADAPTERS], ["sft", "--optimizer", "adamw8bit"]],
    ids=" ".join,
)
def test_a_way_prints_its_row_of_the_table(options, monkeypatch, capsys):
    if "--lora" in options:
        pytest.importorskip("peft")
    if "adamw8bit" in options:
        pytest.importorskip("bitsandbytes")
    torch.set_num_threads(1)
    monkeypatch.setattr("sys.argv", ["grpo_step.py", *SMALL, "--ways", *options])
    grpo_step.main()
    row = [cell.strip() for cell in capsys.readouterr().out.strip().strip("|").split("|")]
    assert row[0] == options[0]
    assert len(row) == 9
    assert float(row[1].replace(",", "")) > 0
    assert float(row[5]) > 0


@pytest.mark.parametrize(("shape", "parameters"), [("qwen2.5-7b", 7.616e9), ("llama-3.1-8b", 8.030e9)])
def test_the_published_shapes_have_the_parameters_of_their_models(shape, parameters):
    hidden, feed_forward, layers, heads, kv_heads, vocabulary = grpo_step.SHAPES[shape]
    sizes = ModelShape(hidden, feed_forward, layers, heads, kv_heads, vocabulary, tied=shape not in grpo_step.UNTIED)
    assert sizes.parameters == pytest.approx(parameters, rel=1e-3)
