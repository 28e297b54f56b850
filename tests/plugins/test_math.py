"""The math reward accepts what is right, refuses what is wrong, and says which of the two it could not tell."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import Example, check_reward, hostile_completions
from r1env_math import How, verify
from r1env_math.guards import excess

DATA = os.environ.get("R1ENV_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="R1ENV_TEST_DATA names no folder with math_equiv_dev.jsonl")


def boxed(answer: str) -> str:
    return f"<think>so</think> It is \\boxed{{{answer}}}."


def score(completion: str, answer: str | None, **options: object) -> r1env.Score:
    task = r1env.Task(id="t", prompt=({"role": "user", "content": "?"},), answer=answer)
    (result,) = r1env.score([r1env.Rollout(task=task, completion=completion)], r1env.get_reward("math", **options))
    return result


def test_the_reward_keeps_the_contract():
    check_reward(
        "math",
        [
            Example(boxed("2x"), value=0.0, status=r1env.Status.WRONG, answer="x+1"),
            Example(boxed("0.5"), value=1.0, answer="\\frac{1}{2}"),
            Example("<think>\\boxed{1}", value=0.0, status=r1env.Status.NO_ANSWER, answer="1"),
            Example(boxed("9" * 5000), value=0.0, status=r1env.Status.UNPARSEABLE, answer="1"),
            Example(boxed("1"), value=None, status=r1env.Status.UNPARSEABLE, answer="\\frac{"),
            Example(boxed("1"), value=None, status=r1env.Status.UNPARSEABLE),
        ],
    )


@pytest.mark.parametrize(
    ("reference", "answer", "how"),
    [
        ("42", "42", How.TEXT),
        ("x + 1", "$x+1$", How.TEXT),
        ("\\left( 1, 2 \\right)", "(1,2)", How.TEXT),
        ("1234.5", "1,234.50", How.RATIONAL),
        ("\\$1{,}250.50", "1250.5", How.RATIONAL),
        ("0.25", "\\dfrac{1}{4}", How.RATIONAL),
        ("-1/2", "-\\frac12", How.RATIONAL),
        ("25\\%", "0.25", How.RATIONAL),
        ("025", "25", How.RATIONAL),
        ("x^2+2x+1", "(x+1)^2", How.SYMBOLIC),
        ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}", How.SYMBOLIC),
        ("(-\\infty,2]", "x\\leq 2", How.SYMBOLIC),
        ("20!", "2432902008176640000", How.SYMBOLIC),
        ("\\{1,2\\}", "\\{2,1\\}", How.SYMBOLIC),
    ],
)
def test_equal_answers_are_right(reference, answer, how):
    verdict = verify(reference, boxed(answer))
    assert (verdict.correct, verdict.how) == (True, how)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("42", "-42"),
        ("12", "1 2"),
        ("1/3", "0.3333333"),
        ("0.00000000000000000001", "0.00000000000000000002"),
        ("99999999999999999999", "99999999999999999998"),
        ("25", "25\\%"),
        ("(1,2)", "(2,1)"),
        ("[0,1]", "(0,1)"),
        ("x_1", "x_2"),
        ("x-y", "y-x"),
        ("2x+z=1", "1"),
    ],
)
def test_different_answers_are_wrong(reference, answer):
    assert verify(reference, boxed(answer)).correct is False


def test_a_reference_that_cannot_be_read_is_nobodys_fault():
    assert verify("\\frac{1+a}c", boxed("\\frac{1+a}{c}")).how is How.BAD_REFERENCE
    assert verify("", boxed("1")).correct is None
    assert verify("\\frac{1+a}c", boxed("\\frac{1+a}c")).correct is True  # the same text needs no reading


@pytest.mark.parametrize(
    "answer", ["x" * 1001, "(" * 65 + "1" + ")" * 65, "9" * 401, "9^{99999}", "9^{9^{9}}", "99999!", "(9!)!"]
)
def test_an_answer_too_large_to_look_at_is_refused_before_anything_parses_it(answer):
    assert excess(answer)
    verdict = verify("x", boxed(answer))
    assert (verdict.correct, verdict.how) == (False, How.EXCESS)


@pytest.mark.parametrize("answer", ["e^{x^2}", "2^{3}+5^{2}", "2^{1000}", "10^{-20}", "20!", "\\binom{10}{3}", "x^{10}"])
def test_honest_powers_and_factorials_are_looked_at(answer):
    assert excess(answer) is None


def test_a_prefilled_thought_must_be_finished():
    assert score("I guess \\boxed{1}", "1").value == 1.0
    assert score("I guess \\boxed{1}", "1", prefilled=True).status is r1env.Status.NO_ANSWER


@given(st.integers(), st.integers())
def test_integers_are_compared_exactly(reference, answer):
    assert verify(str(reference), boxed(f"{answer:,}")).correct is (reference == answer)


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_fractions_are_compared_exactly(reference, answer):
    tex = f"\\frac{{{answer.numerator}}}{{{answer.denominator}}}"
    assert verify(str(reference), boxed(tex)).correct is (reference == answer)


def test_no_text_reaches_the_reader_that_executes(monkeypatch):
    import math_verify.parser

    def refuse(text, **_):
        raise AssertionError(f"parse_expr was given {text!r}")

    monkeypatch.setattr(math_verify.parser, "parse_expr", refuse)
    for completion in hostile_completions().values():
        if len(completion) < 1000:
            verify("x+1", completion)
    for answer in ("1+1", "2*(3+4)", "__import__('os').getcwd()", "1/2"):
        verify("x+1", answer)


@needs_data
def test_the_development_set_has_no_false_accept_and_few_false_refusals():
    rows = [json.loads(line) for line in (Path(DATA) / "math_equiv_dev.jsonl").read_text("utf-8").splitlines()]
    accepted = {
        row["id"]: verify(row["gold"], row["pred"] if row["kind"] == "response" else boxed(row["pred"])).correct is True
        for row in rows
    }
    assert [row["id"] for row in rows if accepted[row["id"]] and not row["label"]] == []
    assert sum(accepted[row["id"]] == row["label"] for row in rows) / len(rows) >= 0.92


@needs_data
def test_every_reference_answer_of_gsm8k_is_accepted_without_a_parser():
    source = r1env.make_environment("gsm8k", data=str(Path(DATA) / "gsm8k_test.jsonl")).source
    for index in range(source.size):
        answer = source.task(index).answer
        assert verify(answer, f"So the answer is ${answer}.").how in (How.TEXT, How.RATIONAL)
