"""The settings of SFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from r1env.trainer import BackendConfig
from r1env_trainers.model.session import LocalConfig, Schedule
from r1env_trainers.rl.config import SuiteSettings
from r1env_trainers.sft.rows import TrainOn

# Named settings of SFT. Numbers without a remark are DeepSeek-R1's (arXiv 2501.12948, version 2, appendix B.4).

LONGEST = 32_768  # tokens; R1's training length, in all of its SFT


def _distilled(model: str, lr: float) -> Mapping[str, Any]:
    """R1's distillation: two to three epochs of its 800 thousand samples, here two, in batches of 64, by a cosine to a tenth."""
    return {"model": model, "epochs": 2, "batch_size": 64, "max_length": LONGEST, "lr": lr, "warmup_steps": 0}


PRESETS: Mapping[str, Mapping[str, Any]] = {
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
    # DeepSeek-R1's own SFT stages, the cold start and the 800 thousand samples. Of a model one has, at its size; warm-up: ours.
    "r1": {"epochs": 2, "batch_size": 128, "max_length": LONGEST, "lr": 5e-5, "warmup_steps": 0},
    "distill-1.5b": _distilled("Qwen/Qwen2.5-Math-1.5B", 1e-4),
    "distill-7b": _distilled("Qwen/Qwen2.5-Math-7B", 8e-5),
    "distill-8b": _distilled("meta-llama/Llama-3.1-8B", 5e-5),
    "distill-14b": _distilled("Qwen/Qwen2.5-14B", 7e-5),
    "distill-32b": _distilled("Qwen/Qwen2.5-32B", 6e-5),
    "distill-70b": _distilled("meta-llama/Llama-3.3-70B-Instruct", 2e-5),
}


class DataShare(BaseModel):
    """A data file, and its share of the demonstrations relative to the others'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    weight: float = Field(gt=0, allow_inf_nan=False)


class TuningSettings(SuiteSettings, LocalConfig):
    """How demonstrations are learnt; shared by `sft` and `distill`.

    Attributes:
        batch_size: demonstrations an optimizer step.
        epochs: how often the data files are gone through, instead of `steps`.
        max_length: longest prompt plus response, in tokens; longer demonstrations are refused.
        micro_batch_tokens: tokens a forward pass, instead of `micro_batch_size` sequences; memory, not mathematics.
        lr, lr_schedule, lr_floor: R1's SFT falls by a cosine to a tenth.
        eval_every: measure every so many steps, and at the end (0: never).
        eval_env, eval_template: the environment whose accuracy is measured; by default the one that the tasks come from.
        eval_options: options of its task source, e.g. {"split": "test"}, over `env_options` where those are of the same environment.
        eval_limit, eval_temperature: how many tasks, and how they are answered: 0 is greedy.
        eval_max_new_tokens: the longest answer.
        eval_shown: of the answers, how many go into the run each time.
        stop_accuracy: end the stage once the measured accuracy reaches this: a cold start wants to leave something to learn.
    """

    batch_size: int = Field(default=32, ge=1)
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_length: int = Field(default=2048, ge=2)
    micro_batch_tokens: int | None = Field(default=None, ge=1)
    lr: float = Field(default=1e-5, gt=0)
    lr_schedule: Schedule = "cosine"
    lr_floor: float = Field(default=0.1, ge=0, le=1)
    checkpoint_every: int = Field(default=200, ge=0)

    eval_every: int = Field(default=0, ge=0)
    eval_env: str | None = None
    eval_template: str | None = None
    eval_options: dict[str, Any] = Field(default_factory=dict)
    eval_limit: int = Field(default=128, ge=1)
    eval_temperature: float = Field(default=1.0, ge=0)
    eval_max_new_tokens: int = Field(default=128, ge=1)
    eval_shown: int = Field(default=4, ge=0)
    stop_accuracy: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _stopping_needs_measuring(self) -> Self:
        if self.stop_accuracy is not None and not self.eval_every:
            raise ValueError("stop_accuracy needs eval_every, how often to measure")
        if self.micro_batch_size is not None and self.micro_batch_tokens is not None:
            raise ValueError("give micro_batch_size (sequences) or micro_batch_tokens, not both")
        return self


class SFTConfig(TuningSettings, BackendConfig):
    """Settings of the trainer `sft`, beside those of `TuningSettings`.

    Demonstrations come from JSON-lines files (`data`), or are written for the tasks of an environment by a `demonstrator`.

    Attributes:
        backend: in a recipe it is set by the stage's name; the option --backend is for RL.
        data: a file with one of {"prompt": text, "completion": text} or {"messages": [...]} a line, where the last message, an
            assistant's, is the response (`"chat": false` marks prompts that are raw text); several files, mixed as they come; or
            several with weights, [{data: FILE, weight: 3}, …].
        held_out: a file of demonstrations whose loss is measured every `eval_every` steps and never learnt from.
        train_on: `last` or `all` turns of the assistant, see `parse_row`.
        env, env_options, template, mixture: where the tasks to demonstrate come from.
        demonstrator: `module:function` of `(task, rng: numpy.random.Generator) -> str`, the response to learn.
    """

    data: str | tuple[str, ...] | tuple[DataShare, ...] | None = None
    held_out: str | None = None
    train_on: TrainOn = "last"
    demonstrator: str | None = None

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    set_by_stage: ClassVar[frozenset[str]] = frozenset({"backend", "backend_options"})

    @field_validator("data")
    @classmethod
    def _some_file(cls, value: object) -> object:
        if value == ():
            raise ValueError("the list of data files is empty")
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        tasks = self.env is not None or bool(self.mixture)
        if (self.data is None) != tasks:
            raise ValueError("give either data (JSON-lines files) or env with a demonstrator")
        if tasks and self.demonstrator is None:
            raise ValueError("env needs a demonstrator that writes the responses, as module:function")
        if tasks and self.epochs is not None:
            raise ValueError("epochs are of data files; with an environment say steps")
        return self

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        measures_accuracy = self.eval_env is not None or self.env is not None or bool(self.mixture)
        if self.eval_every and not measures_accuracy and self.held_out is None:
            raise ValueError("eval_every needs something to measure: held_out (a file) or eval_env (an environment)")
        if self.held_out is not None and not self.eval_every:
            raise ValueError("held_out needs eval_every, how often to measure its loss")
        if self.stop_accuracy is not None and not measures_accuracy:
            raise ValueError("stop_accuracy needs eval_env, the environment whose accuracy is measured")
        return self
