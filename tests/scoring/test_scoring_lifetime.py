"""Workers in whole programs: scripts without a main guard, Ctrl-C, kill -9, fork. Each test runs a script of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROLLOUTS = """
import os, sys, time
import r1env
from r1env.types import Task
from r1env.types import Rollout

def rollouts(*texts):
    return [Rollout(task=Task(id=str(i), prompt="q"), completion=text) for i, text in enumerate(texts)]
"""

NO_NAMESPACE = {"R1ENV_WORKER_NAMESPACE": "off"}
"""So that a process has the pid that it says it has."""

SLEEPER = """
@r1env.reward(isolation="process", limits=r1env.Limits(wall_seconds=1000))
def sleeps(completion):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    if os.fork() == 0:
        open(os.path.join(folder, str(os.getpid())), "w").close()
        time.sleep(1000)
    time.sleep(1000)

folder = sys.argv[1]
r1env.score(rollouts("a", "b"), sleeps)
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """Write a script; gives the command that runs it."""

    def write(body: str) -> list[str]:
        path = tmp_path / "script.py"
        path.write_text(ROLLOUTS + textwrap.dedent(body))
        return [sys.executable, str(path)]

    return write


def output_of(command: list[str]) -> str:
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "R1ENV_WORKERS": "2"}
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


def test_a_script_without_a_main_guard_scores_its_own_rewards(script: Callable[[str], list[str]]) -> None:
    command = script("""
        from dataclasses import dataclass

        print("once")
        LIMIT = 2

        @dataclass
        class Verdict:
            good: bool

        def judge(text):
            return Verdict(len(text) < LIMIT)

        @r1env.reward(isolation="process")
        def short(completion):
            return float(judge(completion).good)

        print([s.value for s in r1env.score(rollouts("a", "aaa"), short)])
    """)
    assert output_of(command).splitlines() == ["once", "[1.0, 0.0]"]


def test_a_script_ends_quietly_though_it_closes_nothing(script: Callable[[str], list[str]]) -> None:
    command = script("""
        @r1env.reward(isolation="process")
        def pid(completion):
            return float(os.getpid())

        @r1env.reward(isolation="async")
        async def one(completion):
            return 1.0

        r1env.score(rollouts("a"), one)
        print(int(r1env.score(rollouts("a"), pid)[0].value))
    """)
    assert int(output_of(command)) > 0


@pytest.mark.parametrize(
    ("number", "stopped"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGKILL, False), (signal.SIGKILL, True)],
    ids=["SIGINT", "SIGTERM", "SIGKILL", "SIGKILL, with stopped workers"],
)
def test_no_process_survives_the_end_of_its_program(
    number: signal.Signals,
    stopped: bool,
    script: Callable[[str], list[str]],
    tmp_path: Path,
    running: Callable[[int], bool],
    eventually: Callable[..., bool],
) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    program = subprocess.Popen(
        [*script(SLEEPER), str(pids)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **NO_NAMESPACE, "R1ENV_WORKERS": "2"},
    )
    assert eventually(lambda: len(list(pids.iterdir())) == 4), "two workers, and a child of each"
    left = [int(path.name) for path in pids.iterdir()]
    if stopped:
        if sys.platform != "linux":
            program.kill()
            pytest.skip("other systems promise less, see docs/scoring.md")
        for pid in left:
            os.kill(pid, signal.SIGSTOP)
    program.send_signal(number)
    _, errors = program.communicate(timeout=20)
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert eventually(lambda: not any(map(running, left)))


def test_ctrl_c_leaves_a_pool_that_still_works(script: Callable[[str], list[str]]) -> None:
    command = script("""
        import signal, threading

        @r1env.reward(isolation="process", limits=r1env.Limits(wall_seconds=1000))
        def sleeps(completion):
            time.sleep(1000 if completion == "sleep" else 0)
            return 1.0

        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            r1env.score(rollouts("sleep", "sleep"), sleeps)
        except KeyboardInterrupt:
            print("interrupted")
        print(r1env.score(rollouts("a"), sleeps)[0].value)
    """)
    assert output_of(command).split() == ["interrupted", "1.0"]


def test_a_forked_child_gets_workers_of_its_own(script: Callable[[str], list[str]]) -> None:
    command = script("""
        @r1env.reward(isolation="process")
        def pid(completion):
            return float(os.getpid())

        @r1env.reward(isolation="async")
        async def one(completion):
            return 1.0

        def worker():
            assert r1env.score(rollouts("a"), one)[0].value == 1.0
            return r1env.score(rollouts("a"), pid)[0].value

        os.environ["R1ENV_WORKER_NAMESPACE"] = "off"
        mine = worker()
        if (child := os.fork()) == 0:
            assert worker() not in (None, mine)
            sys.exit(7)  # with all the handlers of a normal end, which are the parent's too
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert worker() == mine
        print("fine")
    """)
    assert output_of(command) == "fine\n"


def test_a_forked_child_that_outlives_the_program_does_not_keep_its_workers(
    script: Callable[[str], list[str]], tmp_path: Path, running: Callable[[int], bool], eventually: Callable[..., bool]
) -> None:
    command = script("""
        @r1env.reward(isolation="process")
        def pid(completion):
            return float(os.getpid())

        worker = int(r1env.score(rollouts("a"), pid)[0].value)
        if (child := os.fork()) == 0:
            os.close(1), os.close(2)
            time.sleep(1000)
        print(worker, child, flush=True)
        os.kill(os.getpid(), 9)
    """)
    printed = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **NO_NAMESPACE}
    ).stdout
    worker, child = map(int, printed.split())
    try:
        assert eventually(lambda: not running(worker))
        assert running(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_pool_made_before_a_fork_is_refused_after_it(script: Callable[[str], list[str]]) -> None:
    command = script("""
        from r1env.scoring import ScoringPool

        @r1env.reward(isolation="process")
        def one(completion):
            return 1.0

        pool = ScoringPool(workers=1)
        if (child := os.fork()) == 0:
            try:
                r1env.score(rollouts("a"), one, pool=pool)
            except r1env.UsageError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert "make another after a fork" in output_of(command)


def test_a_wrong_number_of_workers_is_said_plainly(script: Callable[[str], list[str]]) -> None:
    command = script("""
        os.environ["R1ENV_WORKERS"] = "lots"

        @r1env.reward(isolation="process")
        def one(completion):
            return 1.0

        try:
            r1env.score(rollouts("a"), one)
        except r1env.UsageError as error:
            print(error)
    """)
    assert output_of(command) == "R1ENV_WORKERS is 'lots'; it must be a number of processes, 1 or more\n"


def test_files_in_the_current_directory_do_not_stand_in_for_the_standard_library(
    script: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "socket.py").write_text("raise RuntimeError('not the real one')")
    monkeypatch.chdir(elsewhere)
    command = script("""
        @r1env.reward(isolation="process")
        def one(completion):
            return 1.0

        print(r1env.score(rollouts("a"), one)[0].value)
    """)
    assert output_of(command) == "1.0\n"
