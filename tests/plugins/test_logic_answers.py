"""The rewards `exact`, `integer` and `short_answer` read one short answer and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import Rollout, Score, Status, Task, UsageError, get_reward
from r1env.testing import Example, check_reward
from r1env_logic.answers import MAX_ANSWER, MAX_DIGITS, exact, integer, normalize_answer, read_integer, token_f1


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
        ("It is not \\boxed{46}.", Status.NO_ANSWER),
        ("If it were \\boxed{46}, the sum would be odd.", Status.NO_ANSWER),
        ("\\boxed{46} cannot be right.", Status.NO_ANSWER),
        ("\\boxed{46}. Wait, it should be 47.", Status.NO_ANSWER),
        ("\\boxed{46}\nAnswer: 47", Status.NO_ANSWER),
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


def short(completion: str, answer: str | None, answers: object = None, **options: object) -> Score:
    metadata = {} if answers is None else {"answers": answers}
    task = Task(id="t", prompt="Which?", answer=answer, metadata=metadata)
    return get_reward("short_answer", **options).score(Rollout(task=task, completion=completion))


def test_short_answer_keeps_the_contract():
    check_reward(
        "short_answer",
        [
            Example("<answer>the Danube</answer>", value=1.0, status=Status.OK, answer="Danube"),
            Example("<answer>the Rhine</answer>", value=0.0, status=Status.WRONG, answer="Danube"),
            Example("I cannot say.\nSorry.", value=0.0, status=Status.NO_ANSWER, answer="Danube"),
            Example("<answer>the Danube</answer>", value=None, status=Status.UNPARSEABLE, answer="[1, 2]"),
        ],
    )


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<think>The river…</think><answer> Danube </answer>", "the Danube"),
        ("It flows south, so it is \\boxed{\\text{Danube}}.", "Danube"),
        ("The longest is named first.\n**Answer:** Danube", "danube"),
        ("The final answer is: *Danube*.", "Danube"),
        ("The answer is the Danube. It ends in the Black Sea.", "Danube"),
        ("Thus the answer is St. Gallen. The canton is named so too.", "St. Gallen"),
        ("So the answer is no.\n\nQuestion: Is glass a liquid?\nAnswer: yes", "No"),
        ("Question: Which river?\nAnswer: Danube", "Danube"),
        ("答案是多瑙河。", "多瑙河"),
        ("Danube", "Danube"),
        ("danube!", "Danube"),
        ("<answer>Franz-Josef St.</answer>", "Franz Josef St"),
        ("<answer>U.N.</answer>", "UN"),
        ("<answer>J. S. Bach</answer>", "J.S. Bach"),
        ("<answer>2,857 km</answer>", "2857 km"),
        ("Answer: Danube<|im_end|>", "Danube"),
    ],
)
def test_a_short_answer_is_found_and_compared_in_normal_form(completion, answer):
    assert short(completion, answer).value == 1.0


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "<think>Danube</think>",
        "<think>The answer is Danube.",
        "<answer>Danube</answer><answer>Danube</answer>",
        "<answer>Danube or Rhine</answer>",
        "<answer>not the Danube</answer>",
        "The answer is not Danube.",
        "The answer isn't Danube",
        "It is not Danube",
        "Suppose the answer is Danube. Then it flows north, a contradiction.",
        "I thought the answer is Danube.",
        "The answer is Danube. No, that is wrong.",
        "\\boxed{Danube}. Actually it should be the Rhine.",
        "The answer is Danube.\nThe answer is Rhine.",
        "The answer is Rhine.\nThe answer is Danube.",
        "The Danube is one of them.\nThe Rhine is another.",
        f"Answer: {'Danube ' * MAX_ANSWER}",
    ],
)
def test_what_is_no_plain_answer_earns_nothing(completion):
    assert short(completion, "Danube").value == 0.0


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ("4.2", "42"),
        ("-7", "7"),
        ("7", "-7"),
        ("12%", "12"),
        ("3:2", "32"),
        ("7/12", "712"),
        ("4²", "42"),
        ("1,5", "15"),
        ("−7", "7"),
    ],
)
def test_punctuation_of_a_number_counts(given, reference):
    assert short(f"<answer>{given}</answer>", reference).value == 0.0
    assert short(f"<answer>{given}</answer>", given).value == 1.0


@pytest.mark.parametrize(
    "answers", [["Donau", "Danube"], ("Danube",), {"text": ["Danube", "Duna"], "answer_start": [3, 9]}, "Danube"]
)
@pytest.mark.parametrize("answer", [None, "Ister"])
def test_any_of_several_references_will_do(answer, answers):
    assert short("<answer>Danube</answer>", answer, answers).value == 1.0
    assert short("<answer>Rhine</answer>", answer, answers).value == 0.0


@pytest.mark.parametrize("reference", ["[1, 5]", "\\frac{1}{2}", "x^2", "1, 2, 3", "...", "(0, 1)"])
def test_a_reference_that_is_no_short_text_has_no_value(reference):
    result = short("<answer>1</answer>", reference)
    assert (result.value, result.status) == (None, Status.UNPARSEABLE)


def test_a_task_without_any_reference_has_no_value():
    for answers in (None, [], {"text": []}, 3):
        assert short("<answer>1</answer>", None, answers).status is Status.UNPARSEABLE


def test_both_metrics_are_parts_and_the_option_chooses_the_value():
    exact_match, f1 = (short("<answer>the blue Danube</answer>", "Danube", metric=metric) for metric in ("exact", "f1"))
    assert (exact_match.value, f1.value) == (0.0, pytest.approx(2 / 3))
    assert exact_match.parts["short_answer/f1"] == f1.value
    with pytest.raises(UsageError, match="unknown metric 'bleu'"):
        get_reward("short_answer", metric="bleu")


def test_f1_counts_repeated_words_and_chinese_characters():
    assert token_f1("new new york", "new york") == pytest.approx(0.8)
    assert token_f1("多瑙河", "瑙河") == pytest.approx(0.8)
    assert token_f1("", "york") == 0.0


some_answer = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=40)


@given(some_answer)
def test_the_normal_form_is_a_fixed_point(text):
    assert normalize_answer(normalize_answer(text)) == normalize_answer(text)


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None), max_size=20))
def test_no_text_makes_short_answer_raise(text, reference):
    result = short(text, reference)
    assert result.value in (0.0, 1.0, None)
    assert not result.failed


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_match_only_themselves(first, second):
    assert short(f"The answer is {first:,}.", str(second)).value == float(first == second)
