"""The clipped policy loss, and how a loss of tokens becomes one number. Pure functions on tensors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token", "sequence", "constant"]


def policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Per-token loss -min(ρ A, clip(ρ, 1 - clip_low, 1 + clip_high) A), DeepSeekMath eq. 3, ρ = exp(logprobs - old_logprobs).

    Args:
        logprobs: [B, T] of the current policy; carries the gradient.
        old_logprobs: [B, T] of the policy that sampled, without gradient.
        advantages: [B] or [B, T].
        clip_low, clip_high: R1 uses 10 for both, which leaves the lower side open; DAPO 0.2 and 0.28.

    Returns:
        [B, T].
    """
    ratio = importance_ratio(logprobs, old_logprobs)
    advantage = advantages if advantages.dim() == 2 else advantages[:, None]
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * advantage, clipped * advantage)


def importance_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """ρ = exp(logprobs - old_logprobs), bounded at exp(±20): beyond that the policies have parted, and exp would overflow."""
    return (logprobs - old_logprobs).clamp(-20.0, 20.0).exp()


def clipped_share(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """[B, T] 1.0 where the clip took the gradient away; arguments as `policy_loss`."""
    ratio = importance_ratio(logprobs, old_logprobs)
    advantage = advantages if advantages.dim() == 2 else advantages[:, None]
    over = (ratio > 1 + clip_high) & (advantage > 0)
    under = (ratio < 1 - clip_low) & (advantage < 0)
    return (over | under).float()


def aggregate(per_token: Tensor, mask: Tensor, mode: Aggregation, denominator: float) -> Tensor:
    """Sum a micro-batch's token losses so that the micro-batches of one update add up to the loss of the whole.

    Args:
        per_token, mask: [B, T].
        mode: `token` sums tokens (DAPO, arXiv 2503.14476, eq. 8); `sequence` averages each sequence over its own tokens first
            (the 1/|o_i| of DeepSeekMath eq. 3); `constant` sums tokens (Dr. GRPO).
        denominator: of the whole update, from `loss_denominator`.
    """
    if mode == "sequence":
        return ((per_token * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / denominator
    return (per_token * mask).sum() / denominator


def loss_denominator(mask: Tensor, mode: Aggregation, max_new_tokens: int) -> float:
    """What the sums of `aggregate` are divided by, over all sequences [B, T] of one update.

    `token`: the tokens that count. `sequence`: the sequences that have any. `constant`: those times `max_new_tokens`.
    """
    sequences = float((mask.sum(dim=1) > 0).sum())
    if mode == "token":
        return max(float(mask.sum()), 1.0)
    return max(sequences * (max_new_tokens if mode == "constant" else 1), 1.0)
