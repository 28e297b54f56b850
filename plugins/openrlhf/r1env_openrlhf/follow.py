"""Reads what a job writes as it goes, and tells it to the run: metrics, sample completions, checkpoints."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1env.errors import TrainingStoppedError
from r1env.runs.files import replace_text
from r1env.runs.run import Run
from r1env_openrlhf.episodes import SAMPLES
from r1env_openrlhf.hooks import METRICS
from r1env_trainers.model.guards import is_spike
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.settings import Optim

logger = logging.getLogger(__name__)

POSITIONS = "positions.json"
"""Step → how long the run's logs were after it; for the steps that a checkpoint may hold."""

LATEST = "latest"
"""DeepSpeed's note of the newest complete checkpoint, beside the checkpoints: `global_step40`."""


class Follower:
    """Follows one job from a step on.

    Args:
        every: how many steps lie between two checkpoints; 0: there are none.
        folder: of the job.
        first: the last step that the run knows already.
        max_bad_steps: steps in a row whose loss or gradient norm is not finite before `read` raises `TrainingStoppedError`.
    """

    def __init__(self, run: Run, every: int, folder: Path, first: int, max_bad_steps: int = 3) -> None:
        self.step = self._first = first
        self._max_bad_steps, self._bad = max_bad_steps, 0
        self._norms: list[float] = []
        self._run, self._every, self._folder = run, every, folder
        self._metrics = Tail(folder / METRICS)
        self._positions = read_positions(folder)
        self._remember(first)

    def read(self) -> None:
        """Tell the run what is new."""
        for row in self._metrics.rows():
            step = int(row["step"])
            if step <= self._first:
                continue
            if row["kind"] == "train":
                self.step = step
            self._tell(step, row)
            self._remember(step)

    def _tell(self, step: int, row: Mapping[str, Any]) -> None:
        """Tell the run one row of metrics."""
        raise NotImplementedError

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the run the metrics of a training step, and stop a job that has broken its weights: from here nothing can skip a step."""
        self._run.log(step, metrics)
        shown = {name: metrics[name] for name in ("loss", "grad_norm") if name in metrics}
        self._bad = 0 if all(map(math.isfinite, shown.values())) else self._bad + 1
        norm = shown.get("grad_norm", math.nan)
        if math.isfinite(norm) and is_spike(self._norms, norm, Optim().max_grad_ratio):
            self._run.log_event(step, {"kind": "spike", "grad_norm": norm})
            logger.warning(
                "step %d: the gradient norm %.3g is far above those of earlier steps; OpenRLHF has taken the step", step, norm
            )
        if self._bad >= self._max_bad_steps:
            raise TrainingStoppedError(
                f"step {step}: {' and '.join(shown)} not finite for {self._bad} steps in a row; the result is the last checkpoint from "
                "before them, see checkpoint.every; lower optim.lr or lengthen optim.warmup_steps"
            )

    def _remember(self, step: int) -> None:
        if step == self._first or (self._every and step % self._every == 0):
            self._positions[step] = self._run.position()
            replace_text(self._folder / POSITIONS, json.dumps(self._positions))


class TuningFollower(Follower):
    """Follows a job of OpenRLHF's SFT trainer."""

    def _tell(self, step: int, row: Mapping[str, Any]) -> None:
        self._log(step, tuning_metrics(row["metrics"]))


class RolloutFollower(Follower):
    """Follows a job of OpenRLHF's Ray trainer, and its rollouts. `read` raises `TrainingStoppedError` when scoring fails for more of a step's
    rollouts than `max_failed` allows.
    """

    def __init__(self, run: Run, config: GRPOConfig, folder: Path, first: int) -> None:
        super().__init__(run, config.checkpoint.every, folder, first, config.optim.max_bad_steps)
        self._config = config
        self._samples: dict[Path, Tail] = {}
        self._waiting: list[dict[str, Any]] = []
        for path in self._sample_files():
            self._samples[path].skip()

    def _tell(self, step: int, row: Mapping[str, Any]) -> None:
        if row["kind"] == "eval":
            self._run.log(step, evaluation_metrics(row["metrics"]))
            return
        metrics = step_metrics(row["metrics"])
        if not self._config.algo.needs_reference:
            metrics.pop("kl", None)  # OpenRLHF says 0 where it has measured none
        self._log(step, metrics)
        self._tell_samples(step, row["time"])
        self._stop_when_scoring_fails(row["metrics"].get("error") or 0.0)

    def _tell_samples(self, step: int, until: float) -> None:
        """Return the rollouts that were played before `until` if this step's are logged; drop them otherwise."""
        self._waiting += [row for path in self._sample_files() for row in self._samples[path].rows()]
        ripe = [row for row in self._waiting if row["time"] <= until]
        self._waiting = [row for row in self._waiting if row["time"] > until]
        trained = ripe if (step - 1) % self._config.log.samples_every == 0 else []
        shown = [row for row in ripe if row["kind"] == "eval"][: self._config.eval.samples]
        rows = [row for row in trained if row["kind"] == "train"] + shown
        self._run.log_rollouts(step, ({key: value for key, value in row.items() if key != "time"} for row in rows))

    def _sample_files(self) -> list[Path]:
        found = sorted((self._folder / SAMPLES).glob("*.jsonl"))
        for path in found:
            self._samples.setdefault(path, Tail(path))
        return found

    def _stop_when_scoring_fails(self, share: float) -> None:
        if share > self._config.max_failed:
            raise TrainingStoppedError(
                f"scoring failed for {share:.0%} of the rollouts of step {self.step} (limit {self._config.max_failed:.0%}, setting "
                f"max_failed); the reasons are in {self._folder / 'log.txt'}"
            )


class Tail:
    """The rows of a growing JSON-lines file, each one once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def skip(self) -> None:
        """Skip what the file holds already."""
        self._read = self._path.stat().st_size if self._path.exists() else 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return the complete lines that were added since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)


def read_positions(folder: Path) -> dict[int, Mapping[str, int]]:
    """Return the position of the run's logs by step."""
    path = folder / POSITIONS
    return {int(step): position for step, position in json.loads(path.read_text()).items()} if path.exists() else {}


def forget_after(folder: Path, step: int) -> None:
    """Drop the metrics that an earlier attempt logged after its newest checkpoint, which is that of `step`."""
    kept = (row for row in Tail(folder / METRICS).rows() if row["step"] <= step)
    replace_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in kept))


def newest_checkpoint(checkpoints: Path) -> int:
    """Return the step of the newest complete checkpoint, 0 if there is none."""
    latest = checkpoints / LATEST
    return int(latest.read_text().strip().removeprefix("global_step")) if latest.exists() else 0


# OpenRLHF's numbers of a step under our names. Pure functions.

NAMES: Mapping[str, str] = {
    "rollout/reward_mean": "reward",
    "rollout/reward_std": "reward/std",
    "rollout/response_length_mean": "length/mean",
    "rollout/truncated_rate": "truncated",
    "turns": "turns",
    "policy_loss": "loss",
    "actor_lr": "lr",
    "actor_grad_norm": "grad_norm",
    "kl": "kl",
    "ppo_kl": "ppo_kl",
    "ppo_clip_ratio": "clipped",
    "vllm_kl": "sampler_gap",
    "dynamic_filtering_pass_rate": "refill/kept_share",
    "timing/generation": "seconds/generate",
    "timing/make_experience": "seconds/experience",
    "timing/ppo_train": "seconds/update",
    "timing/broadcast": "seconds/sync",
}
"""OpenRLHF's name → ours. What stands in neither this table nor the rules below is left out."""

TUNING_NAMES: Mapping[str, str] = {"loss_mean": "loss", "lr": "lr", "grad_norm": "grad_norm", "seconds": "seconds/update"}
"""Of its SFT trainer."""

SCORED = "scored/"
"""Prefix of the share of rollouts that have a value for a part; see `EpisodeExecutor`."""


def step_metrics(given: Mapping[str, float | None]) -> dict[str, float]:
    """Return the metrics of a training step.

    Parts come as means over all rollouts in which a missing value counts 0; divided by the share that has one, they are the
    means over those, and left out where there is none. So is the reward, of which OpenRLHF's own mean counts `unscored` in.
    """
    found = {key: math.nan if value is None else value for key, value in given.items()}
    metrics = {ours: found[theirs] for theirs, ours in NAMES.items() if theirs in found}
    metrics["unscored/share"] = found.get("error", 0.0)
    metrics["unscored"] = found.get("error", 0.0) * found.get("rollout/num_samples", 0.0)
    for key, share in found.items():
        if key.startswith(SCORED) and share > 0:
            part = key.removeprefix(SCORED)
            metrics["reward" if part == "value" else part] = found[part] / share
    return metrics


def evaluation_metrics(given: Mapping[str, float | None]) -> dict[str, float]:
    """Return the metrics of an evaluation: the mean accuracy over its environments, and that of each if there are several."""
    prefix, suffix = "eval_", "_pass1"
    accuracies = {
        key.removeprefix(prefix).removesuffix(suffix): math.nan if value is None else value
        for key, value in given.items()
        if key.startswith(prefix) and key.endswith(suffix)
    }
    metrics = {"eval/accuracy": math.fsum(accuracies.values()) / len(accuracies)} if accuracies else {}
    if (length := given.get("eval_response_length_mean")) is not None:
        metrics["eval/length"] = length
    if len(accuracies) > 1:
        metrics |= {f"eval/{name}/accuracy": accuracy for name, accuracy in accuracies.items()}
    return metrics


def tuning_metrics(given: Mapping[str, float | None]) -> dict[str, float]:
    """Return the metrics of a step of SFT."""
    found = {key: math.nan if value is None else value for key, value in given.items()}
    return {ours: found[theirs] for theirs, ours in TUNING_NAMES.items() if theirs in found}
