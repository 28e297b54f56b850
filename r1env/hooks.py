"""Everything a plugin may provide. This is the page that plugin authors print.

A plugin is a module (or object) named by an entry point of the group `r1env`:

    [project.entry-points.r1env]
    mine = "my_package.plugin"

and it implements any of the hooks below with the marker `r1env.hookimpl`:

    import r1env

    @r1env.hookimpl
    def r1env_rewards():
        return [r1env.RewardSpec("short", "my_package.rewards:short", "1 for completions under 200 characters")]

Every hook returns *specs* with import strings, never the things themselves: listing all plugins must import no heavy library,
so keep the plugin module free of imports other than r1env. Hooks are called once, when the plugins are first listed.
Two specs of one name are an error that names both plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

PROJECT = "r1env"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """A reward. `target` is `module:attribute` of something made by `@r1env.reward` (or a plain function)."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """An environment.

    Attributes:
        name: registered with Gymnasium as `r1env/<name>`.
        source: `module:attribute` of a callable that returns a `TaskSource`; called with `options`.
        reward: name of the accuracy reward; rubrics refer to it as `accuracy`.
        options: default keyword arguments of the source; `gymnasium.make(id, **options)` overrides them.
        reward_options: options of the accuracy reward.
        template: prompt template (`r1env.prompts`) laid over the task's prompt.
        max_turns: 1 for single-turn.
        dialogue: `module:attribute` of a `Dialogue`; required when `max_turns` > 1.
        kind, languages: for listings.
        requires: what a user must bring, in words ("data=FILE, or network for the hub"); empty when nothing.
    """

    name: str
    source: str
    reward: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reward_options: Mapping[str, Any] = field(default_factory=dict)
    template: str = "plain"
    max_turns: int = 1
    dialogue: str | None = None
    kind: str = "math"
    requires: str = ""


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A mixture of environments. `environments` maps names to sampling weights."""

    name: str
    environments: Mapping[str, float]
    summary: str


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """A source of completions. `target` is `module:attribute` of a callable `(model: str, **options) -> Engine`."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class TrainerSpec:
    """A trainer.

    Attributes:
        config: `module:attribute` of its pydantic config class.
        target: `module:attribute` of the trainer, see `r1env.trainer`.
        presets: names that the config class knows through its attribute `presets`; shown in listings.
        leaves_model: False where it leaves data or tables; the next stage then starts from the last model before.
        estimate: `module:attribute` of a callable `(config) -> r1env.recipes.Estimate | None`, what a stage will cost; empty where
            the trainer cannot say. It must be quick: no model is loaded and no hub is asked.
    """

    name: str
    config: str
    target: str
    summary: str
    presets: tuple[str, ...] = ()
    leaves_model: bool = True
    estimate: str = ""


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """Another place to run the stages of a trainer, such as a cluster: `r1env train … --backend NAME`.

    Attributes:
        target: `module:attribute` of a callable without arguments that returns an `r1env.trainer.Backend`.
        trainers: names of the trainers whose stages it can run.
    """

    name: str
    target: str
    summary: str
    trainers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecipeSpec:
    """A recipe: a YAML file shipped in a package. `resource` is `package:path/in/package.yaml`."""

    name: str
    resource: str
    summary: str
    presets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """A sandbox backend. `target` is `module:attribute` of a callable that returns a backend."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A sub-command of `r1env`. `target` is `module:attribute` of a `typer.Typer` or of a function."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """A section of a run's report. `target` is `module:attribute` of a callable `(run: Run) -> str` that returns HTML."""

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """A place to show metrics while a model trains. `target` is `module:attribute` of a callable `(run: Run) -> Tracker`.

    Attributes:
        module: what must be importable for it, and `install`, what pip is to be given for that; empty where nothing is.
    """

    name: str
    target: str
    summary: str
    module: str = ""
    install: str = ""


Spec = (
    RewardSpec
    | EnvironmentSpec
    | SuiteSpec
    | EngineSpec
    | TrainerSpec
    | BackendSpec
    | RecipeSpec
    | SandboxSpec
    | CommandSpec
    | ReportSpec
    | TrackerSpec
)


class HookSpecs:
    """The hooks. Each takes nothing and returns a list of specs."""

    @hookspec
    def r1env_rewards(self) -> list[RewardSpec]:  # type: ignore[empty-body]
        """Rewards, found by name in rubrics, on the command line, and by `r1env.get_reward`."""

    @hookspec
    def r1env_environments(self) -> list[EnvironmentSpec]:  # type: ignore[empty-body]
        """Environments; each becomes the Gymnasium id `r1env/<name>`."""

    @hookspec
    def r1env_suites(self) -> list[SuiteSpec]:  # type: ignore[empty-body]
        """Mixtures of environments, named where an environment may be: `r1env train grpo --env NAME`."""

    @hookspec
    def r1env_engines(self) -> list[EngineSpec]:  # type: ignore[empty-body]
        """Engines, chosen by `--engine`; called when an evaluation or a sampling starts."""

    @hookspec
    def r1env_trainers(self) -> list[TrainerSpec]:  # type: ignore[empty-body]
        """Trainers: `r1env train <name>`."""

    @hookspec
    def r1env_backends(self) -> list[BackendSpec]:  # type: ignore[empty-body]
        """Backends: `r1env train … --backend NAME`; each runs the stages of some trainers in processes of its own."""

    @hookspec
    def r1env_recipes(self) -> list[RecipeSpec]:  # type: ignore[empty-body]
        """Recipes: `r1env train <name>`; a recipe runs trainers one after another."""

    @hookspec
    def r1env_sandboxes(self) -> list[SandboxSpec]:  # type: ignore[empty-body]
        """Sandbox backends for programs that a model wrote. Listed; the reward `code` uses those of r1env-sandbox."""

    @hookspec
    def r1env_commands(self) -> list[CommandSpec]:  # type: ignore[empty-body]
        """Sub-commands, added when the command line starts."""

    @hookspec
    def r1env_reports(self) -> list[ReportSpec]:  # type: ignore[empty-body]
        """Sections added to `report.html` when it is written."""

    @hookspec
    def r1env_trackers(self) -> list[TrackerSpec]:  # type: ignore[empty-body]
        """Trackers: `r1env train … --track NAME`; see `r1env.trackers`."""


HOOKS: Mapping[str, type] = {
    "rewards": RewardSpec,
    "environments": EnvironmentSpec,
    "suites": SuiteSpec,
    "engines": EngineSpec,
    "trainers": TrainerSpec,
    "backends": BackendSpec,
    "recipes": RecipeSpec,
    "sandboxes": SandboxSpec,
    "commands": CommandSpec,
    "reports": ReportSpec,
    "trackers": TrackerSpec,
}
"""Kind of thing → the spec class its hook must return."""

SINGULAR: Mapping[str, str] = {kind: kind.removesuffix("s") for kind in HOOKS} | {"sandboxes": "sandbox"}
"""Kind of thing → the word for one of it, for messages and tables."""
