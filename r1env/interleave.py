"""Several endless streams as one, mixed by weight. Depends on nothing but the position, so that resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples modulo 1 fill the unit interval evenly at every length (H. Weyl, 1916), so shares hold over any stretch."""


class Interleaving:
    """Which stream stands at a position, and how many of its items stand before. Weights are positive, relative to each other."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._bounds = np.cumsum(weights) / math.fsum(weights)
        self._bounds[-1] = 1.0
        self._members = np.zeros(0, dtype=np.int64)
        self._places = np.zeros(0, dtype=np.int64)

    def at(self, position: int) -> tuple[int, int]:
        """(stream, its item) at a position. Of any stretch every stream has its share, to within an item or two."""
        if position >= len(self._members):
            count = 1 << max(10, position.bit_length())
            offsets = (np.arange(count) + 0.5) * GOLDEN % 1.0
            self._members = np.searchsorted(self._bounds, offsets, side="right")
            self._places = np.zeros(count, dtype=np.int64)
            for member in range(len(self._bounds)):
                mine = self._members == member
                self._places[mine] = np.arange(mine.sum())
        return int(self._members[position]), int(self._places[position])
