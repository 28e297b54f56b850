"""What a line of a data file teaches, down to the tokens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.data.layouts import Reading, example_of
from r1env.errors import UsageError
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.sft.render import Demonstration, encode
from r1env_trainers.sft.rows import demonstrations_of, read_demonstrations, rows_of

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


def example(row):
    return example_of(row, reading=Reading(keep_instruction=True))


def ids(row, tokenizer=TOKENIZER, train_on="last"):
    encoded = [encode(one, tokenizer) for one in demonstrations_of(example(row), train_on)]
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
        {"messages": [user("1"), {"content": "2"}]},
        {"messages": [user("1"), {"role": "critic", "content": "2"}]},
        {"prompt": "1"},
        {"text": "1"},
    ],
)
def test_a_row_that_is_no_demonstration_is_named(row):
    with pytest.raises(UsageError, match=r"^the row: "):
        demonstrations_of(example(row))


def test_chat_is_a_truth_value():
    with pytest.raises(UsageError, match=r"\"chat\" is 'no'; it must be true or false"):
        demonstrations_of(example({"prompt": "1", "completion": "2", "chat": "no"}))


@given(prompt=st.text(min_size=1, max_size=40).filter(str.strip), response=st.text(max_size=40))
def test_any_text_is_kept_as_it_stands(prompt, response):
    expected = [Demonstration((user(prompt),), assistant(response), where="the row")]
    assert demonstrations_of(example({"prompt": prompt, "completion": response})) == expected
    assert demonstrations_of(example({"messages": [user(prompt), assistant(response)]})) == expected


ROWS = {
    "messages": {"messages": [user("1+2?"), assistant("3")]},
    "prompt and completion": {"prompt": "1+2?", "completion": "3"},
    "prompt and response": {"prompt": "1+2?", "response": "3"},
    "conversational prompt and completion": {"prompt": [user("1+2?")], "completion": [assistant("3")]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "1+2?"}, {"from": "gpt", "value": "3"}]},
    "Alpaca": {"instruction": "1+2?", "input": "", "output": "3"},
    "content parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "1+2?"}]}, assistant("3")]},
    "a worked solution": {"question": "1+2?", "answer": "3\n#### 3"},
}


@pytest.mark.parametrize("name", ROWS)
def test_public_layouts_teach_the_same(tmp_path, name):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(ROWS[name]) + "\n")
    (one,) = read_demonstrations(str(path))
    assert one.prompt == (user("1+2?"),)
    assert one.response["content"] == ("3\n#### 3" if name == "a worked solution" else "3")
    assert one.where == f"{path}, line 1"


def test_columns_of_any_name_are_mapped(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("ask,say\n1+2?,3\n")
    (one,) = read_demonstrations(str(path), columns="question=ask,completion=say")
    assert (one.prompt, one.response) == ((user("1+2?"),), assistant("3"))


def test_several_right_generations_are_several_demonstrations():
    row = {
        **{"problem": "1+2?", "answer": "3", "generations": ["a 3", "b 4"], "correctness_math_verify": [True, False]},
        **{"solution": "3", "is_reasoning_complete": [True, True], "messages": [user("1+2?"), assistant("a 3")]},
    }
    assert [one.response["content"] for one in demonstrations_of(example(row))] == ["a 3"]


def test_answers_that_are_labelled_as_bad_are_counted_and_not_learnt(tmp_path, caplog):
    path = tmp_path / "data.jsonl"
    rows = [{"prompt": "1", "completion": "2", "label": True}, {"prompt": "1", "completion": "3", "label": False}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [one.response["content"] for one in read_demonstrations(str(path))] == ["2"]
    assert "1 rows are labelled as bad answers" in caplog.text


def test_what_is_mixed_into_samples_has_their_layout():
    row = {"instruction": "1+2?", "output": "3", "source": "me"}
    assert rows_of(example(row)) == [{"source": "me", "messages": [user("1+2?"), assistant("3")]}]
    tools = [{"type": "function", "function": {"name": "add"}}]
    kept = rows_of(example({"messages": [user("1"), assistant("2")], "tools": tools, "chat": False}))
    assert kept == [{"chat": False, "tools": tools, "messages": [user("1"), assistant("2")]}]
