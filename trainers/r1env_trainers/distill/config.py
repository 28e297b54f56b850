"""The settings of distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from r1env_trainers.rejection.config import DrawSettings, ExtraData
from r1env_trainers.sft.config import TuningSettings

Method = Literal["sft", "on_policy"]
Divergence = Literal["exact", "sampled"]

_TINY: Mapping[str, Any] = {
    "model": "tiny-gpt2",
    "teacher": "tiny-2m",
    "env": "sort-4",
    "env_options": {"style": "compact"},
    "max_new_tokens": 12,
    "eval_options": {"split": "test"},
    "eval_max_new_tokens": 12,
    "micro_batch_size": 64,
    "lr": 1e-3,
    "steps": 60,
    "batch_size": 128,
}


class DistillConfig(TuningSettings, DrawSettings):
    """Settings of the trainer `distill`, beside those of `TuningSettings` (how the student learns) and `DrawSettings` (what is drawn,
    and of method `sft` what is kept). `model` is the student.

    Attributes:
        teacher: the model to learn from, as its engine takes it, or `stage:NAME`.
        method: `sft` (DeepSeek-R1's): the teacher answers, and what is right and readable is learnt. Teacher and student share nothing but
            text. `on_policy` (GKD, arXiv 2306.13649): the student answers, and is drawn to the teacher's distribution on its own tokens;
            both must have one tokenizer.
        extra: of `sft`: further demonstrations, mixed in.
        divergence: of `on_policy`: the reverse KL of every token, `exact` over the vocabulary, or `sampled`, where
            log p_teacher - log p_student of the token that was drawn is its advantage.
        batch_size: sequences an optimizer step; of `on_policy`, batch_size / n prompts with n answers each.
        prompts: of `sft`: tasks for the teacher. `on_policy` takes new ones each step.
    """

    teacher: str
    method: Method = "sft"
    extra: tuple[ExtraData, ...] = ()
    divergence: Divergence = "exact"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The teacher is a name to be replaced: an untrained one has nothing to teach.
        "tiny-cpu": {**_TINY, "prompts": 1024, "n": 2, "keep": {"per_prompt": 1}, "prompts_per_batch": 128},
        "tiny-cpu-on-policy": {**_TINY, "method": "on_policy", "n": 1},
    }

    @model_validator(mode="after")
    def _has_tasks(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to draw prompts from")
        return self

    @model_validator(mode="after")
    def _the_method_has_what_it_needs(self) -> Self:
        if self.method == "sft":
            return self
        if self.batch_size % self.n:
            raise ValueError(f"batch_size {self.batch_size} does not divide into groups of n={self.n} answers")
        if self.engine != "transformers":
            raise ValueError(
                f"on_policy needs the teacher's probabilities of every token; engine {self.engine!r} does not give them"
            )
        for name, given in (("epochs", self.epochs), ("extra", self.extra)):
            if given:
                raise ValueError(f"{name} belongs to method 'sft'; on_policy draws new samples each step")
        return self
