"""What a trainer plugin is. `r1env.recipes` runs trainers; `r1env-trainers` brings GRPO and SFT."""

from __future__ import annotations

from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from r1env.runs.run import Run

STAGE_PREFIX = "stage:"


class TrainerConfig(BaseModel):
    """The settings that every trainer has. Trainers subclass it; unknown keys are refused.

    Attributes:
        model: where to start: a name that the trainer knows, a folder, a hub name, or `stage:NAME`, the result of an
            earlier stage of the same run.
        seed: of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    seed: int = 0


C = TypeVar("C", bound=TrainerConfig, contravariant=True)


class Trainer(Protocol[C]):
    """A trainer. Constructed without arguments."""

    def check(self, config: C) -> None:
        """Find every fault that can be found without training: devices, environments, rubrics, data. Quick.

        Called for all stages of a run before the first one starts; `config.model` may be a stage that has no result yet.

        Raises:
            UsageError: with what to change.
        """

    def train(self, config: C, run: Run) -> None:
        """Train, or go on from the newest checkpoint in `run.checkpoint_dir`, and leave the model in `run.model_dir()`.

        Metrics go to `run.log`, samples to `run.log_rollouts`. `config.model` is a name, hub name or folder by now.

        Raises:
            UsageError: the model or data cannot be used.
            TrainingStoppedError: training cannot go on meaningfully. The last checkpoint is whole.
            RunError: the run folder cannot be written. The last checkpoint is whole.
        """
