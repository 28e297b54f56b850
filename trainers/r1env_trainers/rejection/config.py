"""The settings of rejection sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1env.config import Preset, Settings
from r1env.preflight import Preflight
from r1env.rubrics import RubricSpec
from r1env.trainer import TrainerConfig
from r1env_trainers.settings import NAMES_ELSEWHERE, Device, ModelName, Sampling, SuiteSettings

_R1_PAPER = "DeepSeek-R1, arXiv 2501.12948, section 2.3.3"


class RewardFilter(BaseModel):
    """A reward that a sample must not fall below; a sample that it cannot score passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: str = Field(description="Name of the reward, e.g. language for mixed languages or repetition.")
    at_least: float = Field(allow_inf_nan=False, description="Lowest value that passes.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the reward.")


class Selection(Settings):
    """Which samples are kept.

    DeepSeek-R1 kept the right ones and left out mixed languages, long paragraphs and code blocks (section 2.3.3); it published no
    thresholds, so the numbers are our choice.
    """

    threshold: float = Field(default=1.0, allow_inf_nan=False, description="Least total of the rubric that counts as right.")
    per_prompt: int = Field(default=4, ge=1, description="Most samples kept per prompt, in the order in which they were drawn.")
    longest_paragraph: int | None = Field(
        default=None, ge=1, description="Most characters in a paragraph of the thinking; null: no limit."
    )
    code_blocks: bool = Field(default=True, description="Whether the thinking may contain fenced code.")
    near_duplicate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Drop samples this similar (Jaccard index of 5-character pieces) to one kept; null: only exact copies.",
    )
    filters: tuple[RewardFilter, ...] = Field(
        default=(), description="Rewards that a sample must reach: [{reward, at_least, options}, …]."
    )

    @model_validator(mode="after")
    def _each_filter_once(self) -> Self:
        names = [item.reward for item in self.filters]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two filters by the reward {', '.join(doubled)}; one is enough")
        return self


class ExtraData(BaseModel):
    """Further demonstrations to mix in: writing, facts, translation – what no rule can check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(description="A file, a folder or a hub data set, as sft reads it.")
    count: int | None = Field(default=None, ge=1, description="Rows to draw at random; or weight.")
    weight: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Rows per sample kept (R1: 0.33, 200 thousand beside 600 thousand).",
    )
    domain: str = Field(default="general", description="Domain in the statistics of rows that name none.")

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.count is None) == (self.weight is None):
            raise ValueError(f"extra {self.data}: give either count (rows) or weight (rows for each sample kept)")
        return self


class DrawSampling(Sampling):
    """How completions are sampled."""

    prompts: int = Field(default=256, ge=1, description="Tasks to draw for; a prompt that comes again is skipped.")
    n: int = Field(default=4, ge=1, description="Completions per prompt.")
    prompts_per_batch: int = Field(
        default=64, ge=1, description="Prompts decoded at once; an interrupted batch is drawn again, the same."
    )


class DrawEngine(Settings):
    """The inference engine that draws completions."""

    name: str = Field(default="transformers", description="Engine: transformers, vllm, or one of a plugin.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the engine.")


class DrawSettings(SuiteSettings):
    """How completions are drawn and chosen; shared by `rejection` and `distill`."""

    rubric: str | RubricSpec = Field(default="accuracy", description="What is right, see keep.threshold.")
    max_failed: float = Field(
        default=0.2, ge=0, le=1, description="Share of a batch whose scoring may fail before the stage stops."
    )
    sampling: DrawSampling = DrawSampling()
    engine: DrawEngine = DrawEngine()
    preflight: Preflight = Preflight()
    keep: Selection = Selection()

    names_elsewhere: ClassVar[Mapping[str, str]] = NAMES_ELSEWHERE
    renamed: ClassVar[Mapping[str, str]] = {
        "prompts": "sampling.prompts",
        "n": "sampling.n",
        "temperature": "sampling.temperature",
        "top_p": "sampling.top_p",
        "max_new_tokens": "sampling.max_new_tokens",
        "prompts_per_batch": "sampling.prompts_per_batch",
        "engine": "engine.name",
        "engine_options": "engine.options",
    }


class RejectionConfig(DrawSettings, TrainerConfig):
    """Settings of the trainer `rejection`."""

    model: ModelName = Field(description="Model that samples: a name, a folder, a hub name, or stage:NAME.")
    extra: tuple[ExtraData, ...] = Field(
        default=(), description="Demonstrations from files to mix in: [{data, count or weight, domain}, …]."
    )
    device: Device = Field(default="auto", description="Device of the engine transformers.")

    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {
        "tiny-cpu": Preset(
            {"model": "tiny", "env": "sort-4", "env_options": {"style": "compact"}, "sampling": {"max_new_tokens": 12}}
        ),
        "r1": Preset(
            {
                "sampling": {"n": 4, "max_new_tokens": 32_768},
                "keep": {
                    "per_prompt": 1,
                    "longest_paragraph": 4_000,
                    "code_blocks": False,
                    "near_duplicate": 0.9,
                    "filters": [{"reward": "language", "at_least": 0.9}, {"reward": "repetition", "at_least": -0.2}],
                },
            },
            source=_R1_PAPER,
            notes={
                "sampling.n": "our choice, never published",
                "keep": f"{_R1_PAPER}: mixed languages, long paragraphs and code blocks go; every threshold is our choice",
                "keep.per_prompt": "our choice, never published",
                "keep.near_duplicate": "our choice, never published",
            },
        ),
    }

    @model_validator(mode="after")
    def _has_tasks(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to draw prompts from")
        return self
