"""Demonstrations into forward passes of a number of tokens: memory, never mathematics. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence


def best_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of sequences in bins of at most `budget` tokens, by Best-Fit Decreasing: longest first, each into the fullest bin that
    has room (Johnson 1974; what DeepSeek-R1 packs its batches with). For models whose forward pass computes no padding.

    A sequence longer than `budget` has a bin to itself.
    """
    bins: list[list[int]] = []
    rooms: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        fitting = [index for index, room in enumerate(rooms) if room >= lengths[place]]
        if fitting:
            chosen = min(fitting, key=rooms.__getitem__)
            bins[chosen].append(place)
            rooms[chosen] -= lengths[place]
        else:
            bins.append([place])
            rooms.append(budget - lengths[place])
    return bins


def padded_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of sequences in batches of at most `budget` tokens, padding counted: rows times the longest. Longest first, so that
    neighbours are of like length. For models whose forward pass computes the padding."""
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if room == 0:
            batches.append([])
            room = max(1, budget // lengths[place])  # rows as long as the first, which is the longest
        batches[-1].append(place)
        room -= 1
    return batches
