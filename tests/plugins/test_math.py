"""The math reward keeps the contract of rewards, says how it decided, and can be told what counts as an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import r1env
from r1env.testing import Example, check_reward, hostile_completions
from r1env_math import AnswerPolicy, How, Where, check_gold, verify

DATA = os.environ.get("R1ENV_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="R1ENV_TEST_DATA names no folder with math_equiv_dev.jsonl")


def boxed(answer: str) -> str:
    return f"<think>so</think> It is \\boxed{{{answer}}}."


def score(completion: str, answer: str | None, question: str = "?", **options: object) -> r1env.Score:
    task = r1env.Task(id="t", prompt=question, answer=answer)
    (result,) = r1env.score([r1env.Rollout(task=task, completion=completion)], r1env.get_reward("math", **options))
    return result


@pytest.mark.slow
def test_the_reward_keeps_the_contract():
    check_reward(
        "math",
        [
            Example(boxed("2x"), value=0.0, status=r1env.Status.WRONG, answer="x+1"),
            Example(boxed("0.5"), value=1.0, answer="\\frac{1}{2}"),
            Example(boxed("2\\sin x\\cos x"), value=1.0, answer="\\sin 2x"),
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
        ("\\text{Evelyn}", "evelyn", How.TEXT),
        ("1234.5", "1,234.50", How.EXACT),
        ("x^2+2x+1", "(x+1)^2", How.EXACT),
        ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}", How.EXACT),
        ("0.458", "\\frac{11}{24}", How.NUMERIC),
        ("\\{1,2\\}", "\\{2,1\\}", How.SET),
        ("(-\\infty,2]", "x\\leq 2", How.SET),
        ("B", "(B)", How.CHOICE),
        ("\\sin 2x", "2\\sin x\\cos x", How.SYMBOLIC),
    ],
)
def test_a_verdict_says_what_it_rests_on_and_what_was_read(reference, answer, how):
    verdict = verify(reference, boxed(answer))
    assert (verdict.correct, verdict.how, verdict.status) == (True, how, r1env.Status.OK)
    assert verdict.extracted == answer
    assert verdict.reference_form
    assert verdict.answer_form
    assert 0 <= verdict.seconds < 2


@pytest.mark.parametrize(
    ("reference", "completion", "correct", "how", "status"),
    [
        ("1", "I do not know.\nSorry.", False, How.NO_ANSWER, r1env.Status.NO_ANSWER),
        ("x", boxed("9^{9^{9}}"), False, How.EXCESS, r1env.Status.UNPARSEABLE),
        ("x", boxed("\\frac{1}{"), False, How.UNREADABLE, r1env.Status.UNPARSEABLE),
        ("\\frac{1}{3}", boxed("\\int_0^1 x^2 dx"), False, How.UNEVALUATED, r1env.Status.WRONG),
        ("1", boxed("2"), False, How.EXACT, r1env.Status.WRONG),
        ("\\frac{", boxed("2"), None, How.BAD_REFERENCE, r1env.Status.UNPARSEABLE),
        ("", boxed("2"), None, How.BAD_REFERENCE, r1env.Status.UNPARSEABLE),
    ],
)
def test_a_refusal_says_whose_fault_it_is(reference, completion, correct, how, status):
    verdict = verify(reference, completion)
    assert (verdict.correct, verdict.how, verdict.status) == (correct, how, status)


def test_a_reference_that_cannot_be_read_still_equals_its_own_text():
    assert verify("\\frac{", boxed("7")).correct is None
    assert verify("x \\equiv 3 \\pmod 7", boxed("x\\equiv3\\pmod 7")).correct is True


def test_an_integral_may_be_answered_by_an_integral_where_the_reference_is_one():
    assert verify("\\int_0^x \\sin(t) dt", boxed("\\int_0^x \\sin(t) dt")).correct is True


def test_what_is_plainly_right_is_settled_without_a_worker_and_without_sympy():
    code = """
import sys, r1env
reward = r1env.get_reward("math")
def settled(answer, reference):
    task = r1env.Task(id="t", prompt="?", answer=reference)
    return reward.settle(r1env.Rollout(task=task, completion=f"\\\\boxed{{{answer}}}"))
assert settled("1,234", "1234").value == 1.0
assert settled("(x+1)^2", "x^2+2x+1").value == 1.0
assert settled("2\\\\sin x\\\\cos x", "\\\\sin 2x") is None
assert settled("5", "6").value == 0.0
assert settled("5", None) is None
assert "sympy" not in sys.modules and "math_verify" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# The policy.


@pytest.mark.parametrize(
    ("where", "paid"),
    [
        ("strict", {"box", "block"}),
        ("explicit", {"box", "block", "statement", "alone"}),
        ("lenient", {"box", "block", "statement", "alone", "formula", "number"}),
    ],
)
def test_the_policy_says_where_the_answer_may_stand(where, paid):
    completions = {
        "box": "So \\boxed{42}.",
        "block": "<answer>42</answer>",
        "statement": "We add.\nThe answer is 42.",
        "alone": "42",
        "formula": "We add.\nThat gives $42$ apples in the end.",
        "number": "We add.\nThat gives 42 apples in the end.",
        "reasoning": "<think>\\boxed{42}</think> I have found it.",
    }
    assert {name for name, completion in completions.items() if score(completion, "42", policy=where).value == 1.0} == paid


def test_an_unfinished_thought_pays_only_where_the_policy_says_so():
    assert score("<think> I guess \\boxed{1}", "1").status is r1env.Status.NO_ANSWER
    assert score("<think> I guess \\boxed{1}", "1", unfinished_thought=True).value == 1.0


def test_a_prefilled_thought_must_be_finished():
    assert score("I guess \\boxed{1}", "1").value == 1.0
    assert score("I guess \\boxed{1}", "1", prefilled=True).status is r1env.Status.NO_ANSWER


def test_different_boxes_are_no_answer_unless_the_policy_takes_the_last():
    assert score("\\boxed{1} and now \\boxed{2}", "2").status is r1env.Status.NO_ANSWER
    assert score("\\boxed{1} and now \\boxed{2}", "2", conflict="last").value == 1.0


def test_an_answer_that_is_taken_back_is_none_and_the_one_after_it_stands():
    assert score("\\boxed{1} no, wait: \\boxed{2}", "2").value == 1.0
    assert score("\\boxed{1} no, wait: \\boxed{2}", "1").value == 0.0
    assert score("\\boxed{1}. Hmm, that is wrong.", "1").status is r1env.Status.NO_ANSWER


def test_a_missing_unit_counts_only_where_the_policy_says_so():
    assert score(boxed("5"), "5\\text{ cm}").value == 1.0
    assert score(boxed("5"), "5\\text{ cm}", units="require").value == 0.0
    assert score(boxed("5\\text{ cm}"), "5\\text{ cm}", units="require").value == 1.0
    assert score(boxed("5\\text{ m}"), "5\\text{ cm}").value == 0.0


def test_numbers_are_exact_unless_the_policy_gives_a_tolerance():
    assert score(boxed("3.1416"), "3.14159").value == 0.0
    assert score(boxed("3.1416"), "3.14159", tolerance=1e-4).value == 1.0
    assert score(boxed("3.15"), "3.14159", tolerance=1e-4).value == 0.0
    assert score(boxed("0.0001"), "0", tolerance=0.1).value == 0.0


def test_a_rounded_reference_stands_for_the_fraction_unless_the_policy_forbids_it():
    assert score(boxed("\\frac{11}{24}"), "0.458").value == 1.0
    assert score(boxed("\\frac{11}{24}"), "0.458", rounded_reference=False).value == 0.0
    assert score(boxed("\\frac{1}{3}"), "0.3").value == 0.0  # two digits may be meant exactly
    assert score(boxed("0.4583"), "0.458").value is None  # it may be what was rounded
    assert score(boxed("0.4583"), "0.458", rounded_reference=False).value == 0.0
    assert score(boxed("0.458"), "\\frac{11}{24}").value == 0.0  # the reference is exact


def test_capitals_count_only_where_the_policy_says_so():
    assert score(boxed("evelyn"), "Evelyn").value == 1.0
    assert score(boxed("evelyn"), "Evelyn", case="keep").value == 0.0
    assert score(boxed("b"), "B", case="keep").value == 0.0


def test_a_percentage_needs_its_sign_unless_the_question_asks_for_one():
    assert score(boxed("25"), "25\\%").value == 0.0
    assert score(boxed("25"), "25\\%", question="What percentage is that?").value == 1.0
    assert score(boxed("25\\%"), "25", question="How many percent is that?").value == 1.0
    assert score(boxed("0.25"), "25", question="How many percent is that?").value == 0.0


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("policy", "loose", "known: strict, explicit, lenient"),
        ("conflict", "first", "known: refuse, last"),
        ("units", "cm", "known: ignore, require"),
        ("case", "upper", "known: ignore, keep"),
        ("tolerance", 2, "from 0 to below 1"),
        ("prefilled", "yes", "known: true, false"),
    ],
)
def test_an_unknown_value_is_named_with_those_there_are(option, value, known):
    with pytest.raises(r1env.UsageError, match=known):
        r1env.get_reward("math", **{option: value})


def test_the_policy_object_takes_plain_names_too():
    assert AnswerPolicy(where="lenient") == AnswerPolicy(where=Where.LENIENT)
    assert verify("42", "We add.\nThat gives 42 apples.", policy=AnswerPolicy(where="lenient")).correct is True


# References.


def test_references_that_cannot_be_read_are_found_before_training():
    references = [
        "42",
        "\\frac{1}{2}",
        "\\frac{",
        "",
        "\\sin 2x",
        "no solution",
        "Evelyn",
        "x \\equiv y \\pmod n",
        "[0,1)",
        "9^{9^{9}}",
    ]
    assert [(fault.index, fault.answer) for fault in check_gold(references)] == [
        (2, "\\frac{"),
        (3, ""),
        (7, "x \\equiv y \\pmod n"),
        (9, "9^{9^{9}}"),
    ]


def test_faults_of_tasks_carry_their_ids_and_a_reason():
    tasks = [
        r1env.Task(id="good", prompt="?", answer="1"),
        r1env.Task(id="bad", prompt="?", answer="\\frac{"),
        r1env.Task(id="none", prompt="?"),
    ]
    found = check_gold(tasks)
    assert [fault.id for fault in found] == ["bad", "none"]
    assert all(fault.reason for fault in found)


# Data.


def development_set() -> list[dict]:
    return [json.loads(line) for line in (Path(DATA) / "math_equiv_dev.jsonl").read_text("utf-8").splitlines()]


@needs_data
def test_the_development_set_has_no_false_accept_and_at_most_three_percent_of_false_refusals():
    rows = development_set()
    tasks = [r1env.Task(id=row["id"], prompt="?", answer=row["gold"]) for row in rows]
    completions = [row["pred"] if row["kind"] == "response" else boxed(row["pred"]) for row in rows]
    rollouts = [r1env.Rollout(task=task, completion=each) for task, each in zip(tasks, completions, strict=True)]
    accepted = [found.value == 1.0 for found in r1env.score(rollouts, r1env.get_reward("math"))]
    assert [row["id"] for row, paid in zip(rows, accepted, strict=True) if paid and not row["label"]] == []
    assert sum(paid == row["label"] for row, paid in zip(rows, accepted, strict=True)) / len(rows) >= 0.97


@needs_data
def test_every_reference_of_the_development_set_can_be_read():
    assert check_gold(row["gold"] for row in development_set()) == []


@needs_data
def test_every_reference_answer_of_gsm8k_is_accepted_without_a_parser():
    source = r1env.make_environment("gsm8k", data=str(Path(DATA) / "gsm8k_test.jsonl")).source
    for index in range(source.size):
        answer = source.task(index).answer
        assert verify(answer, f"So the answer is ${answer}.").how in (How.TEXT, How.EXACT)


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


@pytest.mark.parametrize(
    ("reference", "right"),
    [
        ("We count 12 + 6.\n#### 18", "18"),
        ("Adding gives $12+6=18$, so the answer is $\\boxed{18}$.", "18"),
        ("The answer is 18.", "18"),
        ("First 12.\nThe final answer is $x=18$.", "18"),
        ("答案：18", "18"),
        ('["18"]', "18"),
        ("['18']", "18"),
        ("<answer>18</answer>", "18"),
        ("$\\boxed{18}$ hens", "18"),
        ("x = \\boxed{3}, y = \\boxed{5}", "3, 5"),
        ("The final answer is $\\boxed{\\text{(B)}}$.", "B"),
    ],
)
def test_a_reference_may_be_a_worked_solution(reference, right):
    assert score(boxed(right), reference).value == 1.0
    assert score(boxed("19"), reference).value == 0.0


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "  ",
        "\\frac{",
        "Ann sells 48/2 = 24 clips in May.\nAltogether she sells 48+24 = 72 clips.",
        "the cat " * 20,
        "so \\boxed{}",
    ],
)
def test_a_reference_that_gives_no_answer_is_unscored(reference):
    found = score(boxed("72"), reference)
    assert (found.value, found.status) == (None, r1env.Status.UNPARSEABLE)
    assert found.reason
    assert check_gold([reference])
