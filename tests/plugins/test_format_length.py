"""`length` follows the published cosine, `overlong` equation 13 of DAPO; without token ids neither guesses at tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import Example, check_reward
from r1env_format import Length, Overlong
from r1env_format.length import soft_overlong_punishment

VALUE_OF_ONE_CHARACTER = (1 + math.cos(math.pi / 16_384)) / 2


def rollout(completion="", tokens=None):
    return r1env.Rollout(
        task=r1env.Task(id="1", prompt="?"), completion=completion, token_ids=None if tokens is None else tuple(range(tokens))
    )


@pytest.mark.parametrize("name", ["length", "overlong"])
def test_the_rewards_keep_the_contract(name):
    check_reward(name, [Example("4", value=None if name == "overlong" else VALUE_OF_ONE_CHARACTER)])


def test_overlong_by_characters_keeps_the_contract():
    check_reward(Overlong.with_options(unit="characters"), [Example("4", value=0.0), Example("4" * 20_480, value=-1.0)])


@pytest.mark.parametrize(
    ("characters", "value"), [(1, 0.9998), (25, 0.8536), (50, 0.5), (75, 0.1464), (99, 0.0002), (100, 0.0), (5000, 0.0)]
)
def test_length_falls_along_half_a_cosine(characters, value):
    assert Length.with_options(max_length=100)(rollout("a" * characters)).value == pytest.approx(value, abs=1e-4)


def test_length_takes_the_ends_that_the_paper_gives_wrong_answers():
    wrong = Length.with_options(max_length=100, shortest=-10.0, longest=0.0, exceeded=-10.0)
    assert wrong(rollout("a")).value == pytest.approx(-10.0, abs=0.01)
    assert wrong(rollout("a" * 99)).value == pytest.approx(0.0, abs=0.01)
    assert wrong(rollout("a" * 100)).value == -10.0


@pytest.mark.parametrize("nothing", ["", " \n\t "])
def test_saying_nothing_is_not_the_best_length(nothing):
    assert Length(rollout(nothing)).value == 0.0
    assert Length.with_options(shortest=1.0, longest=0.5, exceeded=-1.0)(rollout(nothing)).value == -1.0


@given(st.integers(1, 200), st.integers(1, 200))
def test_shorter_never_pays_less(one, other):
    reward = Length.with_options(max_length=100)
    shorter, longer = sorted((one, other))
    assert reward(rollout("a" * shorter)).value >= reward(rollout("a" * longer)).value


@pytest.mark.parametrize(
    ("tokens", "value"),
    [(0, 0.0), (16_384, 0.0), (16_385, -1 / 4096), (18_432, -0.5), (20_480, -1.0), (20_481, -1.0), (100_000, -1.0)],
)
def test_overlong_is_equation_13_with_the_papers_numbers(tokens, value):
    assert soft_overlong_punishment(tokens, 20_480, 4_096) == pytest.approx(value)


def test_overlong_counts_the_tokens_of_the_engine():
    reward = Overlong.with_options(max_length=8, buffer=4)
    assert [reward(rollout("a" * 999, tokens)).value for tokens in (4, 6, 8, 9)] == [0.0, -0.5, -1.0, -1.0]


@pytest.mark.parametrize("name", ["length", "overlong"])
def test_without_token_ids_there_is_no_value_and_a_way_out(name):
    score = r1env.get_reward(name, unit="tokens").score(rollout("a"))
    assert (score.value, score.status) == (None, r1env.Status.NO_ANSWER)
    assert "unit=characters" in score.reason


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("length", {"max_length": 0}, "max_length is 0"),
        ("length", {"shortest": float("inf")}, "must be finite"),
        ("length", {"unit": "words"}, "unknown unit 'words'"),
        ("overlong", {"buffer": 0}, "buffer is 0"),
        ("overlong", {"max_length": 10, "buffer": 11}, "buffer is 11"),
        ("overlong", {"unit": "words"}, "unknown unit 'words'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(name, options, told):
    with pytest.raises(r1env.UsageError, match=told):
        r1env.get_reward(name, **options)
