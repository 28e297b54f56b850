"""The tasks of a step: a stretch of a suite's endless stream, less those that the difficulty filter skips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.types import Task

MOST_SKIPPED = 10_000
"""In a row; beyond that the filter leaves nothing worth waiting for."""

TaskFilter = Callable[[Task], bool]
"""True for tasks to train on."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tasks with their environments, and the position in the stream after them."""

    tasks: list[tuple[Environment, Task]]
    position: int


def draw_tasks(suite: Suite, position: int, count: int, seed: int, keep: TaskFilter | None = None) -> Drawn:
    """The next `count` tasks from `position` on. Depends on the arguments alone, so a resumed run draws what another would have drawn.

    Raises:
        UsageError: the filter skips `MOST_SKIPPED` tasks in a row.
    """
    tasks: list[tuple[Environment, Task]] = []
    skipped = 0
    while len(tasks) < count:
        environment, task = suite.at(position, seed)
        position += 1
        if keep is None or keep(task):
            tasks.append((environment, task))
            skipped = 0
        elif (skipped := skipped + 1) == MOST_SKIPPED:
            raise UsageError(
                f"{MOST_SKIPPED:,} tasks of {suite.name!r} in a row are outside difficulty_low and difficulty_high; widen them"
            )
    return Drawn(tasks, position)
