"""What the attacks are made of: wrong answers are wrong, lists hide the right one, broken forms are broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.audit.attacks import ATTACKS
from r1env.audit.forms import FORMS, broken, filled
from r1env.audit.growth import is_explosive
from r1env.audit.subjects import WRAPPINGS, Subject, alike, lookalikes, wrong_answers
from r1env.audit.tasks import MAX_TASKS, SAMPLE_TASKS, varied

ANSWERS = st.one_of(st.integers(-999, 9999).map(str), st.sampled_from("ABCDE"), st.sampled_from(["7/12", "Paris", "x + 1"]))


def task(answer, number=0):
    return r1env.Task(id=str(number), prompt="?", answer=answer)


@given(ANSWERS, st.lists(ANSWERS, max_size=4))
def test_no_wrong_answer_is_the_right_one(answer, others):
    wrong = wrong_answers(task(answer), [task(other) for other in others])
    assert len(wrong) >= 2
    assert not any(alike(one, answer) for one in wrong)


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        ("42", "42.0", True),
        ("1/2", "0.5", True),
        ("paris", " Paris ", True),
        ("42", "420", False),
        ("1e999999999", "1", False),
        ("1/0", "1", False),
    ],
)
def test_answers_are_alike_by_text_or_by_number(one, other, value):
    assert alike(one, other) is value


@given(ANSWERS)
def test_a_list_of_candidates_hides_the_right_one_inside(answer):
    subject = Subject(task(answer), wrong_answers(task(answer), SAMPLE_TASKS), WRAPPINGS, (), 1.0)
    assert subject.candidates.count(answer) == 1
    assert answer not in (subject.candidates[0], subject.candidates[-1])


@given(st.integers(-999, 9999).map(str))
def test_a_lookalike_is_written_otherwise_than_the_answer(answer):
    assert answer not in lookalikes(answer)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_every_attack_has_something_to_try_on_a_plain_task(attack):
    subject = Subject(SAMPLE_TASKS[0], wrong_answers(SAMPLE_TASKS[0], SAMPLE_TASKS), WRAPPINGS[:1], (), 1.0)
    assert list(attack.completions(subject))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tag", ["think", "answer"])
def test_a_broken_form_is_never_the_form_itself(form, tag):
    assert filled(form) not in broken(form, tag)


def test_tasks_with_different_answers_come_first_and_no_more_than_a_few():
    tasks = [task(answer, number) for number, answer in enumerate(["1", "1", "1", "2", "1", "3", "1", "1"])]
    chosen = varied(tasks)
    assert [one.answer for one in chosen[:3]] == ["1", "2", "3"]
    assert len({one.id for one in chosen}) == len(chosen) == MAX_TASKS


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        ((0.1, 0.2, 0.4), False),
        ((0.01, 0.04, 0.16), True),
        ((0.001, 0.004, 0.016), False),
        ((0.2, 0.21, 0.9), False),
        ((0.04, 0.16), False),
        ((0.0, 0.0, 0.3), False),
    ],
)
def test_growth_is_told_from_two_doublings_that_take_time(seconds, value):
    assert is_explosive(seconds) is value
