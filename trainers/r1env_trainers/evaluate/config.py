"""The settings of the trainer `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from r1env.rubrics import RubricSpec
from r1env.trainer import TrainerConfig
from r1env_trainers.devices import Device
from r1env_trainers.suites import SuiteSettings


class EvaluateConfig(SuiteSettings, TrainerConfig):
    """Settings of the trainer `evaluate`, beside those of `SuiteSettings`.

    Attributes:
        models: row of the table → model, usually `stage:NAME`; without any, `model` alone is measured.
        costs: row → the stages whose optimizer steps and sampled tokens were spent on it; adds two columns.
        title: of the table.
        rubric: must hold `accuracy`; its other rewards become columns.
        n, temperature, top_p, max_new_tokens: of sampling; temperature 0 is greedy.
        limit: tasks of each environment; the same ones for every model.
        batch_size: tasks decoded at once.
        shown: completions of each model and environment that go into the run.
        device, threads: see `devices`.
    """

    models: dict[str, str] = Field(default_factory=dict)
    costs: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    title: str = "Accuracy on held-out tasks"
    rubric: str | RubricSpec = "accuracy"
    n: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=128, ge=1)
    limit: int = Field(default=256, ge=1)
    batch_size: int = Field(default=128, ge=1)
    shown: int = Field(default=4, ge=0)
    device: Device = "auto"
    threads: int | None = Field(default=None, ge=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # DeepSeek-R1's protocol: pass@1 as the mean of k completions at temperature 0.6, top-p 0.95. The paper uses k from 4 to 64.
        "r1": {"temperature": 0.6, "top_p": 0.95, "n": 16, "max_new_tokens": 32_768},
    }

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to evaluate on")
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"{self.n} greedy completions of a task are one and the same; give a temperature, or n=1")
        if unknown := self.costs.keys() - self.models.keys():
            raise ValueError(f"costs of {', '.join(sorted(unknown))}: no such row; models has {', '.join(self.models)}")
        return self
