"""examples/grpo_minimal.py arrives at the trainer's numbers, stays short, and learns."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import trained

from r1env.recipes import plan_training
from r1env_trainers.model.load import load_model

EXAMPLE = Path(__file__).parents[2] / "examples/grpo_minimal.py"
SAMPLING = {"prompts_per_step": 8, "group_size": 8}
OPTIM = {"warmup_steps": 3, "lr": 1e-3}
STEPS = 4


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("grpo_minimal", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def base(example, tmp_path_factory):
    """A folder with a model that writes the tags, mostly."""
    torch.set_num_threads(1)
    loaded = load_model("tiny", seed=0)
    example.pretrain(loaded.model, loaded.tokenizer, steps=40, batch_size=32)
    folder = tmp_path_factory.mktemp("base")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return str(folder)


def test_it_is_one_file_of_at_most_200_lines():
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 200


@pytest.mark.parametrize("mini_batches", [1, 2])
def test_its_rewards_losses_and_weights_are_those_of_the_trainer(example, base, tmp_path, mini_batches):
    optim = {**OPTIM, "mini_batches": mini_batches}
    loaded = load_model(base)
    ours = list(example.train(loaded.model, loaded.tokenizer, example.Settings(steps=STEPS, **SAMPLING, **optim)))

    settings = {f"sampling.{name}": value for name, value in SAMPLING.items()} | {f"optim.{k}": v for k, v in optim.items()}
    without = {"algo.track_kl": False, "eval.every": 0, "checkpoint.every": 0}
    plan = plan_training("grpo", preset="tiny-cpu", overrides={"model": base, "steps": STEPS, **settings, **without})
    run = trained(plan, tmp_path / "run")
    theirs = run.metrics()

    assert len(ours) == len(theirs) == STEPS
    for mine, row in zip(ours, theirs, strict=True):
        assert mine == pytest.approx({name: row[name] for name in mine}, rel=1e-4, abs=1e-6)
    assert all(row["grad_norm"] > 0.01 for row in theirs), "every step has taught something"
    (grpo,) = plan.stages
    final, start = load_model(str(run.model_dir(grpo.name))).model, load_model(base).model
    moved = 0.0
    for mine, after, before in zip(loaded.model.parameters(), final.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(mine, after, rtol=0, atol=5e-5)
        moved = max(moved, (after - before).abs().max().item())
    assert moved > 1e-3, "twenty times more than the two may differ by"


@pytest.mark.nightly
def test_it_learns_to_sort(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--steps", "25"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    before, after = (float(line.split()[-1].rstrip("%")) for line in (done[0], done[-1]))
    assert before < 15
    assert after > before + 25
