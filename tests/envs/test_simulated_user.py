"""Conversations whose user is played by a second engine."""

from __future__ import annotations

import json

import pytest

import r1env
from r1env import UsageError
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.envs.simulated_user import GREETING, SharedEngine, SimulatedUser
from r1env.rollout import play
from r1env.types import Completion, EndedBy

ROW = {
    "user": "You are Ada. You want a table for two.",
    "opening": "A table, please.",
    "system": "Be brief.",
    "answer": "booked",
}
PARAMS = SamplingParams()


class Engine(ScriptedEngine):
    """Plays users, and keeps what it was asked."""

    def __init__(self, script):
        super().__init__(script)
        self.batches = []

    def generate(self, prompts, params):
        self.batches.append(list(prompts))
        return super().generate(prompts, params)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "users.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return str(path)


def made(rows, script, **options):
    return r1env.make_environment("simulated-user", data=rows, engine="scripted", engine_options={"text": script}, **options)


def test_the_user_answers_until_they_have_what_they_want(rows):
    asked = []

    def user(prompt):
        asked.append(prompt)
        return "[END]" if "booked" in prompt[-1]["content"] else "<think>I am two.</think>For two."

    environment = made(rows, user)
    episode = environment.open(environment.task(0))
    assert [message["content"] for message in episode.messages] == ["Be brief.", "A table, please."]
    episode.submit(Completion(text="<think>How many?</think>For how many?"))
    assert [message["content"] for message in episode.replies] == ["For two."]
    episode.submit(Completion(text="<answer>booked</answer>"))
    assert episode.ended_by is EndedBy.ENVIRONMENT
    (score,) = r1env.score([episode.rollout()], environment.rubric)
    assert score.value == 1
    system, *talk = asked[-1]
    assert "You are Ada" in system["content"]
    roles = [(message["role"], message["content"]) for message in talk]
    assert roles == [  # the other way round, and without what the model thought
        ("user", GREETING),
        ("assistant", "A table, please."),
        ("user", "For how many?"),
        ("assistant", "For two."),
        ("user", "<answer>booked</answer>"),
    ]


def test_turns_of_a_batch_reach_the_engine_together(rows):
    engine = Engine("[END]")
    shared = SharedEngine(engine)
    environment = made(rows, "unused")
    environment = type(environment)(**{**vars(environment), "other": lambda: SimulatedUser(shared, PARAMS)})
    tasks = [(environment, environment.task(0))] * 8
    assert all(one.episode.ended_by is EndedBy.ENVIRONMENT for one in play(tasks, ScriptedEngine("Hello."), PARAMS))
    assert [len(batch) for batch in engine.batches] == [8]


def fails(prompt):
    raise OSError("no server")


@pytest.mark.parametrize(
    ("script", "reason"), [(fails, "no server"), ("", "wrote nothing"), ("<think>a</think>", "wrote nothing")]
)
def test_an_episode_whose_user_fails_has_no_score_and_says_why(rows, script, reason):
    environment = made(rows, script)
    episode = environment.open(environment.task(0))
    episode.submit(Completion(text="Hello."))
    assert reason in episode.error
    assert r1env.score([episode.rollout()], environment.rubric)[0].value is None


def test_the_user_does_not_see_calls_of_tools(rows):
    def table(seats: int) -> str:
        """Book a table."""
        return f"table for {seats}"

    engine = Engine("[END]")
    user = SimulatedUser(SharedEngine(engine), PARAMS, [table])
    environment = made(rows, "unused")
    environment = type(environment)(**{**vars(environment), "other": lambda: user})
    episode = environment.open(environment.task(0))
    episode.submit(Completion(text='<tool_call>{"name": "table", "arguments": {"seats": 2}}</tool_call>'))
    assert episode.replies[0]["content"] == "table for 2"
    assert not engine.batches
    episode.submit(Completion(text="Booked."))
    assert [message["content"] for message in engine.batches[0][0]][2:] == ["A table, please.", "Booked."]


@pytest.mark.parametrize(
    ("row", "fault"), [({"user": "x"}, "line 1: .*`opening`"), ({"opening": "x", "user": " "}, "line 1: .*`user`")]
)
def test_a_row_without_its_user_is_refused(tmp_path, row, fault):
    path = tmp_path / "users.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UsageError, match=fault):
        made(str(path), "x")


def test_a_client_of_a_server_does_not_choose_the_engine(rows):
    environment = made(rows, "[END]")
    task = environment.task(0).model_copy(update={"metadata": {**ROW, "engine": "os:system", "model": "false"}})
    episode = environment.open(task)
    episode.submit(Completion(text="Hello."))
    assert (episode.error, episode.ended_by) == ("", EndedBy.ENVIRONMENT)
