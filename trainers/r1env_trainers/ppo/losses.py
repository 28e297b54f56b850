"""The critic's loss, and how much of the returns it explains. Pure functions on [B, T] tensors; the policy's loss is in `grpo.losses`."""

from __future__ import annotations

import torch
from torch import Tensor


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Per-token loss max((V - R)², (V_old + clamp(V - V_old, ±clip) - R)²) / 2, as OpenRLHF and TRL have it.

    Args:
        values: of the critic now; carries the gradient.
        old_values: of the critic that valued the rollouts; returns: what it should have said.
        clip: None for (V - R)² / 2.
    """
    loss = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        loss = torch.maximum(loss, (near - returns).square())
    return 0.5 * loss


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(R - V) / Var(R) over the tokens that count: 1 for a critic that knows, 0 for a constant, NaN where R is constant."""
    counting = mask > 0
    spread = returns[counting].var(correction=0)
    return float(torch.where(spread > 0, 1 - (returns - values)[counting].var(correction=0) / spread, torch.nan))
