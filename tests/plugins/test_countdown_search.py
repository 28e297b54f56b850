"""Searches for a countdown that are written down as demonstrations."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from r1env.data.sources import iterate
from r1env_logic.countdown import countdown_tasks, evaluate
from r1env_logic.demonstrators import TRIES, tried_expressions

LINE = re.compile(r"(.+) = (-?\d+) (yes|no)")


def searched(task, seed):
    """The tries as (expression, value, verdict), and the answer."""
    response = tried_expressions(task, np.random.default_rng(seed))
    thinking, answer = re.fullmatch(r"<think>(.*)</think><answer>(.*)</answer>", response, re.DOTALL).groups()
    return [LINE.fullmatch(line).groups() for line in thinking.split("\n")], answer


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_a_search_computes_and_compares_truthfully_and_stops_at_the_first_success(count, seed):
    task = countdown_tasks(count).task(seed)
    tries, answer = searched(task, seed)
    assert 1 <= len(tries) <= TRIES
    assert len({expression for expression, _, _ in tries}) == len(tries)
    for expression, value, verdict in tries:
        made = evaluate(expression)
        assert made.value == int(value)
        assert sorted(made.numbers) == sorted(task.metadata["numbers"])
        assert verdict == ("yes" if made.value == task.metadata["target"] else "no")
    assert "yes" not in [verdict for _, _, verdict in tries[:-1]]
    assert answer == tries[-1][0]


def test_a_blind_search_finds_the_target_of_three_numbers_in_under_half_of_all_puzzles():
    found = [searched(task, i)[0][-1][2] == "yes" for i, task in enumerate(iterate(countdown_tasks(3), 400))]
    assert 0.35 < np.mean(found) < 0.55
