"""`Run`: the folder of one training.

    config.yaml          the plan, complete
    manifest.json        versions, seeds, git revision, plugins, command, machine
    state.json           stages begun and finished
    metrics.jsonl        one line a step: {"stage", "step", "time", name: number, …}
    lock.json            whose process writes it
    events.jsonl         what happened at a step, first of all the monitor's alerts: {"stage", "step", "time", "kind", …}
    rollouts/            every rollout, as Parquet shards; see `r1env.runs.rollouts`
    checkpoints/STAGE/   the trainer's checkpoints, and `model/`, the stage's result
    report.html          written by `r1env report`

Everything is appended or replaced atomically. A checkpoint remembers `position()`; `rewind` cuts the logs back to
it, so that a resumed run tells every step exactly once.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from r1env.config import load_yaml, validate
from r1env.errors import RunError, RunFolderError, UsageError
from r1env.runs import files as atomic
from r1env.runs import files as logs
from r1env.runs.manifest import make_manifest
from r1env.runs.owner import Signals, locked
from r1env.runs.rollouts import RolloutRow, RolloutStore

logger = logging.getLogger(__name__)

CONFIG, MANIFEST, STATE = "config.yaml", "manifest.json", "state.json"
METRICS, EVENTS = "metrics.jsonl", "events.jsonl"
LOGS = (METRICS, EVENTS)
ROLLOUTS = "rollouts"  # in a position: how many; in the folder: where
FORMAT = 2  # of the folder; raised when an older r1env could not read it
STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a stage is also a folder


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What listeners get: one logged step."""

    stage: str
    step: int
    metrics: Mapping[str, float]


Listener = Callable[[StepEvent], None]


@dataclass(frozen=True, slots=True)
class RolloutsEvent:
    """Rollouts of a step that were stored."""

    stage: str
    step: int
    rows: Sequence[RolloutRow]


RolloutsListener = Callable[[RolloutsEvent], None]


class Run:
    """A run folder. One process may write it at a time (see `locked`); any number may read it meanwhile.

    Attributes:
        signals: of the process that writes it, see `Signals`; they are handled inside `locked`.
    """

    def __init__(self, path: Path) -> None:
        """Use `create` for a new run and `open` for one that exists."""
        self.path = path
        self._stage: str | None = None
        self._listeners: list[Listener] = []
        self._rollouts_listeners: list[RolloutsListener] = []
        self._rollouts = RolloutStore(path / ROLLOUTS)
        self.signals = Signals()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Write the run alone, with its signals handled. At the end all rollouts are in Parquet shards, however it ended.

        Raises:
            RunError: another process writes it.
        """
        with locked(self.path), self.signals.handled():
            try:
                yield
            finally:
                self._seal()

    @classmethod
    def create(cls, path: Path, plan: Mapping[str, Any], *, seed: int, command: Sequence[str] = ()) -> Run:
        """Make the folder (its parents too), with the plan and the manifest.

        Raises:
            RunFolderError: the folder is not empty.
            RunError: it cannot be written.
        """
        run = cls(path)
        if (path / STATE).exists():
            raise RunFolderError(
                f"{path} already holds a run; go on with it by --resume {path}, or name another folder with --output"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFolderError(f"{path} exists and is not an empty folder; name another folder with --output")
        manifest = make_manifest(seed=seed, command=command, started=round(time.time(), 3))
        with run._storing():
            path.mkdir(parents=True, exist_ok=True)
            atomic.replace_text(path / CONFIG, yaml.safe_dump(dict(plan), sort_keys=False, allow_unicode=True))
            atomic.replace_text(path / MANIFEST, json.dumps(manifest, indent=2) + "\n")
            # Last: its presence makes the folder a run. The plan in it tells an edited config.yaml from one that was not.
            run._write_state({"format": FORMAT, "begun": {}, "finished": [], "plan": run.plan})
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Return an existing run, to read it or to go on with it. Writes nothing: a crash's torn tail is skipped by readers.

        Raises:
            RunFolderError: the folder holds no run.
            RunError: the run was written by a newer r1env.
        """
        if not (path / STATE).is_file():
            raise RunFolderError(f"{path} holds no run (no {STATE}); give the folder that `r1env train` wrote")
        run = cls(path)
        if (found := run._state()["format"]) > FORMAT:
            raise RunError(
                f"{path} was written by a newer r1env (format {found}, this one reads up to {FORMAT}); upgrade r1env"
            )
        return run

    @property
    def plan(self) -> dict[str, Any]:
        """The plan it was created with."""
        return load_yaml(self.path / CONFIG)

    @property
    def executed_plan(self) -> dict[str, Any] | None:
        """The plan that the run has followed so far; None in folders of versions that did not keep it."""
        plan: dict[str, Any] | None = self._state().get("plan")
        return plan

    def change_plan(self, plan: Mapping[str, Any], *, again: Iterable[str] = ()) -> None:
        """Put another plan in place of the run's own.

        Args:
            again: finished stages that are to go on, from their last checkpoint.
        """
        with self._storing():
            atomic.replace_text(self.path / CONFIG, yaml.safe_dump(dict(plan), sort_keys=False, allow_unicode=True))
        state = self._state()
        state["finished"] = [stage for stage in state["finished"] if stage not in set(again)]
        self._write_state({**state, "plan": self.plan})

    @property
    def manifest(self) -> dict[str, Any]:
        """See `r1env.runs.manifest`."""
        return self._read_json(MANIFEST)

    def note(self, **facts: Any) -> None:
        """Add facts about the running stage to the manifest (`stages`, by name): what its settings came to, as plain data.

        A fact that differs from what was noted before, such as the hash of a reward's file after resuming, is logged as a warning, and
        what it was is kept under `earlier`.
        """
        manifest = self.manifest
        stages = manifest.setdefault("stages", {})
        before, now = stages.get(self.stage, {}), json.loads(json.dumps(facts))
        changed = {name: before[name] for name in now if name in before and before[name] != now[name]}
        if changed:
            logger.warning("stage %s goes on with other %s than it began with", self.stage, " and ".join(changed))
            now["earlier"] = [*before.get("earlier", []), changed]
        stages[self.stage] = {**before, **now}
        with self._storing():
            atomic.replace_text(self.path / MANIFEST, json.dumps(manifest, indent=2) + "\n")

    def start_stage(self, name: str) -> None:
        """Begin a stage, or begin again where a crash stopped it. What a crash left unfinished in the logs is cut off.

        A stage that begins again without a checkpoint has lost all its steps: its part of the logs is dropped. Otherwise the
        trainer calls `rewind` with the position that its checkpoint remembers.
        """
        if not STAGE_NAME.fullmatch(name):
            raise UsageError(f"a stage cannot be called {name!r}; use letters, digits, '.', '_' and '-'")
        with self._storing():
            for log in LOGS:
                atomic.cut(self.path / log, logs.whole_lines_size(self.path / log))
            self._rollouts.repair()
        self._stage = name
        state = self._state()
        if name not in state["begun"]:
            state["begun"][name] = self.position()
            self._write_state(state)
        elif not self.has_checkpoint(name):
            self.rewind(state["begun"][name])

    def finish_stage(self, name: str) -> None:
        """Remember that the stage is done; resuming will skip it."""
        self._seal()
        state = self._state()
        if name not in state["finished"]:
            state["finished"].append(name)
        self._write_state(state)
        self._stage = None

    def finished_stages(self) -> list[str]:
        """Return names of the stages that are done, in order."""
        return list(self._state()["finished"])

    def begun_stages(self) -> list[str]:
        """Return names of the stages that have been started, finished ones too."""
        return list(self._state()["begun"])

    def has_checkpoint(self, stage: str) -> bool:
        """Return True when a stage has anything to go on from: neither its result nor a half-written (hidden) file counts."""
        folder = self._stage_dir(stage)
        return folder.is_dir() and any(
            path != self.model_dir(stage) and not path.name.startswith(".") for path in folder.iterdir()
        )

    @property
    def stage(self) -> str:
        """The stage that is running.

        Raises:
            RunError: none is.
        """
        if self._stage is None:
            raise RunError("no stage is running; call start_stage first")
        return self._stage

    @property
    def checkpoint_dir(self) -> Path:
        """The running stage's folder for checkpoints; it exists."""
        folder = self._stage_dir(self.stage)
        with self._storing():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def model_dir(self, stage: str | None = None) -> Path:
        """Return where a stage (the running one, by default) leaves its model; the trainer makes it."""
        return self._stage_dir(stage or self.stage) / "model"

    def stage_file(self, name: str, stage: str | None = None) -> Path:
        """Return a file of a stage's own (the running one's, by default): data for later stages, tables. The trainer writes it."""
        return self._stage_dir(stage or self.stage) / name

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics and tell the listeners. NaN and infinities are stored as `null`.

        Raises:
            RunError: it cannot be written (disk full); the log is as it was before.
        """
        row = {"stage": self.stage, "step": step, "time": round(time.time(), 3)}
        with self._storing():
            atomic.append_bytes(self.path / METRICS, logs.json_lines([{**row, **metrics, **row}]))
        event = StepEvent(self.stage, step, dict(metrics))
        for listener in self._listeners:
            listener(event)

    def log_event(self, step: int, event: Mapping[str, Any]) -> None:
        """Append something that happened at a step (a JSON-like row; its `kind` says what; `stage`, `step` and `time` are added).

        Raises:
            RunError: it cannot be written (disk full); the log is as it was before.
        """
        row = {"stage": self.stage, "step": step, "time": round(time.time(), 3)}
        with self._storing():
            atomic.append_bytes(self.path / EVENTS, logs.json_lines([{**row, **event, **row}]))

    def log_rollouts(self, step: int, rows: Iterable[RolloutRow | Mapping[str, Any]]) -> None:
        """Append rollouts of a step.

        Args:
            rows: `RolloutRow` objects, or mappings with its fields.

        Raises:
            UsageError: a row has a field that `RolloutRow` does not have, or a value of another type.
            RunError: they cannot be written (disk full); what was stored is as it was before.
        """
        place = {"stage": self.stage, "step": step, "time": round(time.time(), 3)}
        checked = [row if isinstance(row, RolloutRow) else validate(RolloutRow, row, where="a rollout's row") for row in rows]
        with self._storing():
            self._rollouts.append(place | row.record() for row in checked)
        for listener in self._rollouts_listeners:
            listener(RolloutsEvent(self.stage, step, checked))

    def position(self) -> dict[str, int]:
        """Return the sizes of the logs in bytes and the number of rollouts, all of it safely on the disk: what a checkpoint remembers."""
        with self._storing():
            return {name: atomic.sync(self.path / name) for name in LOGS} | {ROLLOUTS: self._rollouts.sync()}

    def sizes(self) -> dict[str, int]:
        """Return the same as `position`, without waiting for the disk."""
        sizes = {name: (self.path / name).stat().st_size if (self.path / name).exists() else 0 for name in LOGS}
        return sizes | {ROLLOUTS: self._rollouts.count()}

    def rewind(self, position: Mapping[str, int]) -> None:
        """Cut the logs back to a position that a checkpoint remembers."""
        with self._storing():
            for name in LOGS:
                atomic.cut(self.path / name, position.get(name, 0))  # a log that is younger than the checkpoint goes whole
            self._rollouts.rewind(position.get(ROLLOUTS, 0))

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` after every logged step, in the thread that logs."""
        self._listeners.append(listener)

    def subscribe_to_rollouts(self, listener: RolloutsListener) -> None:
        """Call `listener` after rollouts were stored, in the thread that stores them."""
        self._rollouts_listeners.append(listener)

    def metrics(self, stage: str | None = None) -> list[dict[str, Any]]:
        """Return all logged steps, in order; of one stage, if it is named. A value that was not finite is None."""
        rows = logs.read_json_lines(self.path / METRICS)
        return [row for row in rows if stage is None or row["stage"] == stage]

    def events(self, stage: str | None = None) -> list[dict[str, Any]]:
        """Return all logged events, in order; of one stage, if it is named."""
        rows = logs.read_json_lines(self.path / EVENTS)
        return [row for row in rows if stage is None or row["stage"] == stage]

    def rollouts(self, columns: Sequence[str] | None = None, rows: Collection[int] | None = None) -> Iterator[dict[str, Any]]:
        """Return the logged rollouts in order, read as they are asked for, as plain data; see `r1env.runs.rollouts.schema`.

        Args:
            columns: names of the columns to read; all by default.
            rows: numbers of the rollouts to read (the column `row`); all by default.
        """
        return self._rollouts.read(columns, rows)

    @property
    def rollout_store(self) -> RolloutStore:
        """The files that hold the rollouts."""
        return self._rollouts

    def _seal(self) -> None:
        """Put all rollouts into Parquet shards. Where the disk is full they stay where they are, and are whole there."""
        try:
            self._rollouts.seal()
        except OSError as error:
            logger.warning("rollouts of %s stay in the file they were appended to: %s", self.path, error.strerror or error)

    def _stage_dir(self, stage: str) -> Path:
        return self.path / "checkpoints" / stage

    def _state(self) -> dict[str, Any]:
        return self._read_json(STATE)

    def _write_state(self, state: Mapping[str, Any]) -> None:
        with self._storing():
            atomic.replace_text(self.path / STATE, json.dumps(state, indent=2) + "\n")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {self.path / name}: {error}") from error
        return loaded

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """The one place where a disk's fault becomes a `RunError`."""
        try:
            yield
        except OSError as error:
            if not (self.path / STATE).exists():
                raise RunError(
                    f"cannot create the run {self.path}: {error.strerror or error}; choose another --output"
                ) from error
            raise RunError(
                f"cannot write the run {self.path}: {error.strerror or error}; what was logged and the last checkpoint are whole: "
                f"free the disk, then go on with `r1env train --resume {self.path}`"
            ) from error
