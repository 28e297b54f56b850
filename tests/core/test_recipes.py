"""Planning and running recipes, with trainers made for the test."""

from __future__ import annotations

import json
import types
from typing import ClassVar

import pytest
from pydantic import Field

import r1env
from r1env.config import load_yaml
from r1env.errors import UnknownNameError, UsageError
from r1env.plugins import Plugins, Provenance
from r1env.recipes import Plan, check_only, check_plan, execute, plan_training
from r1env.runs.run import Run
from r1env.trainer import TrainerConfig

CALLS: list[tuple[str, str]] = []


class WriteConfig(TrainerConfig):
    steps: int = Field(default=1, ge=1)
    env: str = "somewhere"
    presets: ClassVar = {"big": {"model": "large", "steps": 100}}


class WriteTrainer:
    """Leaves a file in the model folder; fails when told to."""

    def check(self, config):
        CALLS.append(("check", config.model))

    def train(self, config, run):
        CALLS.append(("train", config.model))
        if config.steps == 13:
            raise KeyboardInterrupt
        run.log(1, {"loss": 1.0})
        run.model_dir().mkdir(parents=True)
        (run.model_dir() / "weights").write_text(config.model)


RECIPE = """
name: two
presets:
  small:
    stages:
      - {name: first, trainer: write, config: {model: start}}
      - {name: second, trainer: write, config: {preset: big, steps: 3}}
      - {name: third, trainer: write, config: {model: 'stage:first'}}
"""

DATA_RECIPE = """
name: data
presets:
  small:
    stages:
      - {name: first, trainer: write, config: {model: start}}
      - {name: second, trainer: collect}
      - {name: third, trainer: collect, config: {extra: {data: [{file: 'stage:second/data.jsonl', weight: 2}], teacher: 'stage:first'}}}
"""
SEEN = {}


class CollectConfig(TrainerConfig):
    extra: dict = Field(default_factory=dict)


class CollectTrainer:
    """Leaves data, and remembers the settings that it got."""

    def check(self, config): ...

    def train(self, config, run):
        SEEN[run.stage] = config.extra
        run.checkpoint_dir.joinpath("data.jsonl").write_text("")


@pytest.fixture
def plugins():
    CALLS.clear()
    module = types.ModuleType("fake")
    spec = r1env.TrainerSpec("write", f"{__name__}:WriteConfig", f"{__name__}:WriteTrainer", "writes", presets=("big",))
    collect = r1env.TrainerSpec("collect", f"{__name__}:CollectConfig", f"{__name__}:CollectTrainer", "", leaves_model=False)
    module.r1env_trainers = r1env.hookimpl(lambda: [spec, collect])
    return Plugins({Provenance("fake", "fake-dist", "1"): module})


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(RECIPE)
    return str(path)


def create(tmp_path, plan):
    return Run.create(tmp_path / "run", plan.model_dump(mode="json"), seed=0)


def test_a_stage_starts_from_the_one_before_unless_it_says_otherwise(plugins, recipe, tmp_path):
    plan = plan_training(recipe, plugins=plugins)
    run = create(tmp_path, plan)
    execute(plan, run, plugins)
    assert [("train", "start"), ("train", str(run.model_dir("first"))), ("train", str(run.model_dir("first")))] == CALLS
    assert run.finished_stages() == ["first", "second", "third"]


def test_a_preset_of_a_trainer_is_laid_under_the_settings_of_its_stage(plugins, recipe):
    second = plan_training(recipe, plugins=plugins).stages[1].config
    assert second == {"model": "stage:first", "seed": 0, "steps": 3, "env": "somewhere"}


def test_flags_reach_the_stages_they_are_meant_for(plugins, recipe):
    plan = plan_training(
        recipe, common={"model": "m", "steps": 9, "seed": 4}, overrides={"second": {"env": "there"}}, plugins=plugins
    )
    assert [stage.config["model"] for stage in plan.stages] == ["m", "stage:first", "stage:first"]
    assert [stage.config["steps"] for stage in plan.stages] == [1, 3, 9]
    assert [stage.config["seed"] for stage in plan.stages] == [4, 4, 4]
    assert [stage.config["env"] for stage in plan.stages] == ["somewhere", "there", "somewhere"]


def test_steps_reach_the_last_stage_that_has_any(plugins, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(DATA_RECIPE.replace("collect}", "write}", 1))
    plan = plan_training(str(path), common={"steps": 9}, plugins=plugins)
    assert [stage.config.get("steps") for stage in plan.stages] == [1, 9, None]


def test_a_trainer_s_own_name_is_a_recipe_of_one_stage(plugins):
    plan = plan_training("write", preset="big", overrides={"steps": 7}, plugins=plugins)
    assert [(stage.name, stage.config["model"], stage.config["steps"]) for stage in plan.stages] == [("write", "large", 7)]


def test_another_environment_drops_the_options_of_the_preset_s_own_and_keeps_the_user_s():
    common = {"env": "add-1digit"}
    (stage,) = plan_training("grpo", preset="tiny-cpu", common=common).stages
    assert (stage.config["env_options"], stage.config["eval"]["env_options"]) == ({}, {})
    overrides = {"env_options": {"style": "compact"}}
    (stage,) = plan_training("grpo", preset="tiny-cpu", common=common, overrides=overrides).stages
    assert stage.config["env_options"] == {"style": "compact"}


def test_every_stage_is_checked_before_the_first_one_starts(plugins, recipe):
    check_plan(plan_training(recipe, plugins=plugins), plugins)
    assert [kind for kind, _ in CALLS] == ["check"] * 3


def test_a_stored_plan_goes_on_with_the_first_unfinished_stage(plugins, recipe, tmp_path):
    plan = plan_training(recipe, overrides={"second": {"steps": 13}}, plugins=plugins)
    with pytest.raises(KeyboardInterrupt):
        execute(plan, create(tmp_path, plan), plugins)
    stored = load_yaml(tmp_path / "run/config.yaml")
    assert Plan.model_validate(stored) == plan
    stored["stages"][1]["config"]["steps"] = 2
    CALLS.clear()
    run = Run.open(tmp_path / "run")
    execute(Plan.model_validate(stored), run, plugins)
    assert len(CALLS) == 2
    assert run.finished_stages() == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "wirte"}, "unknown recipe or trainer 'wirte'; did you mean 'write'"),
        ({"name": "write", "preset": "bigg"}, "unknown preset of trainer 'write': 'bigg'; did you mean 'big'"),
        (
            {"name": "write", "overrides": {"model": "m", "stepps": 1}},
            "write settings: unknown key 'stepps'; did you mean steps?",
        ),
        ({"name": "write"}, "write settings: model: Field required"),
        ({"preset": "large"}, "unknown preset of recipe 'two': 'large'"),
        ({"overrides": {"secnd": {"steps": 1}}}, "unknown stage 'secnd'; did you mean 'second'"),
        ({"overrides": {"steps": 1}}, "unknown stage 'steps'"),
        ({"overrides": {"second": {"steps": 0}}}, "second (write) settings: steps: Input should be greater than or equal to 1"),
        ({"name": "absent.yaml"}, "cannot read absent.yaml"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(plugins, recipe, arguments, message):
    with pytest.raises(UsageError) as caught:
        plan_training(**{"name": recipe, "plugins": plugins, **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_that_starts_from_a_later_one_is_refused(plugins, tmp_path, recipe):
    plan = plan_training(recipe, overrides={"first": {"model": "stage:third"}}, plugins=plugins)
    with pytest.raises(UsageError, match="stage 'first' refers to 'stage:third'; the stages before it are: none"):
        check_plan(plan, plugins)
    with pytest.raises(UsageError, match="stage 'third' has no result in this run"):
        execute(plan, create(tmp_path, plan), plugins)


def test_settings_refer_to_models_and_files_of_earlier_stages_however_deep(plugins, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(DATA_RECIPE)
    plan = plan_training(str(path), plugins=plugins)
    assert [stage.config["model"] for stage in plan.stages] == ["start", "stage:first", "stage:first"]  # data are no model
    check_plan(plan, plugins)
    run = create(tmp_path, plan)
    execute(plan, run, plugins)
    folder = run.path / "checkpoints"
    assert SEEN["third"] == {
        "data": [{"file": str(folder / "second" / "data.jsonl"), "weight": 2}],
        "teacher": str(folder / "first" / "model"),
    }


def test_only_the_stages_that_are_asked_for_run_and_the_others_can_follow(plugins, recipe, tmp_path):
    plan = plan_training(recipe, plugins=plugins)
    run = create(tmp_path, plan)
    execute(plan, run, plugins, only=["first"])
    execute(plan, run, plugins, only=["third"])
    assert run.finished_stages() == ["first", "third"]
    execute(plan, run, plugins)
    assert run.finished_stages() == ["first", "third", "second"]


@pytest.mark.parametrize(
    ("only", "finished", "message"),
    [
        (["second"], [], "stage 'second' needs the result of 'first', which is not there; run it too .--only first."),
        (["first"], ["first"], "stage 'first' is done in this run"),
        (["secnd"], [], "unknown stage 'secnd'; did you mean 'second'"),
    ],
)
def test_a_stage_that_cannot_run_alone_is_refused_in_one_line(plugins, recipe, only, finished, message):
    with pytest.raises(UsageError, match=message):
        check_only(plan_training(recipe, plugins=plugins), only, finished)


def test_a_stage_may_run_alone_on_results_that_are_there_or_come_before_it(plugins, recipe):
    plan = plan_training(recipe, plugins=plugins)
    check_only(plan, ["second"], finished=["first"])
    check_only(plan, ["second", "first"], finished=[])


def test_every_finished_stage_has_its_row_in_the_table_of_stages(plugins, recipe, tmp_path):
    plan = plan_training(recipe, plugins=plugins)
    run = create(tmp_path, plan)
    execute(plan, run, plugins, only=["first"])
    assert [row["stage"] for row in json.loads((run.path / "stages.json").read_text())["data"]] == ["first"]
    execute(plan, run, plugins)
    rows = json.loads((run.path / "stages.json").read_text())["data"]
    assert [(row["stage"], row["from"], row["loss"]) for row in rows] == [
        ("first", [], 1.0),
        ("second", ["first"], 1.0),
        ("third", ["first"], 1.0),
    ]
    assert "| third  | write   | first       | 1     |" in (run.path / "stages.md").read_text()


def test_the_recipes_that_are_shipped_can_be_planned():
    for name, provided in r1env.installed().provided("recipes").items():
        for preset in provided.spec.presets:
            assert plan_training(name, preset=preset).preset == preset
    with pytest.raises(UnknownNameError):
        plan_training("r1-zero", preset="huge")


def test_plugins_are_told_of_every_step_and_one_that_raises_does_not_stop_the_run(plugins, recipe, tmp_path):
    seen = []

    @r1env.hookimpl
    def r1env_step_end(run, stage, step, metrics):
        seen.append((run.path, stage, step, metrics["loss"]))
        metrics.clear()
        raise RuntimeError("on strike")

    trainers = types.ModuleType("fake")
    spec = r1env.TrainerSpec("write", f"{__name__}:WriteConfig", f"{__name__}:WriteTrainer", "", presets=("big",))
    trainers.r1env_trainers = r1env.hookimpl(lambda: [spec])
    found = {
        Provenance("fake", "fake-dist", "1"): trainers,
        Provenance("listening", "listening-dist", "1"): types.SimpleNamespace(r1env_step_end=r1env_step_end),
    }
    plan = plan_training(recipe, plugins=plugins)
    run = create(tmp_path, plan)
    listening = Plugins(found)
    execute(plan, run, listening)
    assert seen == [(run.path, stage, 1, 1.0) for stage in ("first", "second", "third")]
    assert [row["loss"] for row in run.metrics()] == [1.0, 1.0, 1.0]
    assert [failure.reason for failure in listening.failures] == ["r1env_step_end: RuntimeError: on strike"]
