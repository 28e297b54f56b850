"""The settings of SFT and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from r1env_trainers.local import LocalConfig
from r1env_trainers.schedule import Schedule


class SFTConfig(LocalConfig):
    """Settings of the `sft` trainer, beside those of `LocalConfig`.

    Demonstrations come from a JSON-lines file (`data`), or are written for the tasks of an environment by a `demonstrator`.

    Attributes:
        data: a file with one of {"prompt": text, "completion": text} or {"messages": [...]} a line; the last message, an
            assistant's, is the response.
        env, env_options, template: the environment whose tasks are demonstrated.
        demonstrator: `module:function` of `(task, rng: numpy.random.Generator) -> str`, the response to learn.
        batch_size: demonstrations an optimizer step.
        max_length: longest prompt plus response, in tokens; longer demonstrations are refused.
        lr, lr_schedule, lr_floor: R1's SFT falls by a cosine to a tenth.
    """

    data: str | None = None
    env: str | None = None
    env_options: dict[str, Any] = Field(default_factory=dict)
    template: str | None = None
    demonstrator: str | None = None

    batch_size: int = Field(default=32, ge=1)
    max_length: int = Field(default=2048, ge=2)
    lr: float = Field(default=1e-5, gt=0)
    lr_schedule: Schedule = "cosine"
    lr_floor: float = Field(default=0.1, ge=0, le=1)

    checkpoint_every: int = Field(default=200, ge=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny-cpu": {
            "model": "tiny",
            "env": "sort-4",
            "env_options": {"style": "compact"},
            "demonstrator": "r1env_logic.demonstrators:shuffled_digits",
            "steps": 200,
            "batch_size": 64,
            "micro_batch_size": 64,
            "lr": 1e-3,
            "lr_schedule": "constant",
        },
    }

    @model_validator(mode="after")
    def _one_origin(self) -> SFTConfig:
        if (self.data is None) == (self.env is None):
            raise ValueError("give either data (a JSON-lines file) or env with a demonstrator")
        if self.env is not None and self.demonstrator is None:
            raise ValueError("env needs a demonstrator that writes the responses, as module:function")
        return self
