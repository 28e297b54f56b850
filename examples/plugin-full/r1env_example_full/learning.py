"""An advantage and a loss, as functions of tensors. Only trainers import this file."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_advantages(rewards: Tensor) -> Tensor:
    """Return the rank of each reward within its group, scaled to [-1, 1]; 0 for equal rewards and for unscored completions.

    Args:
        rewards: [G, n], NaN where unscored.
    """
    difference = rewards[:, :, None] - rewards[:, None, :]  # [G, n, n]
    compared = ~difference.isnan()
    wins = torch.where(compared, difference.sign(), torch.zeros_like(difference)).sum(-1)
    return wins / (compared.sum(-1) - 1).clamp(min=1)


def reinforce_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
    """Return -A log π per token, [B, T]: REINFORCE (Williams, 1992), without a ratio; for one update per batch of rollouts."""
    return -advantages * logprobs + 0.0 * old_logprobs
