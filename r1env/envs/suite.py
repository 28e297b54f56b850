"""`Suite`: several environments mixed by weight, each with its own tasks, prompt template and rubric."""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from r1env.data.sources import AdaptiveSource, Interleaving, shuffled_index
from r1env.envs.environment import Environment, make_environment
from r1env.errors import UsageError
from r1env.hooks import Fixture, SuiteSpec
from r1env.importing import import_target
from r1env.plugins import Plugins, installed
from r1env.prompts import ANSWER_CLOSE, ANSWER_OPEN
from r1env.rubrics import Rubric, RubricSpec
from r1env.types import Task

logger = logging.getLogger(__name__)


class EnvironmentShare(BaseModel):
    """One environment of a mixture.

    Attributes:
        env, env_options, template: as in `make_environment`.
        weight: its share of the tasks, relative to the other weights.
        rubric: its rubric; None for the rubric of the mixture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    env_options: dict[str, Any] = Field(default_factory=dict)
    rubric: str | RubricSpec | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a suite.

    Attributes:
        environment: name of the environment.
        weight: its share of the tasks, relative to the other weights.
        options: options of its task source.
        tasks: maximum number of tasks in an evaluation; None for all.
    """

    environment: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    tasks: int | None = None


def members_of(name: str, plugins: Plugins) -> list[Member]:
    """Return the members of the suite called `name`.

    Raises:
        UnknownNameError: there is no such suite.
        PluginError: several plugins provide it, or what it names as its members cannot be imported.
    """
    found = plugins.find(SuiteSpec, name).environments
    if isinstance(found, Mapping):
        return [Member(environment, weight) for environment, weight in found.items()]
    members: list[Member] = import_target(found)(plugins)
    return members


def with_fixtures(plugins: Plugins) -> list[Member]:
    """Return the members of the suite `smoke`: every environment that has a fixture, with the fixture's options.

    Environments whose fixture needs something that is missing are skipped with a warning that says why.
    """
    members = []
    left_out: dict[str, list[str]] = defaultdict(list)
    missing: dict[Any, str] = {}  # by what says it: a sandbox is looked for once
    for provided in plugins.provided("environments").values():
        spec = provided.spec
        if spec.fixture is None:
            continue
        needs = spec.fixture.needs
        if needs not in missing:
            missing[needs] = missing_for(spec.fixture)
        if missing[needs]:
            left_out[missing[needs]].append(spec.name)
        else:
            members.append(Member(spec.name, 1.0, spec.fixture.options, spec.fixture.tasks))
    for reason, names in left_out.items():
        logger.warning("suite smoke leaves out %s: %s", ", ".join(names), reason)
    return members


def missing_for(fixture: Fixture) -> str:
    """Return what is missing on this machine to score a fixture's tasks, or "" if nothing is."""
    return str(import_target(fixture.needs)()) if fixture.needs else ""


WRONG = "I cannot say."
"""The completion that no environment pays, where a fixture's row has no better one."""


def fixture_completions(task: Task, fixture: Fixture) -> tuple[str, str]:
    """Return a right and a wrong completion of a fixture's task.

    Raises:
        UsageError: the right one is neither in the row's column `fixture`, nor given by the fixture, nor the task's reference answer.

    >>> fixture_completions(Task(id="1", prompt="2 + 2?", answer="4"), Fixture())
    ('<answer>4</answer>', 'I cannot say.')
    """
    column = task.metadata.get("fixture")
    given: Mapping[str, str] = column if isinstance(column, Mapping) else {}
    right = given.get("right")
    if right is None and fixture.right:
        right = import_target(fixture.right)(task)
    if right is None and task.answer is not None:
        right = f"{ANSWER_OPEN}{task.answer}{ANSWER_CLOSE}"
    if right is None:
        raise UsageError(
            f"fixture task {task.id!r} has no reference answer: give its row a column fixture={{'right': …, 'wrong': …}}, or the "
            "fixture a function `right`"
        )
    return right, given.get("wrong", WRONG)


class Suite:
    """Environments with weights. A single environment is a suite of one.

    Raises:
        UsageError: there is no environment, the number of weights differs from that of environments, or a weight is not positive.
    """

    def __init__(self, name: str, environments: Sequence[Environment], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(environments) if weights is None else list(weights)
        if not environments or len(weights) != len(environments) or not all(0 < weight < math.inf for weight in weights):
            raise UsageError(f"suite {name!r} needs environments and a positive weight for each")
        self.name = name
        self.environments = tuple(environments)
        self._order = Interleaving(weights)

    def at(self, position: int, seed: int = 0) -> tuple[Environment, Task]:
        """Return the task at a position of the endless stream, and its environment.

        The task depends only on the arguments and, for an adaptive source, on the calls of `observe`. In any part of the stream each
        environment has its share of the tasks, to within a task or two. A finite source is traversed in a new random order in each epoch; a
        generator is indexed.
        """
        member, place = self._order.at(position)
        environment = self.environments[member]
        size = environment.source.size
        index = place if size is None else shuffled_index(place, size, seed)
        return environment, environment.task(index, seed)

    # Sources that adapt to how their tasks are solved, such as curricula. Without one, these do nothing.

    @property
    def adapts(self) -> bool:
        """Whether any source is adaptive, so that its tasks cannot be determined in advance."""
        return any(self.state().values())

    def observe(self, solved: Iterable[tuple[str, Task, float]]) -> None:
        """Tell adaptive sources how their tasks were solved.

        Args:
            solved: (name of the environment, task, success from 0 to 1) in the order of the rollouts; NaN, for no verdict, is skipped.
        """
        sources = self._adaptive()
        for name, task, success in solved:
            if not math.isnan(success):
                for key, source in sources.items():
                    if key.partition("#")[0] == name:
                        source.observe(task, success)

    def state(self) -> dict[str, Mapping[str, Any]]:
        """Return what `restore` needs, as plain data, by environment."""
        return {key: source.state() for key, source in self._adaptive().items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore a state that `state` returned, in this or another suite. Environments that are not in it start from the beginning."""
        for key, source in self._adaptive().items():
            source.restore(state.get(key, {}))

    def metrics(self) -> dict[str, float]:
        """Return `env/NAME/…` for the metrics of each adaptive source."""
        return {f"env/{key}/{name}": value for key, one in self._adaptive().items() for name, value in one.metrics().items()}

    def _adaptive(self) -> dict[str, AdaptiveSource]:
        """Return the adaptive sources by the names of their environments; the second of a name is called `NAME#2`."""
        found: dict[str, AdaptiveSource] = {}
        counts: Counter[str] = Counter()
        for environment in self.environments:
            counts[environment.name] += 1
            number = counts[environment.name]
            if isinstance(environment.source, AdaptiveSource):
                found[environment.name if number == 1 else f"{environment.name}#{number}"] = environment.source
        return found


def make_suite(
    env: str,
    *,
    rubric: str | RubricSpec | Rubric = "accuracy",
    template: str | None = None,
    plugins: Plugins | None = None,
    split: str | None = None,
    hold_out: float = 0.0,
    **options: Any,
) -> Suite:
    """Return the suite of that name, or the environment of that name as a suite of one.

    Args:
        rubric, template, split, hold_out: of every environment, as in `make_environment`.
        options: passed to every task source.

    Raises:
        UnknownNameError, UsageError: as `make_environment`.
    """
    plugins = plugins or installed()
    if env not in plugins.provided("suites"):
        environment = make_environment(
            env, rubric=rubric, template=template, split=split, hold_out=hold_out, plugins=plugins, **options
        )
        return Suite(environment.name, [environment])
    members = members_of(env, plugins)
    environments = [
        make_environment(
            member.environment,
            rubric=rubric,
            template=template,
            split=split,
            hold_out=hold_out,
            plugins=plugins,
            **{**member.options, **options},
        )
        for member in members
    ]
    return Suite(env, environments, [member.weight for member in members])


def make_mixture(
    shares: Iterable[EnvironmentShare],
    *,
    rubric: str | RubricSpec | Rubric = "accuracy",
    plugins: Plugins | None = None,
    split: str | None = None,
    hold_out: float = 0.0,
    **options: Any,
) -> Suite:
    """Return the mixture that settings list.

    Args:
        rubric: the rubric of shares that name none.
        split, hold_out: used for every environment whose own options name no split.
        options: override those of every share.

    Raises:
        UnknownNameError, UsageError: as `make_environment`.
    """
    shares = list(shares)
    environments = [
        make_environment(
            share.env,
            rubric=share.rubric or rubric,
            template=share.template,
            plugins=plugins,
            **{"split": split, "hold_out": hold_out, **share.env_options, **options},
        )
        for share in shares
    ]
    return Suite("+".join(environment.name for environment in environments), environments, [share.weight for share in shares])


def check_disjoint(training: Suite, evaluation: Suite) -> None:
    """Raise UsageError if the evaluation would use tasks that training may use.

    Raises:
        UsageError: two environments take the same split of the same data; the message says what to change.
    """
    for theirs in evaluation.environments:
        for ours in training.environments:
            if theirs.shares_tasks_with(ours):
                raise UsageError(
                    f"evaluation would use the training tasks of environment {theirs.name!r} (split {theirs.split or 'all'}): "
                    "evaluate on another split, or on other data"
                )
