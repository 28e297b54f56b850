"""Rollouts without a score: counted by reward and reason, alerted, and no run goes on without any."""

import json
import math

import pytest
import torch
from training_runs import trained

import r1env
from r1env.errors import TrainingStoppedError
from r1env.monitoring import RULES, Curves
from r1env.recipes import plan_training
from r1env.runs.run import Run


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@r1env.reward(name="evens")
def evens(completion, task):
    """A reward for some tasks, in the way of TRL's multi-task runs: None for the others."""
    return len(completion) / 50 if sum(map(ord, task.id)) % 2 == 0 else None


@r1env.reward(name="odds")
def odds(completion, task):
    return len(completion) / 25 if sum(map(ord, task.id)) % 2 else None


@r1env.reward(name="nothing")
def nothing(completion):
    return None


def plan(*rewards, on_none="unscored", **settings):
    rubric = {"name": "mine", "rewards": [{"reward": f"{__name__}:{name}"} for name in rewards], "on_none": on_none}
    small = {
        "preset": "tiny-cpu",
        "steps": 3,
        "eval.every": 0,
        "algo.track_kl": False,
        "sampling.prompts_per_step": 4,
        "sampling.group_size": 2,
        "sampling.max_new_tokens": 4,
        "rubric": rubric,
    }
    return plan_training("grpo", overrides=small | settings)


def test_a_run_whose_rewards_abstain_on_each_other_s_rows_stops_at_its_first_step(tmp_path):
    with pytest.raises(TrainingStoppedError, match=r"100% of the rollouts of a step have no score .*on_none: skip") as raised:
        trained(plan("evens", "odds"), tmp_path / "run")
    assert "evens: nothing to score" in str(raised.value)
    assert Run.open(tmp_path / "run").metrics() == []


def test_the_same_rewards_train_where_the_rubric_skips_them(tmp_path):
    run = trained(plan("evens", "odds", on_none="skip"), tmp_path / "run")
    assert [row["unscored/share"] for row in run.metrics()] == [0.0, 0.0, 0.0]
    assert all(math.isfinite(row["reward"]) for row in run.metrics())
    assert run.manifest["stages"]["grpo"]["on_none"] == "skip"


def test_shares_without_a_score_are_logged_by_reward_and_reason(tmp_path):
    run = trained(plan("evens", max_unscored=1.0), tmp_path / "run")
    shares = [row["unscored/share"] for row in run.metrics()]
    assert any(0 < share < 1 for share in shares)
    for row in run.metrics():
        assert row.get("unscored/evens/no_answer", 0.0) == row["unscored/share"]
        assert row["unscored"] == 8 * row["unscored/share"]


def test_a_smaller_share_can_be_made_to_stop_a_run(tmp_path):
    with pytest.raises(TrainingStoppedError, match="setting max_unscored"):
        trained(plan("evens", max_unscored=0.01, steps=8), tmp_path / "run")


def alerts(rows):
    curves, found = Curves(), {}
    for step, row in enumerate(rows, start=1):
        curves.add(step, row)
        found |= {alert.rule: alert for rule in RULES if (alert := rule(curves))}
    return found


def test_a_fifth_without_a_score_is_alerted_with_its_reasons():
    row = {"mixed_groups": 0.0, "unscored/share": 0.25, "unscored/evens/no_answer": 0.2, "unscored/math/unparseable": 0.05}
    found = alerts([row] * 12)
    assert "25% of the rollouts have no score (evens/no_answer 20%, math/unparseable 5%)" in found["unscored"].seen
    assert "flat-groups" not in found  # which would blame the policy
    assert "unscored" not in alerts([row | {"unscored/share": 0.19}] * 12)


def test_the_rubric_of_a_file_says_what_none_does(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"name": "mine", "rewards": [{"reward": "repetition"}], "on_none": "skip"}))
    assert r1env.rubrics.find_rubric(str(path)).on_none == "skip"
