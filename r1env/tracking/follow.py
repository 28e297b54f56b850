"""`Follower`: hands the metrics of a run to a tracker, in a thread of its own. A tracker that fails or hangs costs itself only."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from r1env.errors import UsageError
from r1env.hookspecs import TrackerSpec
from r1env.plugins import Plugins, import_target
from r1env.runs.run import Run, StepEvent
from r1env.tracking.delivered import Delivered
from r1env.tracking.tracker import Tracker

FOLDER = "tracking"  # in the run's folder
LONGEST_QUEUE = 10_000  # rows: hours of steps; a tracker that is further behind is given up
PATIENCE = 30.0  # seconds that the end of a run waits for a tracker

Row = Mapping[str, Any]
Warn = Callable[[str], None]


class Follower:
    """A listener of a run; a context manager, so that the tracker gets the last steps.

    What the run has logged before is handed over first, if the tracker does not have it: a tracker may join a run that is resumed.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        make: Callable[[Run], Tracker],
        warn: Warn,
        *,
        queue_size: int = LONGEST_QUEUE,
        patience: float = PATIENCE,
    ) -> None:
        """
        Args:
            name: of the tracker.
            make: starts it; called in the thread.
            warn: told once, in one line, if it fails.
        """
        self._run, self._name, self._make, self._warn, self._patience = run, name, make, warn, patience
        self._delivered = Delivered(run.path / FOLDER / f"{name}.json")
        self._rows: queue.Queue[Row | None] = queue.Queue(queue_size)
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(run.metrics(),), name=f"tracker-{name}", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._give_up(f"it did not finish within {self._patience:.0f} s")

    def __call__(self, event: StepEvent) -> None:
        self._put({**event.metrics, "stage": event.stage, "step": event.step, "time": time.time()})

    def _put(self, row: Row | None) -> None:
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            self._give_up(f"it is {self._rows.maxsize} steps behind")

    def _work(self, logged: Iterable[Row]) -> None:
        try:
            tracker = self._make(self._run)
            self._hand_over(tracker, logged)
            for rows in self._batches():
                self._hand_over(tracker, rows)
            tracker.close()
        except Exception as error:  # noqa: BLE001 - a stranger's tracker may raise anything: named once, and the run goes on
            self._give_up(f"{type(error).__name__}: {error}")

    def _batches(self) -> Iterator[list[Row]]:
        """What is in the queue, again and again until the run is over."""
        while not self._given_up.is_set():
            rows = [self._rows.get()]
            while not self._rows.empty():
                rows.append(self._rows.get())
            yield [row for row in rows if row is not None]
            if None in rows:
                return

    def _hand_over(self, tracker: Tracker, rows: Iterable[Row]) -> None:
        new = [(row, metrics) for row in rows if (metrics := self._delivered.take(row))]
        if not new:
            return
        self._delivered.save()
        for row, metrics in new:
            tracker.log(row["stage"], row["step"], row["time"], metrics)
        tracker.flush()

    def _give_up(self, reason: str) -> None:
        if not self._given_up.is_set():
            self._given_up.set()
            self._warn(
                f"the tracker {self._name!r} is left out from here on: {' '.join(reason.split())[:300]} (the run goes on, metrics.jsonl has everything)"
            )


@contextmanager
def followed(run: Run, names: Sequence[str], plugins: Plugins, warn: Warn) -> Iterator[None]:
    """While it lasts, the run's metrics go to these trackers, and to those that followed the run before it was resumed.

    Raises:
        UsageError: an unknown tracker, or one whose package is not installed.
    """
    makers = {name: find_tracker(name, plugins) for name in names}
    for name in trackers_of(run.path):
        try:
            makers.setdefault(name, find_tracker(name, plugins))
        except UsageError as error:  # nobody asked for it this time
            warn(f"the run goes on without its tracker: {error}")
    with ExitStack() as stack:
        for name, make in makers.items():
            run.subscribe(stack.enter_context(Follower(run, name, make, warn)))
        yield


def find_tracker(name: str, plugins: Plugins) -> Callable[[Run], Tracker]:
    """What starts the tracker of that name.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    spec = plugins.find("trackers", name, TrackerSpec)
    if spec.module and find_spec(spec.module) is None:
        raise UsageError(f"tracking with {spec.name} needs {spec.module}: pip install {spec.install or spec.module}")
    return import_target(spec.target)


def trackers_of(run_path: Path) -> list[str]:
    """Names of the trackers that have followed a run."""
    return sorted(path.stem for path in (run_path / FOLDER).glob("*.json"))
