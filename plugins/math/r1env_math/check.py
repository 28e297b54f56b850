"""`check_gold`: finds the reference answers that no answer could be compared with, before they cost a training run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import r1env
from r1env_math import symbolic
from r1env_math.verdict import fault_of_reference


@dataclass(frozen=True, slots=True)
class FaultyReference:
    """A reference that only its own text equals. A task that has it scores None.

    Attributes:
        index: its place among what was checked.
        id: the task's id, or the index where only answers were given.
        answer: the reference.
        reason: what is wrong with it.
    """

    index: int
    id: str
    answer: str | None
    reason: str


@r1env.reward(name="math-reference", isolation="process", limits=r1env.Limits(cpu_seconds=2, wall_seconds=10, memory_mb=512))
class ReferenceCheck:
    """1 where the reference answer can be read; the completion does not matter."""

    def warm_up(self) -> None:
        """Load Math-Verify."""
        symbolic.warm_up()

    def settle(self, answer: str | None) -> r1env.Score | None:
        """The score where exact arithmetic can read it."""
        return r1env.Score(value=1.0) if answer is not None and fault_of_reference(answer, with_algebra=False) is None else None

    def __call__(self, answer: str | None) -> r1env.Score:
        fault = "there is none" if answer is None else fault_of_reference(answer)
        return r1env.Score(value=0.0 if fault else 1.0, reason=fault or "")


def check_gold(references: Iterable[str | r1env.Task]) -> list[FaultyReference]:
    """The references that cannot be read, in order.

    What exact arithmetic can read is settled here; the others are read in the scoring workers, under their limits.

    Args:
        references: reference answers, or the tasks that have them.
    """
    tasks = [
        reference if isinstance(reference, r1env.Task) else r1env.Task(id=str(index), prompt="", answer=reference)
        for index, reference in enumerate(references)
    ]
    check = cast(r1env.Reward, ReferenceCheck)  # type checkers do not see what a decorator makes of a class
    scores = r1env.score([r1env.Rollout(task=task, completion="") for task in tasks], check)
    return [
        FaultyReference(index, task.id, task.answer, score.reason)
        for index, (task, score) in enumerate(zip(tasks, scores, strict=True))
        if score.value != 1.0
    ]
