"""The trainer `dataset`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.importing import import_target
from r1env.runs import files as atomic
from r1env.runs import files as logs
from r1env.runs.run import Run
from r1env.trainer import TrainerConfig
from r1env.types import Task
from r1env_trainers.settings import SuiteSettings, open_suite

DATA = "data.jsonl"
Writer = Callable[[Task, np.random.Generator], Any]


class DatasetTrainer:
    """The trainer plugin `dataset`: leaves `data.jsonl`. It takes seconds, so a crash is mended by starting over."""

    def check(self, config: DatasetConfig) -> None:
        next(rows(config))

    def train(self, config: DatasetConfig, run: Run) -> None:
        path = run.checkpoint_dir / DATA
        if path.exists():  # killed after its last deed
            return
        run.log(1, {"rows": float(config.count)})
        atomic.replace_text(path, logs.json_lines(rows(config)).decode())


def rows(config: DatasetConfig) -> Iterator[dict[str, Any]]:
    """Yield the rows in order; a row depends on its position and the seed alone.

    Raises:
        UsageError: an unknown environment or writer, or a writer that returns something else.
    """
    suite = open_suite(config, "accuracy")
    writer = cast(Writer, import_target(config.writer))
    for position in range(config.count):
        environment, task = suite.at(position, config.seed)
        written = writer(task, np.random.default_rng([config.seed, position, 1]))
        yield _row(environment, task, written, config)


def _row(environment: Environment, task: Task, written: object, config: DatasetConfig) -> dict[str, Any]:
    prompt = list(environment.template.messages(task))
    about = {"task_id": task.id, "domain": environment.name, "language": task.language, "chat": environment.template.chat}
    if config.rows == "demonstration" and isinstance(written, str):
        return {"messages": [*prompt, {"role": "assistant", "content": written}], **about}
    if config.rows == "preference" and isinstance(written, tuple) and len(written) == 2:
        return {"prompt": prompt, "chosen": written[0], "rejected": written[1], **about}
    wanted = "a text" if config.rows == "demonstration" else "two texts, the better one first"
    raise UsageError(f"{config.writer} must return {wanted} for a {config.rows}, not {type(written).__name__}")


# The settings of the trainer `dataset`.

RowKind = Literal["demonstration", "preference"]


class DatasetConfig(SuiteSettings, TrainerConfig):
    """Settings of the trainer `dataset`. It trains nothing, and leaves `data.jsonl`.

    `demonstration` rows hold `messages` that end with the response; `preference` rows hold `prompt`, `chosen` and `rejected`.
    """

    model: str = Field(default="", description="Not used.")
    writer: str = Field(
        description="module:function of (task, rng): a response, or for preference rows two, the better one first."
    )
    rows: RowKind = Field(default="demonstration", description="What to write.")
    count: int = Field(default=1000, ge=1, description="Rows to write, each for another task.")

    @model_validator(mode="after")
    def _has_tasks(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to write for")
        return self
