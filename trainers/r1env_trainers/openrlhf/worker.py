"""What every Ray worker of a job does first: it makes OpenRLHF's logger write our file of metrics."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from r1env_trainers.openrlhf.after_import import after_import

METRICS = "metrics.jsonl"


def set_up() -> None:
    """Called by Ray in each worker. Imports nothing of OpenRLHF."""
    after_import({"openrlhf.utils.logging_utils": _log_json_lines})


def _log_json_lines(module: ModuleType) -> None:
    module.TensorboardLogger = JsonLinesLogger  # type: ignore[attr-defined]


class MetricsFile:
    """Appends metrics to a job's file: every step is there before the next one begins."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / METRICS).open("a", encoding="utf-8")

    def log_train(self, global_step: int, logs_dict: Mapping[str, Any]) -> None:
        self._write("train", global_step, logs_dict)

    def log_eval(self, global_step: int, logs_dict: Mapping[str, Any]) -> None:
        self._write("eval", global_step, logs_dict)

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        finite = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, "time": time.time(), "metrics": finite}) + "\n")
        self._file.flush()


class JsonLinesLogger(MetricsFile):
    """Takes the place of OpenRLHF's TensorBoard logger, whose files lag two minutes behind and lose what a crash leaves unwritten."""

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(Path(args.logger.tensorboard_dir))
