"""The estimators against brute force."""

import itertools
import math
from statistics import fmean

import pytest

from r1env.evaluation.statistics import pass_at_k, wilson_interval


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_all_subsets_that_hold_a_correct_completion(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        completions = [True] * c + [False] * (n - c)
        by_counting = fmean(any(subset) for subset in itertools.combinations(completions, k))
        assert pass_at_k(n, c, k) == pytest.approx(by_counting)


def test_pass_at_k_stays_exact_for_many_completions() -> None:
    assert pass_at_k(10_000, 1, 64) == pytest.approx(64 / 10_000)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def test_the_wilson_interval_agrees_with_a_published_value() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    low, high = wilson_interval(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_interval_has_a_width_at_the_edges_and_stays_within_them(share: float) -> None:
    low, high = wilson_interval(share, 16)
    assert 0.0 <= low < high <= 1.0
    assert low <= share + 1e-12
    assert high >= share - 1e-12


def test_the_interval_covers_about_95_percent_of_samples() -> None:
    n = 30
    intervals = [wilson_interval(c / n, n) for c in range(n + 1)]

    def coverage(p: float) -> float:
        hits = [c for c, (low, high) in enumerate(intervals) if low <= p <= high]
        return math.fsum(math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in hits)

    assert fmean(coverage(i / 100) for i in range(5, 96)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (1.5, 3), (-0.1, 3)])
def test_no_interval_without_trials_or_outside_the_unit_range(share: float, n: int) -> None:
    with pytest.raises(ValueError):
        wilson_interval(share, n)
