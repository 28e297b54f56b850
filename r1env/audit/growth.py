"""Does a reward's CPU time grow faster than the text? Texts are doubled until the time tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from r1env.audit.bounded import BoundedScorer
from r1env.audit.subjects import Wrapping
from r1env.types import Rollout, Status, Task

PATTERNS = ("a", "7", " ", "word ", "1+", "{", "(", "<", "\\", "<think>", "<answer>1</answer>", "\\boxed{", "\\boxed{1}", "\n")
"""What texts are made of: letters, digits, spaces, brackets, tags, boxes. Each provokes another careless loop or pattern."""

SMALLEST, LARGEST = 4_000, 1_000_000  # characters
TELLING_SECONDS = 0.1  # below, growth hurts nobody, and the clock is too coarse
RATIO = 3.0
"""Of the times of a text and of one twice as long: 2 is linear, 4 quadratic. Two doublings in a row must reach it."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A text over which the time explodes. `seconds` are for `length // 4`, `length // 2` and `length` characters."""

    rollout: Rollout
    seconds: tuple[float, float, float]

    def __str__(self) -> str:
        half, quarter = len(self.rollout.completion) // 2, len(self.rollout.completion) // 4
        first, second, third = self.seconds
        return (
            f"{first:.2g} s for {quarter:,} characters, {second:.2g} s for {half:,}, {third:.2g} s for twice that: "
            "more than linear"
        )


def explosions(scorer: BoundedScorer, task: Task, paying: Sequence[Wrapping]) -> Iterator[Growth | Rollout]:
    """The texts over which time grows faster than they do; a `Rollout` where it hung before that could be seen."""
    for wrap in (None, *paying[:1]):
        for pattern in PATTERNS:
            found = _measure(scorer, task, pattern, wrap)
            if found is not None:
                yield found


def _measure(scorer: BoundedScorer, task: Task, pattern: str, wrap: Wrapping | None) -> Growth | Rollout | None:
    times: list[float] = []
    size = SMALLEST
    while size <= LARGEST:
        text = pattern * (size // len(pattern))
        rollout = Rollout(task=task, completion=wrap(text) if wrap else text)
        (score,) = scorer.score([rollout])
        if score is None:
            return None
        if score.status is Status.TIMEOUT:
            return rollout
        times.append(score.seconds)
        if is_explosive(times):
            return Growth(rollout, (times[-3], times[-2], times[-1]))
        size *= 2
    return None


def is_explosive(seconds: Sequence[float]) -> bool:
    """True when the last two doublings each took `RATIO` times as long as the one before, and the last long enough to tell."""
    if len(seconds) < 3 or seconds[-1] < TELLING_SECONDS:
        return False
    first, second, third = seconds[-3:]
    return first > 0 and second >= RATIO * first and third >= RATIO * second
