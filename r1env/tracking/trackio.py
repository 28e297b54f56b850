"""The tracker `trackio`: a local dashboard with W&B's interface; `trackio show --project r1env` opens it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout

from r1env.runs.run import Run
from r1env.tracking.wandb import identity


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

    def flush(self) -> None:
        """Trackio's own thread writes what it has."""

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()
