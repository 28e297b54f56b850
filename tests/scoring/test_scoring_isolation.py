"""What a rollout does to its worker, and what anybody does to the workers, is never noticed by another rollout.

Every test runs where workers have a PID namespace (if that is possible here) and where they have none.
"""

from __future__ import annotations

import builtins
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from r1env.rewards import Limits, Reward, reward
from r1env.scoring import ScoringPool, score
from r1env.scoring.process import NAMESPACE_VARIABLE, StartError
from r1env.scoring.system import Usage, children
from r1env.types import Rollout, Status

MakeRollouts = Callable[..., list[Rollout]]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="other systems promise less, see docs/scoring.md"),
    pytest.mark.xdist_group("machine"),
]


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


@pytest.fixture(scope="module", autouse=True, params=["on", "off"], ids=["namespace", "no namespace"])
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NAMESPACE_VARIABLE, request.param)
        yield str(request.param)


@pytest.fixture(scope="module")
def one(namespace: str) -> Iterator[ScoringPool]:
    """A pool with one worker, shared by the tests."""
    with ScoringPool(workers=1) as pool:
        yield pool


def with_word(word: str) -> list[int]:
    """The processes that have this word in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def ordinary(completion: str) -> float:
    """What rewards do: print, parse, open a file, use the clock."""
    print("scoring", completion)
    assert json.loads('{"a": [1, 2]}') == {"a": [1, 2]}
    with open("/dev/null"):
        assert time.perf_counter() > 0
    return float(completion)


LIMITS = Limits(cpu_seconds=0.5, wall_seconds=5.0, memory_mb=256)


def around(misbehave: Callable[[], Any], limits: Limits = LIMITS) -> Reward:
    """An ordinary reward, except that it misbehaves on the completion `bad`, and then gives 1."""

    @reward(name="r", isolation="process", limits=limits)
    def around(completion: str) -> float:
        if completion == "bad":
            return float(misbehave() or 1.0)
        return ordinary(completion)

    return around


def guard() -> None:
    """What programs that run generated code do to themselves."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    for name in ("kill", "fork", "remove", "getcwd", "chdir", "_exit"):
        setattr(os, name, None)
    builtins.quit = None  # type: ignore[assignment]
    subprocess.Popen = None  # type: ignore[assignment, misc]


def leak_descriptors() -> None:
    import socket

    socket.leaked = []  # type: ignore[attr-defined]
    while len(socket.leaked) < 900:  # type: ignore[attr-defined]
        socket.leaked.append(open("/dev/null"))  # type: ignore[attr-defined]  # noqa: SIM115


def remove_folder() -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


def spin() -> None:
    def forever() -> None:
        while True:
            pass

    threading.Thread(target=forever, daemon=True).start()


def late_alarm() -> None:
    def ring(*_: object) -> None:
        raise TimeoutError("late alarm")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


POLLUTIONS: dict[str, Callable[[], Any]] = {
    "closes its output": lambda: sys.stdout.close(),
    "closes the file of its output": lambda: os.close(1),
    "has no output": lambda: setattr(sys, "stdout", None),
    "guards itself": guard,
    "leaks descriptors": leak_descriptors,
    "closes all descriptors but its connection": lambda: os.closerange(0, 3),
    "lowers a hard limit of memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    "lowers a hard limit of CPU time": lambda: resource.setrlimit(resource.RLIMIT_CPU, (3, 3)),
    "lowers the limit of files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)),
    "replaces the clock": lambda: setattr(time, "perf_counter", lambda: 0.0),
    "replaces the parser": lambda: setattr(json, "loads", lambda text: {}),
    "replaces a built-in": lambda: setattr(builtins, "open", None),
    "sets an alarm": late_alarm,
    "ignores signals": lambda: signal.signal(signal.SIGPROF, signal.SIG_IGN),
    "leaves a thread that spins": spin,
    "leaves a child": lambda: subprocess.Popen(["sleep", "1000"]) and None,
    "leaves a child out of reach": lambda: subprocess.Popen(["setsid", "sleep", "1000"]) and None,
    "removes its folder": remove_folder,
    "clears the environment": lambda: os.environ.clear(),
    "changes the mask of files": lambda: os.umask(0o777) and None,
    "limits recursion": lambda: sys.setrecursionlimit(80),
    "traces": lambda: sys.settrace(lambda *_: None),
}


@pytest.mark.parametrize("pollution", POLLUTIONS)
def test_whatever_a_rollout_changes_in_its_worker_the_next_does_not_see(
    pollution: str, rollouts: MakeRollouts, one: ScoringPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    texts = [*map(str, range(8)), "bad", *map(str, range(9, 40))]
    scores = score(rollouts(*texts), around(POLLUTIONS[pollution]), pool=one)
    assert [found.value for found in scores if found is not scores[8]] == [float(text) for text in texts if text != "bad"]
    assert scores[8].value == 1.0, scores[8].reason


def test_a_worker_is_kept_while_nothing_has_changed(rollouts: MakeRollouts, one: ScoringPool) -> None:
    @reward(isolation="process")
    def where(completion: str) -> float:
        ordinary("1")
        return float(os.stat("/proc/self/task").st_ctime_ns)

    assert len({found.value for found in score(rollouts(*map(str, range(200))), where, pool=one)}) == 1


def test_what_a_reward_changes_in_every_worker_belongs_to_it(rollouts: MakeRollouts, one: ScoringPool) -> None:
    @reward(isolation="process")
    def starts_a_helper_once(completion: str) -> float:
        import multiprocessing

        if not hasattr(multiprocessing, "helper"):
            os.environ["HELPER"] = "yes"
            multiprocessing.helper = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
            multiprocessing.helper.start()
            multiprocessing.started = time.monotonic()
        return float(multiprocessing.started)

    values = [found.value for found in score(rollouts(*map(str, range(100))), starts_a_helper_once, pool=one)]
    assert None not in values
    assert 2 <= len(set(values)) <= 10, "after a few workers it is known"


def test_a_reward_whose_module_starts_a_thread_is_scored_without_forking(rollouts: MakeRollouts) -> None:
    @reward(isolation="process")
    class Threaded:
        def __init__(self) -> None:
            self.thread = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
            self.thread.start()

        def __call__(self, completion: str) -> float:
            if completion == "bad":
                os._exit(3)
            return float(self.thread.is_alive())

    with ScoringPool(workers=1) as pool:
        assert [found.value for found in score(rollouts("a", "bad", "b"), Threaded, pool=pool)] == [1.0, None, 1.0]


def test_an_error_in_a_worker_that_others_have_used_is_verified_in_a_fresh_one(
    rollouts: MakeRollouts, one: ScoringPool
) -> None:
    @reward(isolation="process")
    def spoils_what_nobody_checks(completion: str) -> float:
        import decimal

        if completion == "bad":
            decimal.spoilt = True  # type: ignore[attr-defined]
        elif hasattr(decimal, "spoilt"):
            raise ValueError("spoilt")
        return 1.0

    scores = score(rollouts("0", "bad", *map(str, range(2, 30))), spoils_what_nobody_checks, pool=one)
    assert Counter(found.status for found in scores) == {Status.OK: 30}


# Deaths from outside


def workers_of(pid: int) -> list[int]:
    """All processes below this one that belong to scoring."""
    found = [child for child in children(pid) if b"r1env.scoring" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return found + [below for child in found for below in workers_of(child)]


@reward(isolation="process")
def number(completion: str) -> float:
    return float(completion)


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_signal_from_outside_costs_no_rollout(which: signal.Signals, rollouts: MakeRollouts) -> None:
    texts = list(map(str, range(500)))
    given, ordinary_reward = rollouts(*texts), around(lambda: None)
    enough = threading.Event()

    def shoot() -> None:
        for turn in range(5):
            time.sleep(1.0)  # a worker that never gets as far as to score anything is given up
            targets = workers_of(os.getpid())
            if targets:
                os.kill(targets[turn % len(targets)], which)
        enough.set()

    with ScoringPool(workers=2) as pool:
        score(given, ordinary_reward, pool=pool)
        shooter = threading.Thread(target=shoot, daemon=True)
        shooter.start()
        while not enough.is_set():
            scores = score(given, ordinary_reward, pool=pool)
            assert [found.value for found in scores] == list(map(float, texts)), Counter(found.reason for found in scores)
        shooter.join()


@pytest.mark.slow
def test_kills_from_the_first_moment_on_cost_no_rollout(rollouts: MakeRollouts) -> None:
    """A kill every 0.15 s, so that most workers die while they start. How long the call takes depends on the machine; see docs/scoring.md."""
    chance, over = random.Random(1), threading.Event()

    def shoot() -> None:
        for _ in range(30):
            time.sleep(chance.random() * 0.3)
            with suppress(OSError, IndexError):  # none is there, or not any more
                os.kill(chance.choice(workers_of(os.getpid())), signal.SIGKILL)
        over.set()

    texts = list(map(str, range(3_000)))
    shooter = threading.Thread(target=shoot, daemon=True)
    with ScoringPool(workers=2) as pool:
        shooter.start()
        while not over.is_set():
            scores = score(rollouts(*texts), number, pool=pool)
            assert [found.value for found in scores] == list(map(float, texts)), Counter(found.reason for found in scores)
        shooter.join()


def test_deaths_while_workers_start_cost_no_rollout(rollouts: MakeRollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    from r1env.scoring import process

    deaths = iter([True, False, True, True, False, *[True] * 25])
    load = process.WorkerProcess.load

    def dies_now_and_then(self: process.WorkerProcess, *arguments: Any) -> None:
        if next(deaths, False):
            os.kill(self._process.pid, signal.SIGKILL)
        load(self, *arguments)

    monkeypatch.setattr(process.WorkerProcess, "load", dies_now_and_then)
    with ScoringPool(workers=2) as pool:
        scores = score(rollouts(*map(str, range(500))), number, pool=pool)
    assert [found.value for found in scores] == list(map(float, range(500)))


def test_a_shortage_of_descriptors_is_waited_out(rollouts: MakeRollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    from r1env.scoring import process

    until = time.monotonic() + 2.0
    start = process.WorkerProcess.__init__

    def short_of_descriptors(self: process.WorkerProcess) -> None:
        if time.monotonic() < until:
            raise StartError("[Errno 24] Too many open files", transient=True)
        start(self)

    monkeypatch.setattr(process.WorkerProcess, "__init__", short_of_descriptors)
    with ScoringPool(workers=2) as pool:
        scores = score(rollouts(*map(str, range(20))), number, pool=pool)
    assert [found.value for found in scores] == list(map(float, range(20)))


# Limits, for everything that a rollout starts


def test_the_children_of_a_rollout_have_the_memory_limit_together(rollouts: MakeRollouts, one: ScoringPool) -> None:
    def hoard() -> None:
        for _ in range(3):
            if os.fork() == 0:
                hoarded = bytearray(b"\1") * (150 << 20)
                time.sleep(1000)
                os._exit(len(hoarded) % 2)
        time.sleep(1000)

    found = score(rollouts("1", "bad", "2"), around(hoard, Limits(5.0, 60.0, 256)), pool=one)
    assert [one.value for one in found] == [1.0, None, 2.0]
    assert found[1].status is Status.LIMIT
    assert "child processes" in found[1].reason


def test_the_children_of_a_rollout_count_towards_its_cpu_limit(rollouts: MakeRollouts, one: ScoringPool) -> None:
    def compute() -> None:
        if os.fork() == 0:
            while True:
                pass
        os.wait()

    start = time.monotonic()
    found = score(rollouts("1", "bad", "2"), around(compute, Limits(0.5, 60.0, 256)), pool=one)
    assert (found[1].status, found[1].reason) == (Status.TIMEOUT, "exceeded 0.5 s of CPU time")
    assert time.monotonic() - start < 30


def test_a_child_in_a_session_of_its_own_ends_with_its_rollout(
    rollouts: MakeRollouts, one: ScoringPool, eventually: Callable[..., bool]
) -> None:
    word = f"98{os.getpid()}"

    def escape() -> None:
        subprocess.Popen(["setsid", "--fork", "sleep", word]).wait()

    assert [found.value for found in score(rollouts("1", "bad", "2"), around(escape), pool=one)] == [1.0, 1.0, 2.0]
    assert eventually(lambda: not with_word(word))


@pytest.mark.parametrize("to", ["parent", "group"])
def test_a_reward_that_signals_what_started_it_costs_only_itself(to: str, rollouts: MakeRollouts, one: ScoringPool) -> None:
    def shoot() -> None:
        if to == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
        else:
            os.kill(0, signal.SIGKILL)
        time.sleep(5)

    found = score(rollouts("1", "bad", "2"), around(shoot), pool=one)
    assert (found[0].value, found[2].value) == (1.0, 2.0)
    assert found[1].status is Status.ERROR
    assert "signal 9" in found[1].reason


def test_a_reward_that_signals_everybody_it_can_harms_nobody_outside(
    namespace: str, rollouts: MakeRollouts, one: ScoringPool
) -> None:
    if not isolated(rollouts, one):
        pytest.skip("workers cannot have a PID namespace here")
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        found = score(rollouts("1", "bad", "2"), around(lambda: os.kill(-1, signal.SIGKILL)), pool=one)
        assert (found[0].value, found[2].value) == (1.0, 2.0)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def isolated(rollouts: MakeRollouts, pool: ScoringPool) -> bool:
    @reward(isolation="process")
    def pid(completion: str) -> float:
        return float(os.getpid())

    return (score(rollouts("a"), pid, pool=pool)[0].value or 0) < 10 < os.getpid()


def test_a_reward_that_stops_itself_is_an_error_soon(rollouts: MakeRollouts, one: ScoringPool) -> None:
    start = time.monotonic()
    found = score(
        rollouts("1", "bad", "2"), around(lambda: os.kill(os.getpid(), signal.SIGSTOP), Limits(1, 100, 256)), pool=one
    )
    assert [found[0].value, found[2].value] == [1.0, 2.0]
    assert (found[1].status, found[1].reason) == (Status.ERROR, "the worker was stopped by a signal")
    assert time.monotonic() - start < 20


def test_temporary_files_and_shared_memory_of_a_killed_rollout_are_removed(
    rollouts: MakeRollouts, one: ScoringPool, eventually: Callable[..., bool]
) -> None:
    def litter() -> None:
        import tempfile
        from multiprocessing import shared_memory

        shared_memory.SharedMemory(create=True, size=1 << 20)
        with tempfile.NamedTemporaryFile(prefix="litter-"):
            while True:
                pass

    import tempfile

    def left() -> set[str]:
        return {
            str(path)
            for folder in (tempfile.gettempdir(), "/dev/shm")
            for path in Path(folder).glob("*")
            if "pytest" not in str(path)
        }

    score(rollouts("1"), around(litter), pool=one)
    before = left()
    assert score(rollouts("1", "bad", "2"), around(litter), pool=one)[1].status is Status.TIMEOUT
    assert eventually(lambda: not {path for path in left() - before if "litter" in path or "psm" in path})


def test_a_child_that_waits_for_a_processor_stretches_the_wall_limit_though_its_worker_has_waited_longer_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker (1) waited 100 s during earlier rollouts; its children, one after the other, get a tenth of a processor."""
    from r1env.scoring import process

    now, delays = 50.0, {1: 100.0}
    monkeypatch.setattr(process.time, "monotonic", lambda: now)
    monkeypatch.setattr(process, "usage", lambda pid: Usage(0.0, dict(delays), 0, stopped=False))
    clock = process._Clock(Limits(wall_seconds=1.0), 1, 1, start=now)
    for look in range(90):
        now += 0.1
        child = 2 + look // 10
        delays = {1: 100.0, child: delays.get(child, 0.0) + 0.09}
        clock()
    now += 1.0
    with pytest.raises(process.ScoringFault, match="exceeded 1 s of wall time"):
        clock()


@pytest.mark.slow
def test_load_on_the_machine_does_not_change_a_verdict(rollouts: MakeRollouts, one: ScoringPool) -> None:
    limits = Limits(cpu_seconds=0.5, wall_seconds=1.0, memory_mb=256)

    @reward(isolation="process", limits=limits)
    def needs_most_of_its_cpu_time(completion: str) -> float:
        def used() -> float:
            found = resource.getrusage(resource.RUSAGE_SELF)
            return found.ru_utime + found.ru_stime

        end = used() + 0.8 * limits.cpu_seconds
        while used() < end:
            sum(range(1000))
        return 1.0

    score(rollouts("0"), around(lambda: None), pool=one)
    # Sessions of their own: a session is a group for the scheduler, and one group would get no more than one share.
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(6 * (os.cpu_count() or 1))
    ]
    try:
        found = score(rollouts("a", "b"), needs_most_of_its_cpu_time, pool=one)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert [one.value for one in found] == [1.0, 1.0], [one.reason for one in found]
