"""An environment as a resources server of NeMo Gym: sessions by cookie, tools by route, and a verdict at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("fastapi", reason="the extra r1env[server] is not installed")
pytest.importorskip("prometheus_client", reason="the extra r1env[server] is not installed")

from fastapi.testclient import TestClient

import r1env
from r1env.envs.conversation import ToolEnv
from r1env.errors import UsageError
from r1env.server.app import make_app
from r1env.server.nemo_gym import OVER, rows


class Shop(ToolEnv):
    def __init__(self):
        super().__init__([self.price])

    def price(self, item: str) -> int:
        """Return the price of an item."""
        return {"pear": 3}[item]


@pytest.fixture(scope="module")
def shop():
    return replace(r1env.make_environment("add-1digit"), name="shop", other=Shop, max_turns=6)


def said(text, *calls):
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {"output": [*calls, message]}


def test_tools_are_routes_and_the_last_words_are_the_answer(shop, pool):
    (row,) = rows(shop, 1)
    assert row["responses_create_params"]["tools"][0]["name"] == "price"
    with TestClient(make_app(shop.rubric, environment=shop, pool=pool)) as client:
        assert client.post("/seed_session", json=row).json() == {}
        assert client.post("/price", json={"item": "pear"}).text == "3"
        assert "KeyError" in client.post("/price", json={"item": "car"}).text
        told = client.post("/verify", json={**row, "response": said(f"<answer>{shop.task(0).answer}</answer>")}).json()
        assert (told["reward"], told["mask_sample"], told["response"]["output"][0]["type"]) == (1.0, False, "message")
        again = client.post("/verify", json={**row, "response": said("x")}).json()
        assert (again["mask_sample"], again["failure_kind"]) == (True, "session_lost")


def test_two_sessions_do_not_see_each_other_and_a_dialogue_has_the_tool_say(pool):
    game = r1env.make_environment("guess-number")
    app = make_app(game.rubric, environment=game, pool=pool)
    seeds = list(rows(game, 2))
    with TestClient(app) as first, TestClient(app) as second:
        first.post("/seed_session", json=seeds[0])
        second.post("/seed_session", json=seeds[1])
        assert first.post("/say", json={"text": "<think>a</think><answer>-1</answer>"}).text != OVER
        assert first.post("/say", json={"text": f"<think>a</think><answer>{game.task(0).answer}</answer>"}).text == OVER
        assert first.post("/verify", json={**seeds[0], "response": said("done")}).json()["reward"] == 1.0
        assert second.post("/verify", json={**seeds[1], "response": said("no idea")}).json()["reward"] == 0.0
        assert second.post("/say", json={"text": "1"}).status_code == 404


def test_what_is_no_row_or_no_response_is_said(shop, pool):
    (row,) = rows(shop, 1)
    with TestClient(make_app(shop.rubric, environment=shop, pool=pool)) as client:
        assert client.post("/seed_session", json={"prompt": "x"}).status_code == 422
        client.post("/seed_session", json=row)
        assert client.post("/verify", json=row).json()["mask_sample"] is True


def test_a_tool_with_the_name_of_a_route_is_refused(shop):
    class Taken(ToolEnv):
        def __init__(self):
            super().__init__([self.verify])

        def verify(self) -> int:
            """Return nothing."""
            return 1

    with pytest.raises(UsageError, match="name of a route"):
        make_app(shop.rubric, environment=replace(shop, other=Taken))
