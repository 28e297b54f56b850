"""The recipe `arithmetic`: careless demonstrations, then a reward that wants the carries. Small models, real training."""

from __future__ import annotations

import pytest
import torch
from training_runs import trained

from r1env.recipes import check_plan, plan_training


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("preset", ["tiny-cpu", "smol-135m"])
def test_it_evaluates_on_sums_that_neither_stage_trains_on(preset):
    plan = plan_training("arithmetic", preset=preset)
    check_plan(plan)
    cold_start, rl = plan.stages
    assert "split" not in {**cold_start.config["env_options"], **rl.config["env_options"]}  # the default is `train`
    assert rl.config["eval"]["env_options"] == {"split": "test"}
    assert rl.config["model"] == "stage:cold-start"


def test_demonstrations_go_on_to_longer_numbers_than_the_reward_does():
    cold_start, rl = plan_training("arithmetic", preset="smol-135m").stages
    assert cold_start.config["env_options"]["most"] > rl.config["env_options"]["most"]


@pytest.mark.nightly
def test_the_reward_teaches_the_carries_that_the_demonstrations_forget(tmp_path):
    plan = plan_training("arithmetic", preset="tiny-cpu", overrides={"rl": {"steps": 30, "eval.every": 30}})
    run = trained(plan, tmp_path / "run")
    accuracy = [row["eval/accuracy"] for row in run.metrics("rl") if "eval/accuracy" in row]
    assert accuracy[0] < 0.7  # the rounding of the machine moves it: 0.64 on one, below 0.6 on another, with the same code
    assert accuracy[-1] > 0.9
