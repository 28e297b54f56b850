"""The format reward pays for the form its template asks for, and for nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import Example, check_reward
from r1env_format import Format

GOOD = (
    "<think>one line</think><answer>42</answer>",
    "<think>one line</think> <answer>42</answer>",
    "<think>\nseveral\nlines\n</think>\n<answer>\n42\n</answer>\n",
    "  <think>a < b</think><answer>x = {1}</answer><|im_end|>",
)
BAD = {
    "42": "<think> is there 0 times, not once",
    "<think>a</think>": "<answer> is there 0 times, not once",
    "<answer>42</answer>": "<think> is there 0 times, not once",
    "<think>a</think><think>b</think><answer>42</answer>": "<think> is there 2 times, not once",
    "<think>a<think>b</think></think><answer>42</answer>": "<think> is there 2 times, not once",
    "<think>a</think><answer>1</answer><answer>2</answer>": "<answer> is there 2 times, not once",
    "<think>a<answer>1</answer></think><answer>2</answer>": "<answer> is there 2 times, not once",
    "<think>a<answer>1</answer></think>": "<answer> is out of order",
    "</think>a<think><answer>42</answer>": "</think> is out of order",
    "<answer>42</answer><think>a</think>": "<answer> is out of order",
    "<think>a</think><answer></answer>": "the answer is empty",
    "<think>a</think><answer>\u200b\n</answer>": "the answer is empty",
    "<think></think><answer>42</answer>": "the thinking is empty",
    "<think>\n\n</think><answer>42</answer>": "the thinking is empty",
    "<think>a</think><answer>42</answer> as I said": "there is text after </answer>",
    "<think>\na\n</think>\n<answer>\n42\n</answer>\nas I said": "there is text after </answer>",
    "<think>a</think><answer>42</answer><|im_end|> as I said": "there is text after </answer>",
    "<think>a</think> so <answer>42</answer>": "there is text outside the tags",
    "Well: <think>a</think><answer>42</answer>": "there is text outside the tags",
}


def test_the_reward_keeps_the_contract():
    check_reward("format", [Example(GOOD[0], value=1.0), Example("42", value=0.0, status=r1env.Status.BAD_FORMAT)])


@pytest.mark.parametrize("template", ["r1", "boxed"])
def test_the_other_templates_keep_the_contract(template):
    check_reward(r1env.get_reward("format", template=template), [Example("<think>a</think> so \\boxed{4}", value=1.0)])


@pytest.mark.parametrize("completion", GOOD)
def test_a_good_completion_is_paid(completion):
    assert Format(completion).value == 1.0


@pytest.mark.parametrize(("completion", "rule"), BAD.items())
def test_a_bad_completion_is_told_the_rule_it_broke(completion, rule):
    score = Format(completion)
    assert (score.value, score.status, score.reason) == (0.0, r1env.Status.BAD_FORMAT, rule)


@pytest.mark.parametrize(
    ("template", "completion", "value"),
    [
        ("r1", "<think>a</think>So it is 4.", 1.0),
        ("r1", "<think>a</think>So it is 4.<|im_end|>", 1.0),
        ("r1", "<think>a</think>\n<|im_end|>", 0.0),
        ("r1", "<think>a", 0.0),
        ("r1", "So it is 4.", 0.0),
        ("boxed", "<think>a</think>So it is $\\boxed{\\frac{1}{2}}$.", 1.0),
        ("boxed", "<think>\\boxed{1}</think>So it is 4.", 0.0),
        ("boxed", "<think>a</think>So it is \\boxed{}.", 0.0),
        ("boxed", "<think>a</think>So it is \\boxed{4", 0.0),
    ],
)
def test_each_template_asks_for_its_own_form(template, completion, value):
    assert Format.with_options(template=template)(completion).value == value


def test_an_empty_thought_may_be_allowed_and_an_empty_answer_never():
    lenient = Format.with_options(empty_thinking=True)
    assert lenient("<think></think><answer>0147</answer>").value == 1.0
    assert lenient("<think></think><answer></answer>").value == 0.0


@pytest.mark.parametrize("completion", ["a</think><answer>4</answer>", "<think>a</think><answer>4</answer>"])
def test_a_prefilled_prompt_may_hold_the_opening_tag(completion):
    assert Format.with_options(prefilled=True)(completion).value == 1.0


def test_an_unknown_template_is_named_with_those_there_are():
    with pytest.raises(r1env.UsageError, match=r"unknown format template 'r2'; known: r1-zero, r1, boxed"):
        Format.with_options(template="r2")("<think>")


FRAGMENTS = ("<think>", "</think>", "<answer>", "</answer>", "</s>", "a", " ", "\n", "\u200b", "<", "\\boxed{", "}")


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_the_rules_are_those_of_the_strict_pattern(completion):
    inside = r"(?:(?!</?(?:think|answer)>).)*"
    pattern = rf"\s*<think>({inside})</think>\s*<answer>({inside})</answer>(?:\s|</s>)*"
    match = re.fullmatch(pattern, completion, re.DOTALL)
    filled = match is not None and all(block.replace("\u200b", "").strip() for block in match.groups())
    assert Format(completion).value == float(filled)


@given(st.text(st.characters(codec=None)), st.sampled_from(["r1-zero", "r1", "boxed"]), st.booleans(), st.booleans())
def test_no_text_makes_it_raise(completion, template, empty_thinking, prefilled):
    reward = Format.with_options(template=template, empty_thinking=empty_thinking, prefilled=prefilled)
    assert reward(completion).value in (0.0, 1.0)
