"""What ends workers from outside costs time, and what a submission does to them costs its score: never another's verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from r1env_sandbox import Limits, Sandbox, SandboxUnavailable, Submission, TestCase, Verdict
from r1env_sandbox import sandbox as sandbox_module
from r1env_sandbox.errors import FilesDoNotFit, WorkerLost
from r1env_sandbox.pool import Slot
from r1env_sandbox.worker import Report

TOOL = Path(__file__).parents[2] / "tools" / "docker-engine.sh"
ECHO = Submission(language="python", source="print(input())")
SAYS = [TestCase.stdio("x", "x")]


class Engine:
    """A backend whose workers and whose engine come and go as a test says. Every program echoes its input.

    Attributes:
        away: when the engine will be back, on the clock; what it does when it is asked for a worker.
        faults: what becomes of the next submissions that are laid out.
    """

    name, image, runtime, languages = "fake", "image", "fake", frozenset({"python"})

    def __init__(self, *faults):
        self.faults = list(faults)
        self.back = 0.0
        self.started = 0

    def answers(self):
        return time.monotonic() >= self.back

    def describe(self):
        return {}

    def close(self):
        pass


class FakeWorker:
    def __init__(self, engine, **_):
        if not engine.answers():
            raise SandboxUnavailable("the engine is away")
        engine.started += 1
        self.engine, self.name, self.submissions, self.born = engine, f"worker-{engine.started}", 0, time.monotonic()

    def begin(self, files, **_):
        fault = self.engine.faults.pop(0) if self.engine.faults else None
        if callable(fault):
            fault(self)
        elif fault is not None:
            raise fault

    def run(self, command, stdin=b""):
        return Report(0, None, 1.0, 1.0, 1, None, False, stdin, b"", b"", b"")

    def run_each(self, runs, *, ahead=False):
        for command, stdin in runs:
            yield command, self.run(command, stdin)

    def settle(self):
        pass

    def end(self, collect=(), max_bytes=0):
        return {}

    def ping(self):
        if not self.engine.answers():
            raise WorkerLost("gone with its engine")

    def close(self):
        pass


@pytest.fixture
def judged(monkeypatch):
    """Judge one honest submission on an engine with these faults."""
    monkeypatch.setattr(sandbox_module, "Worker", FakeWorker)
    monkeypatch.setattr(sandbox_module, "STOPPING_SECONDS", 0.2)
    monkeypatch.setattr(sandbox_module, "LOOK_SECONDS", 0.02)

    def judge(engine):
        with Sandbox(1, backend=engine) as sandbox:
            return sandbox.judge(ECHO, SAYS)

    return judge


def stops(seconds, answers_for=0.0):
    """The engine ends its workers, answers for a moment still, and is back after some time."""

    def fault(worker):
        def go():
            worker.engine.back = time.monotonic() + seconds

        threading.Timer(answers_for, go).start() if answers_for else go()
        raise WorkerLost("ended")

    return fault


def test_an_engine_that_restarts_is_waited_for_and_the_submission_judged_once(judged):
    engine = Engine(stops(0.5))
    start = time.monotonic()
    result = judged(engine)
    assert (result.status, result.info.attempts) == (Verdict.ACCEPTED, 1)
    assert time.monotonic() - start >= 0.5


def test_an_engine_that_still_answers_while_it_stops_costs_no_verdict(judged):
    result = judged(Engine(WorkerLost("ended"), stops(0.3, answers_for=0.05)))
    assert result.status is Verdict.ACCEPTED


def test_an_engine_that_stays_away_is_said(judged, monkeypatch):
    monkeypatch.setattr(sandbox_module, "OUTAGE_SECONDS", 0.3)
    with pytest.raises(SandboxUnavailable, match="the engine is away"):
        judged(Engine(stops(60)))


def test_workers_that_are_ended_from_outside_give_no_score(judged):
    result = judged(Engine(WorkerLost("ended"), WorkerLost("ended")))
    assert (result.status, result.score, result.info.attempts) == (Verdict.JUDGE_ERROR, None, 2)


def test_a_submission_that_alone_makes_workers_fail_is_paid_nothing_rather_than_not_judged(judged):
    hang = WorkerLost("did not answer in 45 s", by_program=True)
    result = judged(Engine(hang, hang))
    assert (result.status, result.score) == (Verdict.RUNTIME_ERROR, 0.0)
    assert "again and again" in result.info.note


def test_workers_that_fail_under_an_honest_program_too_are_our_fault(judged):
    hang = WorkerLost("did not answer in 45 s", by_program=True)
    result = judged(Engine(hang, hang, hang))
    assert (result.status, result.score) == (Verdict.JUDGE_ERROR, None)


def test_files_that_cannot_be_laid_out_are_the_submissions_fault(judged):
    result = judged(Engine(FilesDoNotFit("too much", "worker-1")))
    assert (result.status, result.score) == (Verdict.COMPILE_ERROR, 0.0)
    assert "too much" in result.compile.log


def test_idle_slots_that_died_with_their_engine_are_given_up(monkeypatch):
    from r1env_sandbox.pool import WarmPool

    engine = Engine()
    pool = WarmPool(lambda: Slot(lambda: FakeWorker(engine), lambda: FakeWorker(engine)), min_slots=2, max_slots=2)
    pool.warm_up()
    engine.back = time.monotonic() + 0.1
    pool.check_idle()
    time.sleep(0.15)
    with pool.lease(1) as slot:
        assert slot.worker.name == "worker-3"
    pool.close()


@pytest.mark.docker
@pytest.mark.parametrize(
    ("language", "files"),
    [
        ("python", {"main.py/x": "1"}),
        ("python", {"r1env_candidate.py/x": "1"}),
        ("python", {"r1env_plain.py": "raise SystemExit"}),
        ("python", {"/".join(["d" * 250] * 16): "1"}),
        ("python", {"big.txt": "\N{GRINNING FACE}" * (15 << 20), "big2.txt": "\N{GRINNING FACE}" * (15 << 20)}),
        ("python", {f"{number}/a/b/c/d/e/f/g/h/i/j/k/l/m/n": "" for number in range(250)}),
        ("c", {"main.c/x": "1"}),
        ("c", {"main/x": "1"}),
        ("c", {"main": "not a program"}),
        ("python", {"'; rm -rf x": "", "-rf": "", "*": ""}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value))[:20],
)
def test_no_name_or_length_of_a_file_is_a_fault_of_ours(spawning, language, files):
    source = {"python": "print('x')", "c": '#include <stdio.h>\nint main(void) { puts("x"); }'}[language]
    submission = Submission(language=language, source=source, files=files)
    for tests in ([TestCase.stdio("", "x")], [TestCase.call("f", [], 1)] if language == "python" else []):
        if tests:
            result = spawning.judge(submission, tests)
            assert result.status.scored, result
    assert spawning.judge(ECHO, SAYS).status is Verdict.ACCEPTED


@pytest.mark.docker
def test_what_is_collected_is_bounded_by_all_files_together(spawning):
    source = "for name in 'abc':\n    open(name, 'wb').truncate(20 << 20)\nprint('x')"
    limits = Limits(output_kb=30 << 10, file_mb=32)
    result = spawning.judge(
        Submission(language="python", source=source, collect=("a", "b", "c")), [TestCase.stdio("", "x")], limits
    )
    assert result.status is Verdict.ACCEPTED
    assert sum(map(len, result.collected.values())) == 30 << 20


@pytest.mark.docker
@pytest.mark.parametrize("mode", ["spawn", "fork"])
def test_cpu_time_is_that_of_all_processes_whether_or_not_anybody_waits_for_them(mode, request):
    sandbox = request.getfixturevalue("spawning" if mode == "spawn" else "forking")
    burn = "t = __import__('time'); s = t.process_time()\n{indent}while t.process_time() - s < 0.2: pass"
    ways = {
        "itself": burn.format(indent=""),
        "a child": "import os\nif os.fork() == 0:\n    " + burn.format(indent="    ") + "\n    os._exit(0)\nos.wait()",
        "ignored": "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0:\n    "
        + burn.format(indent="    ")
        + "\n    os._exit(0)\ntime.sleep(0.1)\nwhile len([p for p in os.listdir('/proc') if p.isdigit()]) > 3: time.sleep(0.01)",
    }
    for way, source in ways.items():
        result = sandbox.run(Submission(language="python", source=source), limits=Limits(cpu_s=5, wall_s=30))
        assert 190 < result.test.cpu_ms < 420, (way, result)


ROWS = [
    {"id": number, "language": "python", "source": f"print({number})", "tests": [{"kind": "stdio", "expected": str(number)}]}
    for number in range(12)
]
COMMAND = [sys.executable, "-c", "from r1env_sandbox.cli import main; main()", "judge"]


def answered(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.docker
def test_a_command_that_was_ended_goes_on_with_resume_and_answers_each_line_once(engine, tmp_path):
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    command = [*COMMAND, "--input", str(rows), "--output", str(out)]
    assert subprocess.run([*command, "--resume"], check=False).returncode == 0
    whole = out.read_text().splitlines(keepends=True)
    assert [row["id"] for row in answered(out)] == list(range(12))
    kept = "".join(whole[:5])
    out.write_text(kept + whole[5][:40])  # it was ended while it wrote
    assert subprocess.run([*command, "--resume"], check=False).returncode == 0
    assert out.read_text().startswith(kept)
    assert [(row["id"], row["status"]) for row in answered(out)] == [(number, "accepted") for number in range(12)]


@pytest.mark.parametrize(
    ("arguments", "answers", "message"),
    [
        (["--output", "-"], "", "two files"),
        ([], json.dumps({"id": 7, "status": "accepted"}) + "\n", "answer 1"),
        ([], "".join(json.dumps({"id": row["id"], "status": "accepted"}) + "\n" for row in [*ROWS, ROWS[0]]), "answer 13"),
        ([], "[1]\n", "answer 1"),
    ],
)
def test_answers_to_other_lines_are_not_gone_on_with(tmp_path, arguments, answers, message):
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    out.write_text(answers)
    command = [*COMMAND, "--input", str(rows), "--output", str(out), "--resume", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert out.read_text() == answers


@pytest.mark.docker
@pytest.mark.nightly
def test_a_real_engine_restarts_in_the_middle_and_nobody_notices(engine, tmp_path):
    """Stops and starts an engine of its own, with the image of the one that the other tests use."""
    if os.geteuid() != 0 or subprocess.run(["sh", "-c", "command -v dockerd"], capture_output=True, check=False).returncode:
        pytest.skip("takes root and dockerd, to start an engine of its own")
    from r1env_sandbox.images import image_name

    home = Path("/tmp", f"r1env-engine-{os.getpid()}")  # a socket's path must be short
    private = {**os.environ, "R1ENV_DOCKER_HOME": str(home)}
    private.pop("DOCKER_HOST", None)
    host = f"unix://{home}/docker.sock"
    subprocess.run([TOOL, "start"], env=private, check=True, capture_output=True)
    try:
        saved = subprocess.Popen(["docker", "save", image_name()], stdout=subprocess.PIPE)
        subprocess.run(["docker", "--host", host, "load"], stdin=saved.stdout, check=True, capture_output=True)
        rows = [
            {**row, "id": number, "source": f"import time; time.sleep(0.05); {row['source']}"}
            for number, row in enumerate(ROWS * 15)
        ]
        source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [*COMMAND, "--input", str(source), "--output", str(out), "--workers", "2"]
        judging = subprocess.Popen(command, env={**private, "DOCKER_HOST": host}, stderr=subprocess.PIPE, text=True)
        while judging.poll() is None and (not out.exists() or len(out.read_text().splitlines()) < 30):
            time.sleep(0.1)
        subprocess.run([TOOL, "stop"], env=private, check=True, capture_output=True)
        time.sleep(3)
        subprocess.run([TOOL, "start"], env=private, check=True, capture_output=True)
        _, said = judging.communicate(timeout=300)
        assert judging.returncode == 0, said
        assert [(row["id"], row["status"]) for row in answered(out)] == [(number, "accepted") for number in range(len(rows))]
        left = subprocess.run(["docker", "--host", host, "ps", "-aq"], capture_output=True, text=True, check=True).stdout
        assert left == ""
    finally:
        subprocess.run([TOOL, "stop"], env=private, check=False, capture_output=True)
        subprocess.run(["rm", "-rf", str(home)], check=False)
