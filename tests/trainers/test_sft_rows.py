"""What a line of a data file teaches, down to the tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.errors import UsageError
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.sft.render import Demonstration, encode
from r1env_trainers.sft.rows import parse_row

TOKENIZER = build_tokenizer()
CHAT = build_tokenizer()
CHAT.chat_template = (
    "{% for m in messages %}{% if m['role'] == 'user' %}?{% else %}!{% endif %}{{ m['content'].split('</think>')[-1] }}\n{% endfor %}"
    "{% if add_generation_prompt %}!{% endif %}"
)
"""Marks turns, ends them with a new line, and drops the thinking of earlier ones, as DeepSeek's and Qwen's templates do."""


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def ids(row, tokenizer=TOKENIZER, train_on="last"):
    encoded = [encode(one, tokenizer) for one in parse_row(row, "row", train_on)]
    return [(one.prompt, one.response) for one in encoded]


# The vocabulary: <pad> 0, <eos> 1, digits 3-12, letters 13-38, "+" 39, "?" 51, "!" 52, new line 54, tags 55-58.


def test_a_prompt_is_read_and_its_response_learnt_to_the_end_of_sequence():
    assert ids({"prompt": "1+2?", "completion": "3"}) == [([4, 39, 5, 51], [6, 1])]


def test_tags_are_single_tokens_and_belong_to_the_response():
    row = {"messages": [user("s10?"), assistant("<think></think><answer>01</answer>")]}
    assert ids(row) == [([31, 4, 3, 51], [55, 56, 57, 3, 4, 58, 1])]


def test_the_chat_template_frames_the_prompt_and_not_the_response():
    assert ids({"messages": [user("1"), assistant("2")]}, CHAT) == [([51, 4, 54, 52], [5, 1])]


def test_raw_text_does_not_go_through_the_chat_template():
    assert ids({"messages": [user("1"), assistant("2")], "chat": False}, CHAT) == [([4], [5, 1])]


CONVERSATION = {"messages": [user("1"), assistant("<think>a</think>2"), user("3"), assistant("<think>b</think>4")]}


def test_of_several_turns_the_last_is_learnt_and_earlier_ones_are_as_the_template_shows_them():
    # ?1\n !2\n ?3\n !    -> <think>b</think>4<eos>
    assert ids(CONVERSATION, CHAT) == [([51, 4, 54, 52, 5, 54, 51, 6, 54, 52], [55, 14, 56, 7, 1])]


def test_all_turns_are_learnt_each_after_just_what_the_model_sees_when_it_writes_it():
    assert ids(CONVERSATION, CHAT, train_on="all") == [
        ([51, 4, 54, 52], [55, 13, 56, 5, 1]),
        ([51, 4, 54, 52, 5, 54, 51, 6, 54, 52], [55, 14, 56, 7, 1]),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [user("1"), assistant("2"), user("3")]},
        {"messages": [assistant("2")]},
        {"messages": ["1", "2"]},
        {"messages": [user("1"), {"role": "assistant", "content": None}]},
        {"messages": [user("1"), {"content": "2"}]},
        {"prompt": "1", "completion": ["2"]},
    ],
)
def test_a_row_that_is_no_demonstration_is_named(row):
    with pytest.raises(UsageError, match=r"row 7.* needs"):
        parse_row(row, "row 7")


def test_chat_is_a_truth_value():
    with pytest.raises(UsageError, match=r"\"chat\" is 'no'; it must be true or false"):
        parse_row({"prompt": "1", "completion": "2", "chat": "no"}, "row")


@given(prompt=st.text(min_size=1, max_size=40), response=st.text(max_size=40))
def test_any_text_is_kept_as_it_stands(prompt, response):
    expected = [Demonstration((user(prompt),), assistant(response), where="row")]
    assert parse_row({"prompt": prompt, "completion": response}, "row") == expected
    assert parse_row({"messages": [user(prompt), assistant(response)]}, "row") == expected
