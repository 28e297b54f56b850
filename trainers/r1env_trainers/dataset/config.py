"""The settings of the trainer `dataset`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from r1env.trainer import TrainerConfig
from r1env_trainers.suites import SuiteSettings

RowKind = Literal["demonstration", "preference"]


class DatasetConfig(SuiteSettings, TrainerConfig):
    """Settings of the trainer `dataset`, beside those of `SuiteSettings`. It trains nothing, and leaves `data.jsonl`.

    Attributes:
        writer: `module:function` of `(task, rng: numpy.random.Generator)`: the response (a text) for a demonstration, or two
            responses, the better one first, for a preference.
        rows: `demonstration` rows hold `messages` that end with the response; `preference` rows `prompt`, `chosen` and `rejected`.
        count: how many rows, each of another task position.
    """

    model: str = ""
    writer: str
    rows: RowKind = "demonstration"
    count: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _has_tasks(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to write for")
        return self
