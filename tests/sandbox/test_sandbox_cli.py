"""The program `r1env-sandbox`, as another program uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.docker

COMMAND = [sys.executable, "-c", "from r1env_sandbox.cli import main; main()"]
ADD = {"language": "python", "source": "print(sum(map(int, input().split())))"}
SEVEN = {"kind": "stdio", "stdin": "3 4\n", "expected": "7\n"}


def run(*arguments, stdin="", **environment):
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_every_line_gets_one_line_in_the_same_order(engine, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    slow = {"language": "python", "source": "import time; time.sleep(1); print(7)", "tests": [SEVEN]}
    rows = [
        {"id": "1", **slow},
        {"id": 2, **ADD, "tests": [SEVEN, {**SEVEN, "expected": "8"}], "comment": "fields of the sender's are ignored"},
        {"id": "c", "language": "cpp", "source": "int main(", "tests": [SEVEN]},
        {**ADD, "tests": [{"kind": "stdio", "stdin": "3 4", "expected": "7.0", "checker": "float"}], "limits": {"cpu_s": 2, "wall_s": 5,
         "memory_mb": 256, "output_kb": 1024, "processes": 32}},
    ]  # fmt: skip
    source.write_text(lines(*rows))
    done = run("judge", "--input", str(source), "--output", str(target), "--workers", "2", "--mode", "fork")
    assert (done.returncode, done.stdout) == (0, "")
    answers = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(row["id"], row["status"], row["score"]) for row in answers] == [
        ("1", "accepted", 1.0),
        (2, "wrong_answer", 0.5),
        ("c", "compile_error", 0.0),
        (None, "accepted", 1.0),
    ]
    assert answers[1]["tests"][0].keys() >= {
        *("status", "cpu_ms", "wall_ms", "max_rss_kb", "exit_code", "signal", "stdout_head", "stderr_head", "value")
    }
    assert "error" in answers[2]["compile"]["log"]


def test_a_malformed_line_costs_only_itself(engine):
    broken = [
        "nonsense",
        "[]",
        "{}",
        '{"id": "x", "language": "python", "source": 3, "tests": []}',
        "[" * 100_000,
        '{"a": NaN}',
    ]
    unjudgeable = [{"id": "u", **ADD, "language": "cobol", "tests": [SEVEN]}, {"id": "n", **ADD, "tests": []}]
    broken.append(json.dumps({"id": "t", **ADD, "tests": [{**SEVEN, "kind": "divination"}]}))
    good = {"id": "good", **ADD, "tests": [SEVEN]}
    done = run("judge", stdin=lines(*broken, *unjudgeable, good))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in answers] == ["rejected_input"] * 9 + ["accepted"]
    assert [row["id"] for row in answers] == [None, None, None, "x", None, None, "t", "u", "n", "good"]
    assert all(row["info"]["note"] and row["score"] is None for row in answers[:-1])
    assert done.returncode == 1
    assert "9 without a score" in done.stderr


def test_nothing_that_a_program_returns_breaks_a_line(engine):
    values = [
        "['\\ud800']",
        "{'\\udfff': 1}",
        "'\\x00\\u2028\\n'",
        "{1: (b'x', {2})}",
        "float('inf')",
        "10**4400",
        "'x' * 9000",
    ]
    tests = [{"kind": "call", "function": "f", "args": [], "expected": 0}]
    rows = [
        {"id": number, "language": "python", "source": f"def f(): return {value}", "tests": tests}
        for number, value in enumerate(values)
    ]
    raising = {"id": "raise", "language": "python", "source": "def f(): raise ValueError('\\ud800')", "tests": tests}
    done = run("judge", "--mode", "fork", stdin=lines(*rows, raising))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in answers] == ["wrong_answer"] * len(values) + ["runtime_error"]
    assert done.returncode == 0


def test_a_line_is_answered_before_the_next_is_sent(engine):
    process = subprocess.Popen([*COMMAND, "judge", "--workers", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    workers = set()
    for number in range(3):
        row = {
            "id": number,
            "language": "python",
            "source": f"print({number})",
            "tests": [{"kind": "stdio", "expected": str(number)}],
        }
        process.stdin.write(lines(row))
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert (answer["id"], answer["status"]) == (number, "accepted")
        workers.add(answer["info"]["worker"])
    assert len(workers) == 1
    process.stdin.close()
    assert process.wait(30) == 0


@pytest.mark.slow
def test_doctor_finds_that_everything_holds(engine):
    done = run("doctor", "--json")
    report = json.loads(done.stdout)
    assert [finding for finding in report["findings"] if not finding["holds"]] == []
    assert len(report["findings"]) > 15
    assert "Docker" in report["host"]["engine"]
    assert done.returncode == 0


def test_doctor_says_what_does_not_hold(spawning):
    from r1env_sandbox.doctor import Probe, run_probe
    from r1env_sandbox.models import Verdict

    assert run_probe(spawning, Probe("it holds", "print('holds')")).holds
    finding = run_probe(spawning, Probe("the root is closed", "import os; print(os.listdir('/')[:0] or 'open')"))
    assert not finding.holds
    assert "open" in finding.detail
    assert not run_probe(spawning, Probe("time is limited", "print('holds')", Verdict.TIME_LIMIT)).holds


def test_one_program_can_be_run(engine, tmp_path):
    program = tmp_path / "plus_one.py"
    program.write_text("print(int(input()) + 1)")
    done = run("run", str(program), stdin="41\n")
    assert (done.returncode, done.stdout) == (0, "42\n")
    program.write_text("1 / 0")
    done = run("run", str(program))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("arguments", [["judge"], ["doctor"], ["build"]])
def test_without_an_engine_one_line_says_what_to_do(arguments):
    done = run(*arguments, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("error: no sandbox is available: no Docker socket at unix:///nowhere/docker.sock")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["judge", "--mode", "thread"], "spawn or fork"),
        (["judge", "--input", "/nowhere"], "cannot read /nowhere"),
        (["judge", "--workers", "0"], "--workers"),
        (["run", "/nowhere.py"], "cannot read /nowhere.py"),
        (["run", __file__, "--language", "cobol"], "cobol"),
        (["build", "--language", "cobol"], "cobol"),
        (["build", "--base", "debian", "--bootstrap"], "not both"),
    ],
)
def test_wrong_usage_is_told(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
