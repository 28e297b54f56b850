"""Rewards that are kept out of the process that asks for them."""

from __future__ import annotations

from dataclasses import replace

from r1env.rewards import Isolation
from r1env.rubrics import Rubric


def isolated(rubric: Rubric) -> Rubric:
    """The rubric with its inline rewards in killable workers: here they would run beside vLLM, and take it down with them.

    Asynchronous rewards stay on our event loop, under their deadlines.
    """
    return Rubric(
        rubric.name,
        [
            replace(item, reward=replace(item.reward, isolation=Isolation.PROCESS))
            if item.reward.isolation is Isolation.INLINE
            else item
            for item in rubric.rewards
        ],
    )
