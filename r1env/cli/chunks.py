"""Lines in, scored rows out, a bounded number at a time. The same on this machine and on a node of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from r1env.cli.rows import MalformedRowError, malformed_result, parse_row, scored_result
from r1env.rewards import Reward
from r1env.rollouts import Rollout
from r1env.rubrics import Rubric
from r1env.scores import Score
from r1env.scoring import ScoringPool, score

CHUNK_LINES = 512  # scored in one call: enough to keep the workers busy
CHUNK_BYTES = 8 << 20  # … unless the lines are long: bounds the memory whatever the file

Chunk = Sequence[tuple[int, bytes]]
"""Numbered lines, the first of the input is 1."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of a chunk.

    Attributes:
        rows: one a line, in order.
        malformed: lines that could not be read.
        unscored: the statuses of rollouts without a value.
        size: of the lines, in bytes.
    """

    rows: list[dict[str, Any]]
    malformed: int
    unscored: Counter[str]
    size: int


def chunks(lines: Iterable[bytes]) -> Iterator[Chunk]:
    """Numbered lines, gathered until there are enough of them or of their bytes."""
    chunk: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        chunk.append((number, line))
        size += len(line)
        if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def score_chunk(chunk: Chunk, scorer: Reward | Rubric, pool: ScoringPool | None = None) -> Scored:
    """Score every line that can be read.

    Args:
        pool: see `score`.
    """
    parsed = [_parsed(number, line) for number, line in chunk]
    good = [item[1] for item in parsed if not isinstance(item, MalformedRowError)]
    scores = iter(score(good, scorer, pool=pool))
    rows: list[dict[str, Any]] = []
    unscored: Counter[str] = Counter()
    for item in parsed:
        if isinstance(item, MalformedRowError):
            rows.append(malformed_result(item))
            continue
        result: Score = next(scores)
        rows.append(scored_result(item[0], result))
        if result.value is None:
            unscored[result.status] += 1
    return Scored(rows, len(parsed) - len(good), unscored, sum(len(line) for _, line in chunk))


def _parsed(number: int, line: bytes) -> tuple[str | int | None, Rollout] | MalformedRowError:
    try:
        return parse_row(line, number)
    except MalformedRowError as error:
        return error
