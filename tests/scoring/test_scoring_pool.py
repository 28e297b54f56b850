"""Whatever a reward does in a worker, it costs only its own rollout, and every other is scored exactly once.

The rewards are defined inside the tests, so they travel by value.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1env.errors import UsageError
from r1env.rewards import Limits, Reward, reward
from r1env.scoring import ScoringPool, score
from r1env.scoring.pool import Job, Slot, workers_from_environment
from r1env.types import Rollout, Score, Status, Task

MakeRollouts = Callable[..., list[Rollout]]

LIMITS = Limits(cpu_seconds=0.3, wall_seconds=30.0, memory_mb=200)


def misbehaving(misbehave: Callable[[], Any], limits: Limits = LIMITS) -> Reward:
    """A reward that gives 1, except that it misbehaves on the completion `bad`."""

    @reward(name="r", isolation="process", limits=limits)
    def behaves_but_once(completion: str) -> float:
        if completion == "bad":
            misbehave()
        return 1.0

    return behaves_but_once


def scores_around(bad: Callable[[], Any], rollouts: MakeRollouts, pool: ScoringPool, limits: Limits = LIMITS) -> Score:
    """The score of the rollout over which the reward misbehaves; its neighbours must not have noticed."""
    before, score_of_bad, *after = score(rollouts("a", "bad", "c", "d", "e"), misbehaving(bad, limits), pool=pool)
    assert [s.value for s in (before, *after)] == [1.0] * 4
    assert set(score_of_bad.parts) == {"r"}
    return score_of_bad


def test_a_reward_that_never_stops_computing_is_stopped_by_its_cpu_time(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def spin() -> None:
        while True:
            pass

    found = scores_around(spin, rollouts, pool)
    assert (found.status, found.reason, found.value) == (Status.TIMEOUT, "exceeded 0.3 s of CPU time", None)


def test_a_reward_that_never_returns_from_c_code_is_stopped_too(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def search() -> None:
        import re

        re.match(r"(a+)+$", "a" * 64 + "b")

    assert scores_around(search, rollouts, pool).status is Status.TIMEOUT


def test_a_reward_that_sleeps_for_ever_is_stopped_by_the_wall_clock(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    found = scores_around(lambda: time.sleep(1000), rollouts, pool, Limits(wall_seconds=0.5))
    assert (found.status, found.reason) == (Status.TIMEOUT, "exceeded 0.5 s of wall time")


def test_waiting_is_not_computing(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    assert scores_around(lambda: time.sleep(0.5), rollouts, pool).value == 1.0


def test_the_wall_clock_of_a_rollout_starts_when_its_turn_comes(rollouts: MakeRollouts) -> None:
    @reward(isolation="process", limits=Limits(wall_seconds=0.8))
    def slow(completion: str) -> float:
        time.sleep(0.3)
        return 1.0

    with ScoringPool(workers=1) as one:
        assert [s.value for s in score(rollouts(*"abc"), slow, pool=one)] == [1.0] * 3


def test_a_busy_machine_does_not_change_a_verdict(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    @reward(isolation="process", limits=Limits(cpu_seconds=1.0, wall_seconds=60.0))
    def computes_a_while(completion: str) -> float:
        end = time.process_time() + 0.25
        while time.process_time() < end:
            pass
        return 1.0

    noise = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        assert [s.value for s in score(rollouts("a", "b"), computes_a_while, pool=pool)] == [1.0, 1.0]
    finally:
        for process in noise:
            process.kill()
            process.wait()


def test_a_reward_that_allocates_too_much_at_once_hits_the_limit(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    found = scores_around(lambda: bytearray(1 << 30), rollouts, pool)
    assert found.status == Status.LIMIT
    assert "Memory" in found.reason


def test_a_reward_that_allocates_without_end_hits_the_limit(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def hoard() -> None:
        hoarded = []
        while True:
            hoarded.append(bytes(1 << 20))

    assert scores_around(hoard, rollouts, pool, Limits(memory_mb=200)).status is Status.LIMIT


def test_memory_that_earlier_rollouts_kept_does_not_count(rollouts: MakeRollouts) -> None:
    kept: list[bytes] = []

    @reward(isolation="process", limits=Limits(memory_mb=100))
    def leaks(completion: str) -> float:
        kept.append(b"x" * (60 << 20))
        return float(os.getpid())

    with ScoringPool(workers=1) as one:
        pids = [s.value for s in score(rollouts(*"abcdef"), leaks, pool=one)]
    assert None not in pids
    assert len(set(pids)) > 1, "a worker that has kept more than one rollout may use is replaced"


@pytest.mark.parametrize(
    ("die", "reason"),
    [
        (lambda: os._exit(3), "the worker exited with code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "the worker was killed by signal 9"),
        (lambda: ctypes.string_at(0), "the worker was killed by signal 11"),
    ],
    ids=["exits", "kills itself", "segmentation fault"],
)
def test_a_reward_that_dies(die: Callable[[], Any], reason: str, rollouts: MakeRollouts, pool: ScoringPool) -> None:
    found = scores_around(die, rollouts, pool)
    assert found.status is Status.ERROR
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, RecursionError])
def test_a_reward_that_raises(error: type[BaseException], rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def fail() -> None:
        raise error("no")

    found = scores_around(fail, rollouts, pool)
    assert (found.status, found.reason) == (Status.ERROR, f"{error.__name__}: no")


def test_a_reward_that_raises_a_base_exception_of_its_own(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def fail() -> None:
        class OutOfTimeError(BaseException):
            """As some timeout libraries raise it, so that `except Exception` does not catch it."""

        raise OutOfTimeError("no")

    assert scores_around(fail, rollouts, pool).reason == "OutOfTimeError: no"


def test_a_reward_that_prints_megabytes_is_scored(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def chatter() -> None:
        print("x" * 10_000_000, flush=True)
        os.write(1, b"y" * 10_000_000)
        os.write(2, b"z" * 10_000_000)

    assert scores_around(chatter, rollouts, pool).value == 1.0


def test_a_reward_that_reads_its_input_finds_nothing(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    assert scores_around(lambda: sys.stdin.read(), rollouts, pool).value == 1.0


def test_a_worker_that_sends_nonsense_is_replaced(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def forge() -> None:
        import contextlib
        import stat

        for fd in map(int, os.listdir("/dev/fd")):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, b"\xff" * 64)

    found = scores_around(forge, rollouts, pool)
    assert found.status is Status.ERROR
    assert "no valid reply" in found.reason


def test_a_reward_whose_forked_child_returns_too_is_scored_once(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    assert scores_around(os.fork, rollouts, pool).value == 1.0


def test_children_that_linger_end_with_the_rollout_that_started_them(
    rollouts: MakeRollouts,
    tmp_path: Path,
    running: Callable[[int], bool],
    eventually: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("R1ENV_WORKER_NAMESPACE", "off")  # so that the child has the pid that it says it has

    def fork_and_forget() -> None:
        if (pid := os.fork()) == 0:
            time.sleep(1000)
        (tmp_path / str(pid)).touch()

    with ScoringPool(workers=1) as one:
        assert scores_around(fork_and_forget, rollouts, one).value == 1.0
        (lingering,) = (int(path.name) for path in tmp_path.iterdir())
        assert eventually(lambda: not running(lingering))


def test_a_child_that_holds_the_connection_does_not_hold_the_slot(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def fork_behind_pythons_back_and_die() -> None:
        if ctypes.PyDLL(None).fork() == 0:  # Python's own fork would close the connection in the child
            time.sleep(1000)
        os._exit(5)

    start = time.monotonic()
    found = scores_around(fork_behind_pythons_back_and_die, rollouts, pool, Limits(wall_seconds=60))
    assert found.reason == "the worker exited with code 5"
    assert time.monotonic() - start < 30


def test_each_rollout_is_scored_exactly_once_though_workers_die_among_them(
    rollouts: MakeRollouts, pool: ScoringPool, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    @reward(isolation="process")
    def logs(completion: str) -> float:
        with log.open("a") as file:
            file.write(f"{completion}\n")
        if completion in ("30", "31", "150"):
            os._exit(1)
        return float(completion)

    texts = [str(i) for i in range(200)]
    values = [s.value for s in score(rollouts(*texts), logs, pool=pool)]
    assert values == [None if text in ("30", "31", "150") else float(text) for text in texts]
    assert sorted(log.read_text().split(), key=int) == texts


def test_seconds_are_cpu_seconds(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    @reward(isolation="process")
    def sleeps_or_computes(completion: str) -> float:
        if completion == "sleep":
            time.sleep(0.3)
        else:
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass
        return 1.0

    slept, computed = score(rollouts("sleep", "compute"), sleeps_or_computes, pool=pool)
    assert slept.seconds < 0.1
    assert 0.15 < computed.seconds < 0.4


# Loading


def test_a_class_is_loaded_before_any_clock_starts(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    @reward(name="slow-start", isolation="process", limits=Limits(cpu_seconds=0.2, wall_seconds=0.5))
    class SlowStart:
        def __init__(self, threshold: int = 3) -> None:
            time.sleep(0.7)
            self.threshold = threshold

        def __call__(self, completion: str) -> float:
            return float(len(completion) < self.threshold)

    assert [s.value for s in score(rollouts("a", "aaaa"), SlowStart, pool=pool)] == [1.0, 0.0]
    assert [s.value for s in score(rollouts("a", "aaaa"), SlowStart.with_options(threshold=9), pool=pool)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: sys.exit("no"), "SystemExit: no"),
        pytest.param(lambda: os._exit(4), "the worker exited with code 4", marks=pytest.mark.slow),
    ],
    ids=["raises", "exits", "dies"],
)
def test_a_reward_that_cannot_be_loaded_fails_all_with_the_reason(
    fail: Callable[[], Any], reason: str, rollouts: MakeRollouts, pool: ScoringPool
) -> None:
    @reward(name="broken", isolation="process")
    class Broken:
        def __init__(self) -> None:
            fail()

        def __call__(self, completion: str) -> float:
            return 1.0

    scores = score(rollouts(*map(str, range(100))), Broken, pool=pool)
    assert {(s.status, s.reason) for s in scores} == {(Status.ERROR, f"reward 'broken' cannot be loaded in a worker: {reason}")}


def test_loading_has_a_deadline(rollouts: MakeRollouts) -> None:
    @reward(isolation="process")
    class NeverReady:
        def __init__(self) -> None:
            time.sleep(1000)

        def __call__(self, completion: str) -> float:
            return 1.0

    with ScoringPool(workers=1, load_seconds=1.0) as impatient:
        (found,) = score(rollouts("a"), NeverReady, pool=impatient)
    assert found.status is Status.ERROR
    assert "exceeded 1 s" in found.reason


def test_a_system_that_refuses_another_process_fails_all_with_the_reason(
    rollouts: MakeRollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    in_use = len(os.listdir("/dev/fd"))
    with ScoringPool(workers=1) as one:
        (found,) = score(rollouts("a"), misbehaving(lambda: None), pool=one)
    assert found.status is Status.ERROR
    assert "No such file or directory: '/nowhere/python'" in found.reason
    assert len(os.listdir("/dev/fd")) == in_use


def test_a_module_found_through_the_callers_path_is_found_by_the_worker(
    rollouts: MakeRollouts, pool: ScoringPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_users_rewards.py").write_text(
        "import r1env\n\n"
        "@r1env.reward(isolation='process')\n"
        "def shout(completion: str, *, mark: str = '!') -> float:\n"
        "    return float(completion.endswith(mark))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import a_users_rewards

    assert [s.value for s in score(rollouts("a!", "a"), a_users_rewards.shout, pool=pool)] == [1.0, 0.0]
    assert [s.value for s in score(rollouts("a!", "a?"), a_users_rewards.shout.with_options(mark="?"), pool=pool)] == [0.0, 1.0]


def test_a_closure_is_scored_with_what_it_holds(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def at_least(length: int) -> Reward:
        return reward(name="long", isolation="process")(lambda completion: float(len(completion) >= length))

    assert [s.value for s in score(rollouts("a", "aaa"), at_least(2), pool=pool)] == [0.0, 1.0]
    assert [s.value for s in score(rollouts("a", "aaa"), at_least(4), pool=pool)] == [0.0, 0.0]


class Trapped:
    """Can be pickled and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (int, ("not a number",))


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"lock": threading.Lock()}, "the rollout cannot be sent to a worker: TypeError"),
        ({"trap": Trapped()}, "the rollout cannot be read by a worker: ValueError"),
    ],
    ids=["cannot be pickled", "cannot be unpickled"],
)
def test_metadata_that_cannot_travel_costs_only_its_own_rollout(
    metadata: dict[str, Any], reason: str, rollouts: MakeRollouts, pool: ScoringPool
) -> None:
    good = rollouts("a", "b", "c", "d", "e")
    bad = Rollout(task=Task(id="bad", prompt="q", metadata=metadata), completion="bad")
    *before, found, last = score([*good[:4], bad, good[4]], misbehaving(lambda: None), pool=pool)
    assert [s.value for s in (*before, last)] == [1.0] * 5
    assert found.status is Status.ERROR
    assert found.reason.startswith(reason)


# Batch rewards


@pytest.mark.parametrize(
    ("misbehave", "status"),
    [
        (lambda: os._exit(1), Status.ERROR),
        (lambda: 1 / 0, Status.ERROR),
        (lambda: time.sleep(1000), Status.TIMEOUT),
    ],
    ids=["dies", "raises", "sleeps"],
)
def test_in_a_batch_only_the_culprit_pays(
    misbehave: Callable[[], Any], status: Status, rollouts: MakeRollouts, pool: ScoringPool
) -> None:
    @reward(isolation="process", batch=True, limits=Limits(wall_seconds=0.5))
    def lengths(completion: list[str]) -> list[float]:
        if "bad" in completion:
            misbehave()
        return [float(len(text)) for text in completion]

    texts = ["a" * i for i in range(1, 40)]
    texts[20] = "bad"
    scores = score(rollouts(*texts), lengths, pool=pool)
    assert [s.value for s in scores] == [None if text == "bad" else len(text) for text in texts]
    assert scores[20].status is status


def test_the_limits_of_a_batch_grow_with_it(rollouts: MakeRollouts) -> None:
    @reward(isolation="process", batch=True, limits=Limits(wall_seconds=0.4))
    def sleeps_for_each(completion: list[str]) -> list[float]:
        time.sleep(0.15 * len(completion))
        return [float(len(completion))] * len(completion)

    with ScoringPool(workers=1) as one:
        values = [s.value for s in score(rollouts(*map(str, range(8))), sleeps_for_each, pool=one)]
    assert max(v for v in values if v is not None) > 1
    assert None not in values


# The pool itself


def test_idle_workers_that_die_are_replaced_at_nobodys_cost(rollouts: MakeRollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R1ENV_WORKER_NAMESPACE", "off")  # so that a worker has the pid that it says it has

    @reward(isolation="process")
    def pid(completion: str) -> float:
        return float(os.getpid())

    with ScoringPool(workers=1) as one:
        (first,) = score(rollouts("a"), pid, pool=one)
        os.kill(int(first.value or 0), signal.SIGKILL)
        time.sleep(0.1)
        (second,) = score(rollouts("a"), pid, pool=one)
    assert second.value not in (None, first.value)


def test_a_pool_starts_no_more_workers_than_there_is_work(rollouts: MakeRollouts, children: Callable[[], set[int]]) -> None:
    before = children()
    with ScoringPool(workers=4) as four:
        assert children() == before
        for _ in range(3):
            score(rollouts("a"), misbehaving(lambda: None), pool=four)
        assert len(children() - before) == 1
    assert children() == before


def test_closing_a_pool_ends_the_calls_that_wait(rollouts: MakeRollouts, children: Callable[[], set[int]]) -> None:
    before = children()
    with ScoringPool(workers=2) as closing:
        future = closing.submit(misbehaving(lambda: time.sleep(1000), Limits(wall_seconds=1000)), rollouts("a", "bad"))
        time.sleep(0.3)
    with pytest.raises(UsageError, match="closed before all rollouts were scored"):
        future.result(timeout=5)
    assert children() == before
    with pytest.raises(UsageError, match="is closed"):
        score(rollouts("a"), misbehaving(lambda: None), pool=closing)
    closing.close()


def test_a_cancelled_call_frees_its_workers(rollouts: MakeRollouts) -> None:
    with ScoringPool(workers=1) as one:
        sleeping = one.submit(misbehaving(lambda: time.sleep(1000), Limits(wall_seconds=1000)), rollouts("bad"))
        time.sleep(0.3)
        assert sleeping.cancel()
        start = time.monotonic()
        assert score(rollouts("a"), misbehaving(lambda: None), pool=one)[0].value == 1.0
        assert time.monotonic() - start < 30


def test_a_large_call_does_not_hold_up_a_small_one(rollouts: MakeRollouts) -> None:
    @reward(isolation="process")
    def slow(completion: str) -> float:
        time.sleep(0.05)
        return 1.0

    with ScoringPool(workers=1) as one:
        large = one.submit(slow, rollouts(*map(str, range(1000))))
        time.sleep(0.5)
        assert score(rollouts("a"), misbehaving(lambda: None), pool=one)[0].value == 1.0
        assert not large.done()
        large.cancel()


def test_scoring_inside_a_worker_runs_inline(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    @reward(name="inner", isolation="process")
    def inner(completion: str) -> float:
        return float(os.getpid())

    @reward(name="outer", isolation="process")
    def outer(rollout: Rollout) -> float:
        from r1env.scoring import score

        (found,) = score([rollout], inner)
        return float(found.value == os.getpid())

    assert score(rollouts("a"), outer, pool=pool)[0].value == 1.0


def test_a_fault_of_our_own_is_raised_and_not_waited_for(rollouts: MakeRollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Slot, job: Job, chunk: list[int]) -> list[int]:
        raise AssertionError("a bug")

    monkeypatch.setattr(Slot, "run", broken)
    with ScoringPool(workers=1) as one, pytest.raises(AssertionError, match="a bug"):
        score(rollouts("a"), misbehaving(lambda: None), pool=one)


@pytest.mark.parametrize("workers", [0, -1])
def test_a_pool_without_workers_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match="at least one worker"):
        ScoringPool(workers=workers)


def test_the_number_of_workers_comes_from_the_environment() -> None:
    assert workers_from_environment({}) is None
    assert workers_from_environment({"R1ENV_WORKERS": " 3 "}) == 3
    for wrong in ("0", "-2", "many", "2.5"):
        with pytest.raises(UsageError, match="R1ENV_WORKERS"):
            workers_from_environment({"R1ENV_WORKERS": wrong})


@pytest.mark.slow
def test_ten_thousand_rollouts_leave_nothing_behind(rollouts: MakeRollouts, children: Callable[[], set[int]]) -> None:
    @reward(isolation="process")
    def dies_now_and_then(completion: str) -> float:
        if completion.endswith("999"):
            os._exit(1)
        return float(os.getpid())

    def in_use() -> tuple[int, int, int]:
        return len(os.listdir("/dev/fd")), threading.active_count(), len(children())

    with ScoringPool(workers=2) as two:
        score(rollouts(*map(str, range(100))), dies_now_and_then, pool=two)
        before = in_use()
        scores = score(rollouts(*map(str, range(10_000))), dies_now_and_then, pool=two)
        after = in_use()
    assert all(now <= then for now, then in zip(after, before, strict=True)), f"{before} -> {after}"
    assert [i for i, s in enumerate(scores) if s.failed] == list(range(999, 10_000, 1000))
    assert math.isfinite(sum(s.value or 0.0 for s in scores))


def test_a_worker_is_replaced_when_it_has_done_its_share(rollouts: MakeRollouts) -> None:
    @reward(isolation="process")
    def pid_in_a_short_lived_worker(completion: str) -> float:
        from r1env.scoring import worker

        worker.MAX_ITEMS = 10
        return float(os.getpid())

    with ScoringPool(workers=1) as one:
        pids = [s.value for s in score(rollouts(*map(str, range(35))), pid_in_a_short_lived_worker, pool=one)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [10, 10, 10, 5]
