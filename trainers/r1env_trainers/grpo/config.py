"""The settings of GRPO and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from r1env.rubrics import RubricSpec
from r1env_trainers.grpo.advantages import AdvantageEstimator
from r1env_trainers.grpo.kl import KLEstimator
from r1env_trainers.grpo.losses import Aggregation
from r1env_trainers.local import LocalConfig


class GRPOConfig(LocalConfig):
    """Settings of the `grpo` trainer, beside those of `LocalConfig`.

    Defaults follow the field of 2026: advantages without the deviation, token-mean loss, clip 0.2/0.28, no KL, one update a
    rollout, groups without variance left out.

    Attributes:
        env: environment name; `env_options` go to its task source.
        rubric: a preset's name, a YAML file, or the rubric itself (name, rewards).
        template: prompt template; None for the environment's own.
        steps: batches of rollouts.
        prompts_per_step, group_size: a step draws prompts_per_step * group_size completions.
        max_new_tokens, temperature, top_p: of sampling.
        mini_batches: optimizer steps a batch of rollouts (1 = on-policy).
        advantage, aggregation, clip_low, clip_high, kl_coef, kl_estimator: see `advantages`, `losses`, `kl`.
        track_kl: measure the KL to the starting model even where kl_coef is 0; costs a forward pass.
        eval_every, eval_limit, eval_options: greedy evaluation every so many steps (0: never) on so many tasks of the same
            environment under other options, e.g. {"split": "test"}; `eval_shown` of its completions go into the run each time.
        max_failed: the share of rollouts of a step whose scoring may fail before training stops.
        samples_every: how often rollouts are written to the run, in steps.
    """

    env: str
    env_options: dict[str, Any] = Field(default_factory=dict)
    rubric: str | RubricSpec = "zero"
    template: str | None = None

    prompts_per_step: int = Field(default=8, ge=1)
    group_size: int = Field(default=8, ge=2)
    max_new_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)

    mini_batches: int = Field(default=1, ge=1)

    advantage: AdvantageEstimator = "group_mean"
    aggregation: Aggregation = "token"
    clip_low: float = Field(default=0.2, ge=0)
    clip_high: float = Field(default=0.28, ge=0)
    kl_coef: float = Field(default=0.0, ge=0)
    kl_estimator: KLEstimator = "k3"
    track_kl: bool = False

    eval_every: int = Field(default=0, ge=0)
    eval_limit: int = Field(default=128, ge=1)
    eval_options: dict[str, Any] = Field(default_factory=dict)
    eval_shown: int = Field(default=4, ge=0)

    max_failed: float = Field(default=0.2, ge=0, le=1)
    samples_every: int = Field(default=10, ge=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Measured: "sort 4 digits" from chance to certainty in about a CPU minute. The rate is 10 times below the warm-up's:
        # at 1e-3 the policy collapses to an empty answer.
        "tiny-cpu": {
            "model": "tiny",
            "env": "sort-4",
            "env_options": {"style": "compact"},
            "steps": 125,
            "prompts_per_step": 16,
            "group_size": 16,
            "max_new_tokens": 12,
            "micro_batch_size": 256,
            "lr": 1e-4,
            "advantage": "group_std",
            "clip_high": 0.2,
            "track_kl": True,
            "eval_every": 25,
            "eval_limit": 256,
            "eval_options": {"split": "test"},
            "samples_every": 25,
            "rubric": {
                "name": "zero",
                "rewards": [
                    {"reward": "accuracy"},
                    {"reward": "format", "weight": 0.1, "options": {"empty_thinking": True}},
                ],
            },
        },
        # Published rates for models up to 0.6B lie between 2e-6 and 2e-5; our choice within.
        "smol-135m": {
            "model": "smollm2-135m",
            "env": "add-2digit",
            "template": "tagged",
            "prompts_per_step": 32,
            "group_size": 16,
            "max_new_tokens": 128,
            "lr": 1e-5,
            "eval_every": 10,
            "eval_options": {"split": "test"},
        },
    }

    @model_validator(mode="after")
    def _batches_divide(self) -> GRPOConfig:
        rollouts = self.prompts_per_step * self.group_size
        if rollouts % self.mini_batches:
            raise ValueError(
                f"{self.prompts_per_step} prompts x {self.group_size} completions = {rollouts} rollouts "
                f"do not divide into {self.mini_batches} mini-batches"
            )
        return self
