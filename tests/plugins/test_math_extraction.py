"""Where the math reward looks for the final answer, and where it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.testing import HOSTILE_TEXTS
from r1env_math.extraction import extract


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        # the answer block
        ("<think>so</think><answer>42</answer>", "42"),
        ("<think>so</think> I say <answer> \\boxed{42} </answer>", "42"),
        ("<think>so</think><answer>The answer is 42.</answer>", "42"),
        ("<think>so</think><answer>several\nlines</answer>", "several\nlines"),
        # boxes
        ("first \\boxed{\\frac{1}{2}} and again $\\boxed{\\frac12}$", None),
        ("first \\boxed{ 42 } and again $\\boxed{42}$", "42"),
        ("Thus $$f(x)=\\boxed{x^2+1}.$$", "x^2+1"),
        ("\\boxed{\\boxed{42}}", "42"),
        ("\\boxed {42}", "42"),
        ("\\fbox{42}", "42"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{4 and an open one \\boxed{42}", "42"),
        ("$\\boxed{(2, 2)} \\quad \\text{and} \\quad \\boxed{(6, 2)}$", "(2, 2), (6, 2)"),
        # final statements
        ("We try 5. The answer is 42.", "42"),
        ("The answer is: **42**", "42"),
        ("The final answer is $x = \\frac{1}{2}$, as said.", "x = \\frac{1}{2}"),
        ("First the answer is 5. No, the answer is 3.5.", "3.5"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("Answer:\n42", "42"),
        ("5 + 37 = 42\n#### 42", "42"),
        ("Final Answer: The final answer is 12,000,023. I hope it is correct.", "12,000,023"),
        # nothing but the answer
        ("  x^2 + 1 ", "x^2 + 1"),
        ("<think>so</think>\n42", "42"),
        # a thought that the prompt began
        ("so</think>42", "42"),
    ],
)
def test_the_answer_is_found(completion, answer):
    assert extract(completion).text == answer


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<think>the answer is \\boxed{42}", "the thinking was never finished"),
        ("<think>the answer is \\boxed{42}</think>", "no answer block, no box, no final statement"),
        ("<answer>41</answer><answer>42</answer>", "there is not exactly one filled <answer> block"),
        ("<answer></answer> or \\boxed{42}", "there is not exactly one filled <answer> block"),
        ("\\boxed{42", "whole response"),
        ("It may be \\boxed{41}, or then it may be \\boxed{42}.", "there are boxes with different answers"),
        ("<answer>\\boxed{41} if even, \\boxed{42} if odd</answer>", "there are boxes with different answers"),
        ("\\boxed{}", "the last box is empty"),
        ("We try 41.\nThen 42.", "no answer block, no box, no final statement"),
        ("", "no answer block, no box, no final statement"),
    ],
)
def test_no_answer_has_a_reason(completion, reason):
    assert extract(completion).reason == reason


def test_a_prefilled_thought_that_never_ends_gives_no_answer():
    assert extract("the answer is \\boxed{42}").text == "42"
    assert extract("the answer is \\boxed{42}", prefilled=True).text is None


FRAGMENTS = (
    "\\boxed{",
    "}",
    "{",
    "\\{",
    "\\",
    "$",
    "<answer>",
    "</answer>",
    "</think>",
    "answer is ",
    "Answer:",
    "1",
    " ",
    "\n",
)


@given(st.one_of(st.text(st.characters(codec=None)), st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)))
def test_no_text_makes_it_raise_and_what_it_finds_is_in_the_text(completion):
    found = extract(completion)
    assert found.text is None or all(part in completion for part in found.text.split(", "))


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_texts_are_read_too(name):
    extract(HOSTILE_TEXTS[name])
