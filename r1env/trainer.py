"""What a trainer plugin is. `r1env.recipes` runs trainers; `r1env-trainers` brings GRPO and SFT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

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


# References between the stages of a run: `stage:NAME` is the model that a stage left, `stage:NAME/FILE` a file of its own.

STAGE_PREFIX = "stage:"


def is_stage(value: object) -> bool:
    """Whether a setting refers to a stage's result, which need not be there yet."""
    return isinstance(value, str) and value.startswith(STAGE_PREFIX)


def parse_reference(reference: str) -> tuple[str, str | None]:
    """The stage's name, and the file within its folder or None for its model."""
    stage, _, file = reference.removeprefix(STAGE_PREFIX).partition("/")
    return stage, file or None


def references(settings: object) -> Iterator[str]:
    """Every reference in settings (plain data), however deep."""
    if is_stage(settings):
        yield str(settings)
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from references(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from references(value)


def resolved(settings: Any, locate: Callable[[str], Path]) -> Any:
    """The settings with every reference replaced by the path that `locate` has for it."""
    if is_stage(settings):
        return str(locate(settings))
    if isinstance(settings, Mapping):
        return {key: resolved(value, locate) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [resolved(value, locate) for value in settings]
    return settings
