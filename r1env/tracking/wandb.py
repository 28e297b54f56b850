"""The tracker `wandb`: Weights & Biases, online or (`WANDB_MODE=offline`) in the run's folder until `wandb sync`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping

from r1env.runs.run import Run
from r1env.tracking.follow import FOLDER


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

    def flush(self) -> None:
        """W&B's own process sends what it has."""

    def close(self) -> None:
        self._run.finish()


def identity(run: Run) -> str:
    """The same for every start of one run, another for each run: what makes W&B go on with its curves."""
    manifest = run.manifest
    facts = json.dumps([manifest["started"], manifest["seed"], manifest["command"]])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
