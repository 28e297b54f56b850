"""Learning rates as pure functions of the step, so that resuming needs no state."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate(step: int, *, peak: float, warmup: int, total: int, schedule: Schedule, floor: float = 0.0) -> float:
    """The rate of update `step` (from 0): linear warm-up over `warmup` updates, then constant, or down to `floor * peak`.

    The first update already moves (rate `peak / warmup`), and the last of `total` updates is at the floor.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    progress = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
    shape = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (floor + (1 - floor) * shape)
