"""The settings of GRPO: what cannot work is one line, and the presets hold the published numbers."""

from __future__ import annotations

import pytest

from r1env.errors import UsageError
from r1env.recipes import check_plan, plan_training
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import evaluation_suite, training_suite

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
        ({"algo.kl_in": "reward"}, "kl_coef=0 takes nothing"),
        ({"algo.ref_model_sync_steps": 5}, "without kl_coef or track_kl there is none"),
        ({"algo.loss": "cispo", "algo.dual_clip": 3.0}, "dual_clip describe loss=clipped"),
        ({"algo.dual_clip": 1.0}, "greater than 1"),
        ({"sampling.group_size": 1}, "group_size must be 2 or more"),
        (
            {"sampling.group_size": 1, "algo.advantage": "reinforce_pp", "filter.dynamic_sampling": True},
            "group_size=1 has none",
        ),
        ({"filter.dynamic_sampling": True, "filter.max_extra_batches": 0}, "max_extra_batches=0 allows none"),
        ({"filter.min_pass_rate": 0.2}, "need pass_rates"),
        ({"filter.pass_rates": "f", "filter.min_pass_rate": 0.9, "filter.max_pass_rate": 0.1}, "is above"),
        ({"final_phase.rubric": "zero"}, "need final_phase.steps"),
        ({"final_phase.steps": 5}, "needs final_phase.rubric or final_phase.mixture"),
        ({"final_phase.steps": 500, "final_phase.rubric": "zero"}, "more than the 100 steps"),
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
        ({"algo.advantage": "gdpo", "rubric": "accuracy"}, "the rubric has one that counts"),
        ({"filter.pass_rates": "nowhere.jsonl"}, "nowhere.jsonl: cannot read it"),
        ({"final_phase.steps": 5, "final_phase.rubric": "zeroo"}, "unknown rubric 'zeroo'"),
        ({"env": None, "mixture": [{"env": "sort-44"}]}, "unknown environment 'sort-44'"),
        ({"final_phase.steps": 5, "final_phase.mixture": [{"env": "sort-44"}]}, "unknown environment 'sort-44'"),
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
        "      - {name: rl, trainer: grpo, config: {env: sort-4, filter.pass_rates: 'stage:base/rates.jsonl'}}\n"
    )
    check_plan(plan_training(str(recipe)))


def test_the_schedules_hold_from_their_step_on():
    config = GRPOConfig(
        **MINIMAL, sampling={"max_new_tokens": 8, "length_schedule": {3: 16, 6: 32}, "temperature_schedule": {2: 0.7}}
    )
    assert [config.sampling.max_new_tokens_at(step) for step in (0, 2, 3, 5, 6, 60)] == [8, 8, 16, 16, 32, 32]
    assert [config.sampling.temperature_at(step) for step in (0, 1, 2, 9)] == [1.0, 1.0, 0.7, 0.7]
    assert GRPOConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_late_steps_are_the_last_ones():
    config = GRPOConfig(**MINIMAL, steps=10, final_phase={"steps": 4, "rubric": "accuracy"})
    assert [step for step in range(10) if config.is_late(step)] == [6, 7, 8, 9]
    assert training_suite(config).environments[0].rubric.name == "zero"
    assert training_suite(config, late=True).environments[0].rubric.name == "accuracy"


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_preset_wants_model_and_environment_and_nothing_more(preset):
    check_plan(plan_training("grpo", preset=preset, overrides=MINIMAL))


def test_the_presets_of_r1_count_a_rollout_as_sixteen_updates():
    config = GRPOConfig(**{**GRPOConfig.presets["r1-zero"].settings, **MINIMAL})
    assert config.sampling.prompts_per_step * config.sampling.group_size == 8192
    assert config.sampling.prompts_per_step * config.sampling.group_size // config.optim.mini_batches == 512
    assert config.steps * config.optim.mini_batches == 10_400
    assert config.algo.ref_model_sync_steps * config.optim.mini_batches == 400
    assert (config.optim.lr, config.algo.kl_coef, config.sampling.temperature) == (3e-6, 0.001, 1.0)
    assert config.sampling.max_new_tokens_at(8_190 // 16) == 32_768
    assert config.sampling.max_new_tokens_at(8_200 // 16) == 65_536
    stage2 = GRPOConfig(**{**GRPOConfig.presets["r1-stage2"].settings, **MINIMAL})
    assert (stage2.sampling.temperature, stage2.final_phase.steps * 16, stage2.algo.clip_ratio_high) == (0.7, 400, 10.0)


def test_dapo_pays_what_the_paper_pays():
    config = GRPOConfig(**{**GRPOConfig.presets["dapo"].settings, **MINIMAL})
    assert (config.algo.clip_ratio_low, config.algo.clip_ratio_high, config.algo.kl_coef) == (0.2, 0.28, 0.0)
    assert config.filter.dynamic_sampling
    weights = {item.reward.name: item.weight for item in training_suite(config).environments[0].rubric.rewards}
    assert weights == {"exact": 2.0, "overlong": 1.0}


# Splits: an evaluation never draws the training tasks, whatever the environment.


@pytest.mark.parametrize("env", ["add-2digit", "sort-4", "countdown-3", "bilingual-addition", "guess-number"])
@pytest.mark.parametrize("preset", ["tiny-cpu", None])
def test_evaluation_draws_no_training_task_with_or_without_a_preset(env, preset):
    plan = plan_training("grpo", preset=preset, common={"env": env, **({} if preset else {"model": "tiny"})})
    config = GRPOConfig.model_validate(plan.stages[0].config)
    training, evaluation = training_suite(config), evaluation_suite(config)
    seen = {training.at(position, config.seed)[1].id for position in range(500)}
    assert not seen & {evaluation.at(position, config.seed)[1].id for position in range(128)}


@pytest.fixture
def one_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"question": "{n} + {n}?", "answer": "{2 * n}"}}\n' for n in range(100)))
    return str(path)


def test_an_environment_without_splits_is_refused_for_evaluation_and_hold_out_mends_it(one_file):
    config = GRPOConfig(model="tiny", env="math-jsonl", env_options={"data": one_file}, eval={"every": 10})
    with pytest.raises(UsageError, match=r"hold_out=0\.1 divides it.*eval\.every=0 goes without"):
        evaluation_suite(config)
    held_out = config.updated({"hold_out": 0.2})
    evaluated = {task.id for task in everything(evaluation_suite(held_out))}
    assert evaluated
    assert not evaluated & {task.id for task in everything(training_suite(held_out))}


def everything(suite):
    (environment,) = suite.environments
    return [environment.task(index) for index in range(environment.source.size)]


def test_an_evaluation_on_other_data_needs_no_split(one_file, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "1 + 0?", "answer": "1"}\n')
    config = GRPOConfig(
        model="tiny",
        env="math-jsonl",
        env_options={"data": one_file},
        eval={"every": 10, "env_options": {"data": str(other)}},
    )
    assert [task.answer for task in everything(evaluation_suite(config))] == ["1"]


def test_an_evaluation_on_the_training_split_is_refused_by_name():
    config = GRPOConfig(model="tiny", env="add-2digit", eval={"every": 10, "env_options": {"split": "train"}})
    with pytest.raises(UsageError, match=r"would use the training tasks of environment 'add-2digit' \(split train\)"):
        evaluation_suite(config)
