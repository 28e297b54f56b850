"""Estimators over correct and incorrect completions. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

Z95 = 1.959964  # normal quantile of a two-sided 95 % interval


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


def wilson_interval(share: float, n: int, z: float = Z95) -> tuple[float, float]:
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


def mean_interval(means: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval around the mean of per-task means in [0, 1].

    The standard error is clustered by task: completions of one task are not independent, tasks are (Miller 2024, "Adding error bars
    to evals", arXiv 2411.00640, section 2.2). Where all means are equal the standard error is 0 and says nothing; Wilson's interval over
    tasks is returned instead, which has a width there.

    >>> [round(end, 3) for end in mean_interval([0.0, 0.5, 1.0, 0.5])]
    [0.1, 0.9]
    """
    center = fmean(means)
    error = stdev(means) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    if error == 0.0:
        return wilson_interval(center, len(means))
    return max(0.0, center - Z95 * error), min(1.0, center + Z95 * error)


def share_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval around the mean of one value per task, each in [0, 1]: Wilson's where every value is 0 or 1.

    >>> share_interval([0, 1, 1]) == wilson_interval(2 / 3, 3)
    True
    """
    if all(value in (0.0, 1.0) for value in values):
        return wilson_interval(fmean(values), len(values))
    return mean_interval(values)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference between two models on the same tasks.

    Attributes:
        difference: mean over tasks of the second's share of correct completions less the first's.
        interval: 95 % interval around it.
        p_value: probability of a difference at least as large where the models are equally good.
        test: `McNemar` (exact, for one completion per task) or `sign-flip` (a permutation test).
        better, worse: tasks on which the second model is better, and worse.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    test: str
    better: int
    worse: int


def paired_difference(first: Sequence[float], second: Sequence[float], *, draws: int = 10_000) -> PairedDifference:
    """Compare two models by their shares of correct completions on the same tasks, in the same order.

    The interval is the percentile bootstrap over tasks. McNemar's exact test needs one completion per task (shares of 0 and 1);
    otherwise the signs of the differences are flipped at random. Both draw under a fixed seed.

    Raises:
        ValueError: there are no tasks, or not as many shares of one model as of the other.

    >>> paired_difference([0, 0, 0, 1], [1, 1, 1, 1]).p_value
    0.25
    """
    import numpy as np  # here, since importing r1env must not cost what NumPy costs

    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} tasks cannot be compared in pairs")
    changes = np.asarray(second, float) - np.asarray(first, float)
    rng = np.random.default_rng(0)
    observed = float(changes.mean())
    # In pieces: a thousand draws of ten thousand tasks are 80 MB.
    means = np.concatenate(
        [changes[rng.integers(0, len(changes), (100, len(changes)))].mean(axis=1) for _ in range(draws // 100)]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    better, worse = int((changes > 0).sum()), int((changes < 0).sum())
    p_value, test = paired_p_value(changes.tolist(), draws=draws)
    return PairedDifference(observed, (float(low), float(high)), p_value, test, better, worse)


def paired_p_value(changes: Sequence[float], *, draws: int = 10_000) -> tuple[float, str]:
    """Return the two-sided p-value of "the mean of these differences, one per task, is 0", and the name of the test.

    That is McNemar's exact test where each difference is -1, 0 or 1; otherwise the signs are flipped at random, under a fixed seed.

    >>> paired_p_value([1.0, 1.0, 0.0])
    (0.5, 'McNemar')
    """
    import numpy as np  # here, since importing r1env must not cost what NumPy costs

    values = np.asarray(changes, float)
    if set(np.unique(values)) <= {-1.0, 0.0, 1.0}:
        return mcnemar(int((values > 0).sum()), int((values < 0).sum())), "McNemar"
    rng = np.random.default_rng(0)
    # In pieces: a thousand draws of ten thousand tasks are 80 MB.
    flips = np.concatenate([(values * rng.choice((-1.0, 1.0), (100, len(values)))).mean(axis=1) for _ in range(draws // 100)])
    # The observed signs are one of the possible ones: a p-value of 0 cannot be.
    return float((1 + (np.abs(flips) >= abs(values.mean()) - 1e-12).sum()) / (1 + len(flips))), "sign-flip"


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: the binomial test of the discordant pairs against 1/2.

    >>> mcnemar(8, 1)
    0.0390625
    """
    discordant = better + worse
    if discordant == 0:
        return 1.0
    tail, ways = 0, 1
    for k in range(min(better, worse) + 1):
        tail += ways
        ways = ways * (discordant - k) // (k + 1)  # C(n, k + 1) from C(n, k), which is far cheaper than each anew
    return min(1.0, float(2 * tail / 2**discordant))
