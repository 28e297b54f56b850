"""`reflection` counts what announces a second look, in several languages."""

from __future__ import annotations

import pytest

import r1env
from r1env.testing import Example, check_reward
from r1env_format import reflection
from r1env_format.reflective_words import WORDS


def score(completion):
    return reflection.score(r1env.Rollout(task=r1env.Task(id="1", prompt="?"), completion=completion))


def test_the_reward_keeps_the_contract():
    check_reward("reflection", [Example("Wait, that is wrong.", value=0.5), Example("", value=None)])


def test_the_share_and_both_counts_are_reported():
    assert score("Wait. Wait. But 4 is 4.").parts == {
        "reflection": 0.5,
        "reflection/reflective": 3.0,
        "reflection/words": 6.0,
        "reflection/wait": 2.0,
    }


@pytest.mark.parametrize("word", WORDS["r1"])
def test_the_ten_words_of_the_paper_count(word):
    assert score(f"{word.title()}, it is four").value == 0.25


@pytest.mark.parametrize("text", ["waiter butter checkers", "the answer is four", "答案是四", "答えは四です"])
def test_other_words_do_not(text):
    assert score(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Moment, das ist falsch.",
        "Attends, je vérifie.",
        "Espera, voy a comprobar.",
        "Aspetta, controllo.",
        "Espere, mas está errado.",
        "Погоди, проверим.",
        "잠깐, 다시 하자.",
        "等等，我再检查一遍。",
        "待って、確認する。",
    ],
)
def test_languages_have_their_words(text):
    assert score(text).value > 0.2


@pytest.mark.parametrize("text", ["", " ", "?!", "…"])
def test_a_text_without_words_has_no_share(text):
    found = score(text)
    assert (found.value, found.status) == (None, r1env.Status.NO_ANSWER)
    assert found.parts["reflection/words"] == 0.0
