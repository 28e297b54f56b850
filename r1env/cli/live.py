"""What a training looks like while it runs: a live table on a terminal, a line now and then elsewhere.

Both are listeners of a `Run`; the bookkeeping under them (`Stages`, `StageProgress`) knows nothing of terminals.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r1env.runs.run import StepEvent

Clock = Callable[[], float]

COLUMNS: Mapping[str, tuple[str, str]] = {
    "reward": ("reward", ".3f"),
    "parts/": ("", ".3f"),  # stands for every part, under its own name
    "accuracy": ("accuracy", ".3f"),
    "eval/accuracy": ("eval", ".3f"),
    "length/mean": ("length", ".1f"),
    "kl": ("KL", ".4f"),
    "mixed_groups": ("mixed", ".0%"),
    "unscored": ("unscored", ".0f"),
    "loss": ("loss", ".4f"),
    "lr": ("lr", ".1e"),
    "tokens": ("tokens", ".0f"),
}
"""Metric → heading and format, in the order of the table. Only what a stage logs is shown."""

ROWS = 12  # steps shown at once: fits a small terminal with the progress bar
RATE_STEPS = 20  # steps that the speed is measured over
LOG_LINES = 20  # lines a stage, where there is no terminal


@dataclass(slots=True)
class StageProgress:
    """Where a stage is: its steps so far, its speed, the metrics it logs."""

    name: str
    total: int | None
    number: int
    of: int
    rows: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=ROWS))
    seen: dict[str, None] = field(default_factory=dict)
    times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=RATE_STEPS))
    evaluations: list[tuple[int, float]] = field(default_factory=list)

    @property
    def step(self) -> int:
        return int(self.rows[-1]["step"]) if self.rows else 0

    def add(self, event: StepEvent, now: float) -> None:
        """Take a logged step. Two events of one step (an evaluation and an update) share a row."""
        if not self.rows or self.rows[-1]["step"] != event.step:
            self.rows.append({"step": event.step})
        self.rows[-1].update(event.metrics)
        self.seen.update(dict.fromkeys(event.metrics))
        if (accuracy := event.metrics.get("eval/accuracy")) is not None:
            self.evaluations.append((event.step, accuracy))
        if not self.times or event.step > self.times[-1][0]:
            self.times.append((event.step, now))

    @property
    def steps_per_second(self) -> float | None:
        """Return the rate over the last steps; None before there are two."""
        if len(self.times) < 2:
            return None
        (first, begun), (last, ended) = self.times[0], self.times[-1]
        return (last - first) / (ended - begun) if ended > begun else None

    @property
    def seconds_left(self) -> float | None:
        rate = self.steps_per_second
        return None if rate is None or self.total is None else max(0, self.total - self.step) / rate

    def columns(self) -> list[tuple[str, str, str]]:
        """Return (metric, heading, format) for what this stage logs, in the order of `COLUMNS`."""
        found = []
        for metric, (heading, form) in COLUMNS.items():
            if metric.endswith("/"):
                found += [(name, name.removeprefix(metric), form) for name in self.seen if name.startswith(metric)]
            elif metric in self.seen:
                found.append((metric, heading, form))
        return found

    def heading(self) -> str:
        """Return a line such as `stage 2/2 rl: 120/250, 3.2 steps/s, 0:41 left`."""
        steps = f"{self.step}/{self.total}" if self.total else f"step {self.step}"
        rate, left = self.steps_per_second, self.seconds_left
        speed = "" if rate is None else f", {rate:.1f} steps/s"
        return f"stage {self.number}/{self.of} {self.name}: {steps}{speed}" + (
            "" if left is None else f", {duration(left)} left"
        )


class Stages:
    """The progress of whichever stage is running. `totals` has each stage's steps, None where its settings have none."""

    def __init__(self, totals: Mapping[str, int | None], clock: Clock = time.monotonic) -> None:
        self._totals = totals
        self._clock = clock
        self.current: StageProgress | None = None

    def add(self, event: StepEvent) -> StageProgress:
        if self.current is None or self.current.name != event.stage:
            names = list(self._totals)
            number = names.index(event.stage) + 1 if event.stage in names else len(names)
            self.current = StageProgress(event.stage, self._totals.get(event.stage), number, len(names))
        self.current.add(event, self._clock())
        return self.current


class LiveTable:
    """The live table. A context manager, to be subscribed to a run.

    Each step is rendered in the thread that logs it; the display's own thread only prints what it was given last.
    """

    def __init__(self, stages: Stages, console: Console) -> None:
        self._stages = stages
        self._live = Live(Text("starting …", "dim"), console=console, refresh_per_second=4)

    def __enter__(self) -> LiveTable:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: StepEvent) -> None:
        self._live.update(render(self._stages.add(event)))

    def tell(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(Text(text, "yellow"))


class PlainLog:
    """One line every so many steps, and for every evaluation."""

    def __init__(self, stages: Stages, stream: TextIO) -> None:
        self._stages = stages
        self._stream = stream

    def __enter__(self) -> PlainLog:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, event: StepEvent) -> None:
        progress = self._stages.add(event)
        every = max(1, (progress.total or LOG_LINES) // LOG_LINES)
        if event.step % every and event.step != progress.total and "eval/accuracy" not in event.metrics:
            return
        values = [
            f"{heading} {shown}"
            for metric, heading, form in progress.columns()
            if (shown := number(event.metrics.get(metric), form)) != MISSING
        ]
        print(f"{progress.heading()}  {'  '.join(values)}", file=self._stream, flush=True)

    def tell(self, text: str) -> None:
        """Print a line between the others."""
        print(text, file=self._stream, flush=True)


MISSING = "–"


def render(progress: StageProgress) -> RenderableType:
    """Return the table of the last steps, and a progress bar under it."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", justify="right")
    columns = progress.columns()
    for _, heading, _ in columns:
        table.add_column(Text(heading), justify="right")
    for row in progress.rows:
        table.add_row(str(int(row["step"])), *(number(row.get(metric), form) for metric, _, form in columns))
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=progress.total, completed=progress.step, width=30), Text(progress.heading()))
    return Group(table, line, *_evaluation_line(progress.evaluations))


def _evaluation_line(evaluations: Sequence[tuple[int, float]]) -> list[Text]:
    """Return the first evaluation and the last: what the training is for stays in sight when its row has scrolled away."""
    ends = [f"{number(accuracy, '.3f')} (step {step})" for step, accuracy in (*evaluations[:1], *evaluations[1:][-1:])]
    return [Text("eval accuracy " + " → ".join(ends))] if ends else []


def number(value: float | None, form: str) -> str:
    """Return a metric as a person reads it; a dash where there is none."""
    return MISSING if value is None or math.isnan(value) else format(value, form)


def speed(steps_per_second: float) -> str:
    """Return a rate as `3.2 steps/s`, or as `8.4 s/step` if a step takes longer than a second."""
    return f"{steps_per_second:.1f} steps/s" if steps_per_second >= 1 else f"{1 / steps_per_second:.1f} s/step"


def duration(seconds: float) -> str:
    """Return a duration as `0:41`, `12:05` or `3:20:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
