"""What a trainer plugin is. `r1env.recipes` runs trainers; `r1env-trainers` brings GRPO and SFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1env.runs.run import Run


class TrainerConfig(BaseModel):
    """The settings that every trainer has. Trainers subclass it; unknown keys are refused.

    Attributes:
        model: where to start: a name that the trainer knows, a folder, a hub name, or `stage:NAME`.
        seed: of everything random.
        set_by_stage: names of settings that, in a recipe, an option of the command line leaves alone while another stage has them too: they
            are set by the stage's name.

    In any setting, however deep, `stage:NAME` is the model that an earlier stage of the same run left, and `stage:NAME/FILE` a
    file that it wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    seed: int = 0

    set_by_stage: ClassVar[frozenset[str]] = frozenset()


LOCAL = "local"
"""The backend that every trainer has: this process."""


class BackendConfig(TrainerConfig):
    """The settings of a trainer whose stages another backend can run, for instance on a cluster.

    `backend_options` belong to the backend, which checks them. In settings they may also be written under its name:
    `--set openrlhf.gpus=8` with the backend `openrlhf` installed means `backend_options.gpus=8`.
    """

    backend: str = Field(default=LOCAL, description="Where to run: local, or the name of an installed backend.")
    backend_options: Mapping[str, Any] = Field(default={}, description="Options of the backend.")

    @model_validator(mode="after")
    def _options_have_a_backend(self) -> Self:
        if self.backend == LOCAL and self.backend_options:
            raise ValueError(f"options of a backend ({', '.join(self.backend_options)}) but backend=local: add --backend NAME")
        return self

    @model_validator(mode="before")
    @classmethod
    def _options_by_name_of_the_backend(cls, settings: Any) -> Any:
        unknown = settings.keys() - cls.model_fields.keys() if isinstance(settings, Mapping) else ()
        if not unknown:
            return settings
        from r1env.plugins import installed  # here, because plugins import this module

        named = unknown & installed().provided("backends").keys()
        options = {key: value for name in named for key, value in settings[name].items()}
        rest = {key: value for key, value in settings.items() if key not in named}
        return {**rest, "backend_options": {**options, **rest.get("backend_options", {})}} if named else settings


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a stage will take.

    Attributes:
        tokens: that it draws or reads in all.
        seconds: of its steps; neither start-up nor evaluation.
        memory_bytes: at the peak, of the device that it runs on.
        basis: what was assumed, in a few words.
    """

    tokens: float
    seconds: float
    memory_bytes: float
    basis: str


class Backend(Protocol):
    """Runs stages of trainers in processes of its own. See `r1env.hooks.BackendSpec`."""

    def check(self, trainer: str, config: TrainerConfig) -> None:
        """Find every fault that can be found without starting anything; the contract of `Trainer.check`."""

    def train(self, trainer: str, config: TrainerConfig, run: Run) -> None:
        """Train, or go on from the newest checkpoint, and leave the model in `run.model_dir()`; the contract of `Trainer.train`."""

    def estimate(self, trainer: str, config: TrainerConfig) -> Estimate | None:
        """Return what the stage will cost, or None where that is not known beforehand. Quick: nothing is loaded."""

    def diagnosis(self) -> tuple[bool, str]:
        """Return whether the backend can run on this machine, and one line about what was found. For `r1env doctor`."""


C = TypeVar("C", bound=TrainerConfig, contravariant=True)


class Trainer(Protocol[C]):
    """A trainer. Constructed without arguments."""

    def check(self, config: C) -> None:
        """Find every fault that can be found without training: devices, environments, rubrics, data. Quick.

        Called for all stages of a run before the first one starts; settings may refer to a stage without a result (`is_stage`).

        Raises:
            UsageError: with what to change.
        """

    def train(self, config: C, run: Run) -> None:
        """Train, or go on from the newest checkpoint in `run.checkpoint_dir`, and leave the model in `run.model_dir()`.

        A trainer whose spec says `leaves_model=False` leaves files at `run.stage_file` instead. Metrics go to `run.log`, samples to
        `run.log_rollouts`. References to stages are paths by now.

        Raises:
            UsageError: the model or data cannot be used.
            TrainingStoppedError: training cannot go on meaningfully. The last checkpoint is whole.
            RunError: the run folder cannot be written. The last checkpoint is whole.
        """
