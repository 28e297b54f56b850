"""The model's text comes out of what a stack hands over, whole and without anything that is not the model's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.adapters.core import after_prompt, conversation_of, text_of, without_end_tokens
from r1env.prompts import END_TOKENS

TEXT = st.text(st.characters(codec=None))
CHATML = "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("4", "4"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "2+2"}, {"type": "image"}, {"type": "text", "text": "=4"}], "2+2=4"),
    ],
)
def test_content_is_text_or_the_text_of_its_blocks(content, text):
    assert text_of(content) == text


@pytest.mark.parametrize("content", [4, {"text": "4"}, ["4"]])
def test_content_of_another_kind_is_refused(content):
    with pytest.raises(TypeError, match="expected text or content blocks"):
        text_of(content)


def test_a_text_is_a_user_message():
    assert conversation_of("hi") == ({"role": "user", "content": "hi"},)


@pytest.mark.parametrize("key", ["reasoning_content", "thinking"])
def test_thinking_that_a_chat_parser_cut_out_is_put_back(key):
    (message,) = conversation_of([{"role": "assistant", "content": "4", key: "2+2"}])
    assert message == {"role": "assistant", "content": "<think>\n2+2\n</think>\n4"}


@pytest.mark.parametrize("token", END_TOKENS)
def test_the_end_of_turn_is_no_part_of_the_completion(token):
    assert without_end_tokens(f"4{token}") == "4"
    assert without_end_tokens(f"4{token}\n{token}\n") == "4"


def test_an_end_token_inside_the_text_stays_and_so_does_white_space_without_one():
    assert without_end_tokens("a</s>b\n") == "a</s>b\n"


@given(TEXT, TEXT)
def test_the_response_is_what_follows_the_prompt(prompt, response):
    assert after_prompt(prompt + response, prompt) == response


@given(TEXT, st.integers(0, 40), TEXT.map(str.strip))
def test_a_prompt_that_was_cut_on_the_left_is_still_found(earlier, cut, response):
    prompt = earlier + CHATML
    assert after_prompt(prompt[min(cut, len(earlier) + 20) :] + response, prompt) == response


def test_a_prompt_may_come_back_with_other_white_space_and_a_broken_first_character():
    assert after_prompt("<s> [INST] What is 2+2? [/INST] 4", "<s>[INST] What is 2+2? [/INST]") == "4"
    assert after_prompt("\ufffdWhat is 2+2, please? 4", "éWhat is 2+2, please?") == "4"


def test_a_query_without_its_prompt_is_told_apart_from_an_empty_response():
    assert after_prompt("The answer is \\boxed{4}", CHATML) is None
    assert after_prompt(CHATML, CHATML) == ""


def test_long_and_repetitive_texts_cost_linear_time():
    length = 200_000
    assert without_end_tokens("4" + "</s> " * length) == "4"
    assert after_prompt("a" * length + "b", "a" * (length - 1) + "c") is None
