"""`repetition` takes more the more of a text is said again, by words and by characters."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import Example, check_reward
from r1env_format import Repetition
from r1env_format.repetition import split_tokens

ONCE = "The sum of seven and nine is sixteen, since seven and three make ten."


@pytest.mark.slow
def test_the_reward_keeps_the_contract():
    check_reward("repetition", [Example(ONCE, value=0.0)])


@pytest.mark.nightly
def test_long_n_grams_of_characters_keep_the_contract():
    check_reward(r1env.get_reward("repetition", unit="characters", n=40), [Example(ONCE, value=0.0)])


def test_saying_it_again_and_again_comes_near_the_largest_penalty():
    assert Repetition("so it is " * 100).value == pytest.approx(-1.0, abs=0.02)
    assert Repetition.with_options(max_penalty=-0.5)("so it is " * 100).value == pytest.approx(-0.5, abs=0.01)


def test_the_penalty_is_the_share_of_n_grams_that_stood_before():
    score = Repetition.score(_rollout("a b c a b c"))  # abc bca cab abc
    assert score.value == pytest.approx(-0.25)
    assert score.parts["repetition/repeated"] == pytest.approx(0.25)


@pytest.mark.parametrize("text", ["", "one", "one one"])
def test_a_text_of_fewer_words_than_n_is_not_punished(text):
    assert Repetition(text).value == 0.0


@pytest.mark.parametrize("text", ["等等，再算一遍。" * 30, "もう一度、考える。" * 30, "!!! ??? " * 60])
def test_scripts_without_spaces_and_punctuation_are_seen_too(text):
    assert Repetition(text).value < -0.9


@pytest.mark.parametrize(
    "text",
    [
        "hoho" * 9,
        "a" * 40,
        "No" + "o" * 30,
        "흐" * 20,
        "abcdefgh" * 6,
        "1234" * 10,
        "ขำ" * 12,
        "Ах" + "ха" * 12,
        "😂" * 20,
        "-=" * 20,
    ],
)
def test_a_loop_inside_one_word_is_seen(text):
    assert Repetition(text).value < -0.6


@pytest.mark.parametrize("text", ["\n" * 20, " \n" * 20, " " * 200, "\t" * 100, "\r\n" * 50])
def test_a_text_of_nothing_but_blanks_is_seen(text):
    assert Repetition(text).value < -0.8


@pytest.mark.parametrize(
    "text",
    [
        "haha, hohoho, banana, Mississippi, papaya, 0.3333, 1000000, bookkeeper",
        "Donaudampfschifffahrtsgesellschaftskapitän antidisestablishmentarianism",
        "0123456789abcdef0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "def f(x):\n                        return x\n\n\nprint(2)",
    ],
)
def test_honest_words_numbers_and_layout_are_not_loops(text):
    assert Repetition(text).value == 0.0


def test_one_endless_word_is_seen_by_characters():
    assert Repetition.with_options(unit="characters", n=20)("ha" * 500).value < -0.9


@given(st.text("ab c\n", max_size=300))
def test_tokens_are_the_text_without_its_single_blanks(text):
    assert "".join(split_tokens(text)).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")


def test_upper_and_lower_case_are_one():
    assert Repetition("Wait, no. wait, no. WAIT, NO.").value == Repetition("wait, no. wait, no. wait, no.").value


@given(st.text("ab 等\ud800.", max_size=40), st.integers(1, 9))
def test_the_share_is_that_of_a_plain_count(text, n):
    tokens = split_tokens(text.lower())
    grams = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    expected = 1 - len(grams) / grams.total() if grams else 0.0
    assert -Repetition.with_options(n=n)(text).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 1000}, "n is 1000"),
        ({"max_penalty": 1.0}, "a penalty is 0 or below"),
        ({"max_penalty": float("nan")}, "a penalty is 0 or below"),
        ({"unit": "bytes"}, "unknown unit 'bytes'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(options, told):
    with pytest.raises(r1env.UsageError, match=told):
        Repetition.with_options(**options)


def _rollout(completion):
    return r1env.Rollout(task=r1env.Task(id="1", prompt="?"), completion=completion)
