"""The reward `overlong`: DAPO's soft punishment of completions that come near the length limit."""

from __future__ import annotations

import r1env
from r1env_format.length import Unit, check_unit, length_of, unknown_length


@r1env.reward(name="overlong", isolation="inline")
class Overlong:
    """0 up to `max_length - buffer`, falling evenly to -1 at `max_length`, and -1 beyond.

    Equation 13 of DAPO (Yu et al., 2025, arXiv 2503.14476), with |y| the length, `L_max` = `max_length` and `L_cache` =
    `buffer`: 0 if |y| <= L_max - L_cache; ((L_max - L_cache) - |y|) / L_cache up to L_max; -1 above. The paper adds it to an
    accuracy of 1 or -1. The defaults are the paper's: 16,384 tokens expected, 4,096 more as the buffer.

    Args:
        max_length: the length limit of the sampling, in units.
        buffer: the last stretch before the limit, in which the punishment grows.
        unit: `tokens` as in the paper (which an engine reports; without them there is no value, rather than a guess), or
            `characters`.
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
        reason = f"{length} {self.unit}, of {self.max_length} allowed" if penalty else ""
        return r1env.Score(value=penalty, status=r1env.Status.WRONG if penalty else r1env.Status.OK, reason=reason)


def soft_overlong_punishment(length: int, max_length: int, buffer: int) -> float:
    """DAPO, equation 13; in [-1, 0]."""
    expected = max_length - buffer
    if length <= expected:
        return 0.0
    return (expected - length) / buffer if length <= max_length else -1.0
