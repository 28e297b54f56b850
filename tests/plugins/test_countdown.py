"""Countdown: the puzzles can be solved, and only a solution is paid."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import Status, Task
from r1env.data.sources import iterate
from r1env.testing import Example, check_reward
from r1env_logic.countdown import MAX_DEPTH, ExpressionError, countdown, countdown_tasks, evaluate

TASK = Task(
    id="c", prompt=({"role": "user", "content": "?"},), answer="(2 + 3) * 4", metadata={"numbers": [2, 3, 4], "target": 20}
)


def test_the_reward_keeps_the_contract():
    check_reward("countdown", [Example("<answer>(2+3)*4</answer>", value=1.0, task=TASK)])


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_every_puzzle_comes_with_a_solution(count):
    for task in iterate(countdown_tasks(count=count), 100):
        assert countdown(f"<answer>{task.answer}</answer>", task).value == 1.0
        assert len(task.metadata["numbers"]) == count
        assert task.metadata["target"] > 0


@pytest.mark.parametrize(
    ("expression", "status", "reason"),
    [
        ("4*(3+2)", Status.OK, ""),
        ("((2)+3)*(4)", Status.OK, ""),
        ("2+3*4", Status.WRONG, "makes 14 instead of 20"),
        ("20", Status.WRONG, "uses [20] instead of [2, 3, 4]"),
        ("4*(3+2)*1", Status.WRONG, "uses [4, 3, 2, 1] instead of [2, 3, 4]"),
        ("(2+3)*2*2", Status.WRONG, "uses [2, 3, 2, 2] instead of [2, 3, 4]"),
        ("(2+3)*4 = 20", Status.UNPARSEABLE, "' ' is no part of an expression"),
        ("(2+3)/4", Status.UNPARSEABLE, "'/' is no part of an expression"),
        ("2**3", Status.UNPARSEABLE, "a number is missing before '*'"),
        ("-2+3", Status.UNPARSEABLE, "a number is missing before '-'"),
        ("(2+3", Status.UNPARSEABLE, "a parenthesis is not closed"),
        ("2+", Status.UNPARSEABLE, "the expression ends too early"),
        ("2 3", Status.UNPARSEABLE, "unexpected '3' after the expression"),
        ("abs(2)", Status.UNPARSEABLE, "'a' is no part of an expression"),
        ("٢+٣", Status.UNPARSEABLE, "'٢' is no part of an expression"),
        ("(" * (MAX_DEPTH + 1) + "2", Status.UNPARSEABLE, f"nested deeper than {MAX_DEPTH}"),
        ("2" + "+2" * 200, Status.UNPARSEABLE, "longer than 200 characters"),
        ("", Status.NO_ANSWER, "there is not exactly one filled <answer> block"),
    ],
)
def test_only_a_solution_is_paid(expression, status, reason):
    score = countdown(f"<think>so</think><answer>{expression}</answer>", TASK)
    assert (score.value, score.status, score.reason) == (float(status is Status.OK), status, reason)


def test_division_is_exact_and_paid_where_the_puzzle_allows_it():
    puzzle = TASK.model_copy(update={"metadata": {"numbers": [1, 3, 8], "target": 8, "operations": "+-*/"}})
    assert countdown("<answer>1 / 3 * 8</answer>", puzzle).value == 0.0
    assert countdown("<answer>3 / (1 / 8) / 3</answer>", puzzle).value == 0.0
    assert countdown("<answer>8 / (3 - 2)</answer>", puzzle).value == 0.0
    assert (
        countdown("<answer>8 * 3 / 1</answer>", puzzle.model_copy(update={"metadata": {**puzzle.metadata, "target": 24}})).value
        == 1.0
    )
    assert evaluate("1 / 3 * 3", division=True).value == 1
    assert countdown("<answer>8 / (3 - 3) + 1</answer>", puzzle).reason == "division by zero"


def test_a_task_that_is_no_puzzle_gives_no_value():
    assert countdown("<answer>1</answer>", TASK.model_copy(update={"metadata": {}})).value is None


def joined(parts):
    (left, a), operation, (right, b) = parts
    value = {"+": a + b, "-": a - b, "*": a * b}[operation]
    return f"({left} {operation} {right})", value


EXPRESSIONS = st.recursive(
    st.integers(0, 99).map(lambda n: (str(n), n)),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(joined),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_expressions_are_read_as_mathematics_reads_them(expression):
    text, value = expression
    assert evaluate(text).value == value


@given(st.one_of(st.text(st.characters(codec=None)), st.text("0123456789+-*/() ")))
def test_a_text_is_an_expression_or_is_said_not_to_be(text):
    with contextlib.suppress(ExpressionError):
        assert isinstance(evaluate(text).value, int)
        assert isinstance(evaluate(text, division=True).value, int | Fraction)
