"""Advantages of completions from their rewards. Pure functions on a [G, n] matrix: G groups of n completions of one prompt.

NaN marks a completion that could not be scored: it is left out of all statistics and gets advantage 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from r1env.errors import UsageError
from r1env.hooks import AdvantageSpec, Spec
from r1env.plugins import installed

FLAT = 1e-6
"""Rewards of a group that differ by less than this are equal: float noise, not signal."""


def group_mean(rewards: Tensor) -> Tensor:
    """Return A_i = r_i - mean(r): the group's mean as baseline, no division (Dr. GRPO, arXiv 2503.20783, eq. 3).

    Args:
        rewards: [G, n], NaN where unscored.

    Returns:
        [G, n]; 0 where unscored, and throughout a group whose rewards are all equal.

    >>> group_mean(torch.tensor([[1.0, 0.0, 0.0, 1.0]])).tolist()
    [[0.5, -0.5, -0.5, 0.5]]
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    return _of_mixed_groups(centred, rewards)


def group_std(rewards: Tensor) -> Tensor:
    """Return A_i = (r_i - mean(r)) / std(r): DeepSeekMath section 4.1.2, DeepSeek-R1 eq. 3. The deviation is the sample's (n - 1).

    Arguments and result as in `group_mean`. No epsilon is needed: groups without variance are 0 by rule.
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    return _of_mixed_groups(centred / _deviation(centred, dim=1), rewards)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Return A_i = r_i - mean of the others' rewards: RLOO (arXiv 2402.14740), that is n / (n - 1) times `group_mean`.

    Arguments and result as in `group_mean`; n counts the scored completions of the group.
    """
    count = rewards.isfinite().sum(dim=1, keepdim=True)
    return group_mean(rewards) * count / (count - 1).clamp(min=1)


def maxrl(rewards: Tensor) -> Tensor:
    """Return A_i = (r_i - mean(r)) / mean(r): MaxRL (arXiv 2602.02710), which weighs a prompt by 1 / its success rate.

    For rewards that are never negative. Arguments and result as in `group_mean`; a group whose mean is not positive gets 0.
    """
    mean = rewards.nanmean(dim=1, keepdim=True)
    return torch.where(mean > FLAT, group_mean(rewards) / mean, 0.0)


def gdpo(parts: Tensor, weights: Tensor) -> Tensor:
    """Normalise each reward within its group, sum them by weight, and divide by the deviation over the batch.

    GDPO (arXiv 2601.05242): a reward with a small spread counts as much as one with a large spread.

    Args:
        parts: [G, n, K] of K rewards, NaN where one was not scored or does not belong to the group's environment.
        weights: [G, K] of the rewards in the environment of each group.

    Returns:
        [G, n]; 0 where no part was scored.
    """
    columns = parts.transpose(1, 2).flatten(end_dim=1)  # [G * K, n]
    normalised = group_std(columns).view(parts.shape[0], parts.shape[2], -1).transpose(1, 2)  # [G, n, K]
    summed = (normalised * weights[:, None, :]).sum(dim=2)
    scored = parts.isfinite().any(dim=2)
    centred = torch.where(scored, summed - summed[scored].mean(), torch.nan)
    deviation = _deviation(centred.flatten(), dim=0)
    return torch.where(deviation > FLAT, centred / deviation, 0.0).nan_to_num(0.0)


def baseline_free(rewards: Tensor) -> Tensor:
    """Return A_i = r_i: REINFORCE++ (arXiv 2501.03262), whose only baseline is the mean over the batch that `whiten` subtracts."""
    return rewards.nan_to_num(0.0)


def whiten(advantages: Tensor, mask: Tensor) -> Tensor:
    """Return (A - mean) / deviation over all tokens of a batch (REINFORCE++, arXiv 2501.03262). The deviation is the population's.

    Args:
        advantages, mask: [B, T]; only tokens where the mask is 1 count.

    Returns:
        [B, T], 0 where the mask is 0; 0 throughout where all advantages are equal.
    """
    count = mask.sum().clamp(min=1)
    centred = (advantages - (advantages * mask).sum() / count) * mask
    deviation = (centred.square().sum() / count).sqrt()
    return torch.where(deviation > FLAT, centred / deviation, 0.0)


def with_kl_reward(advantages: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """Return [B, T] A_it = A_i - kl_coef * Σ_{s >= t} kl_is: the KL as a reward of every token, undiscounted, as in InstructGPT.

    Args:
        advantages: [B].
        kl: [B, T] estimates of the KL to the reference, without gradient; mask: [B, T].
    """
    penalty = (kl * mask).flip(1).cumsum(dim=1).flip(1)
    return (advantages[:, None] - kl_coef * penalty) * mask


def mixed(rewards: Tensor) -> Tensor:
    """Return [G], True where the scored rewards of a group differ by at least `FLAT`: only such a group has a gradient."""
    low = rewards.nan_to_num(torch.inf).amin(dim=1)
    high = rewards.nan_to_num(-torch.inf).amax(dim=1)
    return high - low >= FLAT


def mixed_parts(parts: Tensor) -> Tensor:
    """Return [G], True where some reward of [G, n, K] differs within the group, even if the weighted sum does not."""
    return mixed(parts.transpose(1, 2).flatten(end_dim=1)).view(parts.shape[0], parts.shape[2]).any(dim=1)


def _of_mixed_groups(advantages: Tensor, rewards: Tensor) -> Tensor:
    return torch.where(mixed(rewards)[:, None], advantages, 0.0).nan_to_num(0.0)


def _deviation(centred: Tensor, dim: int) -> Tensor:
    """Return the sample's deviation (n - 1) of centred values along `dim`, kept, NaN left out."""
    count = centred.isfinite().sum(dim=dim, keepdim=True)
    return (centred.square().nansum(dim=dim, keepdim=True) / (count - 1).clamp(min=1)).sqrt()


def estimate_advantages(name: str, rewards: Tensor) -> Tensor:
    """Return the advantages that the estimator called `name` gives, of a plugin or at `module:attribute`.

    It must need the rewards alone; `gdpo`, which needs their parts, and `gae`, which needs a critic's values, are called by the update.

    Args:
        rewards: [G, n], NaN where unscored.

    Returns:
        [G, n]

    Raises:
        UsageError: the estimator returned another shape, or values that are not finite.

    Example:
        >>> estimate_advantages("dr_grpo", torch.tensor([[0.0, 1.0]])).tolist()
        [[-0.5, 0.5]]
    """
    advantages = formula(AdvantageSpec, name)(rewards)
    if not isinstance(advantages, Tensor) or advantages.shape != rewards.shape:
        shown = list(advantages.shape) if isinstance(advantages, Tensor) else type(advantages).__name__
        raise UsageError(f"advantage {name!r} returned {shown} for rewards of shape {list(rewards.shape)}")
    if not advantages.isfinite().all():
        raise UsageError(f"advantage {name!r} returned a value that is not finite; unscored completions (NaN) must get 0")
    return advantages


@functools.cache
def formula(spec_type: type[Spec], name: str) -> Callable[..., Any]:
    """Return the function that a setting names, loaded once: editing its file during a run changes nothing.

    `check_formulas` forgets what was loaded before, so that the next run in this process takes the file as it is then.
    """
    return cast(Callable[..., Any], installed().load(spec_type, name))


# Generalised advantage estimation (arXiv 1506.02438) over the tokens of episodes. Pure functions on [B, T] tensors.
#
# The mask is 1 on tokens that the model wrote. The environment's tokens between two turns are skipped: the state after a turn's last
# token is the one before the next turn's first.


def token_rewards(rewards: Tensor, mask: Tensor, penalty: Tensor | None = None) -> Tensor:
    """Return [B, T], the reward of an episode at its last token, less a penalty of every token.

    Args:
        rewards: [B].
        penalty: [B, T], for instance kl_coef * KL to a reference (InstructGPT, arXiv 2203.02155, eq. 2).
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask > 0, positions, -1).amax(dim=1, keepdim=True)  # [B, 1], -1 for an episode without tokens
    given = torch.where(positions == last, rewards[:, None], 0.0)
    return given if penalty is None else given - penalty * mask


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Tensor:
    """Return A_t = Σ_k (γλ)^k δ_{t+k} with δ_t = r_t + γ V_{t+1} - V_t, eq. 16; V is 0 after the last token.

    With γ = λ = 1 this is the sum of the rewards from t on, less V_t.

    Args:
        rewards, values: [B, T], without gradient; values[:, t] is that of the state before token t.

    Returns:
        [B, T], 0 where the mask is 0. The critic's targets (returns) are advantages + values.
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
