"""Everything a plugin can provide, and when it is called. This is the reference for plugin authors.

A plugin is a module (or object) named by an entry point of the group `r1env`::

    [project.entry-points.r1env]
    mine = "my_package.plugin"

It implements any of the hooks below, marked with `r1env.hookimpl`::

    import r1env

    @r1env.hookimpl
    def r1env_rewards():
        return [r1env.RewardSpec("short", "my_package.rewards:short", "1 for completions under 200 characters")]

There are two sorts of hooks:

* *Registries* take no argument and return a list of specs. They are called once, when the plugins are first listed. The target of a
  spec is an import string, `module:attribute`, or the object itself. Prefer import strings: listing plugins must import no heavy
  library, so a plugin module should import nothing but r1env.
* *Events* (`r1env_step_end`, `r1env_scored`) are called during a run. Their result is ignored.

All plugins share one pluggy manager, so `hookimpl(tryfirst=True)`, `trylast=True` and `wrapper=True` work across plugins: a wrapper
around a registry may add, replace or remove what the other plugins provide.

A faulty plugin does not stop the host program. A plugin that cannot be imported, a hook that raises or returns anything but its
specs, and a name that two plugins provide are recorded; `r1env plugins --check` shows them and exits with 1. Using a name that is
provided twice raises an error that names both distributions. An event hook that raises is reported once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:  # listing plugins imports none of them
    from r1env.runs.run import Run
    from r1env.types import Rollout, Score

PROJECT = "r1env"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


Target = str | Any
"""An import string, `module:attribute`, or the object that would be found there."""


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """A reward. `target` is something made by `@r1env.reward`, or a plain function."""

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class Fixture:
    """A few tasks of an environment that need neither the network nor a file of the user, for tests and for the suite `smoke`.

    Every environment with a fixture is a member of `smoke`, unless what it needs is missing. `r1env.testing.check_fixture` checks that the environment's own checker pays
    the right completion of each task and does not pay the wrong one (see `r1env.envs.suite.fixture_completions`).

    Where the rows are a file, each may have a column `fixture` with both completions: `{"right": "It is 4.", "wrong": "It is 5."}`.
    Without it, the right completion is the reference answer in an answer block, and the wrong one has no answer.

    Attributes:
        options: of the task source, such as `{"data": str(FIXTURES / "gsm8k.jsonl")}`. A generator needs none.
        right: a function `(task) -> completion`, or its import string, if the reference answer alone does not earn the reward.
        tasks: maximum number of tasks to take.
        needs: a function `() -> str`, or its import string, that says what is missing on this machine, such as a sandbox or a judge, or
            returns "" if nothing is. If something is missing, `smoke` skips the environment with a warning that says why.

    Example:
        >>> Fixture({"data": "fixtures/gsm8k.jsonl"}).tasks
        4
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    right: Target = ""
    tasks: int = 4
    needs: Target = ""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """An environment.

    Attributes:
        name: registered with Gymnasium as `r1env/<name>`.
        source: a callable that returns a `TaskSource`; called with `options`.
        reward: name of the accuracy reward, or its import string; rubrics refer to it as `accuracy`. Leave it empty if the source has an
            attribute `reward` that names the reward which checks its tasks. A source whose options choose a reward has an attribute
            `checker` with its name and options (see `r1env.data.tasks.FileTasks`).
        options: default keyword arguments of the source; `gymnasium.make(id, **options)` overrides them.
        reward_options: options of the accuracy reward.
        template: name of the prompt template that renders the task's prompt; empty if it follows from the kind of the source's tasks.
        max_turns: 1 for single-turn.
        other: what answers the model in each turn; required when `max_turns` > 1. A class or function that returns an
            `r1env.envs.conversation.ConversationEnv` (called for each episode) or a `Dialogue`, or a function `reply(task, messages)`.
        tool_parser: name of the parser of tool calls.
        step_seconds: how long a `ConversationEnv` may take for one answer. The episode fails if it takes longer.
        kind: the kind of task, for listings.
        requires: what the user must provide, in words ("data=FILE, or network for the hub"); empty if nothing.
        fixture: a few tasks for tests and for the suite `smoke`, or None.
    """

    name: str
    source: Target
    reward: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reward_options: Mapping[str, Any] = field(default_factory=dict)
    template: str = "plain"
    max_turns: int = 1
    other: Target | None = None
    tool_parser: str = "hermes"
    step_seconds: float = 300.0
    kind: str = "math"
    requires: str = ""
    argument: str = ""
    fixture: Fixture | None = None


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A mixture of environments.

    Attributes:
        environments: names → sampling weights; or a function `(plugins) -> list[r1env.envs.suite.Member]`, or its import string, for a
            suite whose members depend on what is installed.
    """

    name: str
    environments: Mapping[str, float] | Target
    summary: str


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """A prompt template. `target` is a `PromptTemplate`, or a function that takes a `Task` and returns the messages for the model."""

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class RubricPresetSpec:
    """A named rubric. `target` is a mapping of rewards to weights, a `RubricSpec` or the equivalent mapping, or a `Rubric`.

    Example:
        >>> RubricPresetSpec("careful", {"accuracy": 1.0, "format": 0.1}, "right answers, in the right form")  # doctest: +ELLIPSIS
        RubricPresetSpec(name='careful', ...)
    """

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """A source of completions. `target` is a callable `(model: str, **options) -> Engine`."""

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class TrainerSpec:
    """A trainer.

    Attributes:
        config: its pydantic config class.
        target: the trainer, see `r1env.trainer`.
        presets: names of the presets in the attribute `presets` of the config class; shown in listings.
        leaves_model: False if the trainer writes data or tables instead of a model. The next stage then starts from the last model before it.
        estimate: a callable `(config) -> r1env.recipes.Estimate | None` that estimates the cost of a stage; empty if the trainer has no
            estimate. It must be quick: it may neither load a model nor access the hub.
    """

    name: str
    config: Target
    target: Target
    summary: str
    presets: tuple[str, ...] = ()
    leaves_model: bool = True
    estimate: Target = ""


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """Another place to run the stages of a trainer, such as a cluster: `r1env train … --backend NAME`.

    Attributes:
        target: a callable without arguments that returns an `r1env.trainer.Backend`.
        trainers: names of the trainers whose stages it can run.
    """

    name: str
    target: Target
    summary: str
    trainers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdvantageSpec:
    """An advantage estimator. `target` is a function of rewards [G, n], NaN where unscored, that returns advantages [G, n].

    `r1env_trainers.rl.advantages` has examples. The setting `algo.advantage` names it.
    """

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class LossSpec:
    """A policy loss. `target` is a function of log-probs, old log-probs and advantages, [B, T] each, that returns a loss per token, [B, T].

    It may take `mask`, `clip_low` and `clip_high` by name; see `r1env_trainers.rl.losses.other_loss`. The setting `algo.loss` names it.
    """

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class PolicyRatioSpec:
    """A probability ratio for the clipped loss. `target` is a function of log-probs and old log-probs, [B, T] each, that returns the ratio
    of each token, [B, T], or of each sequence, [B, 1].

    It may take `mask`, [B, T], by name. The setting `algo.policy_ratio` names it.
    """

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class LossAggregationSpec:
    """A way to reduce the losses of tokens to one number. `target` is a function of the loss per token and the mask, [B, T] each, and
    `max_new_tokens`, that returns a total and a count, scalars that are added up over micro-batches; the loss is total / count.

    The count may depend on the mask and on `max_new_tokens` only. The setting `algo.loss_aggregation` names it.
    """

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class KLEstimatorSpec:
    """An estimator of KL(policy || reference). `target` is a function of the log-probs of sampled tokens under the policy and under the
    reference, [B, T] each, that returns an estimate per token, [B, T]. The setting `algo.kl_estimator` names it.
    """

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class ToolParserSpec:
    """A parser of tool calls. `target` is a function of a completion's text that returns its tool calls, in the order they were written."""

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class RecipeSpec:
    """A recipe: a YAML file shipped in a package. `resource` is `package:path/in/package.yaml`."""

    name: str
    resource: str
    summary: str
    presets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A sub-command of `r1env`. `target` is a `typer.Typer` or a function."""

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """A section of a run's report. `target` is a callable `(run: Run) -> str` that returns HTML; "" leaves the section out."""

    name: str
    target: Target
    summary: str


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """A service that shows metrics during training. `target` is a callable `(run: Run) -> Tracker`.

    Attributes:
        module: name of a module that the tracker needs; empty if it needs none.
        install: the requirement that pip installs this module from.
    """

    name: str
    target: Target
    summary: str
    module: str = ""
    install: str = ""


Spec = (
    RewardSpec
    | EnvironmentSpec
    | SuiteSpec
    | TemplateSpec
    | RubricPresetSpec
    | EngineSpec
    | TrainerSpec
    | AdvantageSpec
    | LossSpec
    | PolicyRatioSpec
    | LossAggregationSpec
    | KLEstimatorSpec
    | ToolParserSpec
    | BackendSpec
    | RecipeSpec
    | CommandSpec
    | ReportSpec
    | TrackerSpec
)


class HookSpecs:
    """The hooks. A registry takes no argument and returns a list of specs; an event takes arguments and returns nothing."""

    @hookspec
    def r1env_rewards(self) -> list[RewardSpec]:  # type: ignore[empty-body]
        """Return rewards. They are found by name in rubrics, on the command line, and by `r1env.get_reward`."""

    @hookspec
    def r1env_environments(self) -> list[EnvironmentSpec]:  # type: ignore[empty-body]
        """Return environments. Each becomes the Gymnasium id `r1env/<name>`."""

    @hookspec
    def r1env_suites(self) -> list[SuiteSpec]:  # type: ignore[empty-body]
        """Return mixtures of environments. Their names are accepted wherever an environment's is: `r1env train grpo --env NAME`."""

    @hookspec
    def r1env_templates(self) -> list[TemplateSpec]:  # type: ignore[empty-body]
        """Return prompt templates, for `--template NAME` and `EnvironmentSpec.template`."""

    @hookspec
    def r1env_rubrics(self) -> list[RubricPresetSpec]:  # type: ignore[empty-body]
        """Return rubrics, for `--rubric NAME`."""

    @hookspec
    def r1env_engines(self) -> list[EngineSpec]:  # type: ignore[empty-body]
        """Return engines, for `--engine NAME` and for the setting `engine.name` of a trainer."""

    @hookspec
    def r1env_trainers(self) -> list[TrainerSpec]:  # type: ignore[empty-body]
        """Return trainers: `r1env train <name>`."""

    @hookspec
    def r1env_advantages(self) -> list[AdvantageSpec]:  # type: ignore[empty-body]
        """Return advantage estimators, for the setting `algo.advantage`."""

    @hookspec
    def r1env_losses(self) -> list[LossSpec]:  # type: ignore[empty-body]
        """Return policy losses, for the setting `algo.loss`."""

    @hookspec
    def r1env_policy_ratios(self) -> list[PolicyRatioSpec]:  # type: ignore[empty-body]
        """Return probability ratios for the clipped loss, for the setting `algo.policy_ratio`."""

    @hookspec
    def r1env_loss_aggregations(self) -> list[LossAggregationSpec]:  # type: ignore[empty-body]
        """Return ways to reduce the losses of tokens to one number, for the setting `algo.loss_aggregation`."""

    @hookspec
    def r1env_kl_estimators(self) -> list[KLEstimatorSpec]:  # type: ignore[empty-body]
        """Return estimators of the KL divergence to the reference model, for the setting `algo.kl_estimator`."""

    @hookspec
    def r1env_tool_parsers(self) -> list[ToolParserSpec]:  # type: ignore[empty-body]
        """Return parsers of tool calls, for `EnvironmentSpec.tool_parser`."""

    @hookspec
    def r1env_backends(self) -> list[BackendSpec]:  # type: ignore[empty-body]
        """Return backends, for `r1env train … --backend NAME`. A backend runs the stages of some trainers in its own processes."""

    @hookspec
    def r1env_recipes(self) -> list[RecipeSpec]:  # type: ignore[empty-body]
        """Return recipes, which run trainers one after another: `r1env train <name>`."""

    @hookspec
    def r1env_commands(self) -> list[CommandSpec]:  # type: ignore[empty-body]
        """Return sub-commands, which are added when the command line starts."""

    @hookspec
    def r1env_reports(self) -> list[ReportSpec]:  # type: ignore[empty-body]
        """Return sections that are added to `report.html` when it is written."""

    @hookspec
    def r1env_trackers(self) -> list[TrackerSpec]:  # type: ignore[empty-body]
        """Return trackers: `r1env train … --track NAME`; see `r1env.trackers`."""

    @hookspec
    def r1env_step_end(self, run: Run, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Called after a step of a stage has been logged, in the thread that logs.

        Args:
            run: the run; `run.log_event(step, {"kind": …})` adds to its log.
            stage: name of the stage.
            step: number of the step, from 1.
            metrics: a copy of the logged metrics.

        Example::

            @r1env.hookimpl
            def r1env_step_end(stage, step, metrics):
                print(stage, step, metrics.get("reward/mean"))
        """

    @hookspec
    def r1env_scored(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> None:
        """Called after rollouts have been scored by `r1env.score`, `r1env.ascore` or a trainer, in the calling process.

        Args:
            rollouts: the rollouts of one call, in order.
            scores: one score for each rollout.

        Example::

            @r1env.hookimpl
            def r1env_scored(rollouts, scores):
                for rollout, score in zip(rollouts, scores):
                    if score.failed:
                        print(rollout.task.id, score.reason)
        """


HOOKS: Mapping[str, type] = {
    "rewards": RewardSpec,
    "environments": EnvironmentSpec,
    "suites": SuiteSpec,
    "templates": TemplateSpec,
    "rubrics": RubricPresetSpec,
    "engines": EngineSpec,
    "trainers": TrainerSpec,
    "advantages": AdvantageSpec,
    "losses": LossSpec,
    "policy_ratios": PolicyRatioSpec,
    "loss_aggregations": LossAggregationSpec,
    "kl_estimators": KLEstimatorSpec,
    "tool_parsers": ToolParserSpec,
    "backends": BackendSpec,
    "recipes": RecipeSpec,
    "commands": CommandSpec,
    "reports": ReportSpec,
    "trackers": TrackerSpec,
}
"""Kind of thing → the spec class that its registry hook, `r1env_<kind>`, returns."""

KIND_OF: Mapping[type, str] = {spec_type: kind for kind, spec_type in HOOKS.items()}
"""Spec class → kind of thing."""

SINGULAR: Mapping[str, str] = {kind: kind.removesuffix("s").replace("_", " ") for kind in HOOKS} | {
    "losses": "loss",
    "kl_estimators": "KL estimator",
    "templates": "prompt template",
}
"""Kind of thing → the word for one of it, for messages and tables."""
