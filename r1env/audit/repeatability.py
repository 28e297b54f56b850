"""Does a reward say the same of the same completion: again, in another process, in another order, in other company?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from r1env.audit.bounded import BoundedScorer
from r1env.types import Rollout, Score

MAX_PROBES = 24
"""Completions that are scored over and over: enough to fill batches, few enough to score each alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """A completion that was scored in two ways."""

    rollout: Rollout
    first: Score
    then: Score
    circumstance: str


def changes(scorer: BoundedScorer, rollouts: Sequence[Rollout]) -> Iterator[Change]:
    """The changes under the first circumstance that brings any; one cause shows under several, and is told once."""
    probes = list(rollouts[:: max(1, -(-len(rollouts) // MAX_PROBES))])
    alone = _alone(scorer, probes)
    yield from (found := list(_differences(probes, alone, _alone(scorer, probes), "scored again")))
    if found:
        return
    forward = scorer.score(probes, together=True)
    yield from (found := list(_differences(probes, alone, forward, "scored together with others")))
    if found:
        return
    backward = scorer.score(probes[::-1], together=True)[::-1]
    yield from (found := list(_differences(probes, forward, backward, "scored in the reverse order")))
    if found:
        return
    scorer.restart()
    yield from _differences(probes, alone, _alone(scorer, probes), "scored in another process")


def _alone(scorer: BoundedScorer, probes: Sequence[Rollout]) -> list[Score | None]:
    return [scorer.score([probe])[0] for probe in probes]


def _differences(
    probes: Sequence[Rollout], before: Sequence[Score | None], after: Sequence[Score | None], circumstance: str
) -> Iterator[Change]:
    for probe, first, then in zip(probes, before, after, strict=True):
        if first is not None and then is not None and first != then:
            yield Change(probe, first, then, circumstance)
