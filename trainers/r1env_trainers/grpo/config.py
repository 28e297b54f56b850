"""The settings of GRPO; its presets are in `presets`, what it shares with other trainers in `rollout_config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1env_trainers.grpo.advantages import AdvantageEstimator
from r1env_trainers.grpo.kl import KLEstimator
from r1env_trainers.grpo.losses import Aggregation, Correction, PolicyRatio
from r1env_trainers.grpo.presets import PRESETS
from r1env_trainers.grpo.rollout_config import RolloutConfig
from r1env_trainers.openrlhf.config import OpenRLHFOptions


class GRPOConfig(RolloutConfig):
    """Settings of the `grpo` trainer, beside those of `RolloutConfig` and `LocalConfig`.

    Defaults follow the field of 2026: advantages without the deviation, token-mean loss, clip 0.2/0.28, no KL, one update a
    rollout, groups without variance left out.

    Attributes:
        backend: `local`, in this process; or `openrlhf`, with Ray, vLLM and DeepSpeed under the settings of `openrlhf`.
        mini_batches: optimizer steps a batch of rollouts (1 = on-policy); the rows are split at random.
        advantage, whiten: see `advantages`; `whiten` normalises the advantages over the batch's tokens, as `reinforce_pp` always does.
        ratio, clip_low, clip_high, dual_clip, aggregation: see `losses`.
        kl_coef, kl_estimator: see `kl`; with 0 there is no reference model.
        kl_in: the KL as a term of the loss, or taken from every token's reward.
        reference_every: make the policy the new reference every so many steps; 0: never.
        track_kl: measure the KL to the reference even where kl_coef is 0; costs a forward pass.
        entropy_coef: weight of the policy's mean entropy a token, which the loss then raises.
        mask_truncated: leave rollouts that a token limit cut off out of the loss; they stay in their group's statistics.
        correction, correction_cap: see `losses.sampler_correction`; None: off. The gap is logged in any case.
    """

    backend: Literal["local", "openrlhf"] = "local"
    openrlhf: OpenRLHFOptions = OpenRLHFOptions()

    mini_batches: int = Field(default=1, ge=1)

    advantage: AdvantageEstimator = "group_mean"
    whiten: bool = False
    ratio: PolicyRatio = "token"
    clip_low: float = Field(default=0.2, ge=0)
    clip_high: float = Field(default=0.28, ge=0)
    dual_clip: float | None = Field(default=None, gt=1)
    aggregation: Aggregation = "token"
    kl_coef: float = Field(default=0.0, ge=0)
    kl_estimator: KLEstimator = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    reference_every: int = Field(default=0, ge=0)
    track_kl: bool = False
    entropy_coef: float = Field(default=0.0, ge=0)
    mask_truncated: bool = False
    correction: Correction | None = None
    correction_cap: float = Field(default=2.0, gt=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    @property
    def needs_reference(self) -> bool:
        return self.kl_coef > 0 or self.track_kl

    @property
    def whitens(self) -> bool:
        return self.whiten or self.advantage == "reinforce_pp"

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        rollouts = self.prompts_per_step * self.group_size
        if rollouts % self.mini_batches:
            raise ValueError(
                f"{self.prompts_per_step} prompts x {self.group_size} completions = {rollouts} rollouts "
                f"do not divide into {self.mini_batches} mini-batches"
            )
        return self

    @model_validator(mode="after")
    def _advantage_is_possible(self) -> Self:
        if self.group_size == 1 and self.advantage != "reinforce_pp":
            raise ValueError(f"advantage={self.advantage} compares the completions of a prompt; group_size must be 2 or more")
        return self

    @model_validator(mode="after")
    def _terms_fit_together(self) -> Self:
        if self.kl_in == "reward" and self.kl_coef == 0:
            raise ValueError("kl_in=reward takes the KL from the reward, and kl_coef=0 takes nothing; give kl_coef")
        if self.reference_every and not self.needs_reference:
            raise ValueError("reference_every replaces a reference model, and without kl_coef or track_kl there is none")
        if self.ratio == "cispo" and self.dual_clip is not None:
            raise ValueError("dual_clip bounds a ratio's loss, and ratio=cispo has none; leave one of them out")
        return self
