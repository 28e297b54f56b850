"""Scoring: runs rewards where they belong (inline, in killable workers, on an event loop) and combines them."""

from __future__ import annotations

from collections.abc import Sequence

from r1env.rewards import Reward
from r1env.rollouts import Rollout
from r1env.rubrics import Rubric
from r1env.scores import Score


def score(rollouts: Sequence[Rollout], rubric: Rubric | Reward) -> list[Score]:
    if isinstance(rubric, Reward):
        return rubric.score_batch(rollouts)
    columns = [item.reward.score_batch(rollouts) for item in rubric.rewards]
    return [rubric.combine(row) for row in zip(*columns, strict=True)]


async def ascore(rollouts: Sequence[Rollout], rubric: Rubric | Reward) -> list[Score]:
    return score(rollouts, rubric)
