"""The clipped policy loss in its forms, and how a loss of tokens becomes one number. Pure functions on tensors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

PolicyRatio = Literal["token", "sequence", "cispo"]
Correction = Literal["token", "sequence"]
Aggregation = Literal["token", "sequence", "constant"]


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    ratio: PolicyRatio = "token",
    mask: Tensor | None = None,
    dual_clip: float | None = None,
) -> Tensor:
    """Per-token loss -min(ρ A, clip(ρ, 1 - clip_low, 1 + clip_high) A), DeepSeekMath eq. 3, ρ = exp(logprobs - old_logprobs).

    Args:
        logprobs: [B, T] of the current policy; carries the gradient.
        old_logprobs: [B, T] of the policy that sampled, without gradient.
        advantages: [B] or [B, T].
        clip_low, clip_high: R1 uses 10 for both, which leaves the lower side open; DAPO 0.2 and 0.28.
        ratio: `token`; `sequence` for GSPO's ratio of whole sequences (`sequence_ratio`); `cispo` for `cispo_loss`.
        mask: [B, T]; `sequence` needs it.
        dual_clip: bounds the loss of a negative advantage at dual_clip * |A| (arXiv 1912.09729); above 1. None: no bound.

    Returns:
        [B, T].
    """
    advantage = _per_token(advantages)
    if ratio == "cispo":
        return cispo_loss(logprobs, old_logprobs, advantage, clip_low=clip_low, clip_high=clip_high)
    rho = _ratio(logprobs, old_logprobs, ratio, mask)
    clipped = rho.clamp(1 - clip_low, 1 + clip_high)
    objective = torch.minimum(rho * advantage, clipped * advantage)
    if dual_clip is not None:
        objective = torch.where(advantage < 0, torch.maximum(objective, dual_clip * advantage), objective)
    return -objective


def cispo_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Per-token loss -sg(clip(ρ, 1 - clip_low, 1 + clip_high)) A log π: CISPO (MiniMax-M1, arXiv 2506.13585, eq. 4-5).

    The clip bounds the weight of a token and never takes its gradient away. Arguments as `policy_loss`; MiniMax-M1 leaves the
    lower side open (clip_low of 1 or more).
    """
    weight = importance_ratio(logprobs, old_logprobs).clamp(1 - clip_low, 1 + clip_high).detach()
    return -weight * _per_token(advantages) * logprobs


def importance_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """ρ = exp(logprobs - old_logprobs), bounded at exp(±20): beyond that the policies have parted, and exp would overflow."""
    return (logprobs - old_logprobs).clamp(-20.0, 20.0).exp()


def sequence_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """[B, 1] exp(mean over the sequence's tokens of log ρ): GSPO (arXiv 2507.18071, eq. 7), bounded as `importance_ratio`."""
    mean = ((logprobs - old_logprobs) * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return mean.clamp(-20.0, 20.0).exp()


def clipped_share(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    ratio: PolicyRatio = "token",
    mask: Tensor | None = None,
) -> Tensor:
    """[B, T] 1.0 where the clip took the gradient away (for `cispo`: where it bounded the weight); arguments as `policy_loss`."""
    advantage = _per_token(advantages)
    rho = _ratio(logprobs, old_logprobs, ratio, mask)
    over, under = rho > 1 + clip_high, rho < 1 - clip_low
    if ratio != "cispo":
        over, under = over & (advantage > 0), under & (advantage < 0)
    return (over | under).float().expand_as(logprobs)


def sampler_correction(logprobs: Tensor, sampled_logprobs: Tensor, mask: Tensor, *, form: Correction, cap: float) -> Tensor:
    """Weights min(π_trainer / π_sampler, cap) for where the sampler's probabilities are not the trainer's.

    Truncated importance sampling (F. Yao et al., "Your efficient RL framework secretly brings you off-policy RL training", 2025):
    the loss of a token is multiplied by its weight.

    Args:
        logprobs: [B, T] of the trainer for the policy that sampled, without gradient.
        sampled_logprobs: [B, T] as the sampler reported them.
        form: `token`, a weight a token; `sequence`, the product over the sequence's tokens.

    Returns:
        [B, T] for `token`, [B, 1] for `sequence`.
    """
    gap = (logprobs - sampled_logprobs) * mask
    if form == "sequence":
        gap = gap.sum(dim=1, keepdim=True)
    return gap.clamp(-20.0, 20.0).exp().clamp(max=cap)


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


def _ratio(logprobs: Tensor, old_logprobs: Tensor, ratio: PolicyRatio, mask: Tensor | None) -> Tensor:
    if ratio != "sequence":
        return importance_ratio(logprobs, old_logprobs)
    if mask is None:
        raise ValueError("the ratio of sequences needs the mask of their tokens")
    return sequence_ratio(logprobs, old_logprobs, mask)


def _per_token(advantages: Tensor) -> Tensor:
    """[B, 1] or [B, T]."""
    return advantages if advantages.dim() == 2 else advantages[:, None]


# Estimators of KL(policy || reference) from samples of the policy (J. Schulman, "Approximating KL divergence", 2020).
#
# Each takes log-probs of the sampled tokens, [B, T], and returns [B, T]. With r = reference / policy:

KLEstimator = Literal["k1", "k2", "k3"]


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """-log r: unbiased, may be negative, high variance."""
    return logprobs - reference


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """(log r)² / 2: biased, never negative; its gradient is that of the true KL on-policy."""
    return 0.5 * (logprobs - reference).square()


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """r - log r - 1: unbiased, never negative, low variance. DeepSeek-R1 eq. 2, DeepSeekMath eq. 4.

    log r is bounded at 20, so that a token the policy has all but given up cannot make the exponential overflow.
    """
    log_ratio = (reference - logprobs).clamp(max=20.0)
    return log_ratio.exp() - log_ratio - 1


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


# The critic's loss, and how much of the returns it explains. Pure functions on [B, T] tensors.


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
