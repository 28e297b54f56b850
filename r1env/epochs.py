"""The order in which finite data are walked, epoch by epoch. A pure function, so that resuming needs no state."""

from __future__ import annotations

import functools

import numpy as np


def shuffled_index(position: int, size: int, seed: int) -> int:
    """Which of `size` items stands at `position`: every epoch goes through all of them, in a random order of its own."""
    epoch, offset = divmod(position, size)
    return int(_epoch_order(size, epoch, seed)[offset])


@functools.lru_cache(maxsize=4)
def _epoch_order(size: int, epoch: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng([seed, epoch]).permutation(size)
