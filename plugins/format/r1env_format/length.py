"""The reward `length`: shorter pays more, along a cosine."""

from __future__ import annotations

import math
from typing import Literal

import r1env

Unit = Literal["tokens", "characters"]


@r1env.reward(name="length", isolation="inline")
class Length:
    """From `shortest` at length 0 along half a cosine to `longest` at `max_length`; `exceeded` from there on.

    The curve is `CosFn` of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (Yeo et al., 2025, arXiv 2502.03373):
    `longest + (shortest - longest) * (1 + cos(pi * length / max_length)) / 2`. The paper takes one pair of ends for right
    answers and another for wrong ones; a reward of r1env knows nothing of the other rewards, so this is one of the two curves.
    For wrong answers, where thinking longer should pay, give `shortest` below `longest`.

    A completion with nothing to see in it earns `min(shortest, longest, exceeded)`, or saying nothing would pay best.

    Args:
        max_length: where the curve ends, in units.
        shortest, longest, exceeded: values at length 0, just before `max_length`, and from there on.
        unit: `characters`, or `tokens` (which an engine reports; without them there is no value).
    """

    def __init__(
        self,
        max_length: int = 16_384,
        shortest: float = 1.0,
        longest: float = 0.0,
        exceeded: float = 0.0,
        unit: Unit = "characters",
    ) -> None:
        if max_length < 1:
            raise r1env.UsageError(f"length: max_length is {max_length}; it must be 1 or more")
        if not all(map(math.isfinite, (shortest, longest, exceeded))):
            raise r1env.UsageError("length: shortest, longest and exceeded must be finite")
        check_unit(unit)
        self.max_length, self.unit = max_length, unit
        self.shortest, self.longest, self.exceeded = shortest, longest, exceeded

    def __call__(self, rollout: r1env.Rollout) -> r1env.Score:
        length = length_of(rollout, self.unit)
        if length is None:
            return unknown_length()
        if not rollout.completion.strip():
            value, reason = min(self.shortest, self.longest, self.exceeded), "there is nothing there"
        elif length >= self.max_length:
            value, reason = self.exceeded, f"{length} {self.unit}, of {self.max_length} allowed"
        else:
            value, reason = cosine(length, self.max_length, self.shortest, self.longest), ""
        return r1env.Score(value=value, status=r1env.Status.OK if value > 0 else r1env.Status.WRONG, reason=reason)


def cosine(t: float, period: float, start: float, end: float) -> float:
    """`start` at t = 0, `end` at t = period, half a cosine between."""
    return end + (start - end) * (1 + math.cos(math.pi * t / period)) / 2


def length_of(rollout: r1env.Rollout, unit: Unit) -> int | None:
    """How long the completion is, or None where that is not known."""
    if unit == "characters":
        return len(rollout.completion)
    return None if rollout.token_ids is None else len(rollout.token_ids)


def unknown_length() -> r1env.Score:
    """The score of a rollout without token ids, where tokens are to be counted."""
    reason = "the rollout has no token ids, so its length in tokens is not known; the option unit=characters needs none"
    return r1env.Score(value=None, status=r1env.Status.NO_ANSWER, reason=reason)


def check_unit(unit: str) -> None:
    """
    Raises:
        UsageError: there is no such unit.
    """
    if unit not in ("tokens", "characters"):
        raise r1env.UsageError(f"unknown unit {unit!r}; known: tokens, characters")
