"""An advantage, a loss, a ratio, an aggregation and a KL estimator, as functions of tensors. Only trainers import this file."""

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


def smoothed_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """Return π / (π/2 + π_old/2) per token, [B, T]: like the ratio near 1, and never above 2, so that it needs no bound."""
    return 2 * torch.sigmoid(logprobs - old_logprobs)


def long_sequences(per_token: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over sequences of their sum divided by the root of their length, and the sum of those roots."""
    roots = mask.sum(dim=1).clamp(min=1).sqrt()
    return ((per_token * mask).sum(dim=1) / roots).sum(), (roots * (mask.sum(dim=1) > 0)).sum()


def absolute_kl(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return |log π - log π_ref| per token, [B, T]: biased, and both directions cost the same."""
    return (logprobs - reference).abs()
