"""What a trainer plugin is. `r1env.recipes` runs trainers; `r1env-trainers` brings GRPO and SFT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import Field

from r1env.config import Preset, Settings, merge, plain, with_new_names
from r1env.errors import UnknownNameError
from r1env.runs.run import Run


class TrainerConfig(Settings):
    """The settings that every trainer has. Trainers subclass it; unknown keys are rejected.

    In any setting, however deep, `stage:NAME` is the model that an earlier stage of the same run left, and `stage:NAME/FILE` a
    file that it wrote.

    Attributes:
        presets: settings by name: a `Preset`, or a nested mapping.
        set_by_stage: settings that an option of the command line skips if another stage has them too; they are set as STAGE.key=value.
    """

    model: str = Field(description="Where to start: a name the trainer knows, a folder, a hub name, or stage:NAME.")
    seed: int = Field(default=0, description="Random seed.")

    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {}
    set_by_stage: ClassVar[frozenset[str]] = frozenset()

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with nested changes, validated: `config.updated({"optim": {"lr": 1e-4}})`."""
        return type(self).model_validate(merge(plain(self), with_new_names(type(self), changes)))


def preset_of(trainer: str, config: type[TrainerConfig], name: str) -> Preset:
    """Return the preset of `trainer` called `name`.

    Raises:
        UnknownNameError: the trainer has no such preset.
    """
    if name not in config.presets:
        raise UnknownNameError(f"preset of trainer {trainer!r}:", name, config.presets)
    preset = config.presets[name]
    return preset if isinstance(preset, Preset) else Preset(preset)


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
