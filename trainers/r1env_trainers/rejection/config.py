"""The settings of rejection sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1env.rubrics import RubricSpec
from r1env.trainer import TrainerConfig
from r1env_trainers.model.load import Device
from r1env_trainers.rl.config import SuiteSettings


class RewardFilter(BaseModel):
    """A reward that a sample must not fall below; a sample that it cannot score passes.

    Attributes:
        reward: its name, e.g. `language` for mixed languages or `repetition`.
        at_least: the lowest value that passes.
        options: of the reward.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: str
    at_least: float = Field(allow_inf_nan=False)
    options: dict[str, Any] = Field(default_factory=dict)


class Selection(BaseModel):
    """Which samples are kept. DeepSeek-R1 kept the right ones and left out mixed languages, long paragraphs and code blocks
    (section 2.3.3); it published no thresholds, so the numbers are our choice.

    Attributes:
        threshold: a sample is right when the rubric gives it at least this.
        per_prompt: the most samples kept of one prompt, in the order in which they were drawn.
        longest_paragraph: characters of the longest paragraph of the thinking; None for no limit.
        code_blocks: whether the thinking may hold fenced code.
        near_duplicate: a sample goes whose share of common 5-character pieces (Jaccard's index) with a kept one of the same prompt
            reaches this; None keeps all but exact copies.
        filters: rewards as filters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=1.0, allow_inf_nan=False)
    per_prompt: int = Field(default=4, ge=1)
    longest_paragraph: int | None = Field(default=None, ge=1)
    code_blocks: bool = True
    near_duplicate: float | None = Field(default=None, gt=0, le=1)
    filters: tuple[RewardFilter, ...] = ()

    @model_validator(mode="after")
    def _each_filter_once(self) -> Self:
        names = [item.reward for item in self.filters]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two filters by the reward {', '.join(doubled)}; one is enough")
        return self


class ExtraData(BaseModel):
    """Further demonstrations to mix in: writing, facts, translation – what no rule can check.

    Attributes:
        data: a JSON-lines file as `sft` reads it.
        count: how many of its rows, drawn at random; or
        weight: how many for each sample kept (R1: 0.33, 200 thousand beside 600 thousand).
        domain: of rows that name none, in the statistics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    count: int | None = Field(default=None, ge=1)
    weight: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    domain: str = "general"

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.count is None) == (self.weight is None):
            raise ValueError(f"extra {self.data}: give either count (rows) or weight (rows for each sample kept)")
        return self


class DrawSettings(SuiteSettings):
    """How completions are drawn and chosen; shared by `rejection` and `distill`.

    Attributes:
        rubric: says what is right; see `Selection.threshold`.
        prompts: tasks to draw for; a prompt that comes again is passed over.
        n, temperature, top_p, max_new_tokens: completions a prompt, and how they are sampled.
        keep: which of them stay.
        prompts_per_batch: prompts decoded at once. A batch is done or not: what a crash interrupts is drawn again, the same.
        engine, engine_options: where completions come from: `transformers`, `vllm`, or another that is installed.
        max_failed: the share of a batch whose scoring may fail before the stage stops.
    """

    rubric: str | RubricSpec = "accuracy"
    prompts: int = Field(default=256, ge=1)
    n: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=128, ge=1)
    keep: Selection = Selection()
    prompts_per_batch: int = Field(default=64, ge=1)
    engine: str = "transformers"
    engine_options: dict[str, Any] = Field(default_factory=dict)
    max_failed: float = Field(default=0.2, ge=0, le=1)


class RejectionConfig(DrawSettings, TrainerConfig):
    """Settings of the trainer `rejection`, beside those of `DrawSettings`. `model` is the one that samples.

    Attributes:
        extra: demonstrations from files, mixed in.
        device: of the engine `transformers`.
    """

    extra: tuple[ExtraData, ...] = ()
    device: Device = "auto"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny-cpu": {
            "model": "tiny",
            "env": "sort-4",
            "env_options": {"style": "compact"},
            "max_new_tokens": 12,
        },
        # R1's filters at its lengths; how many samples a prompt and every threshold are our choice.
        "r1": {
            "n": 4,
            "max_new_tokens": 32_768,
            "keep": {
                "per_prompt": 1,
                "longest_paragraph": 4_000,
                "code_blocks": False,
                "near_duplicate": 0.9,
                "filters": [{"reward": "language", "at_least": 0.9}, {"reward": "repetition", "at_least": -0.2}],
            },
        },
    }

    @model_validator(mode="after")
    def _has_tasks(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to draw prompts from")
        return self
