"""Rollouts that come in parts get the scores that they would get together."""

from __future__ import annotations

import pytest

import r1env
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import Scoring, score
from r1env.types import Rollout, Task

TASK = Task(id="t", prompt="q", answer="1")


def rollouts(*texts: str) -> list[Rollout]:
    return [Rollout(task=TASK, completion=text) for text in texts]


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def rubric(asked: list[str]) -> Rubric:
    @r1env.reward(name="length", isolation="async")
    async def length(completion: str) -> float:
        asked.append(completion)
        return float(len(completion))

    @r1env.reward(name="long")
    def long(completion: str) -> float:
        return float(len(completion) > 2)

    return Rubric("r", [WeightedReward(length), WeightedReward(long, weight=0.5)])


def test_parts_are_scored_as_the_whole_in_the_order_they_came(rubric):
    scoring = Scoring(rubric)
    scoring.add(rollouts("a", "bbb"))
    scoring.add(rollouts("cc"))
    found = scoring.finish()
    assert [one.value for one in found] == [1.0, 3.5, 2.0]
    assert [one.parts for one in found] == [one.parts for one in score(rollouts("a", "bbb", "cc"), rubric)]


def test_equal_rollouts_of_different_parts_are_scored_once(rubric, asked):
    scoring = Scoring(rubric)
    for _ in range(3):
        scoring.add(rollouts("a", "bb", "a"))
    assert [one.parts["length"] for one in scoring.finish()] == [1.0, 2.0, 1.0] * 3
    assert sorted(asked) == ["a", "bb"]


def test_what_runs_elsewhere_begins_before_anyone_waits(rubric, asked):
    scoring = Scoring(rubric)
    scoring.add(rollouts("a"))
    assert scoring.futures[0].result(timeout=30)
    assert asked == ["a"]
    scoring.add(rollouts("bb"))
    assert [one.value for one in scoring.finish()] == [1.0, 2.0]
