"""What an update aims at: which rows of an experience it learns from, and the advantage of each of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r1env_trainers.grpo import kl as kl_estimators
from r1env_trainers.grpo.advantages import ESTIMATORS, gdpo, mixed, mixed_parts, whiten, with_kl_reward
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.experience import Experience


@dataclass(frozen=True, slots=True)
class Targets:
    """What the rows of a batch are worth.

    Attributes:
        rows: [R] those to learn from.
        advantages: [B], or [B, T] where they differ from token to token.
    """

    rows: Tensor
    advantages: Tensor


def learning_rows(experience: Experience, config: GRPOConfig) -> Tensor:
    """[R] the rows that can teach something: scored, of a kept prompt, and of a group whose rewards differ.

    A term that does not come from the rewards (KL, entropy) has a gradient in every scored row; so has an advantage without a group
    (`reinforce_pp`). `refill` drops groups without a difference whatever the other terms, and `mask_truncated` cut-off rows.
    """
    n = experience.rewards.shape[1]
    useful = experience.rewards.flatten().isfinite() & experience.kept.repeat_interleave(n)
    if config.kl_coef == 0 and config.entropy_coef == 0 and config.advantage != "reinforce_pp":
        useful &= differing_groups(experience, config).repeat_interleave(n)
    if config.mask_truncated:
        useful &= ~experience.truncated
    return useful.nonzero().squeeze(1).to(experience.tokens.completion_mask.device)


def differing_groups(experience: Experience, config: GRPOConfig) -> Tensor:
    """[P] True where the advantage of a group is not 0 throughout."""
    return mixed_parts(experience.parts) if config.advantage == "gdpo" else mixed(experience.rewards)


def targets(experience: Experience, config: GRPOConfig, old: Tensor | None, reference: Tensor | None) -> Targets:
    """The rows and the advantages of an update.

    Args:
        old, reference: [B, T] log-probs of the policy that sampled and of the reference; needed for `kl_in="reward"`.
    """
    mask = experience.tokens.completion_mask
    rows = learning_rows(experience, config)
    advantages = _of_rewards(experience, config).flatten().to(mask.device)
    if config.kl_in == "reward":
        assert old is not None  # `update` computes both for this setting
        assert reference is not None
        estimate = kl_estimators.ESTIMATORS[config.kl_estimator](old, reference)
        advantages = with_kl_reward(advantages, estimate, mask, config.kl_coef)
    if config.whitens:
        learning = torch.zeros_like(mask)
        learning[rows] = mask[rows]
        per_token = advantages if advantages.dim() == 2 else advantages[:, None].expand_as(mask)
        advantages = whiten(per_token, learning)
    return Targets(rows, advantages)


def _of_rewards(experience: Experience, config: GRPOConfig) -> Tensor:
    """[P, n]"""
    if config.advantage == "gdpo":
        counting = experience.kept[:, None] & experience.rewards.isfinite()
        return gdpo(torch.where(counting[:, :, None], experience.parts, torch.nan), experience.part_weights)
    return ESTIMATORS[config.advantage](experience.rewards)
