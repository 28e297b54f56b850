"""The conformance kit lets a sound reward pass and says what is wrong with each of the others.

The rewards are made inside functions: with pytest's import mode `importlib` a worker could not import them from this file, and
so they are sent to it as they are.
"""

from __future__ import annotations

import math

import pytest

import r1env
from r1env.testing import HOSTILE_TEXTS, Example, check_reward, hostile_completions

RIGHT = [Example("yes", value=1.0)]


def sound():
    @r1env.reward(name="sound")
    def reward(completion: str, answer: str | None, *, word: str = "yes") -> float:
        return float(completion.startswith(word))

    return reward


def with_an_option():
    return sound().with_options(word="y")


def asynchronous():
    @r1env.reward(name="asynchronous", isolation="async")
    async def reward(completion: str) -> float:
        return float(completion == "yes")

    return reward


def in_batches():
    @r1env.reward(name="batch", batch=True)
    def reward(completion: list[str]) -> list[float]:
        return [float(text == "yes") for text in completion]

    return reward


def abstaining():
    @r1env.reward(name="abstaining", isolation="process")
    def reward(completion: str) -> float | None:
        return 1.0 if completion == "yes" else None

    return reward


@pytest.mark.parametrize("make", [sound, with_an_option, asynchronous, in_batches, abstaining])
def test_a_sound_reward_passes(make):
    check_reward(make(), RIGHT)


def test_the_value_of_a_reward_with_parts_is_checked_too():
    @r1env.reward(name="in parts", parts=["one", "two"])
    def reward(completion: str) -> dict[str, float]:
        return {"one": float("a" in completion), "two": 0.5}

    check_reward(reward, [Example("a", value=1.5)])


def test_an_installed_reward_can_be_given_by_name():
    check_reward("format", [Example("yes", value=0.0, status=r1env.Status.BAD_FORMAT)])


def complaint(reward, examples=RIGHT) -> str:
    with pytest.raises(AssertionError) as caught:
        check_reward(reward, examples)
    return str(caught.value)


def test_a_wrong_value_is_shown_beside_the_right_one():
    assert "example 0 ('no'): expected the value 1.0, got 0.0 (wrong)" in complaint(sound(), [Example("no", value=1.0)])
    assert "expected the value None, got 1.0" in complaint(sound(), [Example("yes", value=None)])


def test_a_wrong_status_is_shown_beside_the_right_one():
    message = complaint(sound(), [Example("no", value=0.0, status=r1env.Status.NO_ANSWER)])
    assert "expected the status" in message
    assert "got 0.0 (wrong)" in message


def test_an_example_is_asked_for():
    assert "give at least one example" in complaint(sound(), [])


def test_a_reward_that_raises_is_reported_with_the_text_and_the_error():
    @r1env.reward(name="raising")
    def reward(completion: str) -> float:
        return float(completion == "yes" or completion.encode("utf-8") == b"")

    message = complaint(reward)
    assert "lone surrogate" in message
    assert "UnicodeEncodeError" in message


def test_a_value_that_is_not_finite_is_reported():
    @r1env.reward(name="infinite")
    def reward(completion: str) -> float:
        return 1.0 if completion == "yes" else math.inf

    assert "finite" in complaint(reward)


def test_parts_that_change_are_reported():
    @r1env.reward(name="moody", parts=["long"])
    def reward(completion: str) -> dict[str, float]:
        return {"long": 1.0} if len(completion) < 100 else {"short": 0.0}

    assert "returned the parts ['short'], but declares parts=['long']" in complaint(reward)


def test_a_reward_that_remembers_is_reported():
    seen: list[str] = []

    @r1env.reward(name="counting")
    def reward(completion: str) -> float:
        seen.append(completion)
        return 1.0 if completion == "yes" else float(len(seen))

    assert "is not deterministic on" in complaint(reward)


def test_a_reward_that_differs_between_processes_is_reported():
    @r1env.reward(name="hashing")
    def reward(completion: str) -> float:
        return 1.0 if completion == "yes" else hash(completion) % 1000 / 1000

    assert "is not deterministic on" in complaint(reward)


def test_a_reward_that_cannot_be_sent_to_a_worker_is_reported():
    handle = (number for number in range(3))

    @r1env.reward(name="bound")
    def reward(completion: str) -> float:
        return float(completion == "yes" and handle is not None)

    assert "cannot be pickled" in complaint(reward)


def test_a_reward_that_hangs_is_reported_instead_of_hanging_the_tests():
    @r1env.reward(name="slow", limits=r1env.Limits(cpu_seconds=0.3))
    def reward(completion: str) -> float:
        while completion.startswith("7777"):
            pass
        return float(completion == "yes")

    assert "used up its 0.3 CPU seconds" in complaint(reward)


def test_hostile_texts_come_bare_and_where_answers_are_looked_for():
    completions = hostile_completions()
    assert len(completions) == 3 * len(HOSTILE_TEXTS)
    assert max(map(len, HOSTILE_TEXTS.values())) == 1_000_000
    assert completions["NUL, in an answer block"] == "<think>so</think><answer>a\x00b\x00</answer>"


# Other scopes


def ranked(isolation: str = "inline"):
    @r1env.reward(name="ranked", scope="group", isolation=isolation)
    def reward(completions: list[str]) -> list[float]:
        return [sum(len(other) < len(text) for other in completions) / len(completions) for text in completions]

    return reward


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_sound_group_reward_passes_with_its_examples_as_one_group(isolation):
    check_reward(ranked(isolation), [Example("bbb", value=2 / 3), Example("a", value=0.0), Example("bb", value=1 / 3)])


def test_a_group_reward_whose_scores_depend_on_the_order_is_reported():
    @r1env.reward(name="first", scope="group")
    def reward(completions: list[str]) -> list[float]:
        return [float(place == 0) for place in range(len(completions))]

    assert "is not deterministic on" in complaint(reward, [Example("a", value=1.0), Example("b", value=0.0)])


def test_a_group_reward_that_raises_on_a_hostile_text_is_reported():
    @r1env.reward(name="brittle", scope="group")
    def reward(completions: list[str]) -> list[float]:
        return [float(len(text.encode("utf-8")) > 0) for text in completions]

    assert "UnicodeEncodeError" in complaint(reward, [Example("a", value=1.0)])


def test_a_sound_turn_reward_passes_with_an_example_of_several_turns():
    @r1env.reward(name="brief", scope="turn")
    def reward(completion: str) -> float:
        return float(len(completion) < 3)

    earlier = ({"role": "assistant", "content": "no"}, {"role": "user", "content": "sure?"})
    check_reward(reward, [Example("ok", value=2.0, earlier=earlier), Example("ok", value=1.0), Example("long", value=0.0)])


def test_a_turn_reward_that_cannot_bear_a_second_turn_is_reported():
    @r1env.reward(name="single", scope="turn")
    def reward(completion: str, index: int) -> float:
        return [1.0][index]

    message = complaint(reward, [Example("a", value=1.0)])
    assert "in the second turn: turn 2: IndexError" in message
