"""An environment over OpenEnv's WebSocket: its six messages, and the faults that leave a session alive."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("fastapi", reason="the extra r1env[server] is not installed")
pytest.importorskip("prometheus_client", reason="the extra r1env[server] is not installed")

from fastapi import testclient

import r1env
from r1env.adapters.openenv import OpenEnvTasks, messages_of
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.errors import UsageError
from r1env.rollout import play
from r1env.server.app import make_app
from r1env.server.openenv import SessionError

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def game():
    return r1env.make_environment("guess-number")


@pytest.fixture(scope="module")
def app(game, pool):
    return make_app(game.rubric, environment=game, pool=pool)


def ask(socket, kind, **data):
    socket.send_json({"type": kind, "data": data})
    return socket.receive_json()


def test_an_episode_is_played_to_its_reward(app, game):
    with testclient.TestClient(app).websocket_connect("/ws") as socket:
        opening = ask(socket, "reset", index=3)
        assert (opening["type"], opening["data"]["done"], opening["data"]["reward"]) == ("observation", False, None)
        assert opening["data"]["observation"]["messages"][0]["role"] == "user"
        wrong = ask(socket, "step", text="<think>a</think><answer>-1</answer>")["data"]
        assert (wrong["done"], wrong["reward"], len(wrong["observation"]["messages"])) == (False, None, 1)
        assert ask(socket, "state")["data"]["step_count"] == 1
        right = ask(socket, "step", text=f"<think>a</think><answer>{game.task(3).answer}</answer>")["data"]
        assert (right["done"], right["reward"], right["metadata"]["status"]) == (True, 1.0, "ok")
        assert ask(socket, "reset", seed=1)["data"]["done"] is False  # another on the same connection
        socket.send_json({"type": "close"})


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "INVALID_JSON"),
        ("[" * 100_000, "INVALID_JSON"),
        ("[1]", "UNKNOWN_TYPE"),
        ('{"type": "fly"}', "UNKNOWN_TYPE"),
        ('{"type": "step", "data": {"text": 3}}', "VALIDATION_ERROR"),
        ('{"type": "step", "data": {"text": "a", "more": 1}}', "VALIDATION_ERROR"),
        ('{"type": "reset", "data": {"seed": -1}}', "VALIDATION_ERROR"),
        ('{"type": "step", "data": {"text": "a"}}', "EXECUTION_ERROR"),
    ],
)
def test_a_message_that_cannot_be_followed_is_an_error_and_the_session_goes_on(app, message, code):
    with testclient.TestClient(app).websocket_connect("/ws") as socket:
        socket.send_text(message)
        answer = socket.receive_json()
        assert (answer["type"], answer["data"]["code"]) == ("error", code)
        assert ask(socket, "reset", index=0)["type"] == "observation"


def test_an_episode_without_a_score_ends_without_a_reward_and_says_why(game, pool):
    @r1env.reward(name="silent")
    def silent(completion: str) -> None:
        return None

    from r1env.rubrics import Rubric, WeightedReward

    app = make_app(Rubric("silent", [WeightedReward(silent)]), environment=game, pool=pool)
    with testclient.TestClient(app).websocket_connect("/ws") as socket:
        ask(socket, "reset", index=0)
        for _ in range(7):
            last = ask(socket, "step", text="-1")["data"]
        assert (last["done"], last["reward"]) == (True, None)
        assert last["metadata"]["reason"]


def test_a_connection_needs_the_token_too_and_there_is_a_most_of_them(game, pool):
    from starlette.websockets import WebSocketDisconnect

    client = testclient.TestClient(make_app(game.rubric, environment=game, pool=pool, token=TOKEN))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws"):
        pass
    with client.websocket_connect(f"/token/{TOKEN}/ws") as socket:
        assert ask(socket, "reset")["type"] == "observation"


def test_our_environment_on_a_server_is_played_as_an_environment_of_ours(app, game, listening):
    pytest.importorskip("websockets", reason="the extra r1env[openenv] is not installed")
    there = r1env.make_environment(f"openenv:{listening(app)}")
    text = f"<think>a</think><answer>{game.task(0).answer}</answer>"
    tasks = [(there, there.task(index)) for index in range(2)]
    played = [one.episode.rollout() for one in play(tasks, ScriptedEngine(text), SamplingParams())]
    first, second = r1env.score(played, there.rubric)
    assert (first.value, len(played[0].turns)) == (1.0, 1)
    assert (second.value, len(played[1].turns)) == (0.0 if game.task(1).answer != game.task(0).answer else 1.0, 7)


def test_a_server_that_is_none_is_refused(listening, pool, rubric):
    with pytest.raises(UsageError, match="say which server"):
        OpenEnvTasks("")
    with pytest.raises(UsageError, match="no OpenEnv server"):
        OpenEnvTasks(listening(make_app(rubric, pool=pool)))


def test_a_task_does_not_choose_the_server(listening, game, pool):
    """A client of our own server sends tasks; an address in one would let it reach any host from here."""
    source = OpenEnvTasks(listening(make_app(game.rubric, environment=game, pool=pool)))
    task = source.task(3)
    assert task.metadata == {"openenv": {"seed": 3}}
    sent = task.model_copy(update={"metadata": {"openenv": {"seed": 3, "url": "http://127.0.0.1:9", "field": "text"}}})
    opened = replace(r1env.make_environment("guess-number"), other=source.other).open(sent)
    assert (opened.error, opened.messages[0]["role"]) == ("", "user")
    opened.close()


@pytest.mark.parametrize(
    ("observation", "shown"),
    [
        ({"messages": [{"role": "system", "content": "a"}, {"role": "bot", "content": "b"}]}, [("system", "a"), ("user", "b")]),
        ({"text": "a"}, [("user", "a")]),
        ({"text": "a", "board": [1]}, [("user", '{"text": "a", "board": [1]}')]),
        ({}, [("user", "{}")]),
    ],
)
def test_an_observation_is_shown_as_messages(observation, shown):
    assert [(message["role"], message["content"]) for message in messages_of(observation)] == shown


def test_a_session_error_has_a_code_of_openenv():
    assert SessionError("EXECUTION_ERROR", "why").code == "EXECUTION_ERROR"
