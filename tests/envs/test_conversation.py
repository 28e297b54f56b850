"""Environments with state and tools: one object per episode, errors as data, closed however the episode ends."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env import EnvironmentSpec, Rubric, Task, UsageError, WeightedReward, get_reward, hookimpl, reward, score
from r1env import builtin as core
from r1env.data.sources import ListSource
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.envs.conversation import (
    ConversationEnv,
    StepResult,
    ToolEnv,
    describe_tool,
    other_side,
    parse_tool_calls,
    submit_all,
)
from r1env.envs.environment import make_environment
from r1env.envs.gym import ReasoningEnv, ReasoningVectorEnv
from r1env.plugins import Plugins, Provenance
from r1env.rollout import play
from r1env.types import Completion, EndedBy, Status

TASK = Task(id="t", prompt="Count to three.", answer="3")
OPEN: list[object] = []


class Counter:
    """Pays for every turn and ends at three; keeps its count to itself."""

    tools = ()

    def reset(self, task):
        self.count = 0
        OPEN.append(self)
        return ({"role": "system", "content": "Say go."}, *task.prompt)

    async def step(self, message):
        await asyncio.sleep(0)
        self.count += 1
        return StepResult([{"role": "user", "content": str(self.count)}], reward=0.5, done=self.count == 3)

    async def close(self):
        OPEN.remove(self)


def calling(name, **arguments):
    return "<tool_call>" + json.dumps({"name": name, "arguments": arguments}) + "</tool_call>"


def add(a: int, b: int) -> int:
    """Add two whole numbers.

    This line is not for the model.
    """
    return a + b


def divide(a: float, b: float) -> float:
    """Divide."""
    return a / b


def environment(other, max_turns=10, **spec):
    class Plugin:
        @hookimpl
        def r1env_environments(self):
            return [
                EnvironmentSpec(
                    "here",
                    lambda: ListSource([TASK]),
                    reward="environment",
                    summary="",
                    other=other,
                    max_turns=max_turns,
                    **spec,
                )
            ]

    plugins = Plugins({Provenance("core", "r1env", "0"): core, Provenance("p", "p", "0"): Plugin()})
    return make_environment("here", plugins=plugins)


@pytest.fixture(autouse=True)
def _everything_is_closed():
    yield
    assert OPEN == []


def played(env, *texts):
    episode = env.open(TASK)
    for text in texts:
        episode.submit(Completion(text=text))
    return episode


def test_an_environment_keeps_state_of_its_own_in_every_episode():
    env = environment(Counter)
    first, second = env.open(TASK), env.open(TASK)
    for episode in (first, first, second):
        episode.submit(Completion(text="go"))
    assert [first.messages[-1]["content"], second.messages[-1]["content"]] == ["2", "1"]
    assert first.messages[0]["content"] == "Say go."
    first.close()
    second.close()


def test_what_the_environment_pays_is_the_reward_environment():
    episode = played(environment(Counter), "go", "go", "go")
    rollout = episode.rollout()
    assert (episode.ended_by, [turn.reward for turn in rollout.turns]) == (EndedBy.ENVIRONMENT, [0.5, 0.5, 0.5])
    (found,) = score([rollout], environment(Counter).rubric)
    assert found.value == 1.5


def test_turns_that_are_used_up_are_a_limit_and_close_the_environment():
    assert played(environment(Counter, max_turns=2), "go", "go").ended_by is EndedBy.LIMIT


class Saver(Counter):
    """A counter that is also worth something as it stands."""

    def truncated(self):
        assert self in OPEN
        return 10.0 * self.count


def test_the_state_that_a_limit_leaves_is_paid_where_the_environment_says_what_it_is_worth():
    episode = played(environment(Saver, max_turns=2), "go", "go")
    assert (episode.ended_by, episode.rollout().environment_reward) == (EndedBy.LIMIT, 21.0)
    episode = played(environment(Saver), "go")
    episode.stop()  # a full context
    assert (episode.ended_by, episode.rollout().environment_reward) == (EndedBy.LIMIT, 10.5)
    episode = played(environment(Saver), "go", "go", "go")
    assert (episode.ended_by, episode.rollout().environment_reward) == (EndedBy.ENVIRONMENT, 1.5)


def test_a_state_that_cannot_be_valued_leaves_the_episode_unscored():
    class Broken(Counter):
        async def truncated(self):
            raise OSError("no tests")

    stopped = played(environment(Broken), "go")
    stopped.stop()
    for episode in (stopped, played(environment(Broken, max_turns=1), "go")):
        assert "no tests" in episode.error
        assert episode.ended_by is EndedBy.ERROR


def test_an_episode_that_is_given_up_is_closed():
    episode = environment(Counter).open(TASK)
    assert len(OPEN) == 1
    episode.close()


@pytest.mark.parametrize("method", ["reset", "step", "close"])
def test_an_environment_that_raises_costs_its_own_episode_and_says_why(method):
    class Broken(Counter):
        pass

    async def fail(self, *_):
        if method == "close":
            OPEN.remove(self)
        raise RuntimeError("the moon is full")

    setattr(
        Broken, method, fail if method != "reset" else lambda self, task: asyncio.get_running_loop().run_in_executor(None, boom)
    )

    def boom():
        raise RuntimeError("the moon is full")

    if method == "reset":
        Broken.close = lambda self: None
    broken, sound = environment(Broken, max_turns=1), environment(Counter, max_turns=1)
    episodes = [env.open(TASK) for env in (broken, sound)]
    submit_all([(episode, Completion(text="go")) for episode in episodes if not episode.done])
    (bad,), (good,) = (score([episode.rollout()], sound.rubric) for episode in episodes)
    assert (bad.value, bad.status) == (None, Status.ERROR)
    assert "the moon is full" in bad.reason
    assert good.value == 0.5


def test_an_environment_that_hangs_is_given_up():
    class Slow(Counter):
        async def step(self, message):
            await asyncio.sleep(60)

    start = time.monotonic()
    episode = played(environment(Slow, step_seconds=0.2), "go")
    assert time.monotonic() - start < 10
    assert episode.error == "the environment failed: no answer within 0.2 s"


def test_environments_answer_side_by_side():
    class Waits(Counter):
        async def step(self, message):
            await asyncio.sleep(0.3)
            return StepResult(done=True)

    env = environment(Waits)
    episodes = [env.open(TASK) for _ in range(20)]
    start = time.monotonic()
    submit_all([(episode, Completion(text="go")) for episode in episodes])
    assert time.monotonic() - start < 3  # one after another they would take six seconds


def test_a_tool_is_called_and_its_result_is_a_tool_message():
    episode = played(environment(lambda: ToolEnv([add])), "I add. " + calling("add", a=2, b=3))
    assert episode.messages[-1] == {"role": "tool", "content": "5", "tool_call_id": "call_0", "name": "add"}
    assert episode.messages[-2]["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 2, "b": 3}}
    episode.submit(Completion(text="It is 5."))
    assert episode.ended_by is EndedBy.ENVIRONMENT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (calling("divide", a=1, b=0), "ZeroDivisionError"),
        (calling("divide", a=1), "missing 1 required positional argument"),
        (calling("multiply", a=1), "there is no tool 'multiply'; there are: add, divide"),
        ("<tool_call>{nonsense</tool_call>", "could not be read: it is not JSON"),
        ('<tool_call>{"name": "add"', "</tool_call> is missing"),
        ('<tool_call>{"name": "add", "arguments": "a, b"}</tool_call>', "arguments is no JSON object"),
        ('<tool_call>{"arguments": {}}</tool_call>', "it has no name"),
        ("<tool_call>[1]</tool_call>", "it has no name"),
    ],
)
def test_a_call_that_fails_is_answered_and_recorded(text, said):
    episode = played(environment(lambda: ToolEnv([add, divide])), text)
    assert said in episode.messages[-1]["content"]
    assert said in episode.info["tool_errors"][0]
    assert not episode.done
    episode.close()


def test_a_tool_is_described_by_its_function():
    (tool,) = ToolEnv([add]).tools
    assert tool.as_function()["function"] == {
        "name": "add",
        "description": "Add two whole numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    }


def test_a_tool_s_parameters_are_described_by_their_annotations():
    class Unknown:
        pass

    def search(
        query: str | None,
        order: Literal["asc", "desc"],
        tags: list[int],
        anything,
        odd: Unknown,
        *more: int,
        top: int = 3,
        **rest,
    ):
        """Search."""

    # The names in annotations are this function's own, so they are given as objects.
    search.__annotations__ = {
        "query": str | None,
        "order": Literal["asc", "desc"],
        "tags": list[int],
        "odd": Unknown,
        "top": int,
    }
    parameters = describe_tool(search).parameters
    assert parameters["properties"] == {
        "query": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "order": {"enum": ["asc", "desc"], "type": "string"},
        "tags": {"items": {"type": "integer"}, "type": "array"},
        "anything": {},
        "odd": {},
        "top": {"type": "integer"},
    }
    assert parameters["required"] == ["query", "order", "tags", "anything", "odd"]


@given(
    st.text() | st.lists(st.sampled_from(["<tool_call>", "</tool_call>", "{", "}", '"name":', '"a"', "[", "1"])).map("".join)
)
def test_reading_tool_calls_never_raises_and_is_bounded(text):
    calls = parse_tool_calls(text)
    assert len(calls) <= 32
    assert all(isinstance(call["function"]["name"], str) for call in calls)


def test_a_deeply_nested_call_is_unreadable_and_no_crash():
    (call,) = parse_tool_calls("<tool_call>" + "[" * 50_000 + "</tool_call>")
    assert call["function"]["arguments"] is None


def test_a_function_is_a_dialogue():
    def parrot(task, messages):
        return messages[-1]["content"] if messages[-1]["content"] != "bye" else None

    episode = played(environment(parrot), "hello", "bye")
    assert [message["content"] for message in episode.messages[-3:]] == ["hello", "hello", "bye"]
    assert episode.ended_by is EndedBy.ENVIRONMENT


def test_a_dialogue_that_raises_ends_its_episode_unscored():
    def fails(task, messages):
        raise SyntaxError("invalid syntax")

    rollout = played(environment(fails), "hello").rollout()
    assert rollout.error == "the environment failed: SyntaxError: invalid syntax"


@pytest.mark.parametrize("made", [lambda task: "x", type("NeedsMore", (), {"__init__": lambda self, size: None})])
def test_a_class_or_function_that_wants_other_arguments_is_refused_when_it_is_made(made):
    with pytest.raises(UsageError, match="it is called without arguments for each episode"):
        other_side(made, "here")


def test_an_asynchronous_reply_function_is_refused_with_what_to_write_instead():
    async def reply(task, messages):
        return "more"

    with pytest.raises(UsageError, match="reply is asynchronous; write a ConversationEnv"):
        other_side(reply, "here")


@pytest.mark.parametrize("made", [object, lambda: object()])
def test_what_is_no_environment_is_refused_when_it_is_made(made):
    with pytest.raises(UsageError, match="has neither `reply` nor"):
        other_side(made, "here")


def test_the_player_plays_it_and_closes_it():
    (one,) = play([(environment(Counter), TASK)], ScriptedEngine("go"), SamplingParams())
    assert one.episode.rollout().environment_reward == 1.5


def test_an_engine_that_fails_leaves_nothing_open():
    class Fails(ScriptedEngine):
        def generate(self, prompts, params):
            raise RuntimeError("no engine")

    with pytest.raises(RuntimeError, match="no engine"):
        play([(environment(Counter), TASK)], Fails(""), SamplingParams(n=3))


def test_gymnasium_steps_it_single_and_in_a_vector():
    env = environment(Counter)
    single, vector = ReasoningEnv(env), ReasoningVectorEnv(env, 2)
    single.reset(seed=0)
    vector.reset(seed=0)
    for _ in range(3):
        observation, paid, terminated, _, _ = single.step("go")
        _, rewards, ended, _, _ = vector.step(["go", "go"])
    assert (paid, terminated, list(rewards), list(ended)) == (1.5, True, [1.5, 1.5], [True, True])
    assert observation in single.observation_space


def test_a_rubric_may_weigh_it_beside_other_rewards():
    @reward(name="brief")
    def brief(completion: str) -> float:
        return float(len(completion) < 5)

    both = Rubric("both", [WeightedReward(get_reward("environment"), 2.0), WeightedReward(brief)])
    (found,) = score([played(environment(Counter), "go", "go", "go").rollout()], both)
    assert (found.value, found.parts) == (4.0, {"environment": 1.5, "brief": 1.0})


def test_an_environment_that_pays_nothing_is_unscored_and_not_zero():
    (found,) = score([played(environment(lambda: ToolEnv([add])), "It is 5.").rollout()], get_reward("environment"))
    assert (found.value, found.reason) == (None, "the environment paid no reward")


def test_an_episode_that_gymnasium_leaves_is_closed():
    single, vector = ReasoningEnv(environment(Counter)), ReasoningVectorEnv(environment(Counter), 2)
    for env in (single, vector):
        env.reset(seed=0)
        env.reset(seed=1)
        env.close()


def test_it_is_a_protocol_that_strangers_can_check():
    assert isinstance(Counter(), ConversationEnv)
    assert not isinstance(object(), ConversationEnv)


def answering(**methods):
    """A class like `Counter` with other methods."""
    return type("Odd", (Counter,), methods)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(3), "RuntimeError: SystemExit: 3"),
        (KeyboardInterrupt(), "RuntimeError: KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
@pytest.mark.parametrize("method", ["reset", "step"])
def test_an_environment_that_exits_ends_its_episode_and_nobody_waits_forever(method, error, said):
    def raising(self, *_):
        self.count = 0
        if method == "reset":
            OPEN.append(self)
        raise error

    episode = environment(answering(**{method: raising})).open(TASK)
    if method == "step":
        episode.submit(Completion(text="go"))
    assert said in episode.error
    assert not OPEN
    healthy = environment(Counter).open(TASK)  # the thread of the event loop still answers
    healthy.submit(Completion(text="go"))
    healthy.close()
    assert healthy.error == ""


@pytest.mark.parametrize(
    ("reward_of_the_turn", "said"),
    [
        (float("nan"), "ValueError: the reward of a turn is nan"),
        (np.float32("inf"), "ValueError: the reward of a turn is inf"),
        ("1", "TypeError: the reward of a turn is a str, not a number or None"),
        ([1.0], "TypeError: the reward of a turn is a list"),
    ],
)
def test_a_reward_of_a_turn_that_is_no_finite_number_fails_the_episode(reward_of_the_turn, said):
    async def step(self, message):
        return StepResult(reward=reward_of_the_turn, done=True)

    episode = environment(answering(step=step)).open(TASK)
    episode.submit(Completion(text="go"))
    assert said in episode.error


@pytest.mark.parametrize("paid", [np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_a_reward_of_a_turn_may_be_a_scalar_of_numpy_or_torch(paid):
    def step(self, message):  # a plain method, too
        return StepResult(reward=paid, done=True)

    episode = environment(answering(step=step)).open(TASK)
    episode.submit(Completion(text="go"))
    assert (episode.error, episode.rollout().environment_reward) == ("", 0.5)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("hello", "a str, not a list of messages"),
        ([{"role": "user"}], "its content is a NoneType, not text"),
        ([{"role": "human", "content": "x"}], "its role is 'human'"),
        (["hello"], "message 0: a str, not a mapping"),
        ([], "no message, and the episode is not over"),
    ],
)
def test_what_is_no_message_fails_the_episode(messages, said):
    async def step(self, message):
        return StepResult(messages)

    episode = environment(answering(step=step)).open(TASK)
    episode.submit(Completion(text="go"))
    assert said in episode.error


def test_a_class_that_cannot_be_made_for_an_episode_costs_that_episode():
    made = []

    class Second(Counter):
        def __init__(self):
            made.append(self)
            if len(made) > 1:
                raise RuntimeError("only one")

    env = environment(Second)
    (one,) = play([(env, TASK)], ScriptedEngine("go"), SamplingParams())
    assert (one.episode.error, one.episode.ended_by) == ("the environment failed: RuntimeError: only one", EndedBy.ERROR)


def test_gymnasium_says_that_an_environment_could_not_be_reset():
    def reset(self, task):
        OPEN.append(self)
        raise OSError("no vault")

    env = environment(answering(reset=reset))
    single, vector = ReasoningEnv(env), ReasoningVectorEnv(env, 2)
    _, info = single.reset(seed=0)
    assert info["error"] == "the environment failed: OSError: no vault"
    _, value, terminated, _, info = single.step("go")
    assert (math.isnan(value), terminated, info["score"].reason) == (True, True, "the environment failed: OSError: no vault")
    _, infos = vector.reset(seed=0)
    assert list(infos["error"]) == ["the environment failed: OSError: no vault"] * 2
    _, rewards, terminated, _, _ = vector.step(["go", "go"])
    assert (np.isnan(rewards).all(), terminated.all()) == (True, True)
    _, rewards, terminated, _, _ = vector.step(["go", "go"])  # the resets between two episodes
    assert (rewards.tolist(), terminated.any()) == ([0.0, 0.0], False)


INTERRUPTED = """
import asyncio, sys, threading, time, signal, os
from r1env import Task, Rubric, WeightedReward, EnvironmentSpec, hookimpl, get_reward
from r1env.data.sources import ListSource
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.envs.conversation import StepResult
from r1env.envs.environment import Environment
from r1env.prompts import PLAIN_TEMPLATE
from r1env.rollout import play

class Waits:
    tools = ()
    def reset(self, task):
        return task.prompt
    async def step(self, message):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        await asyncio.sleep(60)
    async def close(self):
        await asyncio.sleep(0.1)
        print("closed", flush=True)

task = Task(id="1", prompt="?")
rubric = Rubric("r", [WeightedReward(get_reward("environment"))])
environment = Environment("e", ListSource([task]), rubric, "environment", PLAIN_TEMPLATE, max_turns=2, other=Waits)
try:
    play([(environment, task)], ScriptedEngine("go"), SamplingParams())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_while_an_environment_answers_closes_it_once_and_at_once():
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["closed", "interrupted"], done.stderr
    assert time.monotonic() - begun < 30
