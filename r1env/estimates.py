"""What a plan is reckoned to cost: asked of the trainers that can say, printed by `r1env train --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from r1env.config import validate
from r1env.plugins import Plugins, import_target, installed
from r1env.recipes import Plan
from r1env.stages import is_stage, parse_reference
from r1env.trainer import TrainerConfig


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


@runtime_checkable
class Estimates(Protocol):
    """A trainer that can say what its settings cost. Optional, beside `r1env.trainer.Trainer`."""

    def estimate(self, config: TrainerConfig) -> Estimate | None:
        """Pure and quick: nothing is loaded, no hub is asked. None where the settings do not suffice.

        Args:
            config: complete and checked; its `model` is where the stage's line of models began.
        """


def estimates(plan: Plan, plugins: Plugins | None = None) -> dict[str, Estimate | None]:
    """By stage; None where its trainer cannot say, or cannot say yet."""
    plugins = plugins or installed()
    models = {stage.name: stage.config["model"] for stage in plan.stages}
    found: dict[str, Estimate | None] = {}
    for stage in plan.stages:
        spec = plugins.trainer(stage.trainer)
        trainer = import_target(spec.target)()
        if not isinstance(trainer, Estimates):
            found[stage.name] = None
            continue
        config_class = import_target(spec.config)
        assert isinstance(config_class, type)
        config: TrainerConfig = validate(
            config_class, {**stage.config, "model": _origin(models, stage.config["model"])}, where=stage.name
        )
        found[stage.name] = trainer.estimate(config)
    return found


def estimate_lines(estimated: Mapping[str, Estimate | None]) -> Iterator[str]:
    """Lines for people; none where no stage has an estimate."""
    if not any(estimated.values()):
        return
    yield f"{'stage':<24} {'tokens':>10} {'hours':>9} {'GB':>7}  reckoned with"
    for name, one in estimated.items():
        if one is None:
            yield f"{name:<24} {'?':>10} {'?':>9} {'?':>7}  not known beforehand"
        else:
            hours, gigabytes = one.seconds / 3600, one.memory_bytes / 1e9
            yield f"{name:<24} {one.tokens:>10.3g} {hours:>9.3g} {gigabytes:>7.3g}  {one.basis}"


def _origin(models: Mapping[str, str], model: str) -> str:
    """The model that a line of stages started from."""
    while is_stage(model) and (source := parse_reference(model)[0]) in models:
        model = models[source]
    return model
