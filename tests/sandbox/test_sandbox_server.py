"""The HTTP server: SandboxFusion's clients work unchanged, and `/judge` is a row of `r1env-sandbox judge`."""

from __future__ import annotations

import base64

import pytest

pytest.importorskip("fastapi", reason="the extra r1env-sandbox[server] is not installed")
pytest.importorskip("httpx", reason="FastAPI's test client needs httpx")

from fastapi.testclient import TestClient

from r1env_sandbox.server import make_app

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
