"""The settings of PPO; what it shares with other trainers is in `grpo.rollout_config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1env_trainers.grpo.kl import KLEstimator
from r1env_trainers.grpo.losses import Aggregation
from r1env_trainers.grpo.presets import PRESETS as GRPO_PRESETS
from r1env_trainers.grpo.rollout_config import RolloutConfig

_OF_GRPO_ALONE = {"advantage", "clip_high", "track_kl"}


class PPOConfig(RolloutConfig):
    """Settings of the `ppo` trainer, beside those of `RolloutConfig` and `LocalConfig`.

    A group has no meaning here: `group_size` is how many completions share a prompt's prefill.

    Attributes:
        epochs, mini_batches: passes over a batch of rollouts, and optimizer steps in each; the rows are split at random.
        gamma, gae_lambda: see `gae`. The default 1.0 makes the advantage the return less the value; DeepSeek-R1's appendix (arXiv
            2501.12948v2, A.3) finds PPO close to GRPO with it, and considerably worse with the usual 0.95.
        whiten: normalise the advantages over the batch's tokens.
        clip_low, clip_high, aggregation: see `grpo.losses`.
        value_clip: how far a value may move from the old one before its loss stops falling; None: any distance.
        kl_coef, kl_estimator: see `grpo.kl`; with 0 there is no reference model.
        kl_in: the KL taken from every token's reward (InstructGPT), or as a term of the loss.
        critic: `separate`, a model of its own under a scalar head; `shared`, a head on the policy's last hidden state.
        critic_model: where a separate critic starts: a model, or a reward model; None: the policy's start.
        critic_lr, critic_warmup: the critic's peak rate (its schedule is the policy's), and the steps in which it learns alone.
        value_coef: of `shared`: weight of the value loss beside the policy's.
    """

    prompts_per_step: int = Field(default=64, ge=1)
    group_size: int = Field(default=1, ge=1)

    epochs: int = Field(default=1, ge=1)
    mini_batches: int = Field(default=1, ge=1)

    gamma: float = Field(default=1.0, gt=0, le=1)
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    whiten: bool = True
    clip_low: float = Field(default=0.2, ge=0)
    clip_high: float = Field(default=0.2, ge=0)
    aggregation: Aggregation = "token"
    value_clip: float | None = Field(default=0.2, gt=0)
    kl_coef: float = Field(default=0.0, ge=0)
    kl_estimator: KLEstimator = "k1"
    kl_in: Literal["reward", "loss"] = "reward"

    critic: Literal["separate", "shared"] = "separate"
    critic_model: str | None = None
    critic_lr: float = Field(default=1e-5, gt=0)
    critic_warmup: int = Field(default=0, ge=0)
    value_coef: float = Field(default=0.1, gt=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The rollouts are those of GRPO's preset, so that the two can be compared.
        "tiny-cpu": {
            **{name: value for name, value in GRPO_PRESETS["tiny-cpu"].items() if name not in _OF_GRPO_ALONE},
            "critic_lr": 1e-3,
        },
    }

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps a batch of rollouts."""
        return self.epochs * self.mini_batches

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        rollouts = self.prompts_per_step * self.group_size
        if rollouts % self.mini_batches:
            raise ValueError(f"{rollouts} rollouts a step do not divide into {self.mini_batches} mini-batches")
        return self

    @model_validator(mode="after")
    def _critic_is_one_of_two(self) -> Self:
        if self.critic == "shared" and self.critic_model is not None:
            raise ValueError("critic_model is where a separate critic starts; critic=shared has no model of its own")
        if self.critic_warmup >= self.steps:
            raise ValueError(f"critic_warmup={self.critic_warmup} leaves none of the {self.steps} steps to the policy")
        return self
