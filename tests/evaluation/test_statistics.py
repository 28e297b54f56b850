"""The estimators against brute force."""

import itertools
import math
import random
from statistics import fmean

import pytest

from r1env.evaluation.statistics import mcnemar, mean_interval, paired_difference, pass_at_k, wilson_interval


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


def test_the_interval_of_task_means_covers_the_truth_as_often_as_it_says() -> None:
    chance, trials, covered = random.Random(0), 400, 0
    for _ in range(trials):
        # Completions of a task are alike: each task has its own difficulty, uniform in [0, 1], whose mean is 1/2.
        tasks = [chance.random() for _ in range(60)]
        low, high = mean_interval([fmean(chance.random() < difficulty for _ in range(4)) for difficulty in tasks])
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / trials <= 0.98


def test_the_interval_of_equal_means_has_a_width_and_stays_within_bounds() -> None:
    low, high = mean_interval([1.0] * 20)
    assert low < 1.0 == high
    assert mean_interval([0.0, 0.0, 0.0, 0.1])[0] == 0.0


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (3, 0), (5, 2), (4, 4), (1, 6)])
def test_mcnemar_counts_the_outcomes_at_least_as_uneven(better: int, worse: int) -> None:
    outcomes = list(itertools.product((0, 1), repeat=better + worse))
    uneven = [abs(2 * sum(outcome) - len(outcome)) >= abs(better - worse) for outcome in outcomes]
    assert mcnemar(better, worse) == pytest.approx(fmean(uneven))


def test_mcnemar_of_many_pairs_is_a_number() -> None:
    assert mcnemar(3000, 3000) == 1.0
    assert 0.0 <= mcnemar(4000, 1000) < 1e-300


def test_a_permutation_test_agrees_with_all_sign_flips_and_is_symmetric() -> None:
    first = [0.25, 0.5, 0.5, 0.75, 0.0, 1.0, 0.25, 0.5]
    second = [0.5, 0.75, 0.5, 1.0, 0.25, 0.75, 0.75, 0.75]
    changes = [b - a for a, b in zip(first, second, strict=True)]
    flips = [abs(sum(s * c for s, c in zip(signs, changes, strict=True))) for signs in itertools.product((1, -1), repeat=8)]
    exact = fmean(total >= abs(sum(changes)) - 1e-9 for total in flips)
    found, back = paired_difference(first, second), paired_difference(second, first)
    assert found.test == "sign-flip"
    assert found.p_value == pytest.approx(exact, abs=0.02)
    assert (found.better, found.worse) == (6, 1)
    assert back.difference == -found.difference
    assert back.interval == (pytest.approx(-found.interval[1], abs=0.02), pytest.approx(-found.interval[0], abs=0.02))


def test_the_interval_of_a_difference_is_that_of_all_resamples() -> None:
    first, second = [0.0, 0.25, 0.5, 0.5, 1.0, 0.25], [0.5, 0.25, 1.0, 0.75, 0.75, 1.0]
    changes = [b - a for a, b in zip(first, second, strict=True)]
    means = sorted(fmean(resample) for resample in itertools.product(changes, repeat=len(changes)))  # all 6^6 of them
    low, high = (means[round(share * (len(means) - 1))] for share in (0.025, 0.975))
    found = paired_difference(first, second)
    assert found.difference == pytest.approx(fmean(changes))
    # The means are multiples of 1/24; of 10,000 draws, a quantile may be the neighbouring one.
    assert found.interval == (pytest.approx(low, abs=1 / 24 + 1e-9), pytest.approx(high, abs=1 / 24 + 1e-9))


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 tasks"):
        paired_difference([1, 0, 1], [1, 0])
