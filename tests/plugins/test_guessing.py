"""The guessing environment: a number found by asking, turn by turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env_logic.guessing import HigherOrLower, guessing_tasks


def test_every_number_is_a_task():
    source = guessing_tasks(highest=9)
    assert [source.task(index).answer for index in range(source.size)] == [str(number) for number in range(10)]


def test_a_guess_is_answered_until_it_is_right():
    reply = HigherOrLower().reply
    task = guessing_tasks(highest=9, style="compact").task(6)
    said = lambda text: reply(task, ({"role": "assistant", "content": text},))  # noqa: E731
    assert [said("3"), said("8"), said("I say 7"), said("what"), said("6")] == ["+", "-", "-", "?", None]


def test_bisection_finds_any_number_within_the_turns():
    environment = r1env.make_environment("guess-number")
    for index in range(environment.source.size):
        episode = environment.open(environment.task(index))
        low, high = 0, 100
        while not episode.done:
            guess = (low + high) // 2
            episode.submit(r1env.Completion(text=str(guess)))
            if not episode.done:
                low, high = (guess + 1, high) if "higher" in episode.messages[-1]["content"] else (low, guess - 1)
        (score,) = r1env.score([episode.rollout()], environment.rubric)
        assert score.value == 1.0


def test_out_of_turns_is_wrong():
    environment = r1env.make_environment("guess-number", highest=9)
    episode = environment.open(environment.task(9))
    for _ in range(7):
        episode.submit(r1env.Completion(text="0"))
    assert episode.done
    assert r1env.score([episode.rollout()], environment.rubric)[0].value == 0.0


@given(st.text(max_size=200))
def test_whatever_a_model_writes_is_answered(text):
    task = guessing_tasks(highest=9).task(4)
    reply = HigherOrLower().reply(task, ({"role": "assistant", "content": text},))
    assert reply is None or reply


@pytest.mark.parametrize("options", [{"highest": 0}, {"highest": "many"}, {"style": "loud"}])
def test_impossible_options_are_named(options):
    with pytest.raises(r1env.UsageError):
        guessing_tasks(**options)
