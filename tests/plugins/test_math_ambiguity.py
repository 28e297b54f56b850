"""What is left unscored: right in one reading and wrong in another. Whoever does not know the answer gets 0, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env_math import AnswerPolicy, verify, verify_choice
from r1env_math.verdict import settle

UNCLEAR: list[tuple[str, str, str]] = [  # reference, an answer that is right in one reading, the same with a wrong value
    ("3.61", "\\sqrt{13}", "\\sqrt{14}"),
    ("18.85", "6\\pi", "7\\pi"),
    ("1.099", "\\ln 3", "\\ln 4"),
    ("0.17", "\\frac16", "\\frac17"),
    ("2.714", "2.7143", "2.7151"),
    ("\\ln 5", "\\log 5", "\\log 6"),
    ("x^3-x+C", "x^3-x", "x^3+x"),
    ("5x-2y=9", "5x-2y-9", "5x-2y-8"),
    ("[1,4]\\cup[6,7]", "[1,4], [6,7]", "[1,4], [6,8]"),
    ("\\begin{pmatrix}4\\\\7\\end{pmatrix}", "(4,7)", "(7,4)"),
    ("(4,7)", "\\begin{pmatrix}4\\\\7\\end{pmatrix}", "\\begin{pmatrix}7\\\\4\\end{pmatrix}"),
    ("\\vec{0}", "\\begin{pmatrix}0\\\\0\\\\0\\end{pmatrix}", "\\begin{pmatrix}0\\\\0\\\\1\\end{pmatrix}"),
    ("4,7,9", "4\\ 7\\ 9", "4\\ 7\\ 8"),
    ("8,12,345", "812345", "812346"),
    ("t_1=4, t_2=9", "t_1=9, t_2=4", "t_1=9, t_2=5"),
    ("2:45", "2.75\\text{ hours}", "2.45\\text{ hours}"),
    ("17R4", "17\\frac{4}{9}", "17\\frac{5}{9}"),
    ("\\text{does not exist}", "\\text{undefined}", "\\text{continuous}"),
    ("\\text{infinitely many}", "\\infty", "-\\infty"),
    ("14", "\\text{XIV}", "\\text{XVI}"),
    ("\\text{Thursday}", "\\text{on a Thursday}", "\\text{the day before Thursday}"),
    ("\\text{The quadrilateral is a rhombus}", "\\text{rhombus}", "\\text{trapezoid}"),
    ("8", "8\\text{ mil}", "9\\text{ mil}"),
    ("8", "8\\text{ short}", "9\\text{ short}"),
    ("8", "8\\text{ inclusive}", "9\\text{ inclusive}"),
    ("8", "8\\text{ mod }11", "7\\text{ mod }11"),
    ("8", "\\approx 8", "\\approx 9"),
    ("15\\%", "15\\text{ percentage points}", "16\\text{ percentage points}"),
    ("£6", "6\\text{ pounds}", "7\\text{ pounds}"),
]


def boxed(answer: str) -> str:
    return f"So it is $\\boxed{{{answer}}}$."


@pytest.mark.parametrize(("reference", "answer", "wrong"), UNCLEAR)
def test_right_in_one_reading_is_unscored_and_wrong_in_every_reading_is_wrong(reference, answer, wrong):
    assert verify(reference, boxed(answer)).correct is None
    assert verify(reference, boxed(wrong)).correct is False


@pytest.mark.parametrize(("reference", "answer", "wrong"), UNCLEAR)
def test_the_quick_path_never_says_otherwise(reference, answer, wrong):
    for each in (answer, wrong):
        quick = settle(reference, boxed(each))
        assert quick is None or quick.correct == verify(reference, boxed(each)).correct


@pytest.mark.parametrize(("reference", "answer", "wrong"), UNCLEAR)
def test_a_doubtful_answer_beside_a_contradicting_one_is_wrong(reference, answer, wrong):
    assert verify(reference, f"\\boxed{{{answer}}} or \\boxed{{123456}}, who knows; or is it \\boxed{{77}}").correct is not None


@pytest.mark.parametrize("written", ["boxed{58}", "\\Boxed{58}", "\\boxed(58)", "\\boxed[58]", "\\boxed\\{58\\}"])
def test_what_is_meant_as_a_box_and_is_none_is_unscored_where_it_is_right(written):
    assert verify("58", f"So we get {written}.").correct is None
    assert verify("59", f"So we get {written}.").correct is False
    assert verify("58", f"The answer is 59. {written}").correct is False
    assert verify("58", f"It is not {written}.").correct is False


@pytest.mark.parametrize(
    ("completion", "four", "factorial"),
    [
        ("The answer is 4!", True, False),
        ("The answer is $4!$.", False, True),
        ("#### 4!", False, True),
        ("\\boxed{4!}", False, True),
        ("4!", False, True),
        ("Answer: 4!", None, None),
        ("**Final Answer**\n4!", None, None),
        ("Answer: 4!!", False, False),
    ],
)
def test_an_exclamation_mark_is_a_factorial_in_formulas_and_either_behind_a_label(completion, four, factorial):
    assert verify("4", completion).correct is four
    assert verify("24", completion).correct is factorial
    assert verify("7", completion).correct is False


def test_a_factorial_that_is_the_reference_is_right_behind_a_label_too():
    assert verify("4!", "Answer: 4!").correct is True
    assert verify("(k+1)!", "Answer: (k+1)!").correct is True


def test_a_point_that_groups_digits_is_doubtful_only_in_languages_that_write_it_so():
    german = r1env.Task(id="1", prompt="Wie viele Bücher hat die Bibliothek?", answer="2500")
    english = r1env.Task(id="2", prompt="How many books does the library have?", answer="2500")
    assert verify("2500", boxed("2.500"), task=german).correct is None
    assert verify("2500", boxed("2.501"), task=german).correct is False
    assert verify("2500", boxed("2.500"), task=english).correct is False


def test_a_factorial_of_a_binomial_coefficient_is_refused_unread():
    assert verify("\\binom{1800}{900}", boxed("\\binom{1800}{900}!")).correct is False


def test_references_that_are_called_exact_have_no_rounding():
    exact = AnswerPolicy(rounded_reference=False)
    assert verify("3.61", boxed("\\sqrt{13}"), policy=exact).correct is False
    assert verify("0.17", boxed("\\frac16"), policy=exact).correct is False


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("3.142", "\\pi"),
        ("2.718", "e"),
        ("0.3", "\\frac13"),
        ("0.167", "0.17"),
        ("361", "100\\sqrt{13}"),
        ("3.60", "\\sqrt{13}"),
    ],
)
def test_what_is_no_rounding_of_the_answer_is_wrong(reference, answer):
    assert verify(reference, boxed(answer)).correct is False


@pytest.mark.parametrize(
    ("answer", "expected"), [("B", None), ("C", None), ("A", False), ("D", False)]
)  # the box says B, the statement C
def test_choices_that_contradict_each_other_are_unscored_only_where_one_is_right(answer, expected):
    assert verify_choice(answer, "\\boxed{B}\n\nAnswer: C").correct is expected


def test_a_letter_with_another_options_text_is_unscored_only_where_one_is_right():
    task = r1env.Task(id="1", prompt="What is 3*7?\nA) 19\nB) 20\nC) 21\nD) 22", answer="C")
    assert [verify_choice(each, "\\boxed{B) 21}", task=task).correct for each in "ABCD"] == [False, None, None, False]


@pytest.mark.parametrize("written", ["B - 4", "B = 4"])
def test_a_letter_that_may_be_part_of_a_formula_is_unscored_where_it_is_right(written):
    assert verify_choice("B", boxed(written)).correct is None
    assert verify_choice("C", boxed(written)).correct is False


@pytest.mark.parametrize(
    ("question", "reference", "copied", "worked_out"),
    [
        ("What is 19 * 6?", "114", "19*6", "114"),
        ("Write 0.25 as a fraction.", "\\frac14", "0.25", "1/4"),
        ("Factor $x^2-9$.", "(x-3)(x+3)", "x^2-9", "(x+3)(x-3)"),
        ("Simplify $\\sqrt{50}-\\sqrt{8}$.", "3\\sqrt2", "\\sqrt{50}-\\sqrt{8}", "3\\sqrt{2}"),
        ("Compute $3^4$.", "81", "3^4", "9^2"),
    ],
)
def test_an_answer_that_copies_the_question_is_not_paid(question, reference, copied, worked_out):
    task = r1env.Task(id="1", prompt=question, answer=reference)
    assert verify(reference, boxed(copied), task=task).correct is False
    assert verify(reference, boxed(worked_out), task=task).correct is True


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("Simplify $\\frac{(y+2)(y-2)}{y-2}$.", "y+2", "2+y"),
        ("A plank of 3/4 m is cut in half. Give half of 6/4 m as a fraction.", "\\frac34", "3/4"),
        ("Which is larger, $2^{11}$ or $3^7$?", "3^7", "2187"),
        ("What is 40% of 20? And what percent is 8 of 20?", "40\\%", "40%"),
    ],
)
def test_an_answer_that_only_looks_like_a_piece_of_the_question_is_paid(question, reference, answer):
    task = r1env.Task(id="1", prompt=question, answer=reference)
    assert verify(reference, boxed(answer), task=task).correct is True


WRITTEN = [
    "{n}", "{n}\\text{{ mil}}", "{n}\\text{{ short}}", "\\approx {n}", "{n}\\text{{ mod }}9", "{n}\\text{{ percentage points}}",
    "{n}R2", "{n}\\text{{ gronks}}", "{n}.500", "{n}:30", "{n}\\ 2\\ 3", "{n},22,333", "\\log {n}", "{n}+C", "x_1={n}, x_2=2",
    "\\begin{{pmatrix}}{n}\\\\2\\end{{pmatrix}}", "[0,{n}],[20,30]", "\\Boxed{{{n}}}", "{n}/4", "{n}.66",
]  # fmt: skip


@given(st.integers(2, 19), st.integers(2, 19), st.sampled_from(WRITTEN))
@settings(max_examples=200, deadline=None)
def test_no_notation_of_another_number_leaves_an_answer_unscored(reference, number, written):
    if reference != number and (reference - number) % 9:
        assert verify(str(reference), boxed(written.format(n=number))).correct is not None
