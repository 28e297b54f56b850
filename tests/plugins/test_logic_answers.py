"""The rewards `exact` and `integer` read one short answer and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import Status, UsageError
from r1env.testing import Example, check_reward
from r1env_logic.answers import MAX_DIGITS, exact, integer, read_integer


def test_the_rewards_keep_the_contract():
    check_reward("exact", [Example("<think></think><answer>0147</answer>", value=1.0, answer="0147")])
    check_reward("integer", [Example("<think>so</think><answer>046</answer>", value=1.0, answer="46")])


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("<think>so</think><answer> 0147\n</answer>", Status.OK),
        ("<think>so</think><answer>1047</answer>", Status.WRONG),
        ("<think>so</think><answer>147</answer>", Status.WRONG),
        ("0147", Status.NO_ANSWER),
        ("<think>so</think><answer></answer>", Status.NO_ANSWER),
        ("<think><answer>0147</answer>", Status.NO_ANSWER),
        ("<think>so</think><answer>0147</answer><answer>0147</answer>", Status.NO_ANSWER),
    ],
)
def test_exact_wants_the_reference_to_the_letter(completion, status):
    score = exact(completion, "0147")
    assert (score.value, score.status) == (float(status is Status.OK), status)


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("<answer>46</answer>", Status.OK),
        ("<answer>0046</answer>", Status.OK),
        ("<think>so</think>It is \\boxed{46}.", Status.OK),
        ("<think>so</think>Not \\boxed{45} but \\boxed{ 46 }.", Status.OK),
        ("<think>so</think>\n46\n", Status.OK),
        ("<answer>64</answer>", Status.WRONG),
        ("<answer>-46</answer>", Status.WRONG),
        ("<answer>46.</answer>", Status.UNPARSEABLE),
        ("<answer>46 or 47</answer>", Status.UNPARSEABLE),
        ("<answer>٤٦</answer>", Status.UNPARSEABLE),
        ("<answer>45</answer><answer>46</answer>", Status.NO_ANSWER),
        ("It is 46", Status.NO_ANSWER),
        ("\\boxed{46", Status.NO_ANSWER),
    ],
)
def test_integer_reads_a_block_a_box_or_a_lone_number(completion, status):
    score = integer(completion, "46")
    assert (score.value, score.status) == (float(status is Status.OK), status)


def test_a_task_without_a_usable_reference_gives_no_value():
    assert exact("<answer>1</answer>", None).value is None
    assert integer("<answer>1</answer>", "one").value is None


def test_the_digits_of_an_integer_are_bounded():
    assert read_integer("9" * MAX_DIGITS) == 10**MAX_DIGITS - 1
    assert read_integer("9" * (MAX_DIGITS + 1)) is None


@given(st.integers(), st.text(" \n", max_size=3), st.integers(0, 5))
def test_every_way_of_writing_an_integer_is_read(number, space, zeros):
    sign = "-" if number < 0 else ""
    assert read_integer(f"{space}{sign}{'0' * zeros}{abs(number)}{space}") == number


@given(st.text(st.characters(codec=None)))
def test_no_text_makes_them_raise(text):
    assert exact(text, "1").value in (0.0, 1.0)
    assert integer(text, "1").value in (0.0, 1.0)


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("3 + 4 = 7", 1.0),
        ("The sum of 3 and 4 is 7.", 1.0),
        ("7, because 3 + 4", 0.0),
        ("<think>7</think> I do not know", 0.0),
        ("<think>never closed 7", 0.0),
        ("<answer>7</answer><answer>8</answer> 7", 0.0),
        ("\\boxed{8} or 7", 0.0),
    ],
)
def test_the_lenient_policy_also_takes_the_last_integer_of_the_response(completion, value):
    assert integer(completion, "7", policy="lenient").value == value


def test_an_unknown_answer_policy_is_refused():
    with pytest.raises(UsageError, match="known: explicit, lenient"):
        integer("7", "7", policy="loose")
