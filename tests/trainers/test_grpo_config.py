"""The settings of GRPO: what cannot work is one line, and the presets hold the published numbers."""

from __future__ import annotations

import pytest

from r1env.errors import UsageError
from r1env.recipes import check_plan, plan_training
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.metrics import training_suite

MINIMAL = {"model": "tiny", "env": "sort-4"}
PUBLISHED = sorted(set(GRPOConfig.presets) - {"tiny-cpu", "smol-135m"})


def plan(**settings):
    return plan_training("grpo", overrides={**MINIMAL, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": None}, "give env or mixture"),
        ({"mixture": [{"env": "sort-4"}]}, "give env or mixture"),
        ({"env": None, "mixture": [{"env": "sort-4"}], "template": "plain"}, "each share has its own"),
        ({"kl_in": "reward"}, "kl_coef=0 takes nothing"),
        ({"reference_every": 5}, "without kl_coef or track_kl there is none"),
        ({"ratio": "cispo", "dual_clip": 3.0}, "ratio=cispo has none"),
        ({"dual_clip": 1.0}, "greater than 1"),
        ({"group_size": 1}, "group_size must be 2 or more"),
        ({"group_size": 1, "advantage": "reinforce_pp", "refill": True}, "group_size=1 has none"),
        ({"refill": True, "max_refills": 0}, "max_refills=0 allows none"),
        ({"difficulty_low": 0.2}, "need difficulty"),
        ({"difficulty": "f", "difficulty_low": 0.9, "difficulty_high": 0.1}, "is above"),
        ({"late_rubric": "zero"}, "need late_steps"),
        ({"late_steps": 5}, "needs a late_rubric or a late_mixture"),
        ({"late_steps": 500, "late_rubric": "zero"}, "more than the 100 steps"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(settings, message):
    with pytest.raises(UsageError) as caught:
        plan(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"advantage": "gdpo", "rubric": "accuracy"}, "the rubric has one that counts"),
        ({"difficulty": "nowhere.jsonl"}, "cannot read nowhere.jsonl"),
        ({"late_steps": 5, "late_rubric": "zeroo"}, "unknown rubric 'zeroo'"),
        ({"env": None, "mixture": [{"env": "sort-44"}]}, "unknown environment 'sort-44'"),
        ({"late_steps": 5, "late_mixture": [{"env": "sort-44"}]}, "unknown environment 'sort-44'"),
    ],
)
def test_what_only_the_environments_can_tell_is_said_before_training(settings, message):
    with pytest.raises(UsageError) as caught:
        check_plan(plan(**settings))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_an_earlier_stage_is_not_opened_before_there_is_one(tmp_path):
    recipe = tmp_path / "two.yaml"
    recipe.write_text(
        "name: two\npresets:\n  only:\n    stages:\n"
        "      - {name: base, trainer: sft, config: {preset: tiny-cpu}}\n"
        "      - {name: rl, trainer: grpo, config: {env: sort-4, difficulty: 'stage:base/rates.jsonl'}}\n"
    )
    check_plan(plan_training(str(recipe)))


def test_the_schedules_hold_from_their_step_on():
    config = GRPOConfig(**MINIMAL, max_new_tokens=8, length_schedule={3: 16, 6: 32}, temperature_schedule={2: 0.7})
    assert [config.max_new_tokens_at(step) for step in (0, 2, 3, 5, 6, 60)] == [8, 8, 16, 16, 32, 32]
    assert [config.temperature_at(step) for step in (0, 1, 2, 9)] == [1.0, 1.0, 0.7, 0.7]
    assert GRPOConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_late_steps_are_the_last_ones():
    config = GRPOConfig(**MINIMAL, steps=10, late_steps=4, late_rubric="accuracy")
    assert [step for step in range(10) if config.is_late(step)] == [6, 7, 8, 9]
    assert training_suite(config).environments[0].rubric.name == "zero"
    assert training_suite(config, late=True).environments[0].rubric.name == "accuracy"


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_preset_wants_model_and_environment_and_nothing_more(preset):
    check_plan(plan_training("grpo", preset=preset, overrides=MINIMAL))


def test_the_presets_of_r1_count_a_rollout_as_sixteen_updates():
    config = GRPOConfig(**{**GRPOConfig.presets["r1-zero"], **MINIMAL})
    assert config.prompts_per_step * config.group_size == 8192
    assert config.prompts_per_step * config.group_size // config.mini_batches == 512
    assert config.steps * config.mini_batches == 10_400
    assert config.reference_every * config.mini_batches == 400
    assert (config.lr, config.kl_coef, config.temperature) == (3e-6, 0.001, 1.0)
    assert config.max_new_tokens_at(8_190 // 16) == 32_768
    assert config.max_new_tokens_at(8_200 // 16) == 65_536
    stage2 = GRPOConfig(**{**GRPOConfig.presets["r1-stage2"], **MINIMAL})
    assert (stage2.temperature, stage2.late_steps * 16, stage2.clip_high) == (0.7, 400, 10.0)


def test_dapo_pays_what_the_paper_pays():
    config = GRPOConfig(**{**GRPOConfig.presets["dapo"], **MINIMAL})
    assert (config.clip_low, config.clip_high, config.kl_coef) == (0.2, 0.28, 0.0)
    assert config.refill
    weights = {item.reward.name: item.weight for item in training_suite(config).environments[0].rubric.rewards}
    assert weights == {"exact": 2.0, "overlong": 1.0}
