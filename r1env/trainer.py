"""What a trainer plugin is. `r1env.recipes` runs trainers; `r1env-trainers` brings GRPO and SFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import Field, model_validator

from r1env.config import Name, Preset, Settings, merge, plain, with_new_names
from r1env.errors import UnknownNameError, UsageError
from r1env.hooks import KIND_OF, SINGULAR, Spec
from r1env.importing import is_reference
from r1env.plugins import installed
from r1env.runs.run import Run


class TrainerConfig(Settings):
    """The settings that every trainer has. Trainers subclass it; unknown keys are rejected.

    In any setting, however deep, `stage:NAME` is the model that an earlier stage of the same run left, and `stage:NAME/FILE` a
    file that it wrote.

    Attributes:
        presets: settings by name: a `Preset`, or a nested mapping.
        set_by_stage: settings that an option of the command line skips if another stage has them too; they are set as STAGE.key=value.
        may_change: settings, and groups of them, that a run which has begun may go on with other values of; the rest would make two
            trainings out of one.
        reset_with: setting → those that a preset or recipe gives for its value, and that are dropped when the user gives another one.
    """

    model: str = Field(description="Where to start: a name the trainer knows, a folder, a hub name, or stage:NAME.")
    seed: int = Field(default=0, description="Random seed.")

    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {}
    set_by_stage: ClassVar[frozenset[str]] = frozenset()
    reset_with: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    may_change: ClassVar[frozenset[str]] = frozenset({"steps"})

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with nested changes, validated: `config.updated({"optim": {"lr": 1e-4}})`."""
        return type(self).model_validate(merge(plain(self), with_new_names(type(self), changes)))


def registered(spec_type: type[Spec]) -> Name:
    """Return the annotation of a setting that names something of a plugin, or `module:attribute`, or `file.py:attribute`.

    An unknown name is refused when the settings are made, with the nearest known ones.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import TypeAdapter
        >>> from r1env import EngineSpec
        >>> TypeAdapter(Annotated[str, registered(EngineSpec)]).validate_python("scripted")
        'scripted'
    """

    def check(name: str) -> str:
        if is_reference(name):
            found = installed().load(spec_type, name)
            if not callable(found):
                raise UsageError(
                    f"{name!r} is a {type(found).__name__}, not a function or class for the {SINGULAR[KIND_OF[spec_type]]}"
                )
        else:
            installed().find(spec_type, name)
        return name

    return Name(check, lambda: installed().provided(KIND_OF[spec_type]))


def preset_of(trainer: str, config: type[TrainerConfig], name: str) -> Preset:
    """Return the preset of `trainer` called `name`.

    Raises:
        UnknownNameError: the trainer has no such preset.
    """
    if name not in config.presets:
        raise UnknownNameError(f"preset of trainer {trainer!r}:", name, config.presets)
    preset = config.presets[name]
    return preset if isinstance(preset, Preset) else Preset(preset)


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
        if not isinstance(settings, Mapping):
            return settings
        settings = with_new_names(cls, settings)
        unknown = settings.keys() - cls.model_fields.keys()
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
        least_bytes: without which it cannot run, however small its passes are; 0 where that is not known.
        available_bytes: that the device has; 0 where that is not known.
    """

    tokens: float
    seconds: float
    memory_bytes: float
    basis: str
    least_bytes: float = 0.0
    available_bytes: float = 0.0


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
