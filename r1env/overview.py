"""Which runs and evaluations there are, and their best numbers: for `r1env runs` and the page of r1env-view."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1env.errors import RunError
from r1env.evaluation.run import SUMMARY, EvaluationRun, is_evaluation
from r1env.runs.run import METRICS, STATE, Run

DEPTH = 2  # folders below the one that is named: `runs/`, `runs/experiment/`
SILENT = 120.0  # seconds without a new line after which an unfinished run is taken to be stopped


@dataclass(frozen=True, slots=True)
class Overview:
    """A run or an evaluation in a few numbers; None where it has no such number.

    Attributes:
        kind: `run` or `evaluation`.
        state: `finished`, `running` (it has written something lately) or `stopped`.
        stage, step: the newest.
        started: seconds since 1970.
        reward: the last step's.
        accuracy_first, accuracy_best, accuracy_last: held-out accuracy of the stage that measured it last; of an evaluation, all the same.
        alerts: number of the monitor's alerts.
    """

    path: Path
    kind: str
    state: str
    started: float
    stage: str = ""
    step: int | None = None
    reward: float | None = None
    accuracy_first: float | None = None
    accuracy_best: float | None = None
    accuracy_last: float | None = None
    alerts: int = 0


def find_folders(places: Iterable[Path], depth: int = DEPTH) -> list[Path]:
    """Return the runs and evaluations among some folders and below them, the newest last."""
    found: dict[Path, float] = {}
    for place in places:
        if is_run(place) or is_evaluation(place):
            found[place] = place.stat().st_ctime
        elif depth > 0 and place.is_dir():
            below = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
            found |= {path: path.stat().st_ctime for path in find_folders(below, depth - 1)}
    return sorted(found, key=lambda path: found[path])


def is_run(path: Path) -> bool:
    """Return whether a folder holds a run."""
    return (path / STATE).is_file()


@dataclass(slots=True)
class Numbers:
    """What an overview says of the metrics and events of a run. It grows with them, so that nobody has to read a long log twice."""

    stage: str = ""
    step: int | None = None
    reward: float | None = None
    measured_stage: str = ""  # the stage that measured held-out accuracy last
    accuracy_first: float | None = None
    accuracy_best: float | None = None
    accuracy_last: float | None = None
    alerts: int = 0

    def add(self, rows: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> None:
        """Take in the next rows of `metrics.jsonl` and of `events.jsonl`."""
        for row in rows:
            self.stage, self.step = row["stage"], row["step"]
            if row.get("reward") is not None:
                self.reward = row["reward"]
            accuracy = row.get("eval/accuracy")
            if accuracy is None:
                continue
            if self.accuracy_last is None or self.accuracy_best is None or row["stage"] != self.measured_stage:
                self.measured_stage, self.accuracy_first, self.accuracy_best = row["stage"], accuracy, accuracy
            self.accuracy_best, self.accuracy_last = max(self.accuracy_best, accuracy), accuracy
        self.alerts += sum(event["kind"] == "alert" for event in events)


def overview(path: Path, numbers: Numbers | None = None) -> Overview:
    """Return the numbers of a run or an evaluation.

    Args:
        numbers: of a run, if its logs have been read already.

    Raises:
        RunError: it cannot be read.
    """
    return _of_evaluation(EvaluationRun.open(path)) if is_evaluation(path) else _of_run(Run.open(path), numbers)


def _of_run(run: Run, numbers: Numbers | None) -> Overview:
    if numbers is None:
        numbers = Numbers()
        numbers.add(run.metrics(), run.events())
    finished = len(run.finished_stages()) >= len(run.plan.get("stages", ()))
    return Overview(
        path=run.path,
        kind="run",
        state="finished" if finished else _unfinished(run.path / METRICS),
        started=run.manifest["started"],
        stage=numbers.stage,
        step=numbers.step,
        reward=numbers.reward,
        accuracy_first=numbers.accuracy_first,
        accuracy_best=numbers.accuracy_best,
        accuracy_last=numbers.accuracy_last,
        alerts=numbers.alerts,
    )


def _of_evaluation(run: EvaluationRun) -> Overview:
    accuracy = None
    if run.complete:
        try:
            found = json.loads((run.path / SUMMARY).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {run.path / SUMMARY}: {error}") from error
        scored = [one["accuracy"] for one in found if one["accuracy"] is not None]
        accuracy = max(scored, default=None)  # of several models, the best
    return Overview(
        path=run.path,
        kind="evaluation",
        state="finished" if run.complete else _unfinished(run.path / "rows.jsonl"),
        started=run.manifest["started"],
        accuracy_first=accuracy,
        accuracy_best=accuracy,
        accuracy_last=accuracy,
    )


def _unfinished(log: Path) -> str:
    return "running" if log.exists() and time.time() - log.stat().st_mtime < SILENT else "stopped"
