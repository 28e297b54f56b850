"""Rewards for the length of a completion: `length`, a cosine, and `overlong`, DAPO's punishment near the limit."""

from __future__ import annotations

import math
from typing import Literal

import r1env

Unit = Literal["tokens", "characters"]


@r1env.reward(name="length", isolation="inline")
class Length:
    """Reward by length: `shortest` at length 0, along half a cosine to `longest` at `max_length`, and `exceeded` from there on.

    The curve is `CosFn` of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (Yeo et al., 2025, arXiv 2502.03373):
    `longest + (shortest - longest) * (1 + cos(pi * length / max_length)) / 2`. The paper uses different values for right and wrong
    answers. A reward of r1env does not know the other rewards, so this is one of the two curves. To reward longer thinking, as the paper
    does for wrong answers, set `shortest` below `longest`.

    A completion without a visible character earns `min(shortest, longest, exceeded)`; otherwise an empty one could earn the most.

    Args:
        max_length: length at which the curve ends, in units.
        shortest, longest, exceeded: values at length 0, just before `max_length`, and from there on.
        unit: `characters`, or `tokens`, which an engine reports; without token ids there is no value.
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
            value, reason = min(self.shortest, self.longest, self.exceeded), "the completion is empty"
        elif length >= self.max_length:
            value, reason = self.exceeded, f"{length} {self.unit} of {self.max_length} allowed"
        else:
            value, reason = cosine(length, self.max_length, self.shortest, self.longest), ""
        return r1env.Score(value=value, status=r1env.Status.OK if value > 0 else r1env.Status.WRONG, reason=reason)


@r1env.reward(name="overlong", isolation="inline")
class Overlong:
    """Return 0 up to `max_length - buffer`, falling linearly to -1 at `max_length`, and -1 beyond.

    Equation 13 of DAPO (Yu et al., 2025, arXiv 2503.14476), with |y| the length, `L_max` = `max_length` and `L_cache` =
    `buffer`: 0 if |y| <= L_max - L_cache; ((L_max - L_cache) - |y|) / L_cache up to L_max; -1 above. The paper adds it to an
    accuracy of 1 or -1. The defaults are the paper's: 16,384 tokens expected, and a buffer of 4,096 more.

    Args:
        max_length: the length limit of the sampling, in units.
        buffer: length of the range before the limit in which the punishment grows.
        unit: `tokens` as in the paper, which an engine reports; without token ids there is no value. Or `characters`.
    """

    def __init__(self, max_length: int = 20_480, buffer: int = 4_096, unit: Unit = "tokens") -> None:
        if not 0 < buffer <= max_length:
            raise r1env.UsageError(f"overlong: buffer is {buffer}; it must be from 1 to max_length, which is {max_length}")
        check_unit(unit)
        self.max_length, self.buffer, self.unit = max_length, buffer, unit

    def __call__(self, rollout: r1env.Rollout) -> r1env.Score:
        length = length_of(rollout, self.unit)
        if length is None:
            return unknown_length()
        penalty = soft_overlong_punishment(length, self.max_length, self.buffer)
        reason = f"{length} {self.unit} of {self.max_length} allowed" if penalty else ""
        return r1env.Score(value=penalty, status=r1env.Status.WRONG if penalty else r1env.Status.OK, reason=reason)


def soft_overlong_punishment(length: int, max_length: int, buffer: int) -> float:
    """Return the punishment of DAPO's equation 13, in [-1, 0]."""
    expected = max_length - buffer
    if length <= expected:
        return 0.0
    return (expected - length) / buffer if length <= max_length else -1.0


def cosine(t: float, period: float, start: float, end: float) -> float:
    """Return `start` at t = 0, `end` at t = period, and half a cosine between them.

    Example:
        >>> cosine(0, 100, 1.0, 0.0), round(cosine(50, 100, 1.0, 0.0), 9)
        (1.0, 0.5)
    """
    return end + (start - end) * (1 + math.cos(math.pi * t / period)) / 2


def length_of(rollout: r1env.Rollout, unit: Unit) -> int | None:
    """Return the length of the completion, or None if it is not known."""
    if unit == "characters":
        return len(rollout.completion)
    return None if rollout.token_ids is None else len(rollout.token_ids)


def unknown_length() -> r1env.Score:
    """Return the score of a rollout without token ids when tokens are to be counted."""
    reason = "the rollout has no token ids, so its length in tokens is not known; the option unit=characters needs none"
    return r1env.Score(value=None, status=r1env.Status.NO_ANSWER, reason=reason)


def check_unit(unit: str) -> None:
    """Check the option `unit`.

    Raises:
        UsageError: there is no such unit.
    """
    if unit not in ("tokens", "characters"):
        raise r1env.UsageError(f"unknown unit {unit!r}; known: tokens, characters")
