"""`Curves`: the logged metrics of one stage, as the rules read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

Point = tuple[int, float]  # (step, value)


class Curves:
    """The values of every metric over the steps of a stage. Values that are not finite are left out."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Args:
        rows: of `Run.metrics(stage)`.
        """
        self._points: dict[str, list[Point]] = {}
        self.step = 0
        for row in rows:
            self.add(row["step"], {name: value for name, value in row.items() if name not in ("stage", "step", "time")})

    def add(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Take one logged step."""
        self.step = step
        for name, value in metrics.items():
            if value is not None and math.isfinite(value):
                self._points.setdefault(name, []).append((step, value))

    def names(self, prefix: str = "") -> list[str]:
        """Metrics that have a value and begin with `prefix`, in the order of their first value."""
        return [name for name in self._points if name.startswith(prefix)]

    def points(self, name: str) -> list[Point]:
        """Every (step, value) of a metric, in order."""
        return self._points.get(name, [])

    def first(self, name: str, count: int) -> list[float]:
        """Its first values."""
        return [value for _, value in self.points(name)[:count]]

    def last(self, name: str, count: int) -> list[float]:
        """Its last values."""
        return [value for _, value in self.points(name)[-count:]]

    def around(self, name: str, step: int, count: int) -> list[float]:
        """The `count` values up to a step; of a step before them all, the first ones."""
        points = self.points(name)
        until = [value for at, value in points if at <= step]
        return until[-count:] if len(until) >= count else self.first(name, count)
