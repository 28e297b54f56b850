"""The official rules decide what the evaluators decide that they are named after."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import Rollout, Task
from r1env_benchmarks import rules
from r1env_benchmarks.rules import RULES, BenchmarkRule
from r1env_code.blocks import livecodebench_code

CASES = Path(os.environ.get("R1ENV_TEST_DATA", ".")) / "layouts/official_extraction_cases.jsonl"
NAMED = {
    "simple_evals_multichoice": lambda case: rules.simple_evals_choice(case["response"]),
    "simple_evals_answer_line": lambda case: rules.simple_evals_answer(case["response"]),
    "mmlu_pro": lambda case: rules.mmlu_pro_choice(case["response"]),
    "lcb_extract_code": lambda case: livecodebench_code(case["response"]),
    "verl_gsm8k_strict": lambda case: float(rules.verl_gsm8k_answer(case["response"]) == case["ground_truth"]),
    "verl_math_dapo": lambda case: 2.0 * _scored("verl-dapo", case["response"], case["ground_truth"]).value - 1,
    "drop_em_f1": lambda case: list(rules.drop_metrics(case["response"], case["reference"])),
    "hendrycks_is_equiv": lambda case: rules.hendrycks_equal(case["a"], case["b"]),
    "olympiadbench_judge": lambda case: rules.olympiadbench_equal(case["ground_truth"], case["response"], case["precision"]),
}


def _scored(rule, completion, answer, **metadata):
    task = Task(id="t", prompt="?", answer=answer, metadata=metadata)
    return r1env.get_reward("benchmark", rule=rule).score(Rollout(task=task, completion=completion))


@pytest.mark.skipif(not CASES.is_file(), reason="R1ENV_TEST_DATA names no folder with layouts/official_extraction_cases.jsonl")
def test_recorded_verdicts_of_the_evaluators_are_reproduced():
    cases = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]
    wrong = [(case, found) for case in cases if (found := NAMED[case["rule"]](case)) != case["expected"]]
    assert not wrong, f"{len(cases) - len(wrong)} of {len(cases)} are right"
    assert {case["rule"] for case in cases} == set(NAMED)


@pytest.mark.parametrize(
    ("read", "response", "answer"),
    [
        (rules.simple_evals_choice, "ANSWER:\t$d$ is mine", "d"),
        (rules.simple_evals_choice, "Answer: A. Wait, Answer: C", "A"),
        (rules.simple_evals_choice, "Answer: none of them", None),
        (rules.simple_evals_answer, "Answer : 3 apples\nAnswer: 4", "3 apples"),
        (rules.mmlu_pro_choice, "Answer: C\nThe answer is (F)", "F"),
        (rules.mmlu_pro_choice, "answer: B, no, answer: D\nAnswer: E", "D"),
        (rules.mmlu_pro_choice, "Answer: Answer: G", "G"),  # not the A of the second "Answer"
        (rules.mmlu_pro_choice, "It is H rather than I.", "I"),
        (rules.mmlu_pro_choice, "Nothing fits", None),
        (rules.lm_eval_mmlu_pro_choice, "Answer: D", None),
        (rules.lm_eval_mmlu_pro_choice, "so the answer is (D)", "D"),
        (rules.opencompass_choice, "选 C，因为 A 不对", "C"),
        (rules.opencompass_choice, "无", None),
        (rules.verl_gsm8k_answer, "#### 12\nno, #### 1,300", "1300"),
        (rules.verl_gsm8k_answer, "####12", None),
        (rules.verl_gsm8k_flexible_answer, "We get 3 and then 4.", "4."),
        (rules.verl_gsm8k_flexible_answer, "none.", "."),
        (rules.verl_dapo_answer, "Answer: 2\nanswer : $\\frac34$", "\\frac{3}{4}"),
        (livecodebench_code, "```\nold\n```\nthen\n```py\nnew\n```", "new"),
        (livecodebench_code, "no fence", ""),
        (rules.hendrycks_answer, "so $x$ is $5$, ok", "x$ is $5"),
    ],
)
def test_an_answer_is_read_as_the_evaluator_reads_it(read, response, answer):
    assert read(response) == answer


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (r"\dfrac{7}{8}", "7/8", True),
        (r"\frac3{4}", r"\frac{3}{4}", True),
        ("x/3", r"\frac{x}{3}", False),  # no integers beside the slash: the texts are compared
        ("x/3", "x/3", True),
        (r"y=\sqrt2", r"\sqrt{2}", True),
        (r"3\text{ m}\text{ s}", r"3\text{ m}", False),
        (r"\frac", r"\frac", True),
        (r"\sqrt", r"\sqrt{}", False),
        ("", "", True),
        (r"4\\\%%", "4", True),
        ("{.5}", "{0.5}", True),
    ],
)
def test_hendrycks_form(first, second, equal):
    assert rules.hendrycks_equal(first, second) is equal


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1"),
    [
        (["Ann", "Bo"], ["Bo", "Ann"], 1.0, 1.0),
        (["Ann"], ["Bo", "Ann"], 0.0, 0.5),
        (["red fox", "old dog"], ["the old dog", "a red cat"], 0.0, 0.75),
        ("5 yards", "7 yards", 0.0, 0.0),
        ("the", "a", 1.0, 1.0),
        ("3.0", "3", 1.0, 1.0),
        (["Bo", "a Bo Ann -3", "$5 17"], ["-3 1,000", "an, e", "nan 17.0 _", "e 5-yard"], 0.0, 0.22),  # 0.225
    ],
)
def test_drop_metrics(prediction, reference, exact, f1):
    assert rules.drop_metrics(prediction, reference) == (exact, f1)


@given(
    st.integers(1, 4).flatmap(
        lambda columns: st.lists(
            st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=columns, max_size=columns), min_size=1, max_size=4
        )
    )
)
def test_spans_are_paired_so_that_the_sum_is_largest(scores):
    rows, columns = len(scores), len(scores[0])
    wide = scores if rows <= columns else list(zip(*scores, strict=True))
    best = max(
        sum(row[column] for row, column in zip(wide, order, strict=True))
        for order in itertools.permutations(range(max(rows, columns)), len(wide))
    )
    assert sum(rules._best_pairs(scores)) == pytest.approx(best)


@pytest.mark.parametrize(
    ("reference", "response", "precision", "equal"),
    [
        ("$3, 4$", r"First \boxed{4}, then \boxed{3}.", 1e-8, True),
        ("$3, 4$", r"\boxed{3}", 1e-8, False),
        ("$x=2y+1$", r"\boxed{3x = 6y + 3}", 1e-8, True),
        ("$(0,\\frac{1}{2}]$", r"\boxed{(0, 0.5]}", 1e-8, True),
        ("$1.5, 20$", r"\boxed{20.4, 1.5}", [1e-8, 0.5], True),
        ("$1.5, 20$", r"\boxed{20.4, 1.5}", [0.5, 1e-8], False),
        ("7", r"\boxed{10^{10^{10^{10}}}}", 1e-8, False),
        ("$2^{3000}$", r"\boxed{4^{1500}}", 1e-8, False),
        ("7", "It is unknown", 1e-8, False),
    ],
)
def test_olympiadbench_equality(reference, response, precision, equal):
    assert rules.olympiadbench_equal(reference, response, precision) is equal


def test_too_few_tolerances_are_an_error_and_too_many_are_not():
    assert rules.olympiadbench_equal("20", r"\boxed{20.4}", [0.5, 1e-8])
    assert not rules.olympiadbench_equal("20", r"\boxed{20.4}", [1e-8, 0.5])
    with pytest.raises(rules.TolerancesError, match="2 tolerances for 3 answers"):
        rules.olympiadbench_equal("1, 2, 3", r"\boxed{1, 2, 4}", [1e-8, 1e-3])


@pytest.mark.parametrize("rule", RULES)
def test_an_answer_in_the_thinking_counts_for_nothing(rule):
    said = "Answer: B. The answer is (B). #### 7\n\\boxed{7} B 7"
    for answer in ("B", "7"):
        assert _scored(rule, f"<think>{said}</think>", answer).value == 0.0
        assert _scored(rule, f"<think>{said}", answer).value == 0.0


@pytest.mark.parametrize("rule", ["simple-evals-choice", "mmlu-pro", "lm-eval-mmlu-pro", "opencompass-choice"])
def test_an_answer_that_is_not_found_is_never_drawn_at_random(rule):
    scores = {_scored(rule, "i do not know", letter).value for letter in "ABCDEFGHIJ"}
    assert scores == {0.0}


def test_a_rule_reports_its_metrics_and_reads_the_reference_of_a_worked_solution():
    score = _scored("lm-eval-drop", "Ann Bo", "Ann, Bo", spans=[["Ann", "Bo"]])
    assert (score.value, score.parts["benchmark/em"], score.parts["benchmark/f1"]) == (0.33, 0.0, 0.33)
    contained = _scored("simple-evals-drop", "Answer: Ann Lee", "Ann")
    assert (contained.value, contained.parts["benchmark/em"]) == (1.0, 0.0)
    assert BenchmarkRule.read_reference("We add.\n#### 1,200") == "1,200"
    assert _scored("verl-gsm8k", "#### 1200", "1,200").value == 1.0
    assert _scored("simple-evals-math", "Answer: $\\frac{1}{2}$", "0.5").value == 1.0
    assert _scored("lm-eval-math", "The value is $\\tfrac12$.", "1/2").value == 1.0


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(r1env.UsageError, match="rule is 'best'; known: simple-evals-choice, "):
        r1env.get_reward("benchmark", rule="best")


@given(st.text(alphabet='aAB: $\\{}[](),#0123.%/^_=\n"*frcbox', max_size=60))
def test_no_text_makes_a_rule_raise(text):
    for name in RULES:
        if name != "olympiadbench":  # sympy's parser is too slow here
            score = _scored(name, text, "B")
            assert score.value in (0.0, 1.0) or "drop" in name
