"""Generated tasks are reproducible, right, and never both in train and in test."""

from __future__ import annotations

import pytest

from r1env import UsageError
from r1env.data.sources import iterate, split_of
from r1env_logic.arithmetic import addition_tasks, column_addition_tasks
from r1env_logic.countdown import countdown_tasks
from r1env_logic.sorting import sorting_tasks

SOURCES = {
    "sorting": sorting_tasks,
    "compact sorting": lambda **options: sorting_tasks(style="compact", **options),
    "addition": addition_tasks,
    "addition of single digits": lambda **options: addition_tasks(digits=1, **options),
    "column addition": column_addition_tasks,
    "countdown": countdown_tasks,
}


@pytest.mark.parametrize("name", SOURCES)
def test_train_and_test_share_no_question(name):
    questions = {
        split: {task.question for seed in (0, 1) for task in iterate(SOURCES[name](split=split), 150, seed=seed)}
        for split in ("train", "test")
    }
    assert not questions["train"] & questions["test"]


@pytest.mark.parametrize("name", SOURCES)
def test_the_split_goes_by_the_id_which_says_what_is_asked(name):
    tasks = [task for split in ("train", "test") for task in iterate(SOURCES[name](split=split), 150)]
    assert {split_of(task.id) for task in tasks[:150]} == {"train"}
    assert {split_of(task.id) for task in tasks[150:]} == {"test"}
    assert len({task.id for task in tasks}) == len({task.question for task in tasks})


@pytest.mark.parametrize("name", SOURCES)
def test_a_task_depends_on_its_index_and_seed_alone(name):
    in_order = list(iterate(SOURCES[name](), 20, seed=3))
    assert SOURCES[name]().task(13, seed=3) == in_order[13]
    assert len({task.question for task in in_order}) > 10


@pytest.mark.parametrize("name", SOURCES)
def test_an_id_names_one_question(name):
    by_id: dict[str, str] = {}
    for task in iterate(SOURCES[name](), 300):
        assert by_id.setdefault(task.id, task.question) == task.question


def test_sorting_puts_digits_in_order():
    task = sorting_tasks(digits=4, style="compact").task(0)
    assert task.question.startswith("s")
    assert task.question.endswith("?")
    assert task.answer == "".join(sorted(task.question[1:-1]))
    assert len(task.answer) == 4


def test_sorting_asks_in_words_by_default_and_says_where_the_answer_goes():
    task = sorting_tasks(digits=5).task(0)
    assert " ".join(task.id.removeprefix("sort-")) in task.question
    assert "<answer></answer>" in task.question


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_addition_adds_numbers_of_the_length_asked_for(digits):
    for task in iterate(addition_tasks(digits=digits, style="compact"), 50):
        a, b = task.question.removesuffix("?").split("+")
        assert len(a) == len(b) == digits
        assert int(a) + int(b) == int(task.answer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sorting_tasks(digits=1), "digits=1: it must be a whole number from 2 to 50"),
        (lambda: sorting_tasks(digits="four"), "digits='four': it must be"),
        (lambda: sorting_tasks(style="verse"), "unknown style 'verse'; known: chat, compact"),
        (lambda: addition_tasks(split="dev"), "unknown split 'dev'"),
        (lambda: countdown_tasks(count=9), "count=9"),
    ],
)
def test_a_wrong_option_is_named_before_any_task_is_made(make, message):
    with pytest.raises(UsageError, match=message):
        make()
