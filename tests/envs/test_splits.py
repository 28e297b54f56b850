"""Splits: training and evaluation never see the same task unless somebody asks for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import Task, installed, make_environment
from r1env.data.sources import HeldOut, ListSource, split_of
from r1env.envs.suite import Suite, check_disjoint, make_mixture, make_suite
from r1env.errors import NoSplitError, UsageError

GENERATORS = [
    name
    for name, provided in installed().provided("environments").items()
    if not provided.spec.requires and name != "reasoning-gym" and provided.provenance.distribution == "r1env-logic"
]


def some_tasks(environment, count=300):
    return [environment.task(index, seed) for seed in (0, 1) for index in range(count)]


@pytest.mark.parametrize("name", GENERATORS)
def test_the_splits_of_every_built_in_generator_share_neither_ids_nor_questions(name):
    train, test = (some_tasks(make_environment(name, split=split)) for split in ("train", "test"))
    assert not {task.id for task in train} & {task.id for task in test}
    assert not {(str(task.prompt), task.answer) for task in train} & {(str(task.prompt), task.answer) for task in test}


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {n} + {n}?", "answer": str(2 * n)}) + "\n" for n in range(200)))
    return path


def test_a_file_without_splits_is_training_data_and_has_no_test_split(rows):
    assert make_environment("math-jsonl", split="train", data=str(rows)).source.size == 200
    with pytest.raises(NoSplitError, match=r"hold_out=0\.1"):
        make_environment("math-jsonl", split="test", data=str(rows))


def test_a_hold_out_divides_a_file_by_its_questions(rows):
    train, test = (make_environment("math-jsonl", split=split, hold_out=0.25, data=str(rows)) for split in ("train", "test"))
    assert train.source.size + test.source.size == 200
    assert 30 <= test.source.size <= 70
    assert not {task.id for task in some_tasks(train)} & {task.id for task in some_tasks(test)}


def test_a_file_for_each_split(rows, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "What is 1 + 0?", "answer": "1"}\n')
    data = {"train": str(rows), "test": str(other)}
    assert make_environment("math-jsonl", split="train", data=data).source.size == 200
    assert make_environment("math-jsonl", split="test", data=data).task(0).answer == "1"
    with pytest.raises(NoSplitError, match="train, test; dev was asked for"):
        make_environment("math-jsonl", split="dev", data=data)


@given(st.lists(st.text(min_size=1), min_size=20, max_size=40), st.randoms())
def test_a_hold_out_survives_a_new_order_and_keeps_equal_questions_together(questions, random):
    questions = [*questions, *questions[:5]]
    tasks = [Task(id=str(number), prompt=question, answer="1") for number, question in enumerate(questions)]
    shuffled = random.sample(tasks, len(tasks))

    def asked(tasks, split):
        try:
            source = HeldOut(ListSource(tasks), 0.5).split(split)
        except UsageError:  # all on the other side
            return set()
        return {source.task(index).question for index in range(source.size)}

    assert asked(tasks, "test") == asked(shuffled, "test")
    assert not asked(tasks, "train") & asked(tasks, "test")


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0])
def test_a_hold_out_is_a_share(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        HeldOut(ListSource([Task(id="1", prompt="?", answer="1")]), share)


def test_a_generator_cannot_be_held_out():
    with pytest.raises(UsageError, match="use its own splits"):
        make_environment("sort-4", split="test", hold_out=0.1)


@given(st.floats(min_value=0.01, max_value=0.99))
def test_the_share_of_a_split_is_about_what_was_asked_for(share):
    found = sum(split_of(f"task-{number}", share) == "test" for number in range(2000)) / 2000
    assert abs(found - share) < 0.06


def suite(name, split, **options):
    return make_suite(name, split=split, **options)


def test_an_evaluation_on_the_training_split_is_refused():
    check_disjoint(suite("add-2digit", "train"), suite("add-2digit", "test"))
    for split in ("train", None, "all"):
        with pytest.raises(UsageError, match="would use the training tasks of environment 'add-2digit'"):
            check_disjoint(suite("add-2digit", "train"), suite("add-2digit", split))


def test_an_evaluation_on_other_data_of_the_same_environment_is_not(rows, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "What is 1 + 0?", "answer": "1"}\n')
    training = suite("math-jsonl", "train", data=str(rows))
    check_disjoint(training, suite("math-jsonl", None, data=str(other)))
    with pytest.raises(UsageError):
        check_disjoint(training, suite("math-jsonl", None, data=str(rows)))


def test_a_split_reaches_every_environment_of_a_mixture_but_those_that_name_their_own():
    shares = [{"env": "sort-4"}, {"env": "add-1digit", "env_options": {"split": "train"}}]
    from r1env.envs.suite import EnvironmentShare

    mixture = make_mixture([EnvironmentShare(**share) for share in shares], split="test")
    assert [environment.split for environment in mixture.environments] == ["test", "train"]
    assert isinstance(mixture, Suite)
