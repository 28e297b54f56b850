"""What the attacks are made of: wrong answers are wrong, lists hide the right one, broken forms are broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.audit.attacks import ATTACKS, FORMS, broken, filled
from r1env.audit.corpus import MAX_TASKS, SAMPLE_TASKS, WRAPPINGS, Subject, alike, lookalikes, varied, wrong_answers
from r1env.audit.probe import is_explosive

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


def subject_of(sample, paying=WRAPPINGS):
    return Subject(sample, wrong_answers(sample, SAMPLE_TASKS), paying, (), 1.0)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_every_attack_has_something_to_try_on_the_corpus(attack):
    assert any(list(attack.completions(subject_of(sample, WRAPPINGS[:1]))) for sample in SAMPLE_TASKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("sample", SAMPLE_TASKS, ids=lambda sample: sample.id)
def test_no_attack_writes_the_right_answer_alone(attack, sample):
    right = {wrap(sample.answer) for wrap in WRAPPINGS}
    assert right.isdisjoint(attack.completions(subject_of(sample)))


def test_the_corpus_has_what_rewards_have_stumbled_over():
    answers = [sample.answer for sample in SAMPLE_TASKS]
    assert {"0", "1", "-7", "2, 3", "40, 200", "[-1, 5]", "B", "12 cm", "12:00", "7/12", "Paris"} <= set(answers)
    assert any("%" in sample.question and "%" not in sample.answer for sample in SAMPLE_TASKS)
    assert len({sample.id for sample in SAMPLE_TASKS}) == len(SAMPLE_TASKS) <= MAX_TASKS


def test_answers_that_the_metadata_call_wrong_are_tried():
    sample = r1env.Task(id="t", prompt="?", answer="42", metadata={"wrong": ["forty-one", 41]})
    assert {"forty-one", "41"} <= set(wrong_answers(sample, []))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tag", ["think", "answer"])
def test_a_broken_form_is_never_the_form_itself(form, tag):
    assert filled(form) not in broken(form, tag)


def test_tasks_with_different_answers_come_first_and_no_more_than_a_few():
    tasks = [task(answer, number) for number, answer in enumerate(["1", "1", "1", "2", "1", "3", "1", "1"])]
    chosen = varied(tasks, 5)
    assert [one.answer for one in chosen[:3]] == ["1", "2", "3"]
    assert len({one.id for one in chosen}) == len(chosen) == 5
    assert len(varied(tasks * 10)) == MAX_TASKS


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
