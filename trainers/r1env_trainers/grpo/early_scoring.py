"""Scoring episodes as they end: what their rewards have workers for runs beside the decoding of the others."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from r1env.rubrics import Rubric
from r1env.scoring import Scoring
from r1env.types import Score
from r1env_trainers.grpo.episodes import Trajectory

PARTS = 16
"""Episodes are handed over when this part of all has ended: a call for each would cost more than it saves."""


class EarlyScoring:
    """The scores of a batch of episodes, each by its own environment's rubric. A context: what nobody waits for is stopped.

    Args:
        episodes: how many there will be.
    """

    def __init__(self, episodes: int) -> None:
        self._enough = max(1, episodes // PARTS)
        self._waiting: list[Trajectory] = []
        self._scorings: dict[int, Scoring] = {}  # by the identity of the rubric
        self._added: dict[int, list[Trajectory]] = {}

    def add(self, done: Sequence[Trajectory]) -> None:
        """Begin to score episodes that are over."""
        self._waiting += done
        if len(self._waiting) >= self._enough:
            self._hand_over()

    def finish(self, trajectories: Sequence[Trajectory]) -> list[Score]:
        """Wait for the scores of all episodes that were added, in the order of `trajectories`."""
        self._hand_over()
        scores: dict[int, Score] = {}
        for key, scoring in self._scorings.items():
            scores |= zip(map(id, self._added[key]), scoring.finish(), strict=True)
        return [scores[id(trajectory)] for trajectory in trajectories]

    def __enter__(self) -> EarlyScoring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            for scoring in self._scorings.values():
                scoring.cancel()

    def _hand_over(self) -> None:
        by_rubric: dict[int, tuple[Rubric, list[Trajectory]]] = {}
        for trajectory in self._waiting:
            rubric = trajectory.environment.rubric
            by_rubric.setdefault(id(rubric), (rubric, []))[1].append(trajectory)
        self._waiting = []
        for key, (rubric, members) in by_rubric.items():
            if key not in self._scorings:
                self._scorings[key], self._added[key] = Scoring(rubric), []
            self._scorings[key].add([member.episode.rollout() for member in members])
            self._added[key] += members
