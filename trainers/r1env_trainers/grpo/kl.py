"""Estimators of KL(policy || reference) from samples of the policy (J. Schulman, "Approximating KL divergence", 2020).

Each takes log-probs of the sampled tokens, [B, T], and returns [B, T]. With r = reference / policy:
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

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
