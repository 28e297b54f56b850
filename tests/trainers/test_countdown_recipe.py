"""The recipe `countdown`: blind searches as demonstrations, then a reward for finding the target."""

from __future__ import annotations

from r1env.recipes import check_plan, plan_training


def test_it_can_be_planned_and_evaluates_on_puzzles_that_neither_stage_trains_on():
    plan = plan_training("countdown", preset="smol-135m")
    check_plan(plan)
    cold_start, rl = plan.stages
    assert "split" not in {**cold_start.config["env_options"], **rl.config["env_options"]}  # the default is `train`
    assert rl.config["eval"]["env_options"] == {"split": "test"}
    assert rl.config["model"] == "stage:cold-start"
    assert cold_start.config["template"] == rl.config["template"]
