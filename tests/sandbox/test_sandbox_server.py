"""The HTTP server speaks as SandboxFusion, Piston and open-r1's routers do, and `/judge` is a row of `r1env-sandbox judge`."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra r1env-sandbox[server] is not installed")
pytest.importorskip("httpx", reason="FastAPI's test client needs httpx")

import httpx
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox.errors import SandboxBusy
from r1env_sandbox.models import JudgeResult, Verdict
from r1env_sandbox.server import extract_code, make_app

pytestmark = pytest.mark.docker


@pytest.fixture
def client(spawning):
    return TestClient(make_app(spawning))


def run_code(client, **request):
    answer = client.post("/run_code", json={"language": "python", **request})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_program_runs_as_sandbox_fusion_runs_it(client):
    answer = run_code(client, code="print(input() * 2000)", stdin="ab", compile_timeout=5, run_timeout=5, memory_limit_MB=-1)
    assert answer["status"] == "Success"
    assert answer["run_result"]["status"] == "Finished"
    assert answer["run_result"]["return_code"] == 0
    assert answer["run_result"]["stdout"] == "ab" * 2000 + "\n"
    assert answer["run_result"]["execution_time"] > 0


@pytest.mark.parametrize(
    ("code", "status", "return_code"),
    [
        ("raise SystemExit(3)", "Finished", 3),
        ("import os; os.kill(os.getpid(), 11)", "Finished", -11),
        ("while True: pass", "TimeLimitExceeded", None),
    ],
)
def test_failures_have_sandbox_fusions_words(client, code, status, return_code):
    answer = run_code(client, code=code, run_timeout=1)
    assert (answer["status"], answer["run_result"]["status"]) == ("Failed", status)
    assert return_code is None or answer["run_result"]["return_code"] == return_code


def test_a_compiler_error_is_a_compile_result(client):
    answer = run_code(client, code="int main( {", language="cpp")
    assert (answer["status"], answer["compile_result"]["status"], answer["run_result"]) == ("Failed", "Error", None)
    assert "error" in answer["compile_result"]["stderr"]


def test_files_go_in_and_come_out_as_base64(client):
    code = "open('out.txt', 'w').write(open('in.txt').read().upper())"
    answer = run_code(client, code=code, files={"in.txt": base64.b64encode(b"abc").decode()}, fetch_files=["out.txt"])
    assert base64.b64decode(answer["files"]["out.txt"]) == b"ABC"


@pytest.mark.parametrize(
    "request_", [{"code": "", "language": "cobol"}, {"code": "", "files": {"../x": ""}}, {"code": "", "files": {"x": "?"}}]
)
def test_what_cannot_be_run_is_the_clients_fault(client, request_):
    assert client.post("/run_code", json={"language": "python", **request_}).status_code == 422


def test_judge_takes_all_tests_at_once(client):
    tests = [{"kind": "stdio", "stdin": "1", "expected": "2"}, {"kind": "call", "function": "f", "args": [1], "expected": 3}]
    source = "def f(x): return x + 2\nif __name__ == '__main__': print(int(input()) + 1)"
    answer = client.post("/judge", json={"id": 7, "language": "python", "source": source, "tests": tests}).json()
    assert (answer["id"], answer["status"], answer["score"]) == (7, "accepted", 1.0)
    assert client.post("/judge", json={"language": "python", "source": ""}).status_code == 422


def submit(client, completion, tests, **config):
    row = {
        "id": 3,
        "content": "",
        "test": [{"input": {"stdin": given}, "output": {"stdout": wanted}} for given, wanted in tests],
    }
    request = {"dataset": "mine", "id": 3, "completion": completion}
    return client.post(
        "/submit", json={**request, "config": {"dataset_type": "CommonOJDataset", "provided_data": row, **config}}
    )


PLUS_ONE = "Sure:\n```python\nprint(int(input()) + 1)\n```\nThat is it."


def test_submit_judges_a_completion_by_the_tests_that_come_with_it(client):
    answer = submit(client, PLUS_ONE, [("1\n", "2"), ("41", "42.000001\n")]).json()
    assert (answer["id"], answer["accepted"], answer["extracted_type"]) == (3, True, "fenced")
    assert answer["extracted_code"] == "print(int(input()) + 1)"
    assert [test["passed"] for test in answer["tests"]] == [True, True]
    assert answer["tests"][0]["exec_info"]["run_result"]["stdout"] == "2\n"


def test_submit_stops_at_the_first_failure_unless_all_are_asked_for(client):
    tests = [("1", "2"), ("1", "3"), ("2", "3")]
    assert [test["passed"] for test in submit(client, PLUS_ONE, tests).json()["tests"]] == [True, False]
    answer = submit(client, PLUS_ONE, tests, extra={"run_all_cases": True}).json()
    assert ([test["passed"] for test in answer["tests"]], answer["accepted"]) == ([True, False, True], False)


@pytest.mark.parametrize(
    "completion",
    [
        "```python\nimport os; os._exit(0)\n```",
        "```python\nprint(2)\nraise SystemExit(1)\n```",
        "```cpp\nint main(){}\n```",
        "",
        "prose",
    ],
)
def test_submit_accepts_nothing_that_did_not_print_what_was_expected(client, completion):
    answer = submit(client, completion, [("1", "2")]).json()
    assert not answer["accepted"]
    assert not any(test["passed"] for test in answer["tests"])


def test_submit_compiles_where_the_language_wants_it_and_says_what_the_compiler_said(client):
    good = "```cpp\n#include <iostream>\nint main() { int a; std::cin >> a; std::cout << a + 1; }\n```"
    assert submit(client, good, [("1", "2"), ("2", "3")], language="cpp").json()["accepted"]
    answer = submit(client, "```cpp\nint main( {\n```", [("1", "2")], language="cpp").json()
    assert not answer["accepted"]
    assert "error" in answer["tests"][0]["exec_info"]["compile_result"]["stderr"]


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"provided_data": None}, "send its tests"),
        ({"provided_data": {"id": 3, "test": []}}, "no tests"),
        ({"provided_data": [{"id": 4, "test": [{"output": {"stdout": "1"}}]}]}, "no tests for this id"),
        ({"provided_data": {"test": [{"output": {"out.txt": "1"}}]}}, "out.txt"),
        ({"provided_data": {"test": [{"input": {}, "output": {}}]}}, "without output.stdout"),
        ({"provided_data": {"test": "[{"}}, "provided_data.test"),
        ({"dataset_type": "HumanEvalDataset"}, "HumanEvalDataset"),
        ({"language": "cobol"}, "cobol"),
    ],
)
def test_submit_refuses_what_it_cannot_judge_rather_than_failing_it(client, config, cause):
    answer = submit(client, PLUS_ONE, [("1", "2")], **config)
    assert answer.status_code == 400
    assert cause in answer.json()["detail"]


@given(st.text(max_size=200))
def test_any_completion_has_a_program_or_none(text):
    code, kind = extract_code(text, "python")
    assert (kind == "empty") == (not code.strip() and not text.strip()) or code in text


@pytest.mark.parametrize(
    ("completion", "code", "kind"),
    [
        ("```py\na\n```\n```\nb\n```", "a", "fenced"),
        ("```python\na\n```\n```python\nb\n```", "b", "fenced"),
        ("```\nb\n```", "b", "fenced"),
        ("~~~python\n```\n~~~", "```", "fenced"),
        ("```python\na", "a", "incomplete_fenced"),
        ("print(1)", "print(1)", "heuristic"),
        (" \n", " \n", "empty"),
    ],
)
def test_the_program_of_a_completion_is_its_last_block_in_the_language(completion, code, kind):
    assert extract_code(completion, "python") == (code, kind)


def execute(client, content, **fields):
    request = {"language": "python", "version": "*", "files": [{"name": "main.py", "content": content}], **fields}
    return client.post("/api/v2/execute", json=request)


def test_piston_lists_what_the_image_has(client):
    runtimes = {runtime["language"]: runtime for runtime in client.get("/api/v2/runtimes").json()}
    assert {"python", "c", "cpp", "bash"} <= set(runtimes)
    assert runtimes["python"]["version"].startswith("3.")
    assert "c++17" in runtimes["cpp"]["aliases"]
    assert client.get("/runtimes").json() == client.get("/api/v2/runtimes").json()


def test_a_program_runs_as_piston_runs_it(client):
    files = [
        {"content": "print(input(), open('data.txt').read())"},
        {"name": "data.txt", "content": "YWJj", "encoding": "base64"},
    ]
    answer = execute(client, "", files=files, stdin="hello\n", version="3.x").json()
    assert answer["language"] == "python"
    assert "compile" not in answer
    run = answer["run"]
    assert (run["stdout"], run["stderr"], run["output"], run["code"], run["signal"], run["status"]) == (
        "hello abc\n",
        "",
        "hello abc\n",
        0,
        None,
        None,
    )
    assert run["cpu_time"] >= 1
    assert run["memory"] > 1 << 20


@pytest.mark.parametrize(
    ("content", "status", "code", "sent"),
    [
        ("raise SystemExit(3)", "RE", 3, None),
        ("import os; os.kill(os.getpid(), 11)", "SG", None, "SIGSEGV"),
        ("while True: pass", "TO", None, "SIGKILL"),
        ("while True: print('x' * 100000)", "OL", None, "SIGKILL"),
    ],
)
def test_failures_have_pistons_words(client, content, status, code, sent):
    run = execute(client, content, run_timeout=1500).json()["run"]
    assert (run["status"], run["code"], run["signal"]) == (status, code, sent)


def test_a_compiler_error_is_both_of_pistons_stages(client):
    answer = execute(client, "int main( {", language="c++").json()
    assert answer["compile"]["code"] == 1
    assert answer["run"] == answer["compile"]
    assert execute(client, "int main() {}", language="c").json()["compile"]["code"] == 0


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"language": "cobol"}, "cobol"),
        ({"version": "2.7.18"}, "python-2.7.18 runtime is unknown"),
        ({"files": []}, "files"),
        ({"files": [{"content": "?", "encoding": "base64"}]}, "base64"),
        ({"args": ["x"]}, "args"),
        ({"run_timeout": -1}, "run_timeout"),
        ({"files": [{"content": ""}, {"name": "../x", "content": ""}]}, "../x"),
    ],
)
def test_what_piston_cannot_run_is_400_with_a_message(client, fields, cause):
    answer = execute(client, "", **fields)
    assert answer.status_code == 400
    assert cause in answer.json()["message"]


def test_a_batch_of_scripts_says_what_the_last_expressions_are(client):
    scripts = ["x = 6\nx * 7", "print('a')", "1 / 0", "import time\ntime.sleep(30)", "def f(:", "None", "'text'"]
    answers = client.post("/execute_batch", json={"scripts": scripts, "timeout": 3, "request_timeout": 5}).json()
    texts = [answer["execution"] and [result["text"] for result in answer["execution"]["results"]] for answer in answers]
    assert texts == [["42"], [], [], None, [], [], ["'text'"]]
    assert answers[1]["execution"]["logs"]["stdout"] == ["a\n"]
    assert answers[2]["execution"]["error"]["name"] == "ZeroDivisionError"
    assert answers[4]["execution"]["error"]["name"] == "SyntaxError"
    assert "did not end" in answers[3]["exception_str"]
    shell = client.post("/execute_batch", json={"scripts": ["echo hi", "x"], "languages": ["bash", "cobol"]}).json()
    assert shell[0]["execution"]["logs"]["stdout"] == ["hi\n"]
    assert shell[1]["execution"] is None
    assert client.post("/execute_batch", json={"scripts": ["1"], "languages": []}).status_code in (200, 422)


class NoWorkers:
    """A sandbox whose every worker is taken, or lost."""

    workers, mode = 1, "spawn"

    def __init__(self, raising=True):
        self.entered, self.release = threading.Event(), threading.Event()
        self.raising = raising

    def judge(self, *_, **__):
        if self.raising:
            raise SandboxBusy("no worker became free")
        self.entered.set()
        self.release.wait(20)
        return JudgeResult.without_score(Verdict.JUDGE_ERROR, "the engine is away")

    def run(self, *_, **__):
        raise SandboxBusy("no worker became free")


ROW = {"language": "python", "source": "", "tests": [{"kind": "stdio", "expected": ""}]}


def test_what_could_not_be_judged_is_an_error_of_the_server_and_no_failed_test():
    client = TestClient(make_app(NoWorkers()))
    assert client.post("/judge", json=ROW).status_code == 503
    assert submit(client, PLUS_ONE, [("1", "2")]).status_code == 503
    assert client.post("/execute_batch", json={"scripts": ["1"]}).json()[0]["execution"] is None
    assert run_code(client, code="1")["status"] == "SandboxError"
    lost = NoWorkers(raising=False)
    lost.release.set()
    assert submit(TestClient(make_app(lost)), PLUS_ONE, [("1", "2")]).status_code == 503


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "/run_code", 401),
        ({"Authorization": "Bearer wrong"}, "/run_code", 401),
        ({"Authorization": "Bearer let-me-in-please"}, "/run_code", 200),
        ({}, "/token/let-me-in-please/run_code", 200),
        ({}, "/token/wrong/run_code", 401),
        ({}, "/token/wrong/v1/ping", 405),
    ],
)
def test_a_token_is_wanted_in_the_header_or_the_path(headers, path, status):
    client = TestClient(make_app(NoWorkers(), token="let-me-in-please"))
    assert client.post(path, json={"code": "", "language": "python"}, headers=headers).status_code == status
    assert client.get("/v1/ping").json() == client.get("/health").json() == "pong"


def test_too_many_requests_are_told_to_come_back_and_too_long_ones_are_refused():
    waiting = NoWorkers(raising=False)
    client = TestClient(make_app(waiting, max_requests=1, max_body_mb=1))
    thread = threading.Thread(target=client.post, args=["/judge"], kwargs={"json": ROW})
    with client:
        thread.start()
        assert waiting.entered.wait(20)
        busy = client.post("/judge", json=ROW)
        assert busy.status_code == 429
        assert busy.headers["retry-after"]
        assert client.get("/health").status_code == 200
        waiting.release.set()
        thread.join()
        assert client.post("/judge", content=b"[" * (2 << 20)).status_code == 413
        chunks = (b" " * (1 << 16) for _ in range(40))
        assert client.post("/judge", content=chunks, headers={"content-type": "application/json"}).status_code in (413, 422)


@pytest.fixture
def served(engine):
    """A server of its own process, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from r1env_sandbox.cli import main; main()",
        "serve",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/v1/ping")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield url, process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_on_sigterm_what_is_at_work_is_answered_and_nothing_more_is_taken(served):
    url, process = served
    answers = []

    def ask():
        request = {"code": "import time\ntime.sleep(3)\nprint('done')", "language": "python"}
        answers.append(httpx.post(f"{url}/run_code", json=request, timeout=60).json())

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    thread.join()
    assert answers[0]["run_result"]["stdout"] == "done\n"
    assert process.wait(30) == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/v1/ping")


def test_sandbox_fusions_own_client_works_unchanged(served):
    fusion = pytest.importorskip("sandbox_fusion", reason="SandboxFusion's client is not installed")
    url, _ = served
    answer = fusion.run_code(
        fusion.RunCodeRequest(code="print(input())", stdin="hello", language="python"), endpoint=url, max_attempts=1
    )
    assert (answer.status, answer.run_result.stdout) == ("Success", "hello\n")
    config = fusion.TestConfig(
        dataset_type="CommonOJDataset",
        language="python",
        provided_data={"id": 1, "test": [{"input": {"stdin": "1"}, "output": {"stdout": "2"}}]},
    )
    request = fusion.SubmitRequest(dataset="any", id=1, completion=PLUS_ONE, config=config)
    assert fusion.submit(request, endpoint=url, max_attempts=1).accepted
    wrong = request.copy(update={"completion": "```python\nprint(3)\n```"})
    assert not fusion.submit(wrong, endpoint=url, max_attempts=1).accepted


def test_verls_own_client_works_unchanged(served):
    """What `docs/security.md` says of it: right and wrong are told apart; whatever cannot be judged is 0 there."""
    verl = importlib.util.find_spec("verl")
    if verl is None:
        pytest.skip("verl is not installed")
    folder = Path(
        verl.submodule_search_locations[0], "utils/reward_score/sandbox_fusion"
    )  # what it imports is not all installed
    found = importlib.util.spec_from_file_location(
        "verls_client", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    client = sys.modules["verls_client"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(client)
    url, _ = served
    cases = json.dumps({"inputs": ["1\n", "2\n"], "outputs": ["2\n", "3\n"]})

    def score(program):
        return client.compute_score(f"{url}/run_code", None, 1024, f"```python\n{program}\n```", cases, continuous=True)[0]

    assert score("print(int(input()) + 1)") == 1.0
    assert score("print(2)") == 0.5
    assert score("raise ValueError") == 0.0


@pytest.mark.parametrize(("environment", "code"), [({}, 2), ({"R1ENV_SANDBOX_TOKEN": "short"}, 2)])
def test_off_the_loopback_a_token_is_required(environment, code):
    command = [sys.executable, "-c", "from r1env_sandbox.cli import main; main()", "serve", "--host", "0.0.0.0", "--port", "1"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "token" in done.stderr
