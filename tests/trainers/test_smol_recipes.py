"""The presets `smol-135m` of the recipes `r1` and `r1-zero`: planned here, trained on a GPU (docs/results)."""

from __future__ import annotations

import pytest

from r1env.recipes import check_plan, plan_training


def stages(recipe: str):
    plan = plan_training(recipe, preset="smol-135m")
    check_plan(plan)
    return {stage.name: stage.config for stage in plan.stages}


@pytest.mark.parametrize("stage", ["dev1", "dev3"])
def test_both_fine_tunings_start_from_the_model_as_it_comes(stage):
    assert stages("r1")[stage]["model"] == "smollm2-135m"


def test_the_ablation_differs_by_nothing_but_its_rubric():
    planned = stages("r1")
    rewarded, measured = planned["dev2"], planned["dev2-no-language"]
    assert {name for name in rewarded if rewarded[name] != measured[name]} == {"rubric"}
    weights = {reward["reward"]: reward["weight"] for reward in measured["rubric"]["rewards"]}
    assert weights["language"] == 0


def test_both_students_have_one_start_and_meet_every_task_of_their_teacher():
    planned = stages("r1")
    assert {planned[stage]["model"] for stage in ("student-distilled", "student-rl")} == {"stage:student"}
    assert planned["student"]["mixture"] == planned["dev1"]["mixture"]


def test_no_model_is_measured_on_tasks_that_it_was_trained_on():
    for share in stages("r1")["table"]["mixture"]:
        assert share["env_options"] == {"split": "test"}


def test_r1_zero_ends_with_the_rewards_of_the_paper_and_has_no_demonstrations():
    (rl,) = stages("r1-zero").values()
    assert rl["model"] == "smollm2-135m"
    assert rl["final_phase"]["rubric"] == "zero"
