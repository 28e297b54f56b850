"""Losses: the clipped policy loss in its forms, its aggregation to one number, KL estimators, the critic's loss. Pure functions."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from r1env.errors import UsageError
from r1env.hooks import LossSpec
from r1env.plugins import installed
from r1env_trainers.rl.config import Aggregation, Correction, PolicyRatio


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
    """Return the per-token loss -min(ρ A, clip(ρ, 1 - clip_low, 1 + clip_high) A): DeepSeekMath eq. 3, ρ = exp(logprobs - old_logprobs).

    Args:
        logprobs: [B, T] of the current policy, with gradient.
        old_logprobs: [B, T] of the policy that sampled, without gradient.
        advantages: [B] or [B, T].
        clip_low, clip_high: R1 uses 10 for both, which leaves the lower side open; DAPO 0.2 and 0.28.
        ratio: `token`; `sequence` for GSPO's ratio of whole sequences (`sequence_ratio`); `cispo` for `cispo_loss`.
        mask: [B, T]; `sequence` needs it.
        dual_clip: bound of the loss of a negative advantage, dual_clip * |A| (arXiv 1912.09729); above 1, or None for no bound.

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


def other_loss(
    name: str,
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    mask: Tensor,
    clip_low: float,
    clip_high: float,
) -> Tensor:
    """Return the loss per token, [B, T], that the function called `name` gives, of a plugin or at `module:attribute`.

    The function is called with these tensors, `advantages` as [B, T], and with `mask`, `clip_low` and `clip_high` by name, of which it may
    take any.

    Raises:
        UsageError: it returned another shape.

    Example of such a function:
        >>> def reinforce(logprobs, old_logprobs, advantages, **_):
        ...     return -advantages * logprobs
    """
    function = installed().load(LossSpec, name)
    settings = {"mask": mask, "clip_low": clip_low, "clip_high": clip_high}
    parameters = inspect.signature(function).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        settings = {key: value for key, value in settings.items() if key in parameters}
    per_token = function(logprobs, old_logprobs, _per_token(advantages).expand_as(logprobs), **settings)
    if not isinstance(per_token, Tensor) or per_token.shape != logprobs.shape:
        shown = list(per_token.shape) if isinstance(per_token, Tensor) else type(per_token).__name__
        raise UsageError(f"loss {name!r} returned {shown}; it must return a loss per token, {list(logprobs.shape)}")
    return per_token


def cispo_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Return the per-token loss -sg(clip(ρ, 1 - clip_low, 1 + clip_high)) A log π: CISPO (MiniMax-M1, arXiv 2506.13585, eq. 4-5).

    The clip bounds the weight of a token and never removes its gradient. Arguments as in `policy_loss`; MiniMax-M1 leaves the
    lower side open (clip_low of 1 or more).
    """
    weight = importance_ratio(logprobs, old_logprobs).clamp(1 - clip_low, 1 + clip_high).detach()
    return -weight * _per_token(advantages) * logprobs


def importance_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """Return ρ = exp(logprobs - old_logprobs), bounded at exp(±20): further apart, the two policies have nothing in common and exp
    would overflow."""
    return (logprobs - old_logprobs).clamp(-20.0, 20.0).exp()


def sequence_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Return [B, 1] exp(mean of log ρ over the sequence's tokens): GSPO (arXiv 2507.18071, eq. 7), bounded like `importance_ratio`."""
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
    """Return [B, T], 1.0 where the clip removed the gradient (`cispo`: bounded the weight); arguments as in `policy_loss`."""
    advantage = _per_token(advantages)
    rho = _ratio(logprobs, old_logprobs, ratio, mask)
    over, under = rho > 1 + clip_high, rho < 1 - clip_low
    if ratio != "cispo":
        over, under = over & (advantage > 0), under & (advantage < 0)
    return (over | under).float().expand_as(logprobs)


def sampler_correction(logprobs: Tensor, sampled_logprobs: Tensor, mask: Tensor, *, form: Correction, cap: float) -> Tensor:
    """Return weights min(π_trainer / π_sampler, cap), which correct for a sampler whose probabilities are not quite the trainer's.

    Truncated importance sampling (F. Yao et al., "Your efficient RL framework secretly brings you off-policy RL training", 2025):
    multiply the loss of each token by its weight.

    Args:
        logprobs: [B, T] of the trainer for the policy that sampled, without gradient.
        sampled_logprobs: [B, T] as the sampler reported them.
        form: `token`, one weight per token; `sequence`, the product over the sequence's tokens.

    Returns:
        [B, T] for `token`, [B, 1] for `sequence`.
    """
    gap = (logprobs - sampled_logprobs) * mask
    if form == "sequence":
        gap = gap.sum(dim=1, keepdim=True)
    return gap.clamp(-20.0, 20.0).exp().clamp(max=cap)


def aggregate(per_token: Tensor, mask: Tensor, mode: Aggregation, denominator: float) -> Tensor:
    """Sum the token losses of a micro-batch, so that the micro-batches of one update add up to the loss of the whole.

    Args:
        per_token, mask: [B, T].
        mode: `token-mean` sums tokens (DAPO, arXiv 2503.14476, eq. 8); `seq-mean-token-mean` averages each sequence over its own tokens first
            (the 1/|o_i| of DeepSeekMath eq. 3); `seq-mean-token-sum-norm` sums tokens (Dr. GRPO).
        denominator: of the whole update, from `loss_denominator`.
    """
    if mode == "seq-mean-token-mean":
        return ((per_token * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / denominator
    return (per_token * mask).sum() / denominator


def loss_denominator(mask: Tensor, mode: Aggregation, max_new_tokens: int) -> float:
    """Return what the sums of `aggregate` are divided by, over all sequences [B, T] of one update.

    `token-mean`: the number of tokens that count. `seq-mean-token-mean`: of sequences that have any. `seq-mean-token-sum-norm`: of those,
    times `max_new_tokens`.
    """
    sequences = float((mask.sum(dim=1) > 0).sum())
    if mode == "token-mean":
        return max(float(mask.sum()), 1.0)
    return max(sequences * (max_new_tokens if mode == "seq-mean-token-sum-norm" else 1), 1.0)


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


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return -log r: unbiased, may be negative, high variance."""
    return logprobs - reference


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return (log r)² / 2: biased, never negative; on-policy its gradient is that of the true KL."""
    return 0.5 * (logprobs - reference).square()


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return r - log r - 1: unbiased, never negative, low variance. DeepSeek-R1 eq. 2, DeepSeekMath eq. 4.

    log r is bounded at 20, so that a token which the policy has almost given up cannot make the exponential overflow.
    """
    log_ratio = (reference - logprobs).clamp(max=20.0)
    return log_ratio.exp() - log_ratio - 1


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


# The critic's loss, and how much of the returns it explains.


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Return the per-token loss max((V - R)², (V_old + clamp(V - V_old, ±clip) - R)²) / 2, as in OpenRLHF and TRL.

    Args:
        values: [B, T] of the current critic, with gradient.
        old_values: [B, T] of the critic before the update.
        returns: [B, T] what it is to predict.
        clip: None for (V - R)² / 2.
    """
    loss = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        loss = torch.maximum(loss, (near - returns).square())
    return 0.5 * loss


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(R - V) / Var(R) over the tokens that count: 1 for a perfect critic, 0 for a constant one, NaN where R is constant."""
    counting = mask > 0
    spread = returns[counting].var(correction=0)
    return float(torch.where(spread > 0, 1 - (returns - values)[counting].var(correction=0) / spread, torch.nan))
