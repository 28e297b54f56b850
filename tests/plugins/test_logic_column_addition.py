"""Column addition: the environment, and demonstrations that are right or careless in a known way."""

from __future__ import annotations

import re

import numpy as np
import pytest

import r1env
from r1env import UsageError
from r1env.data.sources import iterate, split_of
from r1env_logic.arithmetic import column_addition_tasks
from r1env_logic.demonstrators import FORGOTTEN, careless_columns, columns


def demonstrations(write, count=300, **options):
    """(task, response) of the first tasks."""
    return [
        (task, write(task, np.random.default_rng(i))) for i, task in enumerate(iterate(column_addition_tasks(**options), count))
    ]


def given(response):
    return response.partition("<answer>")[2].removesuffix("</answer>")


def worked_lines(response):
    """Each line of the thinking as (left, right, carry, sum)."""
    return [tuple(map(int, line)) for line in re.findall(r"^(?:<think>)?(\d)\+(\d)\+(\d)=(\d+)", response, re.MULTILINE)]


def test_every_length_of_the_range_is_asked_for_about_as_often():
    lengths = [len(str(task.metadata["terms"][0])) for task in iterate(column_addition_tasks(fewest=2, most=4), 600)]
    assert set(lengths) == {2, 3, 4}
    assert min(lengths.count(length) for length in (2, 3, 4)) > 150


def test_the_terms_in_the_metadata_are_those_of_the_question_and_add_up_to_the_answer():
    for task in iterate(column_addition_tasks(fewest=1, most=6, style="compact"), 200):
        a, b = task.metadata["terms"]
        assert task.question == f"{a}+{b}?"
        assert len(str(a)) == len(str(b))
        assert task.answer == str(a + b)


def test_a_sum_that_is_trained_on_is_never_tested():
    for split in ("train", "test"):
        assert {split_of(task.id) for task in iterate(column_addition_tasks(split=split), 100)} == {split}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fewest": 0}, "fewest=0"),
        ({"fewest": 4, "most": 3}, "most=3: it must be a whole number from 4"),
        ({"most": 19}, "most=19"),
    ],
)
def test_a_range_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        column_addition_tasks(**options)


def test_careful_demonstrations_earn_the_whole_reward():
    rubric = r1env.make_environment("column-addition", rubric="zero").rubric
    rollouts = [r1env.Rollout(task=task, completion=response) for task, response in demonstrations(columns, 100)]
    assert {score.value for score in r1env.score(rollouts, rubric)} == {1.1}


def test_each_line_adds_up_and_the_columns_go_from_the_right():
    for task, response in demonstrations(careless_columns, 100):
        a, b = map(str, task.metadata["terms"])
        lines = worked_lines(response)
        assert all(left + right + carry == total for left, right, carry, total in lines)
        assert "".join(str(left) for left, *_ in reversed(lines)) == a
        assert "".join(str(right) for _, right, *_ in reversed(lines)) == b
        assert given(response)[-len(lines) :] == "".join(str(total % 10) for *_, total in reversed(lines))


def test_a_careless_demonstration_forgets_carries_and_makes_no_other_mistake():
    due = forgotten = 0
    for _, response in demonstrations(careless_columns, 600):
        lines = worked_lines(response)
        carries = [carry for _, _, carry, _ in lines[1:]] + [int(len(given(response)) > len(lines))]
        for (*_, total), carried in zip(lines, carries, strict=True):
            assert carried in (0, total // 10)
            due += total // 10
            forgotten += total // 10 - carried
    assert forgotten / due == pytest.approx(FORGOTTEN, abs=0.05)


def test_careless_demonstrations_are_right_about_a_third_of_the_time():
    right = [given(response) == task.answer for task, response in demonstrations(careless_columns, 1000)]
    assert 0.30 < np.mean(right) < 0.40


def test_a_demonstration_depends_on_the_task_and_the_generator_alone():
    assert demonstrations(careless_columns, 50) == demonstrations(careless_columns, 50)
