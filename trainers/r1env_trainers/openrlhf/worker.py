"""What every Ray worker of a job does first: changes to three parts of OpenRLHF, made as soon as each is imported.

Its logger writes our file of metrics, its tokenizer travels once, and its weights are dithered.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from r1env_trainers.openrlhf import masters
from r1env_trainers.openrlhf.after_import import after_import
from r1env_trainers.openrlhf.once import pickle_once

METRICS = "metrics.jsonl"


def set_up() -> None:
    """Called by Ray in each worker. Imports nothing of OpenRLHF."""
    after_import(
        {
            "openrlhf.utils.logging_utils": _log_json_lines,
            "openrlhf.trainer.ppo_utils.samples_generator": _send_tokenizer_once,
            **masters.actions(),
        }
    )


def _log_json_lines(module: ModuleType) -> None:
    module.TensorboardLogger = JsonLinesLogger  # type: ignore[attr-defined]


def _send_tokenizer_once(module: ModuleType) -> None:
    """OpenRLHF sends the tokenizer along with every prompt, and unpickling one takes 0.2 s for a vocabulary of 49,000."""
    original = module.SamplesGenerator.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        pickle_once(self.tokenizer)

    module.SamplesGenerator.__init__ = init


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
