"""The tracker `tensorboard`: event files in the run's folder; `tensorboard --logdir runs` shows them, all runs together."""

from __future__ import annotations

from collections.abc import Mapping

from r1env.runs.run import Run
from r1env.tracking.follow import FOLDER


class TensorBoard:
    """Scalars `STAGE/METRIC` over the steps of their stage. Each start of a run writes a file of its own; TensorBoard joins them."""

    def __init__(self, run: Run) -> None:
        from tensorboard.summary import Writer  # here, because it is an extra; needs neither torch nor tensorflow

        self._writer = Writer(str(run.path / FOLDER / "tensorboard"))

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step, wall_time=time)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
