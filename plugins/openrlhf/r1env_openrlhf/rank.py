"""One process of a job without Ray: `python -m r1env_openrlhf.rank JOB.json`, started by torch's launcher.

It makes OpenRLHF's SFT trainer write our file of metrics and dither its weights, and runs the command's module.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from r1env_openrlhf.config import JobSpec
from r1env_openrlhf.hooks import MetricsFile, after_import, dither_actions

SFT_TRAINER = "openrlhf.trainer.sft_trainer"


def main() -> None:
    """Run this rank's share of the job that the file in the arguments describes."""
    path = Path(sys.argv[1])
    spec = JobSpec.model_validate_json(path.read_text("utf-8"))
    after_import(dither_actions())
    if os.environ["RANK"] == "0":
        after_import({SFT_TRAINER: lambda module: log_steps(module, MetricsFile(path.parent))})
    sys.argv = [spec.module, *spec.arguments]
    runpy.run_module(spec.module, run_name="__main__", alter_sys=True)


def log_steps(module: ModuleType, metrics: MetricsFile) -> None:
    """Make the module's `SFTTrainer` write the metrics of every step before its checkpoint, with the seconds since the previous step.

    OpenRLHF would give them to TensorBoard, whose files lag behind.
    """
    original = module.SFTTrainer.save_logs_and_checkpoints
    last = time.monotonic()

    def save_logs_and_checkpoints(
        self: Any, args: Any, global_step: int, step_bar: Any, logs_dict: Any = None, client_states: Any = None
    ) -> None:
        nonlocal last
        now = time.monotonic()
        metrics.log_train(global_step, {**(logs_dict or {}), "seconds": now - last})
        original(self, args, global_step, step_bar, logs_dict, client_states)
        last = time.monotonic()

    module.SFTTrainer.save_logs_and_checkpoints = save_logs_and_checkpoints


if __name__ == "__main__":
    main()
