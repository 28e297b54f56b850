"""A row of another stack's data set becomes the task it means; a task of ours arrives whole."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.adapters.core import TASK_FIELD, rollout_of, task_field, task_of
from r1env.types import Task, TaskKind

TEXT = st.text(st.characters(codec=None), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
TASKS = st.builds(
    Task,
    id=TEXT,
    prompt=st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT}), max_size=3).map(
        tuple
    ),
    answer=st.none() | TEXT,
    tests=st.lists(st.dictionaries(TEXT, JSON, max_size=2), max_size=2).map(tuple),
    kind=st.sampled_from(TaskKind),
    language=st.none() | st.sampled_from(["en", "zh"]),
    metadata=st.dictionaries(TEXT, JSON, max_size=3),
)


@given(TASKS)
def test_a_task_comes_out_of_a_row_as_it_went_in(task):
    assert task_of("another prompt", {TASK_FIELD: task_field(task), "answer": "another"}) == task
    assert task_of("another prompt", {TASK_FIELD: json.loads(task_field(task))}) == task


def test_a_task_travels_as_plain_ascii_with_numbers_that_json_lacks():
    task = Task(id="1", prompt="é \ud800", metadata={"bound": math.inf})
    assert task_field(task).isascii()
    assert task_of("", {TASK_FIELD: task_field(task)}) == task


def test_a_task_that_holds_an_object_is_refused_when_it_is_written():
    with pytest.raises(TypeError, match="object"):
        task_field(Task(id="1", prompt="", metadata={"image": object()}))


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"answer": "42"}, "42"),
        ({"answer": "the long way", "ground_truth": "42"}, "42"),
        ({"solution": "42"}, "42"),
        ({"label": 42}, "42"),
        ({"answer": np.int64(42)}, "42"),
        ({"answer": 0.5}, "0.5"),
        ({"reward_model": {"style": "rule", "ground_truth": "42"}}, "42"),
        ({"reward_spec": {"ground_truth": "42"}}, "42"),
        ({"ground_truth": None, "answer": "42"}, "42"),
        ({"ground_truth": {"target": ["a"]}}, None),
        ({"answer": True}, "True"),
        ({}, None),
    ],
)
def test_the_reference_answer_is_found_under_its_usual_names(fields, answer):
    assert task_of("", fields).answer == answer


def test_the_reference_answer_may_have_a_name_of_its_own():
    fields = {"answer": "no", "extra": {"gold": "42"}}
    assert task_of("", fields, answer_field="extra.gold").answer == "42"


def test_known_fields_reach_the_task_and_others_its_metadata():
    task = task_of("hi", {"index": 7, "language": "en", "kind": "logic", "tests": [{"input": "1"}], "level": 3})
    assert (task.id, task.language, task.kind, task.tests) == ("7", "en", TaskKind.LOGIC, ({"input": "1"},))
    assert task.metadata["level"] == 3


def test_tests_may_be_a_text_or_an_array_as_parquet_files_have_them():
    tests = [{"input": "1", "output": "2"}]
    for given_tests in (json.dumps(tests), repr(tests), np.array(tests, dtype=object), {"inputs": ["1"], "outputs": ["2"]}):
        task = task_of("", {"tests": given_tests})
        assert [(test["kind"], test["stdin"], test["expected"]) for test in task.tests] == [("stdio", "1", "2")]
        assert task.kind is TaskKind.CODE


@pytest.mark.parametrize("kind", ["algebra", ["math"], {"math": 1}, 7])
def test_a_field_that_means_something_else_here_is_kept_as_metadata(kind):
    fields = {"kind": kind, "tests": "see below", "language": ["en"]}
    task = task_of("", fields)
    assert (task.kind, task.tests, task.language) == (TaskKind.MATH, (), None)
    assert task.metadata == fields


def test_a_reference_that_cannot_be_read_is_logged_and_left_to_the_users_own_reward(caplog):
    fields = {"data_source": "mine", "ground_truth": {"board": [1, 2]}}
    task = task_of("Move.", fields)
    assert (task.answer, task.metadata) == (None, fields)
    task_of("Move again.", fields)
    assert len([record for record in caplog.records if "'reward_model.ground_truth' is" in record.getMessage()]) == 1


def test_metadata_are_plain_data_whatever_the_row_held():
    task = task_of("", {"array": np.arange(2), "object": object(), "raw": b"\xff", "set": {1}})
    assert task.metadata == {"array": [0, 1], "object": None, "raw": "_w==", "set": [1]}


def test_a_row_without_an_id_gets_the_same_one_in_every_run():
    assert task_of("\ud800", {"answer": "2"}).id == task_of("\ud800", {"answer": "2"}).id == "1c97771ec3cc8b40"
    assert task_of("1+1", {"answer": "2"}).id != task_of("1+2", {"answer": "2"}).id


def test_the_prompt_may_be_messages_in_an_array():
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}]
    assert task_of(np.array(messages, dtype=object), {}).prompt == (messages[0], {"role": "user", "content": "u"})


@pytest.mark.parametrize("prompt", [None, 7, ["text"]])
def test_a_prompt_of_another_kind_is_refused(prompt):
    with pytest.raises(TypeError, match="expected text or messages"):
        task_of(prompt, {})


def test_the_last_turn_of_the_assistant_is_the_completion():
    task = Task(id="1", prompt="2+2?")
    turns = [
        {"role": "assistant", "content": "let me compute"},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ]
    rollout = rollout_of(task, turns, [1, 2, 3])
    assert (rollout.completion, len(rollout.turns), rollout.token_ids) == ("It is 4.", 2, None)
    assert rollout.messages == (*task.prompt, *turns)
    assert rollout_of(task, turns[1:2]).completion == ""


def test_the_tokens_of_a_single_turn_are_kept():
    task = Task(id="1", prompt="2+2?")
    assert rollout_of(task, "4", [1, 2]).token_ids == (1, 2)
    assert rollout_of(task, [{"role": "assistant", "content": "4"}], [1, 2]).token_ids == (1, 2)
