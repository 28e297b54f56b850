"""Estimators over correct and incorrect completions. Pure functions of numbers."""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return an unbiased estimate of the probability that at least one of `k` completions is correct, from `n` of which `c` are.

    1 - C(n-c, k) / C(n, k): Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1.

    Raises:
        ValueError: not 0 <= c <= n, or not 1 <= k <= n.
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} correct of {n} completions cannot be")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {n} completions; draw at least k and let k be at least 1")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def wilson_interval(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval (1927) around a share of `n` trials; `z` is the normal quantile, 95 % by default.

    Unlike the normal approximation it stays within [0, 1] and has a width at 0 and at 1.

    Args:
        share: successes / n; with several completions per task, the mean over all of them. `n` is then still the number of
            tasks: completions of one task are not independent, and this errs on the wide side.

    Raises:
        ValueError: no trials, or a share outside [0, 1].
    """
    if n < 1 or not 0.0 <= share <= 1.0:
        raise ValueError(f"no interval around {share} of {n} trials")
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, center - half_width), min(1.0, center + half_width)
