"""Where the math reward looks for the final answer, and where it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import HOSTILE_TEXTS
from r1env_math import AnswerPolicy, verify, verify_choice
from r1env_math.extraction import Extraction, extract, readings


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        # the answer block
        ("<think>so</think><answer>42</answer>", "42"),
        ("<think>so</think> I say <answer> \\boxed{42} </answer>", "42"),
        ("<think>so</think><answer>The answer is 42.</answer>", "42"),
        ("<think>so</think><answer>several\nlines</answer>", "several\nlines"),
        # boxes
        ("first \\boxed{\\frac{1}{2}} and again $\\boxed{\\frac12}$", "\\frac12"),
        ("\\boxed{\\frac12}, that is \\boxed{0.5}", "0.5"),
        ("first \\boxed{ 42 } and again $\\boxed{42}$", "42"),
        ("Thus $$f(x)=\\boxed{x^2+1}.$$", "x^2+1"),
        ("\\begin{align*} a &= \\sqrt{117} \\\\ &= \\boxed{3\\sqrt{13}}. \\end{align*}", "3\\sqrt{13}"),
        ("\\boxed{\\boxed{42}}", "42"),
        ("\\boxed {42}", "42"),
        ("\\fbox{42}", "42"),
        ("\\boxed{25}\\%", "25\\%"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{4 and an open one \\boxed{42}", "42"),
        ("$\\boxed{(2, 2)} \\quad \\text{and} \\quad \\boxed{(6, 2)}$", "(2, 2), (6, 2)"),
        ("\\boxed{3}. Final Answer: 3", "3"),
        ("We show that the answer is not 5. So $\\boxed{6}$ it is.", "6"),
        # final statements
        ("We try 5. The answer is 42.", "42"),
        ("The answer is: **42**", "42"),
        ("**Answer:** 42", "42"),
        ("**Answer**: 42", "42"),
        ("**Final Answer: 42**", "42"),
        ("Final answer = 42", "42"),
        ("So the answer to the question is 42.", "42"),
        ("The answer is that the volume is 120.", "120"),
        ("The answer is 42 because 40+2=42.", "42"),
        ("The answer is\n\n$$x=5$$", "x=5"),
        ("The answer is \\(x=5\\).", "x=5"),
        ("The answers are $3$ and $4$.", "$3$ and $4$"),
        ("The final answer is $x = \\frac{1}{2}$, as said.", "x = \\frac{1}{2}"),
        ("The result is shown below. The answer is 7.", "7"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("Final Answer: The volume of $ABCDEFGH$ is 120. I hope it is correct.", "120"),
        ("Answer:\n42", "42"),
        ("5 + 37 = 42\n#### 42", "42"),
        ("Final Answer: The final answer is 12,000,023. I hope it is correct.", "12,000,023"),
        ("The answer is (B).", "(B)"),
        ("The answer is 0.5.", "0.5"),
        ("The answer is 42.<|im_end|>", "42"),
        ("The answer is 42. <|im_start|>user\nThanks! The answer is 43.", "42"),
        # nothing but the answer
        ("  x^2 + 1 ", "x^2 + 1"),
        ("<think>so</think>\n42", "42"),
        ("Here is the matrix: $\\begin{pmatrix}1\\\\2\\end{pmatrix}$", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        # a thought that the prompt began
        ("so</think>42", "42"),
    ],
)
def test_the_answer_is_found(completion, answer):
    assert extract(completion).text == answer


@pytest.mark.parametrize(
    ("language", "completion"),
    [
        ("en", "Therefore, the final answer is 42."),
        ("zh", "所以答案是 42。"),
        ("zh", "答案：42"),
        ("zh", "因此，最终答案为 $42$。"),
        ("ja", "したがって、答えは42です。"),
        ("ja", "答え：42"),
        ("ko", "따라서 답은 42입니다."),
        ("ko", "정답: 42"),
        ("fr", "La réponse est 42."),
        ("fr", "Réponse finale : $42$"),
        ("de", "Die Antwort lautet 42."),
        ("de", "**Antwort:** 42"),
        ("de", "Das Ergebnis ist $42$."),
        ("es", "La respuesta final es $42$."),
        ("es", "Respuesta: 42"),
        ("pt", "A resposta final é 42."),
        ("pt", "Resposta: **42**"),
        ("it", "La risposta è 42."),
        ("it", "Risposta finale: 42"),
        ("ru", "Ответ: 42."),
        ("ru", "Ответом является 42."),
        ("ru", "**Ответ:** $42$"),
        ("ar", "الجواب هو 42."),
        ("ar", "إذن، ناتج العملية هو **٤٢**."),
        ("hi", "उत्तर: 42"),
        ("hi", "अतः उत्तर ४२ है।"),
    ],
)
def test_a_final_statement_is_understood_in_twelve_languages(language, completion):
    assert verify("42", f"40 + 2.\n{completion}").correct is True
    assert verify("41", f"40 + 2.\n{completion}").correct is False


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<think>the answer is \\boxed{42}", "the thinking was never finished"),
        ("<think>the answer is \\boxed{42}</think>", "no answer block, no box, no final statement"),
        ("<answer>41</answer><answer>42</answer>", "there is not exactly one filled <answer> block"),
        ("<answer></answer> or \\boxed{42}", "there is not exactly one filled <answer> block"),
        ("It may be \\boxed{41}, or then it may be \\boxed{42}.", "there are boxes with different answers"),
        ("\\boxed{41} or maybe \\boxed{42}", "there are boxes with different answers"),
        ("<answer>\\boxed{41} if even, \\boxed{42} if odd</answer>", "there are boxes with different answers"),
        ("\\boxed{}", "the last box is empty"),
        ("\\boxed{42}. The final answer is 41.", "the box and the final statement disagree"),
        ("\\boxed{42}, but it might be 41", "the answer is hedged"),
        ("\\boxed{41 \\text{ or maybe } 42}", "the answer is hedged"),
        ("The answer is 41 or perhaps 42.", "the answer is hedged"),
        ("The answer is probably 42.", "the answer is hedged"),
        ("Die Antwort ist vielleicht 42.", "the answer is hedged"),
        ("答案可能是 42。", "the answer is hedged"),
        ("The answer is 41. The answer is 42.", "there are statements with different answers"),
        ("#### 41\n#### 42", "there are statements with different answers"),
        ("The answer is", "the final statement is empty"),
        ("We try 41.\nThen 42.", "no answer block, no box, no final statement"),
        ("", "no answer block, no box, no final statement"),
    ],
)
def test_no_answer_has_a_reason(completion, reason):
    assert extract(completion) == Extraction(None, reason)


@pytest.mark.parametrize(
    "completion",
    [
        "Answer: not 42",
        "The answer is not 42.",
        "The answer is definitely not equal to 42.",
        "The answer is greater than 42.",
        "The answer is at least 42.",
        "The answer is -42.",
        "The answer is 42 or 43.",
        "The answer is 41 + 42.",
        "<think>\\boxed{42}</think>\\boxed{41}",
        "\\boxed{41}\n42",
        "\\boxed{42, 41}",
        "\\boxed{41 \\text{ is wrong, the answer is } 42}",
        "41 or 42",
        "It is one of 40, 41, 42.",
        "42 is the number of steps. The answer is 41.",
        "I cannot solve this in 42 steps.",
    ],
)
def test_a_number_that_is_not_given_as_the_answer_earns_nothing(completion):
    assert verify("42", completion).correct is False


@pytest.mark.parametrize(
    ("reference", "completion"),
    [
        # a question behind a label is no answer
        ("15", "Let me think.\n#### How much is 8 + 7?"),
        ("0.25", "#### What is 1/4, written as a decimal?"),
        ("15", "Answer: 15, right?"),
        # nor is a number that the statement changes, or whose unit is another one
        ("6", "#### twice 6"),
        ("6", "Answer: half of 6"),
        ("6", "Answer: the temperature falls to 6 degrees below freezing"),
        ("6", "Answer: Ann has 6 fewer than Ben"),
        ("6", "#### 6!"),
        ("6 cm", "Answer: the edge measures 6 km"),
        ("6 cm", "答：边长是6千米"),
        ("6 cm", "#### 6 cm^3"),
        # denials
        ("(2, 3)", "\\boxed{anything but (2, 3)}"),
        ("[0, 4]", "The answer is everything outside [0, 4]."),
        ("6", "\\boxed{\\neq 6}"),
        ("6", "<answer>anything other than 6</answer>"),
        # doubts
        ("6", "\\boxed{6} can't be true."),
        ("6", "\\boxed{6} isn't right."),
        ("6", "The answer is 6. Hmm, that does not work."),
        ("6", "答案是6。这不正确。"),
        ("6", "The answer is 6. Wait, 7 is correct."),
        # asides that give a second value
        ("0.375", "\\boxed{0.375 (or 0.38)}"),
        ("0.375", "The answer is 0.375 + 0(or 0.4)."),
        ("6", "Maybe the answer is 6."),
        ("6", "6 is not the answer."),
        ("6", "It is not 6. I hope it is correct."),
        ("6", "\\boxed{6} was my first guess, but it was too quick."),
        ("6", "\\boxed{6}\n\nHmm, this doesn't satisfy the equation."),
        ("6", "If the answer were \\boxed{6} then 1 = 2."),
        ("6", "\\boxed{6} – scratch that."),
        ("6", "答えは6ではない"),
        ("6", "정답은 6이 아닙니다"),
        ("6", "The answer is 6, not really; it's 7"),
        ("(2,6)", "\\boxed{2 or 6}"),
    ],
)
def test_an_answer_that_is_asked_changed_denied_or_doubted_earns_nothing(reference, completion):
    assert verify(reference, completion).correct is False


@pytest.mark.parametrize(
    ("reference", "completion"),
    [
        ("6", "What is the answer? The answer is 6!"),
        ("6", "The answer is 6.\nIs there anything else?"),
        ("720", "#### 6!"),
        ("6", "Answer: 6 apples are left"),
        ("6 cm", "Answer: the edge measures 6 cm"),
        ("60 mm", "答：边长是6厘米"),
        ("6", "The answer is 6. Wait, let me check: 4 + 2 is 6. Yes, it is right."),
        ("6", "\\boxed{6}. Hold on, 4 + 2... no, 6 is correct."),
        ("\\neq 6", "\\boxed{\\neq 6}"),
        ("\\frac13", "\\boxed{\\frac13 (or 0.333)}"),
        ("0.375", "\\boxed{\\frac38 (or 0.375)}"),
        ("0.375", "\\boxed{0.375 (approximately 0.38)}"),
        ("(2, 3)", "The answer is the point (2, 3)."),
        ("70", "The final price is $90 - $20 = $70\\n#### 70"),
        ("70", "The final price is $90 - $20 = $70"),
        ("6", "Ans. 6"),
        ("6", "So 6 is the answer."),
        ("6", "Adding up, we find that there are 6 such pairs. I hope it is correct."),
        ("6", "Het antwoord is 6"),
        ("6", "so much for that\n```\n6\n```"),
        ("6", "Answer: 6 (since 4 + 2 = 6)"),
        ("6", "答案不是5，而是6"),
        ("(3, 8)", "(a) \\boxed{3}, (b) \\boxed{8}"),
        ("(1) 3 (2) 8", "(1) \\boxed{3} (2) \\boxed{8}"),
        ("70", "The answer is 90 - . The answer is 70."),  # a fragment contradicts nothing
    ],
)
def test_an_answer_with_an_aside_a_check_or_a_remark_stands(reference, completion):
    assert verify(reference, completion).correct is True


DIFFERENT = [
    ("3, 4", "3"),
    ("3, 4", "34"),
    ("[0, 4]", "(0, 4]"),
    ("6 cm", "6 km"),
    ("9:15", "9:45"),
    ("3:4", "4:3"),
    ("\\sqrt{2}", "\\sqrt{3}"),
    ("\\sqrt{2}+\\sqrt{3}", "\\sqrt{3}"),
    ("\\cos(10^{-30})", "1"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}"),
]


@pytest.mark.parametrize(("right", "wrong"), DIFFERENT)
def test_two_answers_that_differ_in_value_are_none_whatever_their_form(right, wrong):
    for first, second in ((right, wrong), (wrong, right)):
        assert verify(right, f"The answer is {first}.\nThe answer is {second}.").correct is False
    assert verify(right, f"Hence \\boxed{{{right}}}.\nAnswer: {wrong}").correct is False


@pytest.mark.parametrize(
    ("reference", "one", "other"),
    [
        ("120\\text{ minutes}", "2 hours", "120 minutes"),
        ("[0, 1]", "$0 \\le x \\le 1$", "[0, 1]"),
        ("3, 4", "x = 3 or x = 4", "4, 3"),
        ("\\frac12", "\\cos(60^\\circ)", "0.5"),
        ("6 cm", "6", "6 cm"),
        ("10", "n(n+1)/2", "10"),  # a step on the way
        ("0.458", "$\\frac{11}{24}$", "0.458"),
    ],
)
def test_one_answer_in_two_forms_is_one_answer(reference, one, other):
    assert verify(reference, f"The answer is {one}.\nThe answer is {other}.").correct is True
    assert verify(reference, f"Hence \\boxed{{{other}}}.\nThe answer is {one}.").correct is True


@given(st.integers(2, 10**6), st.integers(2, 10**6), st.sampled_from(["{} cm", "{}, 1", "[0, {}]", "\\sqrt{{{}}}", "{}:1"]))
def test_two_different_numbers_in_one_form_are_never_paid(one, other, form):
    right, wrong = form.format(one), form.format(other)
    verdict = verify(right, f"The answer is {wrong}.\nThe answer is {right}.")
    assert verdict.correct is (one == other)


@pytest.mark.parametrize(
    "completion",
    [
        "The answer is \\boxed{\\neq C}.",
        "The answer is anything but C.",
        "The answer is C. Wait… it has to be D.",
        "The answer is C. That is not right.",
        "The answer is C. Wait, D is right.",
        "\\boxed{C} could not be correct.",
        "<answer>The answer is C. Wait… it has to be D.</answer>",
    ],
)
def test_a_letter_that_is_denied_or_taken_back_is_not_picked(completion):
    assert verify_choice("C", completion).correct is False


@pytest.mark.parametrize(
    "completion", ["The answer is D. A is wrong because it is too large.", "\\boxed{D}. Option B is incorrect."]
)
def test_a_letter_stands_where_another_one_is_rejected_after_it(completion):
    assert verify_choice("D", completion).correct is True
    assert verify_choice("D", completion.replace("A is", "D is").replace("B is", "D is")).correct is False


def test_a_percentage_and_its_number_are_one_answer_where_the_question_asks_for_a_percentage():
    task = r1env.Task(id="share", prompt="What percent of 40 is 10?", answer="25")
    assert verify("25", "The answer is 25%.\nThe answer is 25.", task=task).correct is True
    assert verify("25", "The answer is 25%.\nThe answer is 25.").correct is False


def test_after_a_letter_that_is_taken_back_the_last_line_counts():
    assert verify_choice("D", "The answer is C. Wait, that is wrong.\nD").correct is True


def test_the_strict_policy_wants_a_box_or_a_block():
    strict = AnswerPolicy(where="strict")
    assert extract("The answer is 42.", strict).text is None
    assert extract("42", strict).text is None
    assert extract("\\boxed{42}", strict).text == "42"
    assert extract("<answer>42</answer>", strict).text == "42"


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("Therefore, there are 42 different sequences that meet the conditions.", "42"),
        ("We get $x=3$.\nThat is all.", "x=3"),
        ("First 41.\nThen 42 of them.", "42"),
        ("\\boxed{41} and then 42", "41"),
        ("no number\nat all", None),
    ],
)
def test_the_lenient_policy_takes_the_last_formula_or_number(completion, answer):
    assert answer in [each.text for each in readings(completion, AnswerPolicy(where="lenient"))]


def test_a_prefilled_thought_that_never_ends_gives_no_answer():
    assert extract("the answer is \\boxed{42}").text == "42"
    assert extract("the answer is \\boxed{42}", AnswerPolicy(prefilled=True)).text is None


FRAGMENTS = (
    "\\boxed{", "}", "{", "\\{", "\\", "$", "<answer>", "</answer>", "</think>", "answer is ", "Answer:", "答案是", "1", " ", "\n", "%", "=",
)  # fmt: skip
POLICIES = st.sampled_from(
    [
        AnswerPolicy(where=where, conflict=conflict)
        for where in ("strict", "explicit", "lenient")
        for conflict in ("refuse", "last")
    ]
)


@given(st.one_of(st.text(st.characters(codec=None)), st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)), POLICIES)
def test_no_text_makes_it_raise_and_what_it_finds_is_in_the_text(completion, policy):
    found = extract(completion, policy)
    assert found.text is None or all(part.removesuffix("\\%") in completion for part in found.text.split(", "))


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_texts_are_read_too(name):
    extract(HOSTILE_TEXTS[name])
    extract(HOSTILE_TEXTS[name], AnswerPolicy(where="lenient"))


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("We add up.\n\nSolution: 23", True),
        ("We add up.\n\n\\text{Answer: }23", True),
        ("The answer is not 32 but 23.", True),
        ("The answer is not 23 but 32.", False),
        ("If we forgot the tax, the answer would be 23.", False),
        ("Had they left early, the answer would be 23.", False),
        ("Adding both, the answer would be 23.", True),
    ],
)
def test_what_would_be_so_and_is_not_is_no_answer(completion, right):
    assert verify("23", completion).correct is right


def test_a_letter_that_may_stand_for_thousands_is_not_judged():
    assert verify("90000", "\\boxed{90k}").correct is None
    assert verify("90", "\\boxed{90k}").correct is False
    assert verify("90000", "\\boxed{9k}").correct is False
