"""Half-open intervals [start, end) of whole numbers."""

from __future__ import annotations

Interval = tuple[int, int]


def merged(intervals: list[Interval]) -> list[Interval]:
    """The same numbers in as few intervals as there can be, in order. Intervals that touch become one; empty ones go."""
    result: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def free(intervals: list[Interval], start: int, end: int) -> list[Interval]:
    """The numbers of [start, end) that no interval holds."""
    gaps: list[Interval] = []
    busy = merged(intervals)
    for (_, earlier), (later, _) in zip(busy, [*busy[1:], (end, end)], strict=True):
        gap = (max(earlier, start), min(later, end))
        if gap[0] < gap[1]:
            gaps.append(gap)
    return gaps
