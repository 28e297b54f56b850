"""The settings of distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1env.config import Preset
from r1env_trainers.rejection.config import DrawSettings, ExtraData
from r1env_trainers.settings import NAMES_ELSEWHERE, ModelName
from r1env_trainers.sft.config import TuningSettings

Method = Literal["sft", "on_policy"]
Divergence = Literal["exact", "sampled"]

_TINY: Mapping[str, Any] = {
    "model": "tiny-gpt2",
    "teacher": "tiny-2m",
    "env": "sort-4",
    "env_options": {"style": "compact"},
    "steps": 60,
    "optim": {"lr": 1e-3, "batch_size": 128, "micro_batch_size": 64},
    "eval": {"env_options": {"split": "test"}, "max_new_tokens": 12},
}


class DistillConfig(TuningSettings, DrawSettings):
    """Settings of the trainer `distill`. `model` is the student.

    Method `sft` is DeepSeek-R1's: the teacher answers, and what is right and readable is learned. Teacher and student share nothing
    but text. Method `on_policy` (GKD, arXiv 2306.13649): the student answers, and is drawn to the teacher's distribution on its own
    tokens; both must have one tokenizer. Each step then takes optim.batch_size / sampling.n new prompts with sampling.n answers each.
    """

    model: ModelName = Field(
        description="Student to start from: a name the trainer knows, a folder, a hub name, or stage:NAME."
    )
    teacher: ModelName = Field(description="Model to learn from, as its engine takes it, or stage:NAME.")
    method: Method = Field(
        default="sft", description="Learn the teacher's right samples, or match the teacher on the student's own tokens."
    )
    extra: tuple[ExtraData, ...] = Field(
        default=(), description="Of method sft: demonstrations from files to mix in: [{data, count or weight, domain}, …]."
    )
    divergence: Divergence = Field(
        default="exact",
        description="Of method on_policy: reverse KL per token, over the whole vocabulary or estimated from the sampled token.",
    )

    names_elsewhere: ClassVar[Mapping[str, str]] = NAMES_ELSEWHERE
    renamed: ClassVar[Mapping[str, str]] = {**TuningSettings.renamed, **DrawSettings.renamed}
    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {
        # The teacher is a name to be replaced: an untrained one has nothing to teach.
        "tiny-cpu": Preset(
            {
                **_TINY,
                "sampling": {"prompts": 1024, "n": 2, "prompts_per_batch": 128, "max_new_tokens": 12},
                "keep": {"per_prompt": 1},
            }
        ),
        "tiny-cpu-on-policy": Preset({**_TINY, "method": "on_policy", "sampling": {"n": 1, "max_new_tokens": 12}}),
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
        if self.optim.batch_size % self.sampling.n:
            raise ValueError(
                f"optim.batch_size={self.optim.batch_size} does not divide into groups of sampling.n={self.sampling.n} answers"
            )
        restrictions = self.sampling.params().changed("top_k", "min_p", "repetition_penalty")
        restrictions += [f"top_p={self.sampling.top_p}"] if self.sampling.top_p < 1 else []
        if self.divergence == "sampled" and restrictions:
            raise ValueError(
                f"divergence=sampled estimates the divergence from tokens drawn from the student's whole distribution, and "
                f"sampling.{restrictions[0]} draws from another one; leave it out, or set divergence=exact"
            )
        if self.engine.name != "transformers":
            raise ValueError(
                f"on_policy needs the teacher's probabilities of every token; engine {self.engine.name!r} does not give them"
            )
        for name, given in (("epochs", self.epochs), ("extra", self.extra)):
            if given:
                raise ValueError(f"{name} belongs to method 'sft'; on_policy draws new samples each step")
        return self
