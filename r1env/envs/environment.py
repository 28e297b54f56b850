"""`Environment`: a resolved environment, with its task source, prompt template and rubric."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from r1env.data.rows import describe_columns
from r1env.data.sources import HeldOut, SplitSource, TaskSource
from r1env.data.tasks import TEMPLATE_OF_KIND, FileTasks
from r1env.envs.conversation import ConversationEnv, Dialogue, Episode, Reply, ToolParser, other_side, parse_tool_calls
from r1env.errors import NoSplitError, PluginError, R1EnvError, UsageError
from r1env.hooks import EnvironmentSpec, ToolParserSpec
from r1env.importing import import_target
from r1env.plugins import Plugins, installed
from r1env.prompts import PromptTemplate
from r1env.rubrics import ACCURACY, Rubric, RubricSpec, find_rubric, resolve_rubric
from r1env.types import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Environment:
    """Everything about an environment that does not change between episodes.

    Attributes:
        other: creates the `ConversationEnv` or `Dialogue` of each episode; None for a single turn.
        tool_parser: parses tool calls in the model's text, if there are tools.
        step_seconds: how long a `ConversationEnv` may take for an answer.
        accuracy: the name of the environment's own checker, and the key of its part if the rubric uses it.
        split: the split that `source` provides; None if the source was created without naming one.
        options: the options of the source, without the split.
    """

    name: str
    source: TaskSource
    rubric: Rubric
    accuracy: str
    template: PromptTemplate
    max_turns: int = 1
    other: Callable[[], ConversationEnv | Dialogue | Reply] | None = None
    tool_parser: ToolParser = parse_tool_calls
    step_seconds: float = 300.0
    split: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def shares_tasks_with(self, other: Environment) -> bool:
        """Return whether both use the same tasks: the same environment, the same data and the same split."""
        if self.name != other.name or _data_of(self) != _data_of(other):
            return False
        return self.split == other.split or None in (self.split, other.split) or "all" in (self.split, other.split)

    def open(self, task: Task) -> Episode:
        """Start an episode of a task. If its environment cannot be created or reset, the episode is over and `error` says why.

        Raises:
            UsageError: the template raised, or did not return messages.
        """
        messages, other, fault = self.template.messages(task), None, ""
        try:
            other = None if self.other is None else self.other()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a third-party class may raise anything; the episode says so
            fault = f"the environment failed: {type(error).__name__}: {error}"
        episode = Episode(
            task,
            messages,
            max_turns=self.max_turns,
            other=other,
            tool_parser=self.tool_parser,
            step_seconds=self.step_seconds,
        )
        if fault:
            episode.fail(fault)
        return episode

    def task(self, index: int, seed: int = 0) -> Task:
        """Return task `index`. A finite source starts again from the beginning after its last task."""
        return self.source.task(index if self.source.size is None else index % self.source.size, seed)


def make_environment(
    name: str,
    *,
    rubric: str | RubricSpec | Rubric = "accuracy",
    template: str | None = None,
    max_turns: int | None = None,
    tool_parser: str | None = None,
    split: str | None = None,
    hold_out: float = 0.0,
    plugins: Plugins | None = None,
    **options: Any,
) -> Environment:
    """Return the environment called `name` (with or without the prefix `r1env/`), or the one at `module:attribute`.

    Args:
        rubric: name of a rubric (see `find_rubric`), a `RubricSpec` or a `Rubric`. The name `accuracy` in it stands for the environment's
            own checker.
        template: name of a prompt template that replaces the environment's own; see `Plugins.template`.
        max_turns: maximum number of turns, if lower than the environment's own.
        tool_parser: name of a parser of tool calls that replaces the environment's own: `llama` for Llama 3.
        split: the split to use, such as `train` or `test`. A source without splits counts as training data. None leaves the choice to
            the source.
        hold_out: make this share of the tasks the split `test`, chosen by a hash of the question. If the source has splits, as benchmarks
            on the hub do, its split `train` is divided and its own `test` is not used; the log says so.
        options: passed to the task source.

    Raises:
        UnknownNameError: there is no such environment, reward, rubric or template.
        NoSplitError: the source has no such split.
        UsageError: the source rejects the options or the data.
    """
    plugins = plugins or installed()
    spec = plugins.environment(name)
    source = _make_source(spec, _with_split(spec, options, split, hold_out))
    checker, reward_options = getattr(source, "checker", None) or (
        spec.reward or getattr(source, "reward", ""),
        spec.reward_options,
    )
    accuracy = plugins.reward(checker, **reward_options) if checker else None
    rubric_spec = find_rubric(rubric, plugins) if isinstance(rubric, str) else rubric
    if accuracy is None and isinstance(rubric_spec, RubricSpec) and ACCURACY in [one.reward for one in rubric_spec.rewards]:
        remedy = "name what scores them with --rubric"
        if isinstance(source, FileTasks):
            remedy += f", or the column that holds the answer ({source.examples.layout.name} rows; {describe_columns(source.examples.rows[0])})"
        raise UsageError(f"environment {spec.name!r}: its tasks have no reference answer that could be checked; {remedy}")
    if isinstance(source, FileTasks):
        source = source.checked(None if accuracy is None else accuracy.read_reference)
        chosen = template or spec.template or TEMPLATE_OF_KIND.get(source.kind, "plain")
    else:
        chosen = template or spec.template
    # What answers the model may depend on the options of the source. Tasks must not carry such options: a client of a server sends tasks.
    other = getattr(source, "other", None) or (None if spec.other is None else import_target(spec.other))
    return Environment(
        name=spec.name,
        source=_part_of(source, spec, split, hold_out),
        rubric=resolve_rubric(rubric_spec, plugins.reward, accuracy),
        accuracy="" if accuracy is None else accuracy.name,
        template=plugins.template(chosen),
        max_turns=spec.max_turns if max_turns is None else max_turns,
        other=None if other is None else other_side(other, spec.name),
        tool_parser=parse_tool_calls if other is None else plugins.load(ToolParserSpec, tool_parser or spec.tool_parser),
        step_seconds=spec.step_seconds,
        split=split,
        options={**spec.options, **options},
    )


def make_evaluation_environment(name: str, **options: Any) -> Environment:
    """Return `make_environment` with the split `test` unless the options name another; with all tasks if the source has no splits."""
    if options.get("split") is not None:
        return make_environment(name, **options)
    try:
        return make_environment(name, **{**options, "split": "test"})
    except NoSplitError:
        return make_environment(name, **options)


def _data_of(environment: Environment) -> object:
    """Return what says which tasks there are: the data that were named, or else all options."""
    options = dict(environment.options)
    return str(options["data"]) if options.get("data") is not None else options


def _with_split(spec: EnvironmentSpec, options: Mapping[str, Any], split: str | None, hold_out: float) -> Mapping[str, Any]:
    """Return the options of the source, with the split where it takes one. What is held out comes of the training tasks."""
    if "split" not in inspect.signature(import_target(spec.source)).parameters:
        return options
    if hold_out:
        return {"split": "train", **options}
    return options if split is None else {**options, "split": split}


def _part_of(source: TaskSource, spec: EnvironmentSpec, split: str | None, hold_out: float) -> TaskSource:
    """Return the split of a source that was not made for it, or that is divided by `hold_out`."""
    if hold_out:
        if "split" in inspect.signature(import_target(spec.source)).parameters:
            logger.info(
                "environment %s: hold_out=%g divides its training tasks; a split 'test' of the data is not used",
                spec.name,
                hold_out,
            )
        held_out = HeldOut(source, hold_out)
        return held_out if split is None else held_out.split(split)
    if split is None or "split" in inspect.signature(import_target(spec.source)).parameters:
        return source
    if isinstance(source, SplitSource):
        return source.split(split)
    if split in ("train", "all"):
        return source  # without splits, all tasks are for training
    raise NoSplitError(
        f"environment {spec.name!r} has no split {split!r}: its tasks are one set; hold_out=0.1 divides them, or name other data"
    )


def _make_source(spec: EnvironmentSpec, options: Mapping[str, Any]) -> TaskSource:
    make = import_target(spec.source)
    try:
        source = make(**{**spec.options, **options})
    except TypeError as error:
        raise UsageError(f"environment {spec.name!r} does not take these options: {error}") from error
    except (KeyboardInterrupt, R1EnvError):
        raise
    except BaseException as error:  # a third-party source may raise anything, SystemExit too
        kind = UsageError if isinstance(error, ValueError) else PluginError  # a value is usually an option's
        raise kind(f"environment {spec.name!r}: its task source raised {type(error).__name__}: {error}") from error
    if not isinstance(source, TaskSource):
        raise PluginError(
            f"environment {spec.name!r}: its source returned a {type(source).__name__}, which is no TaskSource (it needs `size` and `task`)"
        )
    return source
