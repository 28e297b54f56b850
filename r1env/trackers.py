"""What a tracker plugin is. Its spec (`r1env.hooks.TrackerSpec`) names a callable `(run: Run) -> Tracker`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from r1env.errors import UsageError
from r1env.hooks import TrackerSpec
from r1env.importing import import_target
from r1env.plugins import Plugins
from r1env.runs.files import replace_text
from r1env.runs.run import ROLLOUTS, RolloutsEvent, Run, StepEvent

TABLE = ("kind", "task_id", "sample", "reward", "advantage", "status", "reason", "question", "completion", "answer")
"""The columns of a tracker's tables."""

TABLE_ROWS = 16
TABLE_SECONDS = (
    60.0  # between two tables of one stage and kind: a tracker keeps each of them, whereas the run has all rollouts anyway
)
LONGEST_CELL = 10_000  # characters

TableRow = Mapping[str, str | int | float | None]


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

    def log_rollouts(self, stage: str, step: int, time: float, rows: Sequence[TableRow]) -> None:
        """Show a table of rollouts. A tracker may lack this method, and then shows metrics alone.

        Args:
            rows: the first rollouts of a step, at most `TABLE_ROWS`, with the columns of `TABLE`.
        """

    def flush(self) -> None:
        """Give what was logged to the disk or the network. Called whenever the queue is empty."""

    def close(self) -> None:
        """Finish, because the run has ended or been interrupted."""


# `Follower`: hands the metrics of a run to a tracker, in a thread of its own. A tracker that fails or hangs costs itself only.


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
        self._tabled: dict[tuple[str, str], float] = {}  # (stage, kind) → when its last table was queued
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

    def take_rollouts(self, event: RolloutsEvent) -> None:
        """Queue a table of a step's rollouts, unless the last one was less than `TABLE_SECONDS` ago."""
        place, now = (event.stage, event.rows[0].kind if event.rows else ""), time.time()
        if event.rows and now - self._tabled.get(place, -math.inf) >= TABLE_SECONDS:
            self._tabled[place] = now
            table = [{name: _cell(getattr(row, name)) for name in TABLE} for row in event.rows[:TABLE_ROWS]]
            self._put({"stage": event.stage, "step": event.step, "time": now, f"rollouts/{place[1]}": 1.0, ROLLOUTS: table})

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
        except Exception as error:  # noqa: BLE001 - a third-party tracker may raise anything: named once, and the run goes on
            self._give_up(f"{type(error).__name__}: {error}")

    def _batches(self) -> Iterator[list[Row]]:
        """Send what is in the queue until the run is over."""
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
            if ROLLOUTS not in row:
                tracker.log(row["stage"], row["step"], row["time"], metrics)
            elif hasattr(tracker, "log_rollouts"):
                tracker.log_rollouts(row["stage"], row["step"], row["time"], row[ROLLOUTS])
        tracker.flush()

    def _give_up(self, reason: str) -> None:
        if not self._given_up.is_set():
            self._given_up.set()
            self._warn(
                f"the tracker {self._name!r} is left out from here on: {' '.join(reason.split())[:300]} (the run goes on, metrics.jsonl has everything)"
            )


def _cell(value: object) -> str | int | float | None:
    return value[:LONGEST_CELL] if isinstance(value, str) else cast(int | float | None, value)


@contextmanager
def followed(run: Run, names: Sequence[str], plugins: Plugins, warn: Warn) -> Iterator[None]:
    """Send the run's metrics to these trackers, and to those that followed it before it was resumed, while the context lasts.

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
            follower = stack.enter_context(Follower(run, name, make, warn))
            run.subscribe(follower)
            run.subscribe_to_rollouts(follower.take_rollouts)
        yield


def find_tracker(name: str, plugins: Plugins) -> Callable[[Run], Tracker]:
    """Return the function that starts the tracker of that name.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    spec = plugins.find(TrackerSpec, name)
    if spec.module and find_spec(spec.module) is None:
        raise UsageError(f"tracking with {spec.name} needs {spec.module}: pip install {spec.install or spec.module}")
    return cast(Callable[[Run], Tracker], import_target(spec.target))


def trackers_of(run_path: Path) -> list[str]:
    """Return the names of the trackers that have followed a run."""
    return sorted(path.stem for path in (run_path / FOLDER).glob("*.json"))


# `Delivered`: which values a tracker was given. It lies in the run's folder, so that going on repeats none.


class Delivered:
    """The last step of every metric of every stage that a tracker has.

    A resumed run tells the steps since its last checkpoint again, and a tracker cannot forget those that it has: they are left out.
    """

    def __init__(self, path: Path) -> None:
        """Args:
        path: where it is kept; nothing was delivered where there is no file, or a damaged one.
        """
        self._path = path
        self._steps: dict[str, dict[str, int]] = {}
        if path.exists():
            try:
                self._steps = json.loads(path.read_text("utf-8"))
            except ValueError:
                self._steps = {}

    def take(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return the finite metrics of a logged row that the tracker does not have yet, and count them as sent."""
        stage, step = row["stage"], row["step"]
        steps = self._steps.setdefault(stage, {})
        new = {
            name: float(value)
            for name, value in row.items()
            if name not in ("stage", "step", "time", ROLLOUTS)
            and value is not None
            and math.isfinite(value)
            and step > steps.get(name, -1)
        }
        steps.update(dict.fromkeys(new, step))
        return new

    def save(self) -> None:
        """Keep it, atomically. Called before the values are handed over: a crash between may lose a step, never double one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(self._path, json.dumps(self._steps))


# The tracker `tensorboard`: event files in the run's folder; `tensorboard --logdir runs` shows them, all runs together.


class TensorBoard:
    """Scalars `STAGE/METRIC` over the steps of their stage. Each start of a run writes a file of its own; TensorBoard joins them."""

    def __init__(self, run: Run) -> None:
        from tensorboard.summary import Writer  # here, because it is an extra; needs neither torch nor tensorflow
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = str(run.path / FOLDER / "tensorboard")
        self._writer = Writer(folder)
        self._texts = EventFileWriter(folder, filename_suffix=".text")  # `Writer` has scalars only

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step, wall_time=time)

    def log_rollouts(self, stage: str, step: int, time: float, rows: Sequence[TableRow]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.text.summary_v2 import text_pb

        text = "\n\n".join(map(_as_markdown, rows))
        summary = text_pb(f"{stage}/rollouts/{rows[0]['kind']}", text)
        self._texts.add_event(Event(wall_time=time, step=step, summary=summary))

    def flush(self) -> None:
        self._writer.flush()
        self._texts.flush()

    def close(self) -> None:
        self._writer.close()
        self._texts.close()


def _as_markdown(row: TableRow) -> str:
    """Return a rollout as TensorBoard's text tab shows it. The texts are indented, which makes them code: nothing in them is markup."""
    facts = ", ".join(f"{name} {row[name]}" for name in ("reward", "advantage", "status") if row[name] is not None)
    texts = (f"{name}:\n{row[name]}" for name in ("question", "completion", "answer", "reason") if row[name])
    indented = "\n".join("    " + line for line in "\n".join(texts).splitlines())
    return f"**{facts or 'no score'}**\n\n{indented}"


# The tracker `wandb`: Weights & Biases, online or (`WANDB_MODE=offline`) in the run's folder until `wandb sync`.


class WandB:
    """Metrics `STAGE/METRIC`, each stage over a step of its own: a run's step at W&B only rises, and a stage's begins again.

    The project is `WANDB_PROJECT`, or r1env; the other variables of W&B do what its manual says.
    """

    def __init__(self, run: Run) -> None:
        import wandb  # here, because it is an extra

        folder = run.path / FOLDER / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        self._stages: set[str] = set()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "r1env"),
            name=run.path.name,
            id=identity(run),
            resume="allow",
            dir=str(folder),
            config=run.plan,
            settings=wandb.Settings(console="off"),  # the live table is no log
        )

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        at = f"{stage}/step"
        if stage not in self._stages:
            self._stages.add(stage)
            self._run.define_metric(at, hidden=True)
            self._run.define_metric(f"{stage}/*", step_metric=at)
        self._run.log({at: step, **{f"{stage}/{name}": value for name, value in metrics.items()}})

    def log_rollouts(self, stage: str, step: int, time: float, rows: Sequence[TableRow]) -> None:
        import wandb

        table = wandb.Table(columns=list(TABLE), data=[[row[name] for name in TABLE] for row in rows], allow_mixed_types=True)
        self._run.log({f"{stage}/step": step, f"{stage}/rollouts/{rows[0]['kind']}": table})

    def flush(self) -> None:
        """Do nothing: W&B's own process sends what it has."""

    def close(self) -> None:
        self._run.finish()


def identity(run: Run) -> str:
    """Return an id that is the same for every start of one run, so that W&B continues its curves."""
    manifest = run.manifest
    facts = json.dumps([manifest["started"], manifest["seed"], manifest["command"]])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


# The tracker `trackio`: a local dashboard with W&B's interface; `trackio show --project r1env` opens it.


class Trackio:
    """Metrics `STAGE/METRIC` over the steps of their stage. Where they are kept is Trackio's to say (`TRACKIO_DIR`)."""

    def __init__(self, run: Run) -> None:
        import trackio  # here, because it is an extra

        with redirect_stdout(sys.stderr):  # it greets on stdout, which may be somebody's JSON
            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", "r1env"),
                name=f"{run.path.name}-{identity(run)[:6]}",
                resume="allow",
                config=run.plan,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        self._run.log({f"{stage}/{name}": value for name, value in metrics.items()}, step=step)

    def log_rollouts(self, stage: str, step: int, time: float, rows: Sequence[TableRow]) -> None:
        import trackio

        table = trackio.Table(columns=list(TABLE), data=[[row[name] for name in TABLE] for row in rows], allow_mixed_types=True)
        self._run.log({f"{stage}/rollouts/{rows[0]['kind']}": table}, step=step)

    def flush(self) -> None:
        """Do nothing: Trackio's own thread writes what it has."""

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()
