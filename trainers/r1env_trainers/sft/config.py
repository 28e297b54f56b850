"""The settings of SFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from r1env.config import Preset
from r1env.preflight import Preflight
from r1env.trainer import BackendConfig
from r1env_trainers.settings import Checkpoint, Eval, LocalConfig, Optim, Schedule, SuiteSettings
from r1env_trainers.sft.rows import TrainOn

TooLong = Literal["refuse", "skip", "truncate"]
LONGEST = 32_768  # tokens; R1's training length, in all of its SFT
_R1_PAPER = "DeepSeek-R1, arXiv 2501.12948v2, appendix B.4"
_NO_WARMUP = "our choice: no warm-up was published"


def _distilled(model: str, lr: float) -> Preset:
    """R1's distillation: two to three epochs of its 800 thousand samples, here two, in batches of 64, by a cosine to a tenth."""
    return Preset(
        {"model": model, "epochs": 2, "max_length": LONGEST, "optim": {"lr": lr, "batch_size": 64, "warmup_steps": 0}},
        source=_R1_PAPER,
        notes={"epochs": f"{_R1_PAPER}: two to three", "optim.warmup_steps": _NO_WARMUP},
    )


PRESETS: Mapping[str, Preset] = {
    "tiny-cpu": Preset(
        {
            "model": "tiny",
            "env": "sort-4",
            "env_options": {"style": "compact"},
            "demonstrator": "r1env_logic.demonstrators:shuffled_digits",
            "steps": 200,
            "optim": {"lr": 1e-3, "lr_schedule": "constant", "batch_size": 64, "micro_batch_size": 64},
        }
    ),
    # DeepSeek-R1's own SFT stages, the cold start and the 800 thousand samples; the model is yours, at its size.
    "r1": Preset(
        {"epochs": 2, "max_length": LONGEST, "optim": {"lr": 5e-5, "batch_size": 128, "warmup_steps": 0}},
        source=_R1_PAPER,
        notes={"epochs": f"{_R1_PAPER}: two to three", "optim.warmup_steps": _NO_WARMUP},
    ),
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

    data: str = Field(description="A file, a folder or a hub data set (hub:owner/name).")
    columns: str | None = Field(default=None, description="What its columns are; see columns of the trainer.")
    weight: float = Field(gt=0, allow_inf_nan=False, description="Share relative to the other files.")


class SFTOptim(Optim):
    """Optimizer (AdamW) and learning rate."""

    lr: float = Field(default=1e-5, gt=0, description="Peak learning rate.")
    lr_schedule: Schedule = Field(
        default="cosine", description="Course of the learning rate after the warm-up.", json_schema_extra={"source": _R1_PAPER}
    )
    min_lr_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Last learning rate of a linear or cosine schedule, as a share of the peak.",
        json_schema_extra={"source": _R1_PAPER},
    )
    batch_size: int = Field(default=32, ge=1, description="Sequences per optimizer step.")
    micro_batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Tokens per forward pass, instead of micro_batch_size sequences; affects memory, not results.",
    )

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.micro_batch_size is not None and self.micro_batch_tokens is not None:
            raise ValueError("give micro_batch_size (sequences) or micro_batch_tokens, not both")
        return self


class SFTCheckpoint(Checkpoint):
    """Checkpoints, and the model that training leaves."""

    every: int = Field(
        default=200,
        ge=0,
        description="Steps between checkpoints, and one after the last; 0: only where the run is interrupted.",
    )


class TuningEval(Eval):
    """Evaluation during training."""

    env: str | None = Field(
        default=None, description="Environment whose accuracy is measured; null: the one that is trained on."
    )
    template: str | None = Field(default=None, description="Prompt template of eval.env; null: the environment's own.")
    temperature: float = Field(default=1.0, ge=0, description="Sampling temperature; 0 is greedy.")
    max_new_tokens: int = Field(default=128, ge=1, description="Most tokens per answer.")
    stop_accuracy: float | None = Field(
        default=None, gt=0, le=1, description="End the stage once the measured accuracy reaches this."
    )

    @model_validator(mode="after")
    def _stopping_needs_measuring(self) -> Self:
        if self.stop_accuracy is not None and not self.every:
            raise ValueError("eval.stop_accuracy needs eval.every, how often to measure")
        return self


class TuningSettings(SuiteSettings, LocalConfig):
    """How demonstrations are learned; shared by `sft` and `distill`."""

    steps: int = Field(default=100, ge=1, description="Training steps; each is one optimizer step.")
    epochs: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Passes over the data files, instead of steps."
    )
    max_length: int = Field(default=2048, ge=2, description="Most tokens of prompt plus response.")
    too_long: TooLong = Field(
        default="refuse", description="What is done with a longer demonstration; truncate cuts the end of its response off."
    )
    optim: SFTOptim = SFTOptim()
    preflight: Preflight = Preflight()
    eval: TuningEval = TuningEval()
    checkpoint: SFTCheckpoint = SFTCheckpoint()

    renamed: ClassVar[Mapping[str, str]] = {
        **LocalConfig.renamed,
        "batch_size": "optim.batch_size",
        "micro_batch_tokens": "optim.micro_batch_tokens",
        "eval_every": "eval.every",
        "eval_env": "eval.env",
        "eval_template": "eval.template",
        "eval_options": "eval.env_options",
        "eval_limit": "eval.limit",
        "eval_temperature": "eval.temperature",
        "eval_max_new_tokens": "eval.max_new_tokens",
        "eval_shown": "eval.samples",
        "stop_accuracy": "eval.stop_accuracy",
    }


class SFTEval(TuningEval):
    """Evaluation during training."""

    data: str | None = Field(
        default=None, description="A file of demonstrations whose loss is measured and which are never learned from."
    )

    @model_validator(mode="after")
    def _data_are_measured(self) -> Self:
        if self.data is not None and not self.every:
            raise ValueError("eval.data needs eval.every, how often to measure its loss")
        return self


class SFTConfig(TuningSettings, BackendConfig):
    """Settings of the trainer `sft`.

    Demonstrations come from files (`data`), or are written for the tasks of an environment by a `demonstrator`. A row has `messages`, of
    which the last, an assistant's, is the response, or `prompt` and `completion`, each a text or messages (`"chat": false` marks prompts that
    are raw text). Prompt and response go through the model's chat template.
    """

    data: str | tuple[str, ...] | tuple[DataShare, ...] | None = Field(
        default=None,
        description="A file, a folder or a hub data set (hub:owner/name), several, or several with weights: [{data: FILE, weight: 3}, …].",
    )
    columns: str | None = Field(
        default=None, description="What the columns are: question=problem,completion=solution; null: they are recognised."
    )
    train_on: TrainOn = Field(default="last", description="Turns of the assistant to learn.")
    demonstrator: str | None = Field(
        default=None,
        description="With env: module:function of (task, rng) that writes the response to learn, or a list of the model's turns.",
    )
    eval: SFTEval = SFTEval()

    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = PRESETS
    renamed: ClassVar[Mapping[str, str]] = {**TuningSettings.renamed, "held_out": "eval.data"}
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
            raise ValueError("give either data (files) or env with a demonstrator")
        if tasks and self.demonstrator is None:
            raise ValueError("env needs a demonstrator that writes the responses, as module:function")
        if tasks and self.epochs is not None:
            raise ValueError("epochs are of data files; with an environment say steps")
        return self

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        measures_accuracy = self.eval.env is not None or self.env is not None or bool(self.mixture)
        if self.eval.every and not measures_accuracy and self.eval.data is None:
            raise ValueError("eval.every needs something to measure: eval.data (a file) or eval.env (an environment)")
        if self.eval.stop_accuracy is not None and not measures_accuracy:
            raise ValueError("eval.stop_accuracy needs eval.env, the environment whose accuracy is measured")
        return self
