"""`format_partial` pays for each rule of `format` that is kept, and in full exactly where `format` does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import Example, check_reward
from r1env_format import Format, FormatPartial

TEMPLATES = ("r1-zero", "r1", "boxed")
FRAGMENTS = ("<think>", "</think>", "<answer>", "</answer>", "</s>", "a", " ", "\u200b", "\\boxed{", "}")


def test_the_reward_keeps_the_contract():
    check_reward("format_partial", [Example("<think>a</think><answer>4</answer>", value=1.0), Example("4", value=0.0)])


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("", 0.0),
        ("42", 0.0),
        ("<think>a", 0.0625),
        ("<think>a</think>", 0.125),
        ("<think>a</think><answer>4", 0.1875),
        ("</think><think><answer>4</answer>", 0.25),
        ("<think>a</think><answer>4</answer><answer>5</answer>", 0.125),
        ("so <think></think><answer>4</answer>", 0.5),
        ("<think></think><answer></answer>", 0.75),
        ("so <think>a</think><answer>4</answer>", 0.75),
        ("<think>a</think><answer>4</answer></s>", 1.0),
    ],
)
def test_each_rule_that_is_kept_pays_its_share(completion, value):
    assert FormatPartial(completion).value == pytest.approx(value)


def test_the_parts_say_how_far_each_rule_is_kept():
    score = FormatPartial.score(_rollout("so <think>a</think><answer> </answer>"))
    assert score.parts == {
        "format_partial": 0.5,
        "format_partial/tags": 1.0,
        "format_partial/order": 1.0,
        "format_partial/filled": 0.0,
        "format_partial/nothing_outside": 0.0,
    }
    assert (score.status, score.reason) == (r1env.Status.BAD_FORMAT, "not kept: filled, nothing_outside")


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join), st.sampled_from(TEMPLATES), st.booleans(), st.booleans())
def test_full_marks_are_those_of_format(completion, template, empty_thinking, prefilled):
    options = {"template": template, "empty_thinking": empty_thinking, "prefilled": prefilled}
    value = FormatPartial.with_options(**options)(completion).value
    assert 0.0 <= value <= 1.0
    assert (value == 1.0) == (Format.with_options(**options)(completion).value == 1.0)


STEPS = (  # each keeps what the one before keeps, and one rule more
    "so 4",
    "so <think>4",
    "so <think></think>4",
    "so <think></think>4<answer>",
    "so <answer></think>4<think></answer>",
    "so <think></think><answer></answer>",
    "so <think>a</think><answer>4</answer>",
    "<think>a</think><answer>4</answer>",
)


def test_one_rule_more_never_pays_less():
    values = [FormatPartial(completion).value for completion in STEPS]
    assert values == sorted(set(values))


def test_a_tag_that_the_prompt_wrote_earns_nothing():
    prefilled = FormatPartial.with_options(prefilled=True)
    assert prefilled("").value == 0.0
    assert prefilled("a</think><answer>4</answer>").value == 1.0


def test_an_unknown_template_is_named_with_those_there_are():
    with pytest.raises(r1env.UsageError, match=r"unknown format template 'r2'; known: r1-zero, r1, boxed"):
        FormatPartial.with_options(template="r2")


def _rollout(completion):
    return r1env.Rollout(task=r1env.Task(id="1", prompt="?"), completion=completion)
