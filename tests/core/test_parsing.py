"""Thinking, answer and summary out of a completion; and what a prompt template may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.errors import UsageError
from r1env.prompts import ParsedResponse, answer_block, as_template, parse_response
from r1env.types import Task

TAGS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", " ", "\n", "<", ">", "\ud800", "42"])


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>t</think>r", ParsedResponse("t", "r", None, True)),
        ("<think>t</think> <answer> 42 </answer>", ParsedResponse("t", " <answer> 42 </answer>", "42", True)),
        ("just text", ParsedResponse(None, "just text", None, True)),
        ("<answer>1</answer>", ParsedResponse(None, "<answer>1</answer>", "1", True)),
        ("<think>never closed <answer>1</answer>", ParsedResponse("never closed <answer>1</answer>", "", None, False)),
        ("started inside</think>r", ParsedResponse("started inside", "r", None, True)),
        ("<think>a</think>b</think>c", ParsedResponse("a</think>b", "c", None, True)),
        ("</think><think>again", ParsedResponse("again", "", None, False)),
        ("", ParsedResponse(None, "", None, True)),
    ],
)
def test_a_completion_is_split_at_its_thinking_block(completion, expected):
    assert parse_response(completion) == expected


def test_a_prefilled_thinking_block_that_never_closes_has_no_response():
    assert parse_response("still thinking", prefilled=True) == ParsedResponse("still thinking", "", None, False)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>1</answer>", "1"),
        ("<answer>1</answer><answer>2</answer>", None),
        ("<answer>1<answer>2</answer>", None),
        ("</answer>1<answer>", None),
        ("<answer></answer>", ""),
        ("none", None),
    ],
)
def test_only_a_single_answer_block_counts(text, answer):
    assert answer_block(text) == answer


def test_the_summary_is_the_response_without_tags():
    assert parse_response("<think>t</think>So <answer>4</answer>.").summary == "So 4."


@given(st.lists(TAGS, max_size=40).map("".join), st.booleans())
def test_any_text_is_parsed_and_nothing_inside_the_thinking_is_an_answer(text, prefilled):
    parsed = parse_response(text, prefilled=prefilled)
    assert parsed.response in text
    if parsed.answer is not None:
        assert parsed.answer in parsed.response
    if not parsed.closed:
        assert parsed.response == ""


@pytest.mark.parametrize(
    ("render", "message"),
    [
        (lambda task: task.question, "template 'mine' returned a str, not a list of messages, on task 'one'"),
        (lambda task: [{"role": "user", "content": 3}], "message 0: its content is a int, not text"),
        (lambda task: [{"content": "hi"}], "its role is None; roles are"),
        (lambda task: task.nothing, "template 'mine' raised AttributeError"),
    ],
)
def test_a_template_that_returns_no_messages_is_named_with_the_task(render, message):
    template = as_template(render, "mine")
    with pytest.raises(UsageError, match=message):
        template.messages(Task(id="one", prompt="2 + 2?"))


def test_a_text_with_other_braces_than_the_question_is_refused_when_it_is_named():
    with pytest.raises(UsageError, match="write other braces twice"):
        as_template("{question} Use \\boxed{}.", "mine")
    assert (
        as_template("{question} Use \\boxed{{}}.", "mine").messages(Task(id="1", prompt="2?"))[0]["content"]
        == "2? Use \\boxed{}."
    )
