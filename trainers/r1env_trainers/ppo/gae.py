"""Generalised advantage estimation (arXiv 1506.02438) over the tokens of episodes. Pure functions on [B, T] tensors.

The mask is 1 on tokens that the model wrote. What an environment said between two turns is skipped: the state after a turn's last
token is the one before the next turn's first.
"""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(rewards: Tensor, mask: Tensor, penalty: Tensor | None = None) -> Tensor:
    """[B, T] the reward of an episode at its last token, less a penalty of every token.

    Args:
        rewards: [B].
        penalty: [B, T], say kl_coef * KL to a reference (InstructGPT, arXiv 2203.02155, eq. 2); None for none.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask > 0, positions, -1).amax(dim=1, keepdim=True)  # [B, 1], -1 for an episode without tokens
    given = torch.where(positions == last, rewards[:, None], 0.0)
    return given if penalty is None else given - penalty * mask


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Tensor:
    """A_t = Σ_k (γλ)^k δ_{t+k} with δ_t = r_t + γ V_{t+1} - V_t, eq. 16; V is 0 after the last token.

    With γ = λ = 1 this is the sum of the rewards from t on, less V_t.

    Args:
        rewards, values: [B, T]; values[:, t] is of the state before token t. Neither carries a gradient.

    Returns:
        [B, T], 0 where the mask is. The returns that the critic is to learn are advantages + values.
    """
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(values[:, 0])  # [B] A_{t+1}
    next_value = torch.zeros_like(following)
    for t in reversed(range(values.shape[1])):
        counts = mask[:, t] > 0
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(counts, delta + gamma * gae_lambda * following, following)
        next_value = torch.where(counts, values[:, t], next_value)
        advantages[:, t] = torch.where(counts, following, 0.0)
    return advantages
