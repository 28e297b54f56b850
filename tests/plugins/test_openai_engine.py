"""The engine `openai` against a real HTTP server: nothing is lost or doubled, whatever the server does; and what the server said is kept."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime

import pytest
from chat_stub import drips, fails, resets, says, sends, serving, slowly, stalls
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.engines import SamplingParams
from r1env.envs.conversation import ToolEnv, parse_tool_calls
from r1env.errors import EngineError, UsageError
from r1env.rollout import play
from r1env_openai.client import retry_after
from r1env_openai.engine import cut_at_stop, make_openai

PROMPTS = [({"role": "user", "content": f"question {n}"},) for n in range(6)]


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    import tenacity

    from r1env_openai import client

    monkeypatch.setattr(client, "wait_exponential_jitter", lambda **_: tenacity.wait_fixed(0.01))


@pytest.fixture
def engine_of():
    engines = []

    def make(stub, **options):
        engines.append(make_openai("m", **({"url": stub.url, "timeout": 0.5, "deadline": 5.0} | options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
        engine.close()


def echoes(handler):
    """Say which question and which seed was answered."""
    question = handler.asked["messages"][-1]["content"]
    says(f"{question} under {handler.asked['seed']}")(handler)


def answers(**message):
    """Answer with a message of this form; `finish_reason` and `logprobs` belong to the choice."""
    choice = {key: message.pop(key) for key in ("finish_reason", "logprobs") if key in message}
    body = {"choices": [{"message": {"role": "assistant", "content": None, **message}, **choice}]}
    return sends(json.dumps(body).encode())


@pytest.mark.parametrize("foreign", [{"top_k": 20}, {"min_p": 0.1}, {"repetition_penalty": 1.1}, {"ignore_eos": True}])
def test_parameters_that_the_api_does_not_have_are_refused_and_the_way_out_is_named(engine_of, foreign):
    ((name, value),) = foreign.items()
    with serving(echoes) as stub:
        with pytest.raises(UsageError, match=f"does not send {name}={value}.* extra_body.{name}={value}"):
            engine_of(stub).generate(PROMPTS, SamplingParams(**foreign))
        assert not stub.requests


def test_completions_come_in_the_order_of_the_prompts_each_from_a_request_of_its_own(engine_of):
    with serving(slowly(echoes, 0.01)) as stub:
        engine = engine_of(stub)
        found = engine.generate(PROMPTS, SamplingParams(n=3, temperature=0.6, top_p=0.9, max_new_tokens=7, seed=5))
        again = engine.generate(PROMPTS, SamplingParams(n=3, temperature=0.6, top_p=0.9, max_new_tokens=7, seed=5))
    assert [len(group) for group in found] == [3] * 6
    for n, group in enumerate(found):
        assert all(one.text.startswith(f"question {n} under ") and one.finish_reason == "stop" for one in group)
    texts = [one.text for group in found for one in group]
    assert len(set(texts)) == len(texts)  # every sample has a seed of its own
    assert [[one.text for one in group] for group in again] == [[one.text for one in group] for group in found]
    asked = stub.requests[0]
    assert (asked["model"], asked["max_tokens"], asked["temperature"], asked["top_p"]) == ("m", 7, 0.6, 0.9)
    assert len(stub.requests) == 36
    assert engine.client.usage.completion_tokens == 360


TROUBLES = [fails(500), fails(429), fails(503, Retry_After="0"), resets, stalls, sends(b"{"), sends(b'{"choices": []}'), drips]


def test_whatever_passes_is_tried_again_and_nothing_is_lost_or_doubled(engine_of):
    troubles = iter(TROUBLES)
    lock = threading.Lock()
    served = []

    def behave(handler):
        with lock:
            trouble = next(troubles, None)
        if trouble is not None:
            trouble(handler)
        else:
            served.append(handler.asked["seed"])
            echoes(handler)

    with serving(behave) as stub:
        engine = engine_of(stub, concurrency=4, attempts=6, deadline=2.0)
        found = engine.generate(PROMPTS, SamplingParams(n=4))
    # `drips` is never silent and never done: only the deadline ends it, and that completion alone is given up.
    texts = [one.text for group in found for one in group if one.finish_reason != "error"]
    assert len(texts) == 23
    assert len(set(served)) == len(served) == 23
    assert engine.client.usage.failures == 1
    assert engine.client.usage.retries == len(TROUBLES) - 1


def test_a_completion_that_cannot_be_had_is_an_error_and_has_no_score(engine_of, caplog):
    def behave(handler):
        (fails(400) if "question 2" in handler.asked["messages"][-1]["content"] else says("4"))(handler)

    tasks = [r1env.Task(id=str(n), prompt=prompt, answer="4") for n, prompt in enumerate(PROMPTS)]
    environment = r1env.make_environment("add-1digit", rubric="accuracy", template="plain")
    with serving(behave) as stub, caplog.at_level(logging.WARNING):
        played = play([(environment, task) for task in tasks], engine_of(stub), SamplingParams())
    scores = r1env.score([one.episode.rollout() for one in played], environment.rubric)
    assert [score.value is None for score in scores] == [False, False, True, False, False, False]
    assert "1 of 6 completions failed and have no score" in caplog.text
    assert "status 400" in caplog.text


@pytest.mark.parametrize("status", [401, 403, 404, 307])
def test_what_no_request_would_escape_ends_the_call_at_once(engine_of, status):
    with serving(fails(status, Location="http://127.0.0.1:9/")) as stub:
        engine = engine_of(stub, concurrency=1)
        with pytest.raises(EngineError, match=f"answered with status {status}"):
            engine.generate(PROMPTS, SamplingParams(n=50))
        assert len(stub.requests) == 1


def test_a_server_that_is_gone_is_given_up_after_some_failures(engine_of):
    with serving(stalls) as stub:
        pass
    start = time.monotonic()
    with pytest.raises(EngineError, match="no answer from the server"):
        engine_of(stub, give_up_after=3, attempts=2).generate(PROMPTS, SamplingParams(n=1000))
    assert time.monotonic() - start < 10


def test_a_flood_is_not_read_to_its_end(engine_of):
    with serving(sends(b'{"x": "' + b"a" * 3_000_000)) as stub, pytest.raises(EngineError, match="more than 1000000 bytes"):
        engine_of(stub, max_response_bytes=1_000_000, give_up_after=1).generate(PROMPTS[:1], SamplingParams())


def test_requests_keep_to_the_rate_and_the_concurrency(engine_of):
    with serving(slowly(says("x"), 0.02)) as stub:
        start = time.monotonic()
        engine_of(stub, requests_per_minute=1200, concurrency=2).generate(PROMPTS, SamplingParams(n=3))
        assert time.monotonic() - start >= 17 * 0.05 * 0.9
        assert stub.most_at_once <= 2


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_that_the_server_keeps_apart_is_put_back_or_dropped(engine_of, field):
    with serving(answers(content="42", **{field: "6 * 7"})) as stub:
        [[kept]] = engine_of(stub).generate(PROMPTS[:1], SamplingParams())
        [[dropped]] = engine_of(stub, thinking="drop").generate(PROMPTS[:1], SamplingParams())
    assert kept.text == "<think>6 * 7</think>42"
    assert dropped.text == "42"


def test_a_completion_that_was_cut_off_says_so_and_log_probs_are_kept(engine_of):
    logprobs = {"content": [{"token": "4", "logprob": -0.5}, {"token": "2", "logprob": -0.25}]}
    with serving(answers(content="42", finish_reason="length", logprobs=logprobs)) as stub:
        [[one]] = engine_of(stub, logprobs=True).generate(PROMPTS[:1], SamplingParams())
        assert stub.requests[0]["logprobs"] is True
    assert (one.finish_reason, one.logprobs) == ("length", (-0.5, -0.25))


def test_a_stop_text_ends_the_completion_and_is_kept(engine_of):
    with serving(answers(content="<answer>4</answer> And then", finish_reason="length")) as stub:
        [[one]] = engine_of(stub).generate(PROMPTS[:1], SamplingParams(stop=("</answer>",)))
        assert "stop" not in stub.requests[0]
    assert (one.text, one.finish_reason) == ("<answer>4</answer>", "stop")


@given(st.text("ab.", max_size=12), st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3))
def test_cutting_at_a_stop_text_keeps_the_shortest_beginning_that_has_one(text, stop):
    cut = cut_at_stop(text, stop)
    assert text.startswith(cut)
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(word) for word in stop)]
    assert cut == (text[: ends[0]] if ends else text)


def test_plain_text_goes_to_the_completions_endpoint(engine_of):
    with serving(sends(b'{"choices": [{"text": " 4", "finish_reason": "stop"}]}')) as stub:
        [[one]] = engine_of(stub, token_limit="max_completion_tokens").generate(PROMPTS[:1], SamplingParams(chat=False))
        assert (stub.requests[0]["prompt"], stub.requests[0]["max_tokens"]) == ("question 0", 512)
    assert one.text == " 4"


def test_tools_go_to_the_server_and_calls_come_back(engine_of):
    def add(a: int, b: int) -> int:
        """Add two whole numbers."""
        return a + b

    def behave(handler):
        last = handler.asked["messages"][-1]
        if last["role"] == "tool":
            says(f"It is {last['content']}.")(handler)
        else:
            call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
            answers(tool_calls=[call], finish_reason="tool_calls")(handler)

    plain = r1env.make_environment("add-1digit", rubric="accuracy", template="plain")
    environment = dataclasses.replace(plain, other=lambda: ToolEnv([add]), max_turns=3)
    with serving(behave) as stub:
        [one] = play([(environment, r1env.Task(id="t", prompt="2 + 3?", answer="5"))], engine_of(stub), SamplingParams())
    rollout = one.episode.rollout()
    assert rollout.completion == "It is 5."
    assert [message["role"] for message in rollout.messages] == ["user", "assistant", "tool", "assistant"]
    assert stub.requests[0]["tools"][0]["function"]["name"] == "add"
    told = stub.requests[1]["messages"]
    assert told[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 2, "b": 3}'}
    assert told[1]["content"] == ""
    assert told[2]["tool_call_id"] == told[1]["tool_calls"][0]["id"]


def test_a_call_whose_arguments_are_no_json_is_kept_for_the_environment_to_refuse(engine_of):
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": '}}
    with serving(answers(content="Let me see. ", tool_calls=[call])) as stub:
        [[one]] = engine_of(stub).generate(PROMPTS[:1], SamplingParams())
    [read] = parse_tool_calls(one.text)
    assert (read["function"]["name"], read["function"]["error"]) == ("add", "arguments is no JSON object")


@pytest.mark.parametrize(
    ("options", "says_what"),
    [
        ({}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://x", "retries": 3}, "retries"),
        ({"url": "http://x", "api_key_env": "NOT_SET_HERE"}, "NOT_SET_HERE"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(options, says_what):
    with pytest.raises(UsageError, match=says_what):
        make_openai("m", **options)


def test_ctrl_c_leaves_no_request_running(engine_of):
    with serving(slowly(says("x"), 0.3)) as stub:
        engine = engine_of(stub, concurrency=2)
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            engine.generate(PROMPTS, SamplingParams(n=100))
        time.sleep(0.7)
        asked = len(stub.requests)
        time.sleep(0.5)
        assert len(stub.requests) == asked < 20


def test_a_retry_after_is_a_number_or_a_date():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("7", now) == 7
    assert retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    assert retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0
    assert retry_after("soon", now) is None
    assert retry_after("-1", now) is None
    assert retry_after(None, now) is None
    assert retry_after("9" * 1000, now) < 1e9
