"""What is logged about completions: reflective words, lengths by verdict, accuracy by difficulty."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.monitoring.rules import (
    WORDS,
    accuracy_by_stratum,
    completion_metrics,
    lengths_by_verdict,
    reflection_metrics,
    reflective_words,
    stratum,
)
from r1env.types import Rollout, Task


def task(**metadata: object) -> Task:
    return Task(id="1", prompt="?", metadata=metadata)


def test_words_are_counted_whole_and_whatever_their_case() -> None:
    assert reflective_words("Wait, WAIT! But the waiter checks; however, check.") == ["wait", "wait", "but", "however", "check"]


def test_the_ten_words_of_the_paper_are_all_counted() -> None:
    assert len(WORDS) == 10
    assert reflective_words(" ".join(WORDS)) == list(WORDS)


def test_counts_are_per_1000_completions_and_per_1000_characters() -> None:
    assert reflection_metrics(["wait, but", "no"]) == {
        "reflection/per_1000_completions": 1000.0,
        "reflection/wait_per_1000_completions": 500.0,
        "reflection/per_1000_characters": pytest.approx(2000 / 11),
    }


@given(st.lists(st.text()))
def test_any_completions_have_finite_counts(completions: list[str]) -> None:
    assert all(math.isfinite(value) for value in reflection_metrics(completions).values())


def test_lengths_are_told_apart_by_verdict_and_unscored_ones_count_as_neither() -> None:
    assert lengths_by_verdict([10, 20, 40, 99], [1.0, 0.0, 0.0, math.nan]) == {"length/right": 10, "length/wrong": 30}
    assert lengths_by_verdict([10], [1.0]) == {"length/right": 10}


def test_accuracy_is_told_by_what_the_tasks_say_of_their_difficulty() -> None:
    tasks = [task(difficulty=2), task(difficulty=2), task(level="Level 5"), task()]
    assert accuracy_by_stratum(tasks, [1.0, 0.0, 1.0, 1.0]) == {"difficulty/2": 0.5, "difficulty/Level 5": 1.0}


def test_tasks_of_too_many_levels_are_left_out_rather_than_drawn_as_noise() -> None:
    assert accuracy_by_stratum([task(difficulty=i) for i in range(100)], [1.0] * 100) == {}


@pytest.mark.parametrize(
    ("value", "name"),
    [(0.3499, "0.3"), (math.nan, None), ({"a": 1}, None), ("", None), ("a/b\nc", "a b c"), ("x" * 99, "x" * 20)],
)
def test_a_level_makes_a_short_name_or_none(value: object, name: str | None) -> None:
    assert stratum(task(difficulty=value)) == name


def test_where_nobody_says_what_is_right_only_words_are_counted() -> None:
    rollout = Rollout(task=task(difficulty=1), completion="wait")
    assert completion_metrics([rollout], [math.nan], [4]).keys() == reflection_metrics(["wait"]).keys()
    assert completion_metrics([rollout], [1.0], [4])["difficulty/1"] == 1.0
