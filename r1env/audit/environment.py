"""`audit_environment`: does an environment pay its own solutions, and does it pay for nothing?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from r1env.envs.environment import Environment
from r1env.envs.suite import fixture_completions
from r1env.errors import UsageError
from r1env.hooks import Fixture
from r1env.scoring import score
from r1env.types import Completion, Rollout, Score, Task

FORMS = ("<think>\nIt follows.\n</think>\n<answer>{}</answer>", "\\boxed{{{}}}", "{}")
"""How an oracle writes a reference answer; one of them must be paid in full."""

NOTHING = ("", "I do not know.", "<think>\n\n</think>\n<answer></answer>")
"""What a player does that does nothing."""

Turns = tuple[str, ...]
"""What a player says, turn by turn."""

PAID_IN_FULL = 1.0
MAX_TURNS = 64


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """What one task paid.

    Attributes:
        oracle: the best score of its solution; None where no solution is known, or none was scored.
        nothing: the best score for doing nothing; None where that was not scored.
        fault: what is wrong with it; empty where nothing is.
    """

    task: str
    oracle: float | None
    nothing: float | None
    fault: str


@dataclass(frozen=True, slots=True)
class EnvironmentAudit:
    """The tasks of an environment that were tried."""

    environment: str
    tasks: tuple[TaskAudit, ...]

    @property
    def clean(self) -> bool:
        return not any(task.fault for task in self.tasks)

    @property
    def solved(self) -> int:
        """How many tasks paid their solution in full."""
        return sum(task.oracle is not None and task.oracle >= PAID_IN_FULL for task in self.tasks)

    @property
    def without_solution(self) -> int:
        return sum(task.oracle is None and not task.fault for task in self.tasks)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "clean": self.clean, "solved": self.solved, "without_solution": self.without_solution}


def audit_environment(
    environment: Environment, *, count: int = 20, seed: int = 0, fixture: Fixture | None = None
) -> EnvironmentAudit:
    """Play the first tasks twice: once with their solution, and once doing nothing.

    A solution is what the environment's fixture says, or else the reference answer in an answer block, in a box, and as it is; it is said in
    every turn. A task of several turns has its solution in its metadata, as `fixture: {"right": [TURN, ...]}`; the last turn is repeated. The solution must be paid 1, and doing nothing must be paid less than the solution, and less than 1.

    Args:
        count: tasks.
        fixture: of the environment's spec.

    Example:
        >>> from r1env.envs.environment import make_environment
        >>> audit_environment(make_environment("sort-4"), count=2).clean
        True
    """
    size = environment.source.size
    tasks = [environment.task(index, seed) for index in range(count if size is None else min(count, size))]
    return EnvironmentAudit(environment.name, tuple(_audited(environment, task, fixture) for task in tasks))


def _audited(environment: Environment, task: Task, fixture: Fixture | None) -> TaskAudit:
    solutions = list(_solutions(task, fixture))
    solved = _scores(environment, task, solutions)
    idle = _scores(environment, task, [(text,) for text in NOTHING])
    oracle, nothing = _best(solved), _best(idle)
    fault = ""
    if broken := next((one.reason for one in (*solved, *idle) if one.failed), ""):
        fault = f"it could not be scored: {broken}"
    elif solutions and (oracle is None or oracle < PAID_IN_FULL):
        paid = "not scored" if oracle is None else f"paid {oracle:g}"
        fault = f"its solution {_shown(solutions[0])} is {paid}: {solved[0].reason}"[:300]
    elif nothing is not None and nothing >= (PAID_IN_FULL if oracle is None else min(oracle, PAID_IN_FULL)):
        fault = f"doing nothing is paid {nothing:g}"
    return TaskAudit(task.id, oracle, nothing, fault)


def _solutions(task: Task, fixture: Fixture | None) -> Iterator[Turns]:
    column = task.metadata.get("fixture")
    if isinstance(column, Mapping) and isinstance(column.get("right"), list | tuple):
        yield tuple(column["right"])
        return
    if fixture is not None or "fixture" in task.metadata:
        with contextlib.suppress(UsageError):  # there is none for this task
            yield (fixture_completions(task, fixture or Fixture())[0],)
    if task.answer is not None:
        yield from ((form.format(task.answer),) for form in FORMS)


def _scores(environment: Environment, task: Task, players: Sequence[Turns]) -> list[Score]:
    return score([_played(environment, task, turns) for turns in players], environment.rubric, notify=False)


def _played(environment: Environment, task: Task, turns: Turns) -> Rollout:
    """Return an episode in which these are the turns of the model, the last again and again."""
    episode = environment.open(task)
    try:
        while not episode.done and episode.turns < MAX_TURNS:
            episode.submit(Completion(text=turns[min(episode.turns, len(turns) - 1)]))
        if not episode.done:
            episode.stop()
        return episode.rollout()
    finally:
        episode.close()


def _shown(turns: Turns) -> str:
    return repr(turns[0]) if len(turns) == 1 else repr(list(turns))


def _best(scores: Sequence[Score]) -> float | None:
    values = [one.value for one in scores if one.value is not None]
    return max(values) if values else None
