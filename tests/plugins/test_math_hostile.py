"""Answers made to hang, to fill memory or to be executed are refused cheaply, and nothing that comes after them notices."""

from __future__ import annotations

import time

import pytest

import r1env
from r1env_math import AnswerPolicy, How, verify, verify_choice
from r1env_math.guards import excess
from r1env_math.verdict import settle

REFUSED_UNREAD = {
    "a long text": "x" * 1001,
    "deep parentheses": "(" * 25 + "1" + ")" * 25,
    "deep braces": "{" * 30 + "1" + "}" * 30,
    "deep fractions": "\\frac{1}{" * 30 + "1" + "}" * 30,
    "a long number": "9" * 401,
    "many digits": "9" * 300 + "+" + "8" * 300 + "+" + "7" * 300,
    "full-width digits": "９" * 401,
    "a long list": ",".join("1" * 202),
    "a large matrix": "\\begin{pmatrix}" + "&".join("1" * 202) + "\\end{pmatrix}",
    "a large power": "9^{99999}",
    "a large power in code": "9**99999",
    "a large negative power": "2^{-99999}",
    "a power of a large base": "(10^{300})^{300}",
    "a tower": "9^{9^{9}}",
    "a tower without braces": "9^9^9",
    "a tower of letters": "x^{x^{x^{x^{x}}}}",
    "subscripts in each other": "x_{x_{x_{x_{x}}}}",
    "scientific notation": "1e99999",
    "a factorial": "99999!",
    "a factorial of a factorial": "(9!)!",
    "factorials in a row": "9!!!",
    "a factorial to a factorial": "9!^{9!}",
    "a factorial of many digits": "9" * 300 + "!",
    "a binomial coefficient": "\\binom{99999999}{4999}",
    "a binomial coefficient of a power": "\\binom{10^8}{10^7}",
    "the gamma function": "\\Gamma(10^9)",
    "a tower of superscripts": "９^{９^{９９}}",
    "a high root": "\\sqrt[1000000000]{2}",
    "a long sum": "\\sum_{i=1}^{10^9} i",
    "a long product": "\\prod_{i=1}^{99999} (x+i)",
    "many integrals": "\\int\\int\\int x dx dy dz",
}  # fmt: skip
LET_THROUGH = (
    "(x+y+z+a+b+c)^{64}", "((((x+1)^{99})^{9})^{9})", "(x+1)^{999}", "e^{e^{e^{e}}}", "\\tan(\\tan(\\tan(10^{99})))", "i^{i^{i}}",
    "+".join(f"\\sqrt{{{p}}}" for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)), "\\sqrt{" * 20 + "2" + "}" * 20, "x+" * 400 + "1",
    "\\frac{1}{" + "+".join(f"\\sqrt{{{p}}}" for p in (2, 3, 5, 7, 11, 13, 17, 19)) + "}", "\\sqrt{" + "9" * 80 + "}",
    "\\left|" * 20 + "x" + "\\right|" * 20, "\\lfloor \\pi^{999}\\rfloor", "=".join("1" * 300), "\\cup".join(["(1,2)"] * 100),
    "1:" * 100 + "1", "\\pm" * 100, "\\frac" * 150, "\\text{" * 20 + "a" + "}" * 20, "a" * 900, "^" * 300, "0.\\overline{" + "3" * 300 + "}",
    "\\begin{pmatrix}1&1\\\\1&0\\end{pmatrix}^{999}", "(\\sqrt2+\\sqrt3+\\sqrt5+\\sqrt7+\\sqrt{11})^{40}", "100!^{2}", "x\\in" * 50 + "1",
    "__import__('os').system('exit 1')", "(lambda: [].__class__.__base__)()", "exec(open('/etc/passwd'))", "\\input{/etc/passwd}",
)  # fmt: skip


def rollout(answer: str, reference: str) -> r1env.Rollout:
    task = r1env.Task(id=reference, prompt="?", answer=reference)
    return r1env.Rollout(task=task, completion=f"<think>so</think>\\boxed{{{answer}}}")


@pytest.mark.parametrize("name", REFUSED_UNREAD)
def test_an_answer_too_large_to_look_at_is_refused_before_anything_parses_it(name):
    verdict = verify("x", f"\\boxed{{{REFUSED_UNREAD[name]}}}")
    assert (verdict.correct, verdict.how, verdict.status) == (False, How.EXCESS, r1env.Status.UNPARSEABLE)


@pytest.mark.parametrize(
    "answer",
    [
        "e^{x^2}", "2^{3}+5^{2}", "2^{1000}", "10^{-20}", "20!", "\\binom{10}{3}", "x^{10}", "2^{2021}-1", "x_{n_{k}}", "\\sum_{k=1}^{n} k",
        "2^{2^{n}}", "2^{2^5}+1", "(2^{10})^{3}", "10^{100}, 10^{1/100}", "1,2,3,4,5,6,7,8,9,10", "\\frac{1}{1+\\frac{1}{1+\\frac{1}{x}}}", "\\binom{2021}{1000}", "100!",
    ],
)  # fmt: skip
def test_honest_powers_lists_and_factorials_are_looked_at(answer):
    assert excess(answer) is None


@pytest.mark.parametrize("reference", ["\\sin x", "42", pytest.param("[1,2)", marks=pytest.mark.slow)])
def test_what_the_guards_let_through_stays_within_the_limits_and_changes_no_other_verdict(reference):
    honest = rollout("2\\sin x\\cos x", "\\sin 2x"), rollout("\\sin x\\cos x", "\\sin 2x")
    rollouts = [each for answer in LET_THROUGH for each in (rollout(answer, reference), *honest)]
    scores = r1env.score(rollouts, r1env.get_reward("math"))
    bombs = dict(zip(LET_THROUGH, scores[::3], strict=True))
    assert [answer for answer, score in bombs.items() if score.value not in (0.0, None)] == []
    assert [answer for answer, score in bombs.items() if score.seconds > 2.2] == []
    assert [answer for answer, score in bombs.items() if score.failed] == []
    assert {score.value for score in scores[1::3]} == {1.0}
    assert {score.value for score in scores[2::3]} == {0.0}


@pytest.mark.slow
def test_an_answer_that_takes_too_long_costs_only_its_own_rollout():
    endless = rollout("\\sum_{n=1}^{\\infty}\\frac{\\sin nx}{n}", "\\sum_{n=1}^{\\infty}\\frac{\\cos nx}{n}")
    scores = r1env.score([endless, rollout("2\\sin x\\cos x", "\\sin 2x"), rollout("1", "2")], r1env.get_reward("math"))
    assert (scores[0].value, scores[0].status) == (None, r1env.Status.TIMEOUT)
    assert [score.value for score in scores[1:]] == [1.0, 0.0]


REPEATED = {
    "next problems": "\nQuestion: ", "announcements": "The answer is A. ", "boxes": "\\boxed{A} ", "second thoughts": "\\boxed{5}. Wait, ", "labels": "Answer: ",
    "json": '{"answer": 5} ', "letters": "B is correct ", "headings": "**Answer**\n", "numbers": "1,", "parts": "(a) \\boxed{1} ", "tags": "<b>", "options": "A) x ",
    "chinese": "故选", "digits": "9", "brackets": "(", "final tags": "<final_answer>", "dollars": "$ ", "choices": "A or B ",
}  # fmt: skip


@pytest.mark.parametrize("name", REPEATED)
def test_what_runs_in_the_calling_process_is_quick_whatever_the_completion(name):
    text = REPEATED[name] * (60_000 // len(REPEATED[name]))
    task = r1env.Task(id="t", prompt="Which? A) 1 B) 2", answer="B")
    for where in ("strict", "explicit", "lenient"):
        start = time.process_time()
        settle("5", text, policy=AnswerPolicy(where=where))
        verify_choice("B", text, task=task, policy=AnswerPolicy(where=where))
        assert time.process_time() - start < 1.0
