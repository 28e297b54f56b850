"""A judge's server may fail, stall, talk nonsense or flood: a rollout then has no value, and a status that says why."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from chat_stub import drips, fails, resets, says, sends, serving, slowly, stalls, verdict

import r1env
from r1env_judge.server import Server, ServerSettings
from r1env_openai import RequestError

TASK = r1env.Task(id="t", prompt="What is 6 times 7?", answer="42")


def judge_of(stub, **server):
    settings = {"timeout": 0.3, "deadline": 3.0, "attempts": 2} | server
    return r1env.get_reward("judge", url=stub.url, model="m", server=settings)


def score(reward, completion="<think>6 * 7</think>It is forty-two.", task=TASK):
    return r1env.score([r1env.Rollout(task=task, completion=completion)], reward)[0]


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    """Waits between attempts are tenacity's; here they are short."""
    import tenacity

    from r1env_openai import client

    monkeypatch.setattr(client, "wait_exponential_jitter", lambda **_: tenacity.wait_fixed(0.01))


def test_a_verdict_becomes_the_value():
    with serving(verdict(verdict="correct")) as stub:
        assert (score(judge_of(stub)).value, score(judge_of(stub)).status) == (1.0, "ok")
    with serving(verdict(verdict="incorrect")) as stub:
        found = score(judge_of(stub))
        assert (found.value, found.status, found.reason) == (0.0, "wrong", "incorrect")


UNSCORED = {
    "fails": (fails(500), "error", "status 500"),
    "refuses the key": (fails(401), "error", "status 401"),
    "redirects": (fails(307, Location="http://127.0.0.1:9/"), "error", "status 307"),
    "stalls": (stalls, "timeout", "silent for 0.3 s"),
    "drips": (drips, "timeout", "within 1 s"),
    "resets the connection": (resets, "error", "no answer from the judge's server"),
    "sends no JSON": (sends(b"<html>"), "error", "no completion"),
    "sends another JSON": (sends(b'{"choices": []}'), "error", "no completion"),
    "sends 10 MB": (sends(b'{"x": "' + b"a" * 10_000_000 + b'"}'), "error", "more than 1000000 bytes"),
    "answers nonsense": (says("I cannot decide."), "error", "no verdict, twice: the verdict is no JSON object"),
    "answers with a bare word": (says("correct"), "error", "no verdict, twice"),
    "answers with a verdict of another form": (verdict(verdict="perhaps"), "error", "the form asked for"),
    "answers with fields of its own": (verdict(verdict="correct", score=1), "error", "the form asked for"),
    "answers with a page without end": (says("a" * 100_000), "error", "the verdict has 100000 characters"),
    "answers with a deep nest": (says("[" * 15_000), "error", "no JSON object"),
}


@pytest.mark.parametrize(("behaviour", "status", "reason"), UNSCORED.values(), ids=UNSCORED)
def test_a_server_that_misbehaves_leaves_no_value(behaviour, status, reason):
    with serving(behaviour) as stub:
        start = time.monotonic()
        found = score(judge_of(stub, deadline=1.0))
        assert time.monotonic() - start < 8
    assert (found.value, found.status) == (None, status)
    assert reason in found.reason


def test_nobody_listening_leaves_no_value():
    with serving(stalls) as stub:
        pass
    assert (score(judge_of(stub)).value, score(judge_of(stub)).status) == (None, "error")


@pytest.mark.parametrize(
    "trouble",
    [fails(500), fails(429), resets, stalls, sends(b"{")],
    ids=["fails", "too many", "resets", "stalls", "half a reply"],
)
def test_what_passes_is_tried_again(trouble):
    with serving(trouble, verdict(verdict="correct")) as stub:
        assert score(judge_of(stub)).value == 1.0
        assert len(stub.requests) == 2


def test_what_does_not_pass_is_not_tried_again():
    with serving(fails(400)) as stub:
        score(judge_of(stub, attempts=5))
        assert len(stub.requests) == 1


def test_nonsense_is_asked_about_once_more_and_only_once():
    with serving(says("hm"), verdict(verdict="correct")) as stub:
        assert score(judge_of(stub)).value == 1.0
        assert [request["seed"] for request in stub.requests] == [0, 1]
    with serving(says("hm")) as stub:
        assert score(judge_of(stub, attempts=5)).value is None
        assert len(stub.requests) == 2


def test_a_server_that_says_when_to_come_back_is_left_alone_until_then():
    with serving(fails(429, Retry_After="1"), verdict(verdict="correct")) as stub:
        start = time.monotonic()
        assert score(judge_of(stub)).value == 1.0
        assert time.monotonic() - start >= 1
    with serving(fails(429, Retry_After="3600")) as stub:
        found = score(judge_of(stub, deadline=0.3))
        assert found.status == "timeout"
        assert "the last attempt: the judge's server answered with status 429" in found.reason


def test_one_stalled_request_costs_only_its_own_rollout():
    def behave(handler):
        (stalls if "slow" in handler.material else verdict(verdict="correct"))(handler)

    rollouts = [r1env.Rollout(task=TASK, completion=f"{kind} {n}") for n in range(6) for kind in ("slow", "quick")]
    with serving(behave) as stub:
        scores = r1env.score(rollouts, judge_of(stub))
    assert [found.value for found in scores] == [None, 1.0] * 6


def test_no_more_requests_are_under_way_than_allowed():
    rollouts = [r1env.Rollout(task=TASK, completion=f"It is {n}.") for n in range(12)]
    with serving(slowly(verdict(verdict="correct"), 0.05)) as stub:
        assert all(found.value == 1.0 for found in r1env.score(rollouts, judge_of(stub, concurrency=3)))
        assert stub.most_at_once == 3


def test_equal_requests_are_sent_once_and_counted_as_cached():
    async def ask_often(url):
        server = Server(ServerSettings(url=url, model="m", price_in=1.0, price_out=10.0))
        messages = [{"role": "user", "content": "?"}]
        answers = [*await asyncio.gather(*(server.ask(messages) for _ in range(5))), await server.ask(messages)]
        other = await server.ask(messages, seed=1)
        await server.close()
        return answers, other, server.usage.report(server.settings)

    with serving(slowly(says("yes"), 0.05)) as stub:
        answers, other, usage = asyncio.run(ask_often(stub.url))
        assert len(stub.requests) == 2
    assert {*answers, other} == {"yes"}
    assert (usage["requests"], usage["cached"], usage["prompt_tokens"], usage["completion_tokens"]) == (2, 5, 200, 20)
    assert usage["dollars"] == pytest.approx((200 * 1 + 20 * 10) / 1e6)


def test_a_failure_is_not_remembered():
    async def ask_twice(url):
        server = Server(ServerSettings(url=url, model="m", attempts=1))
        with pytest.raises(RequestError):
            await server.ask([])
        answer = await server.ask([])
        await server.close()
        return answer

    with serving(fails(500), says("yes")) as stub:
        assert asyncio.run(ask_twice(stub.url)) == "yes"


def test_one_who_gives_up_does_not_take_the_answer_from_the_others():
    async def ask(url):
        server = Server(ServerSettings(url=url, model="m"))
        impatient, patient = (asyncio.create_task(server.ask([])) for _ in range(2))
        await asyncio.sleep(0.05)
        impatient.cancel()
        answer = await patient
        await server.close()
        return answer

    with serving(slowly(says("yes"), 0.2)) as stub:
        assert asyncio.run(ask(stub.url)) == "yes"


def test_the_key_goes_to_the_server_and_nowhere_else(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_JUDGE", "sk-secret")
    with serving(verdict(verdict="correct"), fails(401)) as stub:
        reward = r1env.get_reward("judge", url=stub.url, model="m", api_key_env="MY_JUDGE")
        assert score(reward).value == 1.0
        refused = score(reward, "another")
        assert stub.headers[0]["Authorization"] == "Bearer sk-secret"
    told = (
        json.dumps(r1env.Rubric("r", [r1env.WeightedReward(reward)]).describe()) + refused.reason + repr(reward) + caplog.text
    )
    assert "MY_JUDGE" in told
    assert "sk-secret" not in told


def test_a_key_that_is_not_set_is_said_by_its_name(monkeypatch):
    monkeypatch.delenv("MY_JUDGE", raising=False)
    with serving(verdict(verdict="correct")) as stub:
        found = score(r1env.get_reward("judge", url=stub.url, model="m", api_key_env="MY_JUDGE"))
        assert stub.requests == []
    assert found.value is None
    assert "MY_JUDGE" in found.reason


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "ftp://x"},
        {"url": "http://me:secret@x/v1"},
        {"url": "http://x", "api_key_env": "sk-1234"},
        {"url": "http://x", "server": {"retries": 1}},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused_by_name(options):
    with pytest.raises(r1env.UsageError, match="reward 'judge'"):
        r1env.get_reward("judge").function(**{"model": "m", **options})
