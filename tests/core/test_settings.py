"""Settings: nested, described, and found by the names that people know from elsewhere and from before."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

import r1env
import r1env.config
import r1env.recipes
from r1env.config import (
    Preset,
    SettingRenamedWarning,
    Settings,
    changed_settings,
    differences,
    list_groups,
    list_settings,
    plain,
    validate,
    with_new_names,
)
from r1env.errors import UsageError
from r1env.recipes import config_class_of
from r1env.trainer import TrainerConfig, preset_of

TRAINERS = sorted(r1env.installed().provided("trainers"))


class Engine(Settings):
    """The engine."""

    name: str = Field(default="own", description="Engine.")
    limit: int | None = Field(default=None, ge=1, description="Most at once.")


class Inner(Settings):
    """Inside."""

    rate: float = Field(default=0.5, gt=0, le=1, description="How fast.", json_schema_extra={"source": "a paper"})


class Optim(Settings):
    """The optimizer."""

    lr: float = Field(default=1e-3, gt=0, description="Peak.")
    mode: str = Field(default="fast", description="How.")
    inner: Inner = Inner()


class Config(TrainerConfig):
    """Settings of a trainer."""

    optim: Optim = Optim()
    engine: Engine = Engine()

    renamed: ClassVar = {"lr": "optim.lr", "engine": "engine.name", "rate": "optim.inner.rate"}
    renamed_values: ClassVar = {"optim.mode": {"quick": "fast"}}
    names_elsewhere: ClassVar = {"learning_rate": "optim.lr", "actor.optim.lr": "optim.lr", "gone": "not.there"}


def test_an_old_name_works_and_the_warning_names_the_new_one():
    with pytest.warns(SettingRenamedWarning, match=r"'lr' is 'optim\.lr' now") as caught:
        config = Config(model="m", lr=0.1)
    assert config.optim.lr == 0.1
    assert len(caught) == 1


def test_an_old_name_that_is_a_group_now_is_told_from_the_group_by_its_value():
    with pytest.warns(SettingRenamedWarning):
        assert Config(model="m", engine="other").engine.name == "other"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Config(model="m", engine={"limit": 3}).engine == Engine(limit=3)


def test_an_old_value_is_renamed_too():
    with pytest.warns(SettingRenamedWarning, match="'fast'"):
        assert Config(model="m", optim={"mode": "quick"}).optim.mode == "fast"


def test_a_setting_given_by_both_names_is_refused():
    with pytest.warns(SettingRenamedWarning), pytest.raises(UsageError, match=r"lr is optim\.lr now; both are given"):
        validate(Config, {"model": "m", "lr": 1, "optim": {"lr": 2}}, where="settings")


def test_dotted_keys_are_nested_and_the_later_one_wins():
    assert with_new_names(Config, {"optim.lr": 1, "optim": {"lr": 2}, "engine.limit": 3}) == {
        "optim": {"lr": 2},
        "engine": {"limit": 3},
    }


def test_renaming_leaves_the_given_mapping_as_it_is():
    given = {"optim": {"lr": 1}, "optim.mode": "fast"}
    with_new_names(Config, given)
    assert given == {"optim": {"lr": 1}, "optim.mode": "fast"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"learning_rate": 1}, "unknown key 'learning_rate'; did you mean optim.lr?"),
        ({"optim": {"learning_rate": 1}}, "unknown key 'optim.learning_rate'; did you mean optim.lr?"),
        ({"actor": {"optim": {"lr": 1}}}, "unknown key 'actor.optim.lr'; did you mean optim.lr?"),
        ({"limit": 3}, "unknown key 'limit'; did you mean engine.limit?"),
        ({"limits": 3}, "unknown key 'limits'; did you mean engine.limit?"),
        ({"optim": {"lrr": 1}}, "unknown key 'optim.lrr'; did you mean optim.lr?"),
        ({"xyzzy": 1}, "unknown key 'xyzzy'; known: engine, model, optim, seed"),
        ({"gone": 1}, "unknown key 'gone'; did you mean"),
    ],
)
def test_an_unknown_key_is_answered_with_the_setting_that_was_meant(data, message):
    with pytest.raises(UsageError) as caught:
        validate(Config, {"model": "m", **data}, where="settings")
    assert str(caught.value).startswith(f"settings: {message}")


def test_the_list_of_settings_has_types_defaults_sources_and_groups():
    found = {one.path: one for one in list_settings(Config)}
    assert list(found) == ["model", "seed", "optim.lr", "optim.mode", "optim.inner.rate", "engine.name", "engine.limit"]
    assert found["model"].required
    rate = found["optim.inner.rate"]
    assert (rate.type, rate.default, rate.source, rate.group) == ("float > 0 and <= 1", 0.5, "a paper", "optim.inner")
    assert found["engine.limit"].type == "int|null >= 1"
    assert list_groups(Config)["optim.inner"] == "Inside."


def test_what_differs_from_the_defaults_is_enough_to_have_the_settings_again():
    config = Config(model="m", optim=Optim(lr=0.1), engine=Engine(limit=2))
    assert differences(config) == {"model": "m", "optim": {"lr": 0.1}, "engine": {"limit": 2}}
    assert changed_settings(config) == {"model": "m", "optim.lr": 0.1, "engine.limit": 2}
    assert Config.model_validate(differences(config)) == config


def test_a_copy_with_changes_is_validated():
    config = Config(model="m", optim=Optim(mode="slow"))
    assert config.updated({"optim.lr": 0.2}).optim == Optim(lr=0.2, mode="slow")
    with pytest.raises(ValueError, match="greater than 0"):
        config.updated({"optim": {"lr": -1}})


def test_a_note_of_a_preset_goes_before_its_source_for_a_setting_or_a_group():
    preset = Preset({}, source="paper", notes={"optim": "ours", "optim.lr": "measured"})
    assert [preset.source_of(path) for path in ("optim.lr", "optim.mode", "seed")] == ["measured", "ours", "paper"]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_setting_of_every_trainer_is_described_in_one_line(trainer):
    for setting in list_settings(config_class_of(r1env.installed(), trainer)):
        assert setting.description, setting.path
        assert "\n" not in setting.description
        assert setting.description.endswith((".", ")")), setting.path


@pytest.mark.parametrize("trainer", TRAINERS)
def test_old_names_and_names_elsewhere_lead_to_settings_that_there_are(trainer):
    config_class = config_class_of(r1env.installed(), trainer)
    paths = {one.path for one in list_settings(config_class)} | set(list_groups(config_class))
    assert set(config_class.renamed.values()) <= paths
    every = {one.path for name in TRAINERS for one in list_settings(config_class_of(r1env.installed(), name))}
    assert set(config_class.names_elsewhere.values()) <= every


@pytest.mark.parametrize("trainer", TRAINERS)
def test_defaults_and_presets_are_plain_data_of_known_settings(trainer):
    config_class = config_class_of(r1env.installed(), trainer)
    known = {one.path for one in list_settings(config_class)}
    for name in config_class.presets:
        preset = preset_of(trainer, config_class, name)
        groups = set(list_groups(config_class))
        assert set(preset.notes) <= known | groups, name
        given = {"model": "m", "teacher": "t", "env": "sort-4", "data": "d", "writer": "w", "demonstrator": "x:y"}
        required = {key: value for key, value in given.items() if key in config_class.model_fields}
        if trainer == "sft" and "env" not in preset.settings:
            required = {"model": "m", "data": "d"}
        elif trainer == "sft":
            required = {"model": "m"}
        config = config_class.model_validate({**required, **with_new_names(config_class, preset.settings)})
        assert config_class.model_validate(plain(config)) == config


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("learning_rate", "optim.lr"),
        ("num_generations", "sampling.group_size"),
        ("actor_rollout_ref.rollout.n", "sampling.group_size"),
        ("clip_range", "algo.clip_ratio_low"),
        ("init_kl_coef", "algo.kl_coef"),
        ("beta", "algo.kl_coef"),
        ("max_grad_norm", "optim.max_grad_norm"),
        ("algorithm.adv_estimator", "algo.advantage"),
        ("n_samples_per_prompt", "sampling.group_size"),
        ("epsilon_high", "algo.clip_ratio_high"),
        ("clip_ratio_hgih", "algo.clip_ratio_high"),
    ],
)
def test_names_of_trl_verl_and_openrlhf_are_understood(name, meant):
    overrides = r1env.config.parse_overrides([f"{name}=1"])
    with pytest.raises(UsageError, match=f"unknown key '{name}'; did you mean {meant}"):
        r1env.recipes.plan_training("grpo", preset="tiny-cpu", overrides=overrides)


@pytest.mark.parametrize("page", ["settings.md", "cli.md"])
def test_the_reference_pages_are_those_that_the_tool_writes(page):
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("reference_pages", root / "tools" / "reference_pages.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (tool.DOCS / page).read_text("utf-8") == tool.PAGES[page](), "run python tools/reference_pages.py"


def test_values_that_were_renamed_work_with_a_warning():
    config_class = config_class_of(r1env.installed(), "grpo")
    with pytest.warns(SettingRenamedWarning) as caught:
        config = config_class(model="tiny", env="sort-4", advantage="loo", aggregation="constant")
    assert (config.algo.advantage, config.algo.loss_aggregation) == ("rloo", "seq-mean-token-sum-norm")
    assert len(caught) == 4  # two names and two values


def test_a_value_that_is_another_setting_now_works_with_a_warning():
    config_class = config_class_of(r1env.installed(), "grpo")
    with pytest.warns(SettingRenamedWarning, match=r"algo\.policy_ratio=cispo is algo\.loss=cispo now"):
        config = config_class(model="tiny", env="sort-4", algo={"policy_ratio": "cispo", "clip_ratio_low": 1.0})
    assert (config.algo.loss, config.algo.policy_ratio, config.algo.clip_ratio_low) == ("cispo", "token", 1.0)
    with pytest.warns(SettingRenamedWarning), pytest.raises(ValueError, match=r"another algo\.loss is given too"):
        config_class(model="tiny", env="sort-4", algo={"policy_ratio": "cispo", "loss": "clipped"})


def test_settings_out_of_an_open_list_show_its_names():
    types = {setting.path: setting.type for setting in list_settings(config_class_of(r1env.installed(), "grpo"))}
    assert types["algo.kl_estimator"] == "k1|k2|k3|module:attribute"
    assert types["algo.policy_ratio"] == "token|sequence|module:attribute"
