"""Collections of tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.data.sources import GeneratedSource, ListSource, iterate, split_of
from r1env.errors import UsageError
from r1env.types import Task


def number_task(rng):
    number = int(rng.integers(500))
    return Task(id=str(number), prompt=f"{number}?", answer=str(number))


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_a_generated_task_depends_on_index_and_seed_alone(index, seed):
    source, again = GeneratedSource(number_task), GeneratedSource(number_task)
    again.task(index + 1, seed)
    assert source.task(index, seed) == again.task(index, seed)


def test_the_splits_of_a_generator_never_share_a_question_whatever_the_seeds():
    train, test = GeneratedSource(number_task, "train"), GeneratedSource(number_task, "test")
    seen = {train.task(i, seed=1).question for i in range(2000)}
    assert seen.isdisjoint(test.task(i, seed=2).question for i in range(300))


@given(st.text())
def test_every_text_belongs_to_one_split(text):
    assert split_of(text) in ("train", "test")


def test_an_unknown_split_and_a_generator_without_test_tasks_are_refused():
    with pytest.raises(UsageError, match="unknown split 'dev'"):
        GeneratedSource(number_task, "dev")
    only_train = next(t for t in map(str, range(100)) if split_of(t) == "train")
    with pytest.raises(UsageError, match="too few"):
        GeneratedSource(lambda rng: Task(id=only_train, prompt="q"), "test").task(0)


def test_iterating_an_endless_source_needs_a_limit():
    assert len(list(iterate(GeneratedSource(number_task), limit=3))) == 3
    with pytest.raises(UsageError, match="never ends"):
        list(iterate(GeneratedSource(number_task)))
    assert [t.id for t in iterate(ListSource([Task(id="a", prompt="x")]), limit=5)] == ["a"]
