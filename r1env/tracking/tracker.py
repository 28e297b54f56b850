"""What a tracker plugin is. Its spec (`r1env.hookspecs.TrackerSpec`) names a callable `(run: Run) -> Tracker`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """A place to show metrics. All its methods are called in one thread of their own, the factory included.

    Any of them may raise: the run warns once and goes on without this tracker. They may be slow too, as far as the queue before
    them reaches.
    """

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        """Show what was logged at a step.

        Args:
            step: of the stage. The same step may come more than once, with other metrics.
            time: when it was logged, in seconds since 1970.
            metrics: finite numbers by name, `group/name`; never empty.
        """

    def flush(self) -> None:
        """Give what was logged to the disk or the network. Called whenever the queue is empty."""

    def close(self) -> None:
        """The run is over, or stops for now."""
