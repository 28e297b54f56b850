"""Completions vote together where `math` or `choice` hold their answers equal."""

import r1env
from r1env.evaluation.voting import majority_is_correct, votes


def test_two_writings_of_one_number_are_one_vote():
    task = r1env.Task(id="t", prompt="What is half of one?", answer="0.5")
    said = [
        r"So \boxed{\frac12}",
        "<answer>0.5</answer>",
        r"It is \boxed{2}.",
        "I do not know.\n\nSorry about that, really.",
        r"\boxed{1/2}",
        r"\boxed{2.0}",
    ]
    assert votes([(task, said)], r1env.get_reward("math")) == [[0, 0, 1, None, 0, 1]]


def test_letters_and_options_in_words_are_one_vote():
    task = r1env.Task(
        id="t",
        prompt="Which is a metal?",
        answer="B",
        kind="choice",
        metadata={"options": {"A": "oxygen", "B": "iron", "C": "neon"}},
    )
    said = ["The answer is B.", r"\boxed{B}", "The correct option is C", "<answer>iron</answer>"]
    assert votes([(task, said)], r1env.get_reward("choice")) == [[0, 0, 1, 0]]


def test_tasks_are_voted_on_side_by_side():
    half, two = (r1env.Task(id=text, prompt="?", answer=text) for text in ("0.5", "2"))
    said = [r"\boxed{0.5}", r"\boxed{7}", r"\boxed{1/2}"]
    assert votes([(half, said), (two, [r"\boxed{2}"]), (two, [])], r1env.get_reward("math")) == [[0, 1, 0], [0], []]


def test_the_majority_may_be_wrong_tied_or_absent():
    assert majority_is_correct([0, 0, 1], [False, False, True]) == 0.0
    assert majority_is_correct([0, 1, 0, 1], [True, False, True, False]) == 0.5
    assert majority_is_correct([None, None], [False, None]) is None
    assert majority_is_correct([None, 0], [False, True]) == 1.0
