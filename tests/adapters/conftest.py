"""Rewards as strangers write them, good and bad, shared by the tests of every stack."""

from __future__ import annotations

import pytest

import r1env
from r1env.rewards import Limits, Reward, reward
from r1env.rubrics import Rubric, WeightedReward


@pytest.fixture
def exact() -> Reward:
    """Does what the completion says where that is an order (`hang`, `raise`, `die`, `abstain`), else compares it with the answer."""

    @reward(name="exact", isolation="process", parts=("long",), limits=Limits(cpu_seconds=0.5, wall_seconds=60.0))
    def obey(completion: str, answer: str | None) -> r1env.Score:
        import os

        while completion == "hang":
            pass
        if completion == "raise":
            raise RuntimeError("as asked")
        if completion == "die":
            os._exit(3)
        if completion == "abstain":
            return r1env.Score(value=None, parts={"long": float("nan")}, status=r1env.Status.UNPARSEABLE, reason="as asked")
        right = completion == answer
        status = r1env.Status.OK if right else r1env.Status.WRONG
        return r1env.Score(value=float(right), parts={"long": float(len(completion) > 9)}, status=status)

    return obey


@pytest.fixture
def pair(exact: Reward) -> Rubric:
    """The reward above, and one that always has a value; 1 and 0.1, as the presets weigh accuracy and form.

    Its parts: `exact`, `exact/long`, `words`.
    """

    @reward(name="words")
    def words(completion: str) -> float:
        return float(len(completion.split()))

    return Rubric("pair", [WeightedReward(exact), WeightedReward(words, 0.1)])
