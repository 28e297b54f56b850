"""Losses: the clipped policy loss, its ratios, its aggregation to one number, KL estimators, the critic's loss. Pure functions.

Losses, ratios, aggregations and estimators are found by name: those below, a plugin's, `module:attribute` and `file.py:attribute`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from r1env.errors import UsageError
from r1env.hooks import KLEstimatorSpec, LossAggregationSpec, LossSpec, PolicyRatioSpec
from r1env.importing import accepted
from r1env_trainers.rl.advantages import estimate_advantages, formula
from r1env_trainers.rl.config import Algo, Correction


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    ratio: str = "token",
    mask: Tensor | None = None,
    dual_clip: float | None = None,
) -> Tensor:
    """Return the per-token loss -min(ρ A, clip(ρ, 1 - clip_low, 1 + clip_high) A): DeepSeekMath eq. 3, ρ = exp(logprobs - old_logprobs).

    Args:
        logprobs: [B, T] of the current policy, with gradient.
        old_logprobs: [B, T] of the policy that sampled, without gradient.
        advantages: [B] or [B, T].
        clip_low, clip_high: R1 uses 10 for both, which leaves the lower side open; DAPO 0.2 and 0.28.
        ratio: `token`; `sequence` for GSPO's ratio of whole sequences (`sequence_ratio`); or another's, see `policy_ratio`.
        mask: [B, T]; `sequence` needs it.
        dual_clip: bound of the loss of a negative advantage, dual_clip * abs(A) (arXiv 1912.09729); above 1, or None for no bound.

    Returns:
        [B, T].
    """
    advantage = _per_token(advantages)
    rho = policy_ratio(ratio, logprobs, old_logprobs, mask)
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
    function = formula(LossSpec, name)
    settings = accepted(function, mask=mask, clip_low=clip_low, clip_high=clip_high)
    per_token = function(logprobs, old_logprobs, _per_token(advantages).expand_as(logprobs), **settings)
    return _of_shape(f"loss {name!r}", "a loss per token", per_token, list(logprobs.shape))


def cispo_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Return the per-token loss -sg(clip(ρ, 1 - clip_low, 1 + clip_high)) A log π: CISPO (MiniMax-M1, arXiv 2506.13585, eq. 4-5).

    The clip bounds the weight of a token and never removes its gradient. Arguments as in `policy_loss`; MiniMax-M1 leaves the
    lower side open (clip_low of 1 or more).
    """
    weight = importance_ratio(logprobs, old_logprobs).clamp(1 - clip_low, 1 + clip_high).detach()
    return -weight * _per_token(advantages) * logprobs


def policy_ratio(name: str, logprobs: Tensor, old_logprobs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the ratio called `name` (`token`, `sequence`), of a plugin or at `module:attribute`, with gradient: [B, T] or [B, 1].

    The function is called with both log-probs, and with `mask` by name if it takes that.

    Raises:
        ValueError: the function needs the mask, and it is None.
        UsageError: it returned another shape.
    """
    function = formula(PolicyRatioSpec, name)
    settings = accepted(function, mask=mask)
    if "mask" in settings and mask is None:
        raise ValueError(f"the ratio {name!r} needs the mask of the tokens")
    ratio = function(logprobs, old_logprobs, **settings)
    rows, columns = logprobs.shape
    return _of_shape(f"policy ratio {name!r}", "a ratio per token or per sequence", ratio, [rows, columns], [rows, 1])


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
    ratio: str = "token",
    mask: Tensor | None = None,
    bounds_weight: bool = False,
) -> Tensor:
    """Return [B, T], 1.0 where the clip removed the gradient; arguments as in `policy_loss`.

    Args:
        bounds_weight: count every ratio beyond the clip, whatever the advantage's sign: `cispo_loss` bounds weights.
    """
    advantage = _per_token(advantages)
    rho = policy_ratio(ratio, logprobs, old_logprobs, mask)
    over, under = rho > 1 + clip_high, rho < 1 - clip_low
    if not bounds_weight:
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


# Aggregation. A function of the loss per token and its mask, [B, T] each, returns a total and a count, scalars. Both are added up over
# the micro-batches of an update, whose loss is total / count: cutting it into micro-batches changes memory, not mathematics.


def token_mean(per_token: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over tokens, and their number: DAPO (arXiv 2503.14476, eq. 8)."""
    return (per_token * mask).sum(), mask.sum()


def seq_mean_token_mean(per_token: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over sequences of the mean over their tokens, and the number of sequences: `1/|o_i|` of DeepSeekMath eq. 3."""
    return ((per_token * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum(), _sequences(mask)


def seq_mean_token_sum_norm(per_token: Tensor, mask: Tensor, *, max_new_tokens: int) -> tuple[Tensor, Tensor]:
    """Return the sum over tokens, and the number of sequences times `max_new_tokens`: Dr. GRPO (arXiv 2503.20783)."""
    return (per_token * mask).sum(), _sequences(mask) * max_new_tokens


def aggregate(per_token: Tensor, mask: Tensor, mode: str, denominator: float, *, max_new_tokens: int = 1) -> Tensor:
    """Return what a micro-batch adds to the loss of its update: its total by the aggregation `mode`, divided by `denominator`.

    Args:
        per_token, mask: [B, T].
        mode: `token-mean`, `seq-mean-token-mean`, `seq-mean-token-sum-norm`, a plugin's name, or `module:attribute`.
        denominator: of the whole update, from `loss_denominator`.
        max_new_tokens: the limit of a completion; no total of ours depends on it.

    Raises:
        UsageError: the function returned anything but two scalars.
    """
    return _total_and_count(per_token, mask, mode, max_new_tokens)[0] / denominator


def loss_denominator(mask: Tensor, mode: str, max_new_tokens: int) -> float:
    """Return the count of the aggregation `mode` over all sequences [B, T] of one update; 1 where it is 0, and there is nothing to add.

    Raises:
        UsageError: the function returned anything but two scalars, or a count that is negative or not finite.
    """
    count = float(_total_and_count(torch.zeros_like(mask), mask, mode, max_new_tokens)[1])
    if not (math.isfinite(count) and count >= 0):
        raise UsageError(f"loss aggregation {mode!r} returned the count {count}; it must be finite and not negative")
    return count or 1.0


def _total_and_count(per_token: Tensor, mask: Tensor, mode: str, max_new_tokens: int) -> tuple[Tensor, Tensor]:
    function = formula(LossAggregationSpec, mode)
    result = function(per_token, mask, **accepted(function, max_new_tokens=max_new_tokens))
    if not isinstance(result, tuple) or len(result) != 2:
        raise UsageError(f"loss aggregation {mode!r} returned {type(result).__name__}; it must return a total and a count")
    total, count = result
    what, wanted = f"loss aggregation {mode!r}", "a total and a count, scalars"
    count = torch.as_tensor(count) if isinstance(count, int | float) else count
    return _of_shape(what, wanted, total, []), _of_shape(what, wanted, count, [])


def _sequences(mask: Tensor) -> Tensor:
    """Return the number of sequences that have a token."""
    return (mask.sum(dim=1) > 0).sum()


def _of_shape(what: str, wanted: str, found: object, *shapes: list[int]) -> Tensor:
    """Return `found`.

    Raises:
        UsageError: a third-party function returned no tensor, or one of another shape.
    """
    if not isinstance(found, Tensor) or list(found.shape) not in shapes:
        shown = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UsageError(f"{what} returned {shown}; it must return {wanted}, {' or '.join(map(str, shapes))}")
    return found


def _per_token(advantages: Tensor) -> Tensor:
    """[B, 1] or [B, T]."""
    return advantages if advantages.dim() == 2 else advantages[:, None]


# Estimators of KL(policy || reference) from samples of the policy (J. Schulman, "Approximating KL divergence", 2020).
#
# Each takes log-probs of the sampled tokens, [B, T], and returns [B, T]. With r = reference / policy:


def estimate_kl(name: str, logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return [B, T], estimates by the function called `name` (`k1`, `k2`, `k3`), of a plugin or at `module:attribute`.

    Raises:
        UsageError: the function returned another shape.

    Example:
        >>> estimate_kl("k1", torch.tensor([[-1.0]]), torch.tensor([[-3.0]])).tolist()
        [[2.0]]
    """
    estimate = formula(KLEstimatorSpec, name)(logprobs, reference)
    return _of_shape(f"KL estimator {name!r}", "an estimate per token", estimate, list(logprobs.shape))


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


def check_formulas(algo: Algo) -> None:
    """Call every function that the settings name on small tensors, so that one which cannot be used is refused before the first step.

    Raises:
        UsageError: a function raised, or returned something else than it must.
    """
    formula.cache_clear()
    logprobs, old, mask = torch.tensor([[-1.0, -2.0], [-0.5, -1.0]]), torch.tensor([[-1.1, -1.9]] * 2), torch.ones(2, 2)
    advantages, clip = torch.tensor([1.0, -1.0]), {"clip_low": algo.clip_ratio_low, "clip_high": algo.clip_ratio_high}
    calls: dict[str, Callable[[], object]] = {
        f"loss={algo.loss}": lambda: other_loss(algo.loss, logprobs, old, advantages, mask=mask, **clip),
        f"policy_ratio={algo.policy_ratio}": lambda: policy_ratio(algo.policy_ratio, logprobs, old, mask),
        f"kl_estimator={algo.kl_estimator}": lambda: estimate_kl(algo.kl_estimator, logprobs, old),
        f"loss_aggregation={algo.loss_aggregation}": lambda: loss_denominator(mask, algo.loss_aggregation, 2),
    }
    if algo.advantage not in ("gdpo", "gae"):  # which need more than rewards
        calls[f"advantage={algo.advantage}"] = lambda: estimate_advantages(
            algo.advantage, torch.tensor([[0.0, 1.0], [1.0, torch.nan]])
        )
    for setting, call in calls.items():
        try:
            call()
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"algo.{setting} raised {type(error).__name__} on small tensors: {error}") from error


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
