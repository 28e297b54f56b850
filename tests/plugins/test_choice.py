"""The reward `choice` reads letters, words, several letters and option texts, and never pays a hedge or a rejected letter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env.testing import Example, check_reward
from r1env_math import verify_choice
from r1env_math.choice import options_in, options_of

CITIES = "Which city is in Portugal?\n(A) Rome\n(B) Lyon\n(C) Porto\n(D) Bonn"
SUMS = "What is 7*8? A. 54 B. 56 C. 58 D. 60"
CHINESE = "下列哪个是偶数（ ）\nA. 七\nB. 九\nC. 八\nD. 五"


def score(completion: str, answer: str, prompt: str = CITIES, metadata: dict | None = None, **options: object) -> float | None:
    task = r1env.Task(id="t", prompt=prompt, answer=answer, kind=r1env.TaskKind.CHOICE, metadata=metadata or {})
    (result,) = r1env.score([r1env.Rollout(task=task, completion=completion)], r1env.get_reward("choice", **options))
    return result.value


def test_the_reward_keeps_the_contract():
    check_reward(
        "choice",
        [
            Example("The answer is C.", value=1.0, answer="C"),
            Example("The answer is B.", value=0.0, status=r1env.Status.WRONG, answer="C"),
            Example("I cannot say.", value=0.0, status=r1env.Status.NO_ANSWER, answer="C"),
            Example("The answer is C.", value=None, status=r1env.Status.UNPARSEABLE),
        ],
    )


@pytest.mark.parametrize(
    "completion",
    [
        "\\boxed{C}", "\\boxed{\\text{(C)}}", "\\boxed{\\textbf{(C)}\\ Porto}", "\\boxed{c}", "\\boxed{C. Porto}", "\\boxed{Porto}", "\\boxed{\\text{Choice C}}",
        "<answer>C</answer>", "<answer>(C) Porto</answer>", "<answer>Porto</answer>", "The correct option is C", "Option C", "It is far.\n\nC", "It is far.\n\n**C) Porto**",
        "The right choice is C because Porto is in Portugal.", "I would go with option C.", "Therefore, (C).", "Only C is true.", "Option A is wrong. Option C is correct.",
        "We can eliminate A, B and D. Answer: C", "The answer is not A but C.", "The answer is neither A nor B; it is C.", "Answer: A careful look gives C",
        "Answer: I think it is C", "The answer is A. No wait, the answer is C.", "ANSWER: A\nWait, that is wrong.\n\nANSWER: C", "\\boxed{A}. That is wrong.\n\nFinal: \\boxed{C}",
        "The distance is \\boxed{3 \\text{ km}}.\n\n**Answer: C**", "Réponse : C", "La respuesta correcta es la C.", "Правильный ответ: C", "정답: C", "Die richtige Antwort ist C.",
        "So C is the answer.", "Only Porto is by the sea, so C.",
    ],
)  # fmt: skip
def test_the_pick_is_read_however_it_is_put(completion):
    assert score(completion, "C") == 1.0
    assert score(completion, "B") == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "故选C",
        "应选C",
        "所以答案选C。",
        "因此本题选C。",
        "【答案】C",
        "选项C正确。",
        "只有选项C是对的。",
        "答案：【C】",
        "综上所述，应选择C。",
        "A错误，因为是奇数。只有C正确",
        "故正确答案是C。",
    ],
)
def test_a_pick_in_chinese(completion):
    assert score(f"逐项分析。\n\n{completion}", "C", CHINESE) == 1.0
    assert score(f"逐项分析。\n\n{completion}", "A", CHINESE) == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "The answer is C or D.", "It is either C or B.", "maybe C", "The answer is probably C.", "\\boxed{C, D}", "\\boxed{ABCD}", "All of A, B, C and D.", "It is not C.",
        "The answer is not C.", "\\boxed{C} is wrong.", "Suppose the answer is C. Contradiction.", "The answer is C. The answer is D.", "Answer: D, not C",
        "Most people choose C, but the answer is A.", "C is incorrect.", "\\boxed{\\text{not C}}", "C major is a scale, and so is D.", "\\boxed{Lyon}", "",
    ],
)  # fmt: skip
def test_hedges_rejections_and_other_options_earn_nothing(completion):
    assert score(completion, "C") == 0.0


def test_a_letter_that_contradicts_what_stands_beside_it_is_not_judged():
    assert score("\\boxed{C) Lyon}", "C") is None
    assert score("\\boxed{B}\n\nAnswer: C", "C") is None


def test_an_article_is_no_letter():
    assert score("\\boxed{A town by the sea}", "A") == 0.0
    assert score("A town by the sea.", "A") == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "A, C",
        "AC",
        "\\boxed{A,C}",
        "\\boxed{A \\text{ and } C}",
        "\\boxed{\\{A,C\\}}",
        "答案：AC",
        "故选AC",
        "The correct options are A and C.",
        "(A) and (C)",
        "\\boxed{A \\& C}",
        "Options A and C are correct.",
        "Only A and C are true, because the others are odd.",
        "**A** and **C** are correct.",
        "A, C are both right",
        "A is correct. C is correct.",
        "A is correct since it is even.\nB is incorrect.\nOption C is also true.",
        "选项A和C都正确。",
        "A正确；B错误；C正确。",
    ],
)
@pytest.mark.parametrize("reference", ["AC", "A,C", "A, C", '["A", "C"]'])
def test_several_letters_are_a_set(completion, reference):
    assert score(completion, reference, SUMS) == 1.0
    assert score(completion, "A", SUMS) == 0.0
    assert score("\\boxed{A,C,D}", reference, SUMS) == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "A or C is correct.",
        "A and C are not correct.",
        "Options A and C are incorrect.",
        "It is not true that A and C are correct.",
        "If A and C are correct, something is missing.",
        "The angles A and C are right angles.",
        "A is correct. But wait, C is correct.",
        "A is the correct answer. C is the correct answer.",
    ],
)
def test_letters_that_are_doubted_denied_or_corrected_are_no_set(completion):
    assert score(completion, "AC", SUMS) == 0.0
    assert score(completion, "A", SUMS) == score(completion, "C", SUMS) == 0.0


@pytest.mark.parametrize(
    "completion", ["\\boxed{56}", "\\boxed{56.0}", "\\boxed{\\frac{112}{2}}", "The answer is 56.", "B", "\\boxed{B: $56$}"]
)
@pytest.mark.parametrize("reference", ["B", "(B)", "B. 56", "56", "1", "\\text{B}"])
def test_letter_value_and_index_name_one_option(completion, reference):
    assert score(completion, reference, SUMS) == 1.0
    assert score("\\boxed{54}", reference, SUMS) == 0.0


def test_what_an_integer_means_can_be_said():
    assert score("A", "1", SUMS, index="one") == 1.0
    assert score("B", "1", SUMS, index="zero") == 1.0
    assert score("B", "1", SUMS, index="none") is None
    with pytest.raises(r1env.UsageError, match="known: auto, zero, one, none"):
        r1env.get_reward("choice", index="two")


@pytest.mark.parametrize(
    "metadata",
    [
        {"options": ["red", "blue"]}, {"choices": {"A": "red", "B": "blue"}}, {"choices": {"label": ["A", "B"], "text": ["red", "blue"]}},
        {"options": [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}]}, {"options": '["red", "blue"]'}, {"options": ["A. red", "B. blue"]},
    ],
)  # fmt: skip
def test_options_come_from_the_metadata_in_the_usual_layouts(metadata):
    task = r1env.Task(id="t", prompt="?", metadata=metadata)
    assert options_of(task) == {"A": "red", "B": "blue"}
    assert score("blue", "B", "?", metadata) == 1.0
    assert score("\\boxed{B}", "blue", "?", metadata) == 1.0


@settings(max_examples=60, deadline=None)
@given(st.permutations(["Rome", "Lyon", "Porto", "Bonn"]))
def test_shuffled_options_keep_their_text(order):
    prompt = "Which city is in Portugal?\n" + "\n".join(f"{letter}) {city}" for letter, city in zip("ABCD", order, strict=True))
    assert options_in(prompt) == dict(zip("ABCD", order, strict=True))
    letter = "ABCD"[order.index("Porto")]
    assert score("\\boxed{Porto}", letter, prompt) == 1.0
    assert score(f"The answer is {letter}.", "Porto", prompt) == 1.0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "A",
                "B",
                "(C)",
                " is correct",
                " is wrong",
                "The answer is ",
                "\\boxed{B}",
                "\n",
                " or ",
                "not ",
                "Wait, ",
                "故选",
                "D",
                ", ",
            ]
        ),
        max_size=10,
    ).map("".join)
)
def test_a_more_generous_policy_pays_whatever_a_stricter_one_pays(completion):
    paid = [score(completion, "B", policy=where) == 1.0 for where in ("strict", "explicit", "lenient")]
    assert paid == sorted(paid)


@pytest.mark.parametrize("said", ["✅ B", "Answer - B", "Clearly B.", "Answer: Ｂ", "Ⓑ", "It cannot be A, C or D. So B."])
def test_an_option_behind_a_tick_or_in_wide_letters_is_read(said):
    task = r1env.Task(id="t", prompt="Which is a bird?\nA) Trout\nB) Wren\nC) Oak\nD) Moss", answer="B")
    assert verify_choice("B", said, task=task).correct is True
    assert verify_choice("C", said, task=task).correct is False
