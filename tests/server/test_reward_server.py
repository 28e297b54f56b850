"""The reward server: right scores in every dialect, and nothing a client sends or does costs anybody else an answer."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="the extra r1env[server] is not installed")
pytest.importorskip("prometheus_client", reason="the extra r1env[server] is not installed")
pytest.importorskip("httpx", reason="FastAPI's test client needs httpx")

import httpx
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import r1env
from r1env.adapters import verl
from r1env.adapters.openrlhf import label_of
from r1env.cli.main import make_app as make_cli
from r1env.errors import UsageError
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring.system import descendants
from r1env.server.app import ServerLimits, make_app

TOKEN = "a-token-of-24-characters"


def item(completion, answer="yes", **fields):
    return {"completion": completion, "prompt": "Say yes.", "answer": answer, **fields}


def scores(client, *items):
    answer = client.post("/v1/score", json={"items": list(items)})
    assert answer.status_code == 200, answer.text
    return answer.json()["scores"]


def nemo_request(completion):
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": completion}]}]
    return {"responses_create_params": {"input": "Say yes."}, "answer": "yes", "response": {"output": output}}


# What each route answers.


def test_a_batch_is_scored_in_order_and_a_score_that_is_missing_says_why(client):
    first, second, third = scores(client, item("yes", id="a"), item("no", id=7), item("raise"))
    assert (first["id"], first["value"], first["parts"], first["status"]) == ("a", 1.1, {"exact": 1.0, "words": 1.0}, "ok")
    assert (second["id"], second["value"]) == (7, 0.1)
    assert (third["value"], third["parts"]) == (None, {"exact": None, "words": 1.0})
    assert (third["status"], third["reason"]) == ("error", "exact: RuntimeError: as asked")


def test_text_that_utf8_cannot_hold_goes_in_and_comes_out(client):
    body = json.dumps({"items": [item("\ud800", answer="\ud800"), item("abstain")]})
    answer = client.post("/v1/score", content=body, headers={"Content-Type": "application/json"}).json()["scores"]
    assert answer[0]["parts"]["exact"] == 1.0
    assert answer[1]["reason"].endswith("as asked \ud800")


@pytest.mark.parametrize(("completion", "value", "error"), [("yes", 1.1, 0.0), ("no", 0.1, 0.0), ("abstain", -0.5, 1.0)])
def test_every_dialect_answers_with_the_number_that_was_asked_for_where_there_is_no_score(client, completion, value, error):
    asked = {"query": [f"Say yes.{completion}</s>"], "prompts": ["Say yes."], "labels": ["yes"]}
    told = client.post("/get_reward", json=asked).json()
    assert told["rewards"] == pytest.approx(value, abs=2e-4)
    assert told["extra_logs"]["error"] == error
    sample = {"prompt": "Say yes.", "response": completion, "label": "yes"}
    assert client.post("/slime", json=sample).json() == value
    assert client.post("/slime?parts=true", json=sample).json()["error"] == error
    told = client.post("/verl", json={"solution_str": completion, "ground_truth": "yes", "data_source": "d"}).json()
    assert (told["score"], told["error"]) == (value, error)
    told = client.post("/verify", json=nemo_request(completion)).json()
    assert told["mask_sample"] is bool(error)
    assert told["reward"] == (0.0 if error else value)
    assert bool(told["failure_kind"]) is bool(error)
    assert told["responses_create_params"] == {"input": "Say yes."}


def test_openrlhf_may_send_no_query_or_several(client):
    assert client.post("/get_reward", json={"query": [], "prompts": [], "labels": []}).json()["rewards"] == []
    task = r1env.Task(id="1", prompt="Say no.", answer="no")
    asked = {"query": ["Say yes.yes", "Say no.no"], "prompts": ["Say yes.", "Say no."], "labels": ["yes", label_of(task)]}
    assert client.post("/get_reward", json=asked).json()["extra_logs"]["exact"] == [1.0, 1.0]
    assert client.post("/get_reward", json={**asked, "labels": []}).status_code == 422


def test_nemo_gym_seeds_a_session_and_a_response_may_have_tool_calls(client):
    request = nemo_request("yes")
    assert client.post("/seed_session", json=request).json() == {}
    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"at": 1}'}
    request["response"]["output"][:0] = [call, {"type": "function_call_output", "call_id": "1", "output": "a door"}]
    assert client.post("/verify", json=request).json()["reward"] == 1.1
    assert client.post("/verify", json={"response": {"output": []}}).json()["mask_sample"] is True


def test_a_reward_for_groups_sees_the_items_of_a_task_together_and_has_no_route_of_single_samples(pool):
    @r1env.reward(name="rank", scope="group")
    def rank(completions: list[str]) -> list[float]:
        return [float(sorted(completions).index(completion)) for completion in completions]

    with TestClient(make_app(Rubric("rank", [WeightedReward(rank)]), pool=pool)) as client:
        found = scores(client, *(item(text, id="t") for text in ("b", "c", "a")))
        assert [score["value"] for score in found] == [1.0, 2.0, 0.0]
        answer = client.post("/slime", json={"prompt": "p", "response": "r"})
        assert (answer.status_code, "/v1/score" in answer.json()["detail"]) == (409, True)


def test_health_rubric_and_metrics(client):
    assert client.get("/healthz").json()["rubric"] == "pair"
    assert client.get("/v1/rubric").json()["part_keys"] == ["exact", "words"]
    scores(client, item("yes"), item("abstain"))
    lines = client.get("/metrics").text.splitlines()
    assert any(line.startswith('r1env_items_total{route="score",status="unparseable"}') for line in lines)
    assert "r1env_queued_items 0.0" in lines


# What it refuses.


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)).map(
        lambda value: json.dumps(value).encode()
    )
)
@settings(max_examples=20)
def test_no_body_is_a_fault_of_the_server(client, body):
    for route in ("/v1/score", "/get_reward", "/slime", "/verl", "/seed_session", "/verify"):
        answer = client.post(route, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 400, 422), (route, answer.text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[" * 100_000, 400),
        ('{"items": ' + "1" * 5000 + "}", 400),
        ('{"items": [{"completion": 3}]}', 422),
        ('{"items": [{"completion": "x", "reference": "y"}]}', 422),
        ('{"items": [{"completion": "x", "prompt": [{"role": "user"}]}]}', 200),
        ('{"items": [{"completion": "x", "metadata": {"deep": ' + "[" * 400 + "]" * 400 + "}}]}", 200),
        ("", 422),
    ],
)
def test_a_body_that_is_no_batch_is_refused_with_the_reason(client, body, status):
    answer = client.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["detail"]


def test_a_body_that_is_too_long_is_refused_whether_or_not_it_says_so(client):
    long = b'{"items": [], "x": "' + b"x" * (1 << 20) + b'"}'
    assert client.post("/v1/score", content=long).status_code == 413
    assert client.post("/v1/score", content=iter([long[:1000], long[1000:]])).status_code == 413
    answer = client.post("/v1/score", json={"items": [item("yes")] * 65})
    assert (answer.status_code, answer.json()["detail"]) == (413, "65 items in one request; at most 64 are taken")


def test_more_work_than_the_queue_takes_is_refused_and_what_was_taken_is_answered(client):
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(scores, client, *(item(f"sleep {0.5 + n / 100}") for n in range(2)), *[item("yes")] * 58)
        time.sleep(0.2)
        second = client.post("/v1/score", json={"items": [item("yes")] * 50})
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert len(scores(client, *[item("yes")] * 10)) == 10
        assert [score["value"] for score in first.result()[2:]] == [1.1] * 58


@pytest.mark.parametrize("given_", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é" * 24])
def test_a_token_cannot_be_done_without_and_no_part_of_it_is_enough(pool, rubric, given_, caplog):
    client = TestClient(make_app(rubric, token=TOKEN, pool=pool))
    for path in ("/v1/score", "/verify", f"/token/{TOKEN[:-1]}/verify"):
        answer = client.post(path, json={}, headers={"Authorization": f"Bearer {given_}".encode()})
        assert (answer.status_code, TOKEN in answer.text) == (401, False)
    assert client.get("/metrics").status_code == 401
    assert client.get("/docs").status_code == 401
    assert client.get("/healthz").status_code == 200
    assert "without the right token" in caplog.text
    assert TOKEN[:-1] not in caplog.text


def test_the_right_token_may_be_a_header_or_the_beginning_of_the_path(pool, rubric):
    client = TestClient(make_app(rubric, token=TOKEN, pool=pool))
    sample = {"prompt": "Say yes.", "response": "yes", "label": "yes"}
    assert client.post("/slime", json=sample, headers={"Authorization": f"Bearer {TOKEN}"}).json() == 1.1
    assert client.post(f"/token/{TOKEN}/slime", json=sample).json() == 1.1


def test_a_token_that_can_be_guessed_and_a_missing_score_that_is_no_number_are_refused_at_the_start(rubric):
    with pytest.raises(UsageError, match="at least 16"):
        make_app(rubric, token="secret")
    with pytest.raises(UsageError, match="finite"):
        make_app(rubric, unscored=float("nan"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "a token is required"),
        (["--rubric", "nothing-of-this-name"], "unknown rubric or reward"),
        (["--token-file", "/nowhere/token"], "cannot read the token"),
    ],
)
def test_the_command_refuses_what_cannot_be_served(arguments, said, monkeypatch):
    monkeypatch.delenv("R1ENV_SERVER_TOKEN", raising=False)
    result = CliRunner().invoke(make_cli(r1env.installed()), ["serve", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_completions_are_logged_only_where_that_was_asked_for(pool, rubric, caplog):
    for asked in (False, True):
        caplog.clear()
        with caplog.at_level(logging.INFO), TestClient(make_app(rubric, pool=pool, log_completions=asked)) as client:
            scores(client, item("a secret answer"))
        assert ("a secret answer" in caplog.text) is asked
        assert "score: 1 items" in caplog.text


# What clients and machines do to it.


def test_a_client_that_is_slow_with_its_body_is_sent_away_and_holds_up_nobody(pool, rubric, listening):
    url = listening(make_app(rubric, pool=pool, limits=ServerLimits(body_seconds=0.5, threads=1)))
    host, _, port = url.removeprefix("http://").partition(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for connection in slow:
        connection.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert httpx.post(f"{url}/v1/score", json={"items": [item("yes")]}).json()["scores"][0]["value"] == 1.1
    answers = [connection.recv(1000) for connection in slow]
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
    for connection in slow:
        connection.close()


def test_a_client_that_hangs_up_costs_nobody_an_answer(pool, rubric, listening):
    url = listening(make_app(rubric, pool=pool))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/score", json={"items": [item("sleep 0.4")]}, timeout=0.1)
    assert httpx.post(f"{url}/v1/score", json={"items": [item("yes")]}).json()["scores"][0]["value"] == 1.1


@pytest.mark.slow
def test_under_load_with_workers_being_killed_every_answer_arrives_and_is_right(pool, rubric, listening):
    url = listening(make_app(rubric, pool=pool))
    over = threading.Event()
    killed = []

    def kill() -> None:
        while len(killed) < 5 and not over.wait(0.5):
            if workers := list(descendants(os.getpid())):
                os.kill(workers[-1], signal.SIGKILL)
                killed.append(workers[-1])

    def ask(number: int) -> list[float | None]:
        items = [item(f"answer {number} {place}", answer=f"answer {number} {place % 60}") for place in range(64)]
        answer = httpx.post(f"{url}/v1/score", json={"items": items}, timeout=120)
        assert answer.status_code == 200
        return [score["parts"]["exact"] for score in answer.json()["scores"]]

    killer = threading.Thread(target=kill)
    killer.start()
    found = []
    try:
        with ThreadPoolExecutor(8) as threads:
            while killer.is_alive():
                found += threads.map(ask, range(16))
    finally:
        over.set()
        killer.join()
    assert len(killed) == 5
    assert all(parts == [1.0] * 60 + [0.0] * 4 for parts in found)


@pytest.mark.slow
def test_on_sigterm_whatever_has_arrived_is_answered_and_the_program_ends_well(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time, r1env\n"
        "@r1env.reward(isolation='process', limits=r1env.Limits(wall_seconds=60))\n"
        "def slow(completion: str) -> float:\n"
        "    time.sleep(1.5)\n"
        "    return float(completion)\n"
    )
    command = [sys.executable, "-m", "r1env", "serve", "--rubric", "slow.py:slow", "--port", "0", "--workers", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as program:
        lines = iter(program.stderr)
        url = next(word for line in lines if "running on" in line for word in line.split() if word.startswith("http"))
        with httpx.Client(timeout=60) as http, ThreadPoolExecutor(8) as threads:
            asked = [
                threads.submit(http.post, f"{url}/slime", json={"prompt": "p", "response": str(number)}) for number in range(8)
            ]
            while "r1env_queued_items 8.0" not in http.get(f"{url}/metrics").text:
                time.sleep(0.05)
            program.send_signal(signal.SIGTERM)
            assert [future.result().json() for future in asked] == list(range(8))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")
        program.stderr.close()
        assert program.wait(20) == 0


@pytest.mark.slow
def test_the_server_keeps_to_its_own_openapi_description(client):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    schema = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
        def answers_as_described(case):
            case.call_and_validate(checks=[not_a_server_error, status_code_conformance, response_schema_conformance])

        answers_as_described()
        tried.add(operation.path)
    assert {"/v1/score", "/get_reward", "/slime", "/verl", "/verify", "/healthz"} <= tried


# verl's own side: a compute_score that asks the server.


def test_verl_scores_on_a_server_as_it_does_at_home(pool, rubric, listening):
    url = listening(make_app(rubric, pool=pool, token=TOKEN))
    at_home = verl.reward_function(rubric)
    for solution in ("yes", "no", "abstain"):
        item_ = {"data_source": "d", "solution_str": solution, "ground_truth": "yes", "extra_info": {"index": 3}}
        assert verl.remote_compute_score(**item_, url=f"{url}/token/{TOKEN}") == at_home(**item_)


def test_a_server_that_is_away_is_an_error_at_first_and_a_missing_score_later(pool, rubric, listening):
    nowhere = socket.create_server(("127.0.0.1", 0))
    port = nowhere.getsockname()[1]
    nowhere.close()
    with pytest.raises(UsageError, match="cannot be reached"):
        verl.remote_compute_score("d", "yes", "yes", url=f"http://127.0.0.1:{port}", timeout=0.3)
    url = listening(make_app(rubric, pool=pool))
    remote = verl._remote(url, 0.3)
    remote._url = f"http://127.0.0.1:{port}"  # it was there, and has gone
    told = verl.remote_compute_score("d", "yes", "yes", url=url, timeout=0.3, unscored=-1.0)
    assert told == {"score": -1.0, "acc": 0.0, "error": 1.0, "exact": -1.0, "words": -1.0}
