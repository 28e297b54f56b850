"""Recipes: YAML files that name trainers and their settings, planned and checked whole before the first step::

    name: r1-zero
    summary: one line
    presets:
      tiny-cpu:
        stages:
          - {name: base, trainer: sft, config: {model: tiny, …}}
          - {name: rl, trainer: grpo, config: {…}}        # no model: starts from the stage before

A trainer's own name is a recipe of one stage. `stages:` may also stand alone, without `presets:`. A run's `config.yaml` and the output of
`r1env train --dry-run` are such files, so each can be given back to `r1env train`. Settings are nested, or have dotted keys:
`optim.lr: 1e-4` is `optim: {lr: 1e-4}`.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1env.config import differences, load_yaml, merge, plain, validate, with_new_names
from r1env.errors import UnknownNameError, UsageError
from r1env.importing import absolute_reference, import_target
from r1env.plugins import Plugins, installed
from r1env.runs.run import Run
from r1env.runs.stages import STAGE_PREFIX, is_stage, parse_reference, references, resolved, write_stage_table
from r1env.trainer import LOCAL, Backend, BackendConfig, Estimate, Trainer, TrainerConfig, preset_of


class Stage(BaseModel):
    """One trainer with its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    trainer: str
    config: dict[str, Any] = Field(default_factory=dict)


class RecipePreset(BaseModel):
    """The stages of a recipe at one scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str = ""
    stages: tuple[Stage, ...] = Field(min_length=1)


class Recipe(BaseModel):
    """A recipe file: presets with their stages, or the stages alone, as in a run's config.yaml and in the output of a dry run.

    `preset` says which preset stages alone came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str = ""
    presets: dict[str, RecipePreset] = Field(default_factory=dict)
    preset: str | None = None
    stages: tuple[Stage, ...] = ()

    @model_validator(mode="after")
    def _stages_or_presets(self) -> Self:
        if bool(self.stages) == bool(self.presets):
            raise ValueError("a recipe has either stages or presets with stages")
        return self

    def variants(self) -> Mapping[str | None, RecipePreset]:
        """Return the stages by preset; None for stages that belong to none."""
        if self.presets:
            return dict[str | None, RecipePreset](self.presets.items())
        return {self.preset: RecipePreset(summary=self.summary, stages=self.stages)}


class Plan(BaseModel):
    """What a run will do: stages with complete, valid settings. Stored as `config.yaml`; resuming reads it back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    preset: str | None = None
    stages: tuple[Stage, ...]


def plan_training(
    name: str,
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    common: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
) -> Plan:
    """Plan the recipe or trainer called `name`, or the recipe file at that path.

    Args:
        preset: of the recipe, or of the trainer's config.
        overrides: settings by stage name (`{"rl": {"steps": 50}}`); for a trainer, its settings directly.
        common: settings laid over every stage whose config has the key (`seed`, `env`, …), `steps` over the last stage that has any,
            `model` over the first only.

    Raises:
        UsageError: an unknown name, preset, stage or key, or a value out of range; one line.
    """
    plugins = plugins or installed()
    overrides, common = overrides or {}, common or {}
    if name in plugins.provided("trainers"):
        stages = [Stage(name=name, trainer=name, config={"preset": preset} if preset else {})]
        overrides = {name: overrides}
    else:
        recipe = load_recipe(name, plugins)
        variants = recipe.variants()
        name, preset = recipe.name, preset or next(iter(variants))
        if preset not in variants:
            raise UnknownNameError(f"preset of recipe {recipe.name!r}:", str(preset), filter(None, variants))
        stages = list(variants[preset].stages)
        if len(stages) == 1 and stages[0].name not in overrides:
            overrides = {stages[0].name: overrides}  # as for a trainer
        for stage_name, changes in overrides.items():
            if stage_name not in [stage.name for stage in stages] or not isinstance(changes, Mapping):
                raise UnknownNameError(
                    "stage", stage_name, [stage.name for stage in stages], hint="(write --set STAGE.key=value)"
                )
    complete: list[Stage] = []
    newest: str | None = None  # the last stage so far that leaves a model
    config_classes = [config_class_of(plugins, stage.trainer) for stage in stages]
    for index, stage in enumerate(stages):
        config_class = config_classes[index]
        changes = merge({}, {key: value for key, value in common.items() if _reaches(key, config_classes, index)})
        merge(changes, overrides.get(stage.name, {}))
        config = {"model": STAGE_PREFIX + newest} if newest else {}  # a preset's model is for a start
        config = _settings(plugins, stage, config, changes)
        where = f"{stage.name} ({stage.trainer}) settings" if len(stages) > 1 else f"{stage.trainer} settings"
        checked = validate(config_class, config, where=where)
        complete.append(stage.model_copy(update={"config": checked.model_dump(mode="json")}))
        if plugins.trainer(stage.trainer).leaves_model:
            newest = stage.name
    return Plan(name=name, preset=preset, stages=tuple(complete))


def stored_plan(run: Run, plugins: Plugins | None = None) -> Plan:
    """Return the plan that `run` was started with. Settings whose names moved since then have their new ones.

    Raises:
        UsageError: config.yaml is no plan, or a stage has a setting that its trainer does not know.
    """
    plugins = plugins or installed()
    plan = validate(Plan, run.plan, where=str(run.path / "config.yaml"))
    stages = [stage.model_copy(update={"config": plain(_config(plugins, stage))}) for stage in plan.stages]
    return plan.model_copy(update={"stages": tuple(stages)})


FILES = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".parquet", ".gz")


def with_absolute_paths(settings: Any) -> Any:
    """Return settings with an absolute path for every relative one that leads somewhere, so that a run can go on in another folder.

    A path is a text that has a separator or the ending of a data file, or refers to a Python file (`rewards.py:exact`). A name without
    either, such as `tiny`, may be anything else and stays.
    """
    if isinstance(settings, Mapping):
        return {key: with_absolute_paths(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [with_absolute_paths(value) for value in settings]
    if not isinstance(settings, str) or is_stage(settings) or len(settings) > LONGEST_PATH or "\n" in settings:
        return settings
    looks_like_one = os.sep in settings or settings.endswith(FILES)
    if looks_like_one and not os.path.isabs(settings) and (os.path.exists(settings) or glob.glob(settings)):
        return os.path.abspath(settings)
    where = settings.rpartition(":")[0]
    return absolute_reference(settings) if where.endswith(".py") and os.path.exists(where) else settings


LONGEST_PATH = 4096  # characters


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a run goes on with.

    Attributes:
        plan: with the changes.
        changes: one line for each changed setting.
        again: finished stages that go on.
    """

    plan: Plan
    changes: tuple[str, ...]
    again: tuple[str, ...]


def continuation(
    run: Run,
    *,
    overrides: Mapping[str, Any] | None = None,
    common: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
) -> Continuation:
    """Return the plan that a run goes on with: its own, with changes from its edited config.yaml and from the arguments.

    A stage that has not begun may change in any way, one that has in the settings that its trainer names (`may_change`), and one that is
    finished may get more steps if it is the last.

    Args:
        overrides, common: as in `plan_training`.

    Raises:
        UsageError: a change that would make two trainings out of one; the message names the settings.
    """
    plugins, overrides = plugins or installed(), dict(overrides or {})
    plan = stored_plan(run, plugins)
    if len(plan.stages) == 1 and plan.stages[0].name not in overrides:
        overrides = {plan.stages[0].name: overrides}
    classes = [config_class_of(plugins, stage.trainer) for stage in plan.stages]
    stages = []
    for index, stage in enumerate(plan.stages):
        given = {key: value for key, value in (common or {}).items() if _reaches(key, classes, index)}
        changes = with_new_names(classes[index], merge(given, overrides.pop(stage.name, {})))
        config = validate(classes[index], merge(dict(stage.config), changes), where=f"{stage.name} settings")
        stages.append(stage.model_copy(update={"config": plain(config)}))
    if overrides:
        raise UnknownNameError("stage", next(iter(overrides)), [stage.name for stage in plan.stages])
    before = plan if run.executed_plan is None else validate(Plan, run.executed_plan, where=f"the plan of {run.path}")
    told: list[str] = []
    again: list[str] = []
    if [stage.name for stage in before.stages] != [stage.name for stage in stages]:
        raise UsageError(f"{run.path / 'config.yaml'} has other stages than the run began with; start a new run from it")
    for old, new, config_class in zip(before.stages, stages, classes, strict=True):
        was, now = (_flat(plain(_config(plugins, stage))) for stage in (old, new))
        differing = {path: (was.get(path), now.get(path)) for path in sorted({*was, *now}) if was.get(path) != now.get(path)}
        if not differing:
            continue
        if new.name in run.begun_stages():
            _check_changes(run, new, differing, config_class.may_change)
        if new.name in run.finished_stages():
            again.append(new.name)
        told += [f"{new.name}.{path}: {old_value} → {new_value}" for path, (old_value, new_value) in differing.items()]
    if any(stage.name not in again for stage in stages[stages_index(stages, again) :]):
        raise UsageError(
            f"stage {again[0]!r} is done and later stages started from it: only the last stage of a run can be extended"
        )
    return Continuation(plan.model_copy(update={"stages": tuple(stages)}), tuple(told), tuple(again))


def stages_index(stages: Sequence[Stage], names: Sequence[str]) -> int:
    """Return the place of the first of `names` among the stages; behind the last for no names."""
    return next((place for place, stage in enumerate(stages) if stage.name in names), len(stages))


def _check_changes(run: Run, stage: Stage, differing: Mapping[str, tuple[object, object]], allowed: frozenset[str]) -> None:
    """Refuse changes that a begun stage cannot go on with."""
    refused = [path for path in differing if not any(path == name or path.startswith(f"{name}.") for name in allowed)]
    if refused:
        raise UsageError(
            f"stage {stage.name!r} of {run.path} has begun, and cannot go on with another {', '.join(refused)}; start a new run, or change "
            f"only: {', '.join(sorted(allowed))}"
        )
    if stage.name in run.finished_stages():
        grown = [path for path in ("steps", "epochs") if path in differing and _is_more(*differing[path])]
        if not grown:
            raise UsageError(f"stage {stage.name!r} of {run.path} is done; it goes on only with more steps")
        if not run.has_checkpoint(stage.name):
            raise UsageError(
                f"stage {stage.name!r} of {run.path} left no checkpoint (checkpoint.every=0), so its optimizer is gone; start a new run with "
                f"--model {run.model_dir(stage.name)}"
            )


def _is_more(old: object, new: object) -> bool:
    return isinstance(old, int | float) and isinstance(new, int | float) and new > old


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted path; an empty group is a value."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        found |= _flat(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return found


def _reaches(key: str, config_classes: Sequence[type[TrainerConfig]], index: int) -> bool:
    """Whether a common setting is meant for stage `index`: `model` for the first, `steps` for the last with any, others for all but those
    whose trainer wants to be asked by name."""
    with_key = [place for place, config_class in enumerate(config_classes) if key in config_class.model_fields]
    with_key = [place for place in with_key if key not in config_classes[place].set_by_stage] or with_key
    if not with_key:
        return len(config_classes) == 1  # let validation name it
    return index in {"model": [0], "steps": with_key[-1:]}.get(key, with_key)


def _settings(plugins: Plugins, stage: Stage, chained: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Preset, chained model, the recipe's settings and the user's changes, each laid over the one before."""
    config_class = config_class_of(plugins, stage.trainer)
    recipe, changes = with_new_names(config_class, stage.config), with_new_names(config_class, changes)
    preset = changes.pop("preset", recipe.pop("preset", None))
    config = merge(
        {}, with_new_names(config_class, preset_of(stage.trainer, config_class, preset).settings) if preset is not None else {}
    )
    merge(merge(config, chained), recipe)
    for key, dependent in config_class.reset_with.items():
        if _plain_name(changes.get(key, config.get(key))) != _plain_name(config.get(key)):
            for path in dependent:
                _drop(config, path.split("."))
    return merge(config, changes)


def _plain_name(value: object) -> object:
    """Return a name without the prefix that it has in Gymnasium."""
    return value.removeprefix("r1env/") if isinstance(value, str) else value


def _drop(config: dict[str, Any], path: Sequence[str]) -> None:
    head, *rest = path
    if not rest:
        config.pop(head, None)
    elif isinstance(config.get(head), dict):
        _drop(config[head], rest)


def check_plan(plan: Plan, plugins: Plugins | None = None) -> None:
    """Ask every stage's trainer to check its settings. Raises the first `UsageError`."""
    plugins = plugins or installed()
    for index, stage in enumerate(plan.stages):
        before = [earlier.name for earlier in plan.stages[:index]]
        for reference in references(stage.config):
            if parse_reference(reference)[0] not in before:
                raise UsageError(
                    f"stage {stage.name!r} refers to {reference!r}; the stages before it are: {', '.join(before) or 'none'}"
                )
        config = _config(plugins, stage)
        if (backend := _backend(plugins, stage.trainer, config)) is not None:
            backend.check(stage.trainer, config)
        else:
            _trainer(plugins, stage.trainer).check(config)


def check_only(plan: Plan, only: Collection[str], finished: Collection[str]) -> None:
    """Refuse to run the stages `only` where the run has not what they start from.

    Args:
        finished: the stages whose results the run has.

    Raises:
        UsageError: a stage is unknown, is done already, or needs a stage that is neither done nor run before it.
    """
    there = set(finished)
    for name in only:
        if name not in (stage.name for stage in plan.stages):
            raise UnknownNameError("stage", name, [stage.name for stage in plan.stages])
        if name in finished:
            raise UsageError(f"stage {name!r} is done in this run; its results are never overwritten")
    for stage in (stage for stage in plan.stages if stage.name in only):
        for needed in (parse_reference(reference)[0] for reference in references(stage.config)):
            if needed not in there:
                raise UsageError(
                    f"stage {stage.name!r} needs the result of {needed!r}, which is not there; "
                    f"run it too (--only {needed}), or --resume a run that has it"
                )
        there.add(stage.name)


def execute(plan: Plan, run: Run, plugins: Plugins | None = None, *, only: Collection[str] = ()) -> None:
    """Run the stages that `run` has not finished, in order; each starts where the one before ended.

    Args:
        only: names of the stages to run; empty for all.
    """
    plugins = plugins or installed()
    if plugins.listens("r1env_step_end"):
        run.subscribe(
            lambda event: plugins.notify(
                "r1env_step_end", run=run, stage=event.stage, step=event.step, metrics=dict(event.metrics)
            )
        )
    with run.locked():
        for stage in plan.stages:
            if stage.name in run.finished_stages() or (only and stage.name not in only):
                continue
            config = _config(plugins, stage.model_copy(update={"config": resolved(stage.config, _locator(run, stage))}))
            run.start_stage(stage.name)
            if (backend := _backend(plugins, stage.trainer, config)) is not None:
                backend.train(stage.trainer, config, run)
            else:
                _trainer(plugins, stage.trainer).train(config, run)
            run.finish_stage(stage.name)
            write_stage_table(run)


def _locator(run: Run, stage: Stage) -> Callable[[str], Path]:
    """Return where in `run` the references of a stage lead."""

    def locate(reference: str) -> Path:
        source, file = parse_reference(reference)
        if source not in run.finished_stages():
            raise UsageError(f"stage {stage.name!r} needs {reference!r}, and stage {source!r} has no result in this run")
        return run.model_dir(source) if file is None else run.stage_file(file, source)

    return locate


def load_recipe(name: str, plugins: Plugins) -> Recipe:
    """Return the recipe called `name`, or the one in the file at that path.

    Raises:
        UsageError: there is none, or the file is not a recipe.
    """
    if name in plugins.provided("recipes"):
        package, _, path = plugins.recipe(name).resource.partition(":")
        location = Path(str(files(package).joinpath(path)))
    elif Path(name).suffix in (".yaml", ".yml"):
        location = Path(name)
    else:
        raise UnknownNameError("recipe or trainer", name, [*plugins.provided("recipes"), *plugins.provided("trainers")])
    return validate(Recipe, load_yaml(location), where=str(location))


def config_class_of(plugins: Plugins, trainer: str) -> type[TrainerConfig]:
    """Return the settings class of a trainer.

    Raises:
        UnknownNameError: there is no such trainer.
    """
    return cast(type[TrainerConfig], import_target(plugins.trainer(trainer).config))


def _config(plugins: Plugins, stage: Stage) -> TrainerConfig:
    return validate(config_class_of(plugins, stage.trainer), stage.config, where=f"{stage.name} settings")


def _trainer(plugins: Plugins, name: str) -> Trainer[TrainerConfig]:
    return cast(Trainer[TrainerConfig], import_target(plugins.trainer(name).target)())


def _backend(plugins: Plugins, trainer: str, config: TrainerConfig) -> Backend | None:
    """Return the backend that the settings name; None for this process.

    Raises:
        UsageError: no plugin provides it, or it does not run this trainer.
    """
    if not isinstance(config, BackendConfig) or config.backend == LOCAL:
        return None
    spec = plugins.backend(config.backend)
    if trainer not in spec.trainers:
        raise UsageError(f"backend {spec.name!r} does not run trainer {trainer!r}; it runs: {', '.join(spec.trainers)}")
    return cast(Backend, import_target(spec.target)())


# Plans as YAML for people.

LINE = 120  # columns that a list or mapping may take on one line
SCREEN = 80  # lines from which stages are written as running text
WRAPPED = 3  # lines that a stage, or its settings, may then take
SHARED = 60  # characters from which a value that comes again is written as an alias


def plan_yaml(plan: Plan, plugins: Plugins | None = None, *, everything: bool = False) -> str:
    """Return the plan as a recipe file.

    Args:
        everything: all settings; by default only those that differ from the trainers' defaults. Planning the text again gives the same plan.

    A plan of more than `SCREEN` lines is written again with its stages as running text.
    """
    plugins = plugins or installed()
    content = plan.model_dump(mode="json", exclude_none=True)
    if not everything:
        for shown, stage in zip(content["stages"], plan.stages, strict=True):
            shown["config"] = differences(_config(plugins, stage))
    if not everything:
        _share_settings(content["stages"])
    how: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": LINE}
    text = cast(str, yaml.dump(content, Dumper=_PlanDumper, **how))
    if everything or text.count("\n") <= SCREEN:
        return text
    return cast(str, yaml.dump(content, Dumper=_CompactPlanDumper, **how))


class _Like(dict[str, Any]):
    """Settings that are written as `{<<: *base, …}`: only what differs from those of an earlier stage."""

    base: Mapping[str, Any]
    own: dict[str, Any]


def _share_settings(stages: list[dict[str, Any]]) -> None:
    """Let each stage refer to an earlier one of its trainer whose settings are much the same, and equal long values be one object."""
    seen: dict[str, Any] = {}
    for index, stage in enumerate(stages):
        for key, value in stage["config"].items():
            text = json.dumps(value, sort_keys=True)
            if isinstance(value, dict | list) and len(text) >= SHARED:
                stage["config"][key] = seen.setdefault(f"{key}={text}", value)
        config = stage["config"]
        earlier = [one["config"] for one in stages[:index] if one["trainer"] == stage["trainer"]]
        alike = [one for one in earlier if one.keys() <= config.keys()]  # what a merge key brings cannot be taken away
        if alike:
            base = max(alike, key=lambda one: sum(config[key] == one[key] for key in one))
            own = _Like((key, value) for key, value in config.items() if key not in base or base[key] != value)
            if len(config) - len(own) >= 3:
                stage["config"] = config = _whole(own, base)


def _whole(own: _Like, base: Mapping[str, Any]) -> _Like:
    """Return all settings of a stage, for comparison with later ones; `own` of them are written."""
    whole = _Like({**base, **own})
    whole.base, whole.own = base, dict(own)
    return whole


class _PlanDumper(yaml.SafeDumper):
    """Writes short lists and mappings on one line, equal long values of settings only once, and `_Like` with a merge key."""

    compact = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names: dict[int, str] = {}  # id of a node → what its anchor is called
        self._taken: dict[str, int] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return not isinstance(data, dict | list) or len(json.dumps(data)) < SHARED

    def represent_like(self, data: _Like) -> yaml.Node:
        """Return a mapping whose first key merges the base."""
        node = self.represent_dict(data.own)
        node.value.insert(0, (yaml.ScalarNode("tag:yaml.org,2002:merge", "<<"), self.represent_data(data.base)))
        return node

    def serialize(self, node: Any) -> None:
        self._lay_out(node, 0)
        super().serialize(node)

    def generate_anchor(self, node: Any) -> str:
        """Return the setting that the value is of, or the stage whose settings they are; numbered where that is taken."""
        name = re.sub(r"[^A-Za-z0-9_-]", "-", self._names.get(id(node), "value"))
        self._taken[name] = self._taken.get(name, 0) + 1
        return name if self._taken[name] == 1 else f"{name}-{self._taken[name]}"

    def _lay_out(self, node: Any, indent: int, key_of_node: str = "") -> int:
        """Choose the style of `node` and of all within it; returns the characters that it takes on one line."""
        if isinstance(node, yaml.ScalarNode):
            return len(node.value)
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            parts = [value for _, value in node.value]
            names = [parts[0].value if key == "config" else key for key in keys]  # a stage begins with its name
        else:
            keys, parts = [""] * len(node.value), node.value
            names = keys
        length, fits = 0, True
        for key, name, part in zip(keys, names, parts, strict=True):
            length += len(key) + 4
            if id(part) in self._names:
                length += len(self._names[id(part)]) + 1  # an alias
            else:
                length += self._lay_out(part, indent + 2, key or f"in {key_of_node}")
                if isinstance(part, yaml.CollectionNode):
                    fits = fits and bool(part.flow_style)
                    self._names.update({id(part): name} if name else {})
        node.flow_style = fits and indent + length < LINE
        if self.compact and key_of_node in ("config", "in stages") and indent + length < WRAPPED * LINE:
            self._run_on(node)
        return length

    def _run_on(self, node: Any) -> None:
        """Write a node and all within it as running text."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            node.flow_style = True
            for part in [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value:
                self._run_on(part)


class _CompactPlanDumper(_PlanDumper):
    """Writes stages, or their settings, as running text where that takes `WRAPPED` lines."""

    compact = True


for _dumper in (_PlanDumper, _CompactPlanDumper):
    _dumper.add_representer(_Like, _PlanDumper.represent_like)


# Cost estimates for a plan, printed by `r1env train --dry-run`.


def estimates(plan: Plan, plugins: Plugins | None = None) -> dict[str, Estimate | None]:
    """By stage; None where its trainer cannot say, or cannot say yet."""
    plugins = plugins or installed()
    models = {stage.name: stage.config["model"] for stage in plan.stages}
    found: dict[str, Estimate | None] = {}
    for stage in plan.stages:
        origin = {"model": _origin(models, stage.config["model"])}
        config = _config(plugins, stage.model_copy(update={"config": {**stage.config, **origin}}))
        spec = plugins.trainer(stage.trainer)
        if (backend := _backend(plugins, stage.trainer, config)) is not None:
            found[stage.name] = backend.estimate(stage.trainer, config)
        else:
            found[stage.name] = import_target(spec.estimate)(config) if spec.estimate else None
    return found


def estimate_lines(estimated: Mapping[str, Estimate | None]) -> Iterator[str]:
    """Yield lines for people; none where no stage has an estimate."""
    if not any(estimated.values()):
        return
    yield f"{'stage':<24} {'tokens':>10} {'hours':>9} {'GB':>7}  estimated for"
    for name, one in estimated.items():
        if one is not None:
            hours, gigabytes = one.seconds / 3600, one.memory_bytes / 1e9
            yield f"{name:<24} {one.tokens:>10.3g} {hours:>9.3g} {gigabytes:>7.3g}  {one.basis}"
    for name, one in estimated.items():
        if one is not None and 0 < one.available_bytes < one.least_bytes:
            yield (
                f"{name} does not fit: it takes at least {one.least_bytes / 1e9:.0f} GB, and there are {one.available_bytes / 1e9:.0f}; "
                "lora.rank, optim.name=adamw8bit and gradient_checkpointing take less"
            )
    if unknown := [name for name, one in estimated.items() if one is None]:
        yield f"not known beforehand: {', '.join(unknown)}"


def _origin(models: Mapping[str, str], model: str) -> str:
    """Return the model that a line of stages started from."""
    while is_stage(model) and (source := parse_reference(model)[0]) in models:
        model = models[source]
    return model
