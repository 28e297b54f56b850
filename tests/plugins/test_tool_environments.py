"""The environments with tools of r1env-logic: a calculator, and a price list beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import UsageError
from r1env.audit.environment import audit_environment
from r1env.rubrics import RubricSpec
from r1env.types import Completion, EndedBy
from r1env_logic import tools
from r1env_logic.countdown import ExpressionError
from r1env_logic.demonstrators import guessing_shopper


def call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def play(env, task, *texts):
    """Play an episode with these messages of the model; return it, and what the tools said to each."""
    episode, said = env.open(task), []
    for text in texts:
        episode.submit(Completion(text=text, finish_reason="stop"))
        said.append([reply["content"] for reply in episode.replies])
    return episode, said


def score(env, episode):
    (score,) = r1env.score([episode.rollout()], env.rubric)
    return score


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2 + 3 * 4", "14"), ("(2 - 5) * 123456789012", "-370370367036"), ("8 / 2", "4"), ("1 / 3", "1/3 (about 0.333333)")],
)
def test_a_calculator_calculates(expression, value):
    assert tools.calculator(expression) == value


@given(st.text(alphabet="0123456789+-*/() x.", max_size=250))
def test_a_calculator_answers_or_says_what_is_wrong(text):
    try:
        said = tools.calculator(text)
    except ExpressionError as error:
        said = str(error)
    assert said


def test_an_expression_is_worked_out_with_the_calculator():
    env = r1env.make_environment("calculator", split="test")
    for index in range(20):
        task = env.task(index)
        episode, said = play(env, task, call("calculator", expression=task.metadata["expression"]), task.answer)
        assert said[0] == [task.answer]
        assert episode.ended_by is EndedBy.ENVIRONMENT
        assert score(env, episode).value == 1


def test_a_calculator_that_is_asked_nonsense_says_so_and_the_episode_goes_on():
    env = r1env.make_environment("calculator")
    task = env.task(0)
    bad = [call("calculator", expression="7 +"), call("calculator", expression="9" * 61), call("calculator", expression="1/0")]
    episode, said = play(env, task, *bad, call("calculator", expr="1"), "I give up.")
    assert all(reply.startswith("error: ") for replies in said[:-1] for reply in replies)
    assert score(env, episode).value == 0


@pytest.mark.parametrize("style", ["chat", "compact"])
def test_a_basket_is_looked_up_and_added(style):
    env = r1env.make_environment("price-list", style=style, split="test", rubric=PAID)
    task = env.task(0)
    lookups = "".join(call("price", item=item) for item in task.metadata["basket"])
    episode, said = play(env, task, lookups)
    assert said[0] == [str(task.metadata["prices"][item]) for item in task.metadata["basket"]]
    episode.submit(Completion(text=task.answer))
    found = score(env, episode)
    assert (found.value, found.parts["environment"]) == (1, 0)


PAID = RubricSpec.model_validate({"name": "paid", "rewards": [{"reward": "accuracy"}, {"reward": "environment"}]})


def test_calls_that_fail_cost_something_in_the_turn_that_they_are_made_in():
    env = r1env.make_environment("price-list", style="compact", rubric=PAID)
    task = env.task(0)
    episode, said = play(env, task, call("price", item="no such") + call("sell"), "<tool_call>{", task.answer)
    assert [turn.reward for turn in episode.rollout().turns] == pytest.approx([-0.1, -0.05, 0])
    assert all(len(reply) <= tools.COMPACT_REPLY for reply in said[0])
    assert score(env, episode).value == pytest.approx(0.85)


def test_a_number_inside_a_call_is_no_answer():
    env = r1env.make_environment("price-list", style="compact")
    task = env.task(0)
    episode, _ = play(env, task, *[call("calculator", expression=task.answer)] * env.max_turns)
    assert episode.ended_by is EndedBy.LIMIT
    assert score(env, episode).value == 0


def test_two_episodes_have_their_own_prices():
    env = r1env.make_environment("price-list", style="compact")
    first, second = env.task(0), env.task(1)
    episodes = [env.open(first), env.open(second)]
    for episode, task in zip(episodes, (first, second), strict=True):
        episode.submit(Completion(text=call("price", item="a")))
        assert episode.replies[0]["content"] == str(task.metadata["prices"]["a"])
        episode.close()


@pytest.mark.parametrize("name", ["calculator", "price-list"])
def test_solutions_are_paid_and_doing_nothing_is_not(name):
    found = audit_environment(r1env.make_environment(name), count=5)
    assert found.clean
    assert found.solved == 5


@pytest.mark.parametrize(
    ("name", "options"), [("calculator", {"terms": 1}), ("calculator", {"digits": 0}), ("price-list", {"style": "loud"})]
)
def test_options_that_cannot_be_are_refused(name, options):
    with pytest.raises(UsageError):
        r1env.make_environment(name, **options)


def test_a_guessing_shopper_asks_for_six_numbers_of_ten_and_is_right_where_it_asks():
    env = r1env.make_environment("price-list", style="compact")
    rng = np.random.default_rng(0)
    right, calls, steps = [], 0, 0
    for index in range(200):
        task = env.task(index)
        turns = guessing_shopper(task, rng)
        episode, _ = play(env, task, *turns)
        assert episode.done
        asked = sum("tool_call" in turn for turn in turns)
        calls, steps = calls + asked, steps + 3
        if asked == 3:
            right.append(score(env, episode).value)
    assert 0.5 < calls / steps < 0.7
    assert set(right) == {1.0}
