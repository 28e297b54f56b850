"""`Run`: the folder of one training.

    config.yaml          the plan, complete
    manifest.json        versions, seeds, git revision, plugins, command, machine
    state.json           stages finished
    metrics.jsonl        one line a step: {"stage", "step", "time", name: number, …}
    rollouts.jsonl.gz    samples, one line a rollout; one gzip member a flush
    checkpoints/STAGE/   the trainer's checkpoints, and `model/`, the stage's result
    report.html          written by `r1env report`

Everything is appended or replaced atomically. A checkpoint remembers `position()`; `rewind` cuts the two logs back to
it, so that a resumed run tells every step exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What listeners get: one logged step."""

    stage: str
    step: int
    metrics: Mapping[str, float]


class Run:
    """A run folder. Not safe for two processes at once."""

    def __init__(self, path: Path) -> None: ...

    @classmethod
    def create(cls, path: Path, plan: Mapping[str, Any], *, seed: int, command: Sequence[str] = ()) -> Run: ...

    @classmethod
    def open(cls, path: Path) -> Run: ...

    def start_stage(self, name: str) -> None: ...
    def finish_stage(self, name: str) -> None: ...
    def finished_stages(self) -> list[str]: ...
    @property
    def stage(self) -> str: ...
    @property
    def checkpoint_dir(self) -> Path: ...
    def model_dir(self, stage: str | None = None) -> Path: ...
    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def log_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None: ...
    def position(self) -> dict[str, int]: ...
    def rewind(self, position: Mapping[str, int]) -> None: ...
    def subscribe(self, listener: Callable[[StepEvent], None]) -> None: ...
    def metrics(self, stage: str | None = None) -> list[dict[str, Any]]: ...
    def rollouts(self) -> Iterator[dict[str, Any]]: ...
