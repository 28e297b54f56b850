"""What a worker says to its runner, seen by a runner that only answers."""

from __future__ import annotations

import pytest

from r1env_sandbox.errors import WorkerLost
from r1env_sandbox.languages import LANGUAGES
from r1env_sandbox.models import Limits
from r1env_sandbox.runner.protocol import Frames, pack
from r1env_sandbox.worker import AHEAD_BYTES, AHEAD_RUNS, Worker, run_command

COMMAND = run_command(LANGUAGES["python"], Limits())


class Echo:
    """A backend and its worker: every program prints its input. `sent` is what came at once."""

    name = "echo"

    def __init__(self):
        self.sent = []
        self._replies = b""

    def start(self, command):
        return self

    def send(self, data):
        frames, ops = Frames(), []
        frames.feed(data)
        while (frame := frames.pop()) is not None:
            header, blobs = frame
            ops.append(header["op"])
            report = dict.fromkeys(("exit_code", "signal", "cpu_ms", "wall_ms", "max_rss_kb", "stopped", "oom"))
            self._replies += pack({**report, "nonce": header["nonce"]}, *(blobs[-1:] or [b""]), b"", b"", b"")
        self.sent.append((ops, len(data)))

    def receive(self, timeout_s):
        if not self._replies:
            raise WorkerLost("nothing was asked")
        replies, self._replies = self._replies, b""
        return replies

    def grow(self, memory_mb):
        pass

    def close(self):
        pass


@pytest.fixture
def echo():
    return Echo()


def runs(number, size=4):
    return [(COMMAND, str(index).encode().ljust(size)) for index in range(number)]


def sizes(echo):
    return [len(ops) for ops, _ in echo.sent[1:]]  # the first thing said is a ping


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("size", [4, 10_000, 2 * AHEAD_BYTES])
def test_every_run_is_reported_in_order(echo, ahead, size):
    reports = Worker(echo).run_each(runs(40, size), ahead=ahead)
    assert [int(report.stdout) for _, report in reports] == list(range(40))


def test_after_the_first_run_many_are_asked_for_at_once(echo):
    list(Worker(echo).run_each(runs(40), ahead=True))
    assert sizes(echo) == [1, AHEAD_RUNS, AHEAD_RUNS, 40 - 1 - 2 * AHEAD_RUNS]


def test_without_leave_every_run_is_asked_for_alone(echo):
    list(Worker(echo).run_each(runs(5)))
    assert sizes(echo) == [1] * 5


def test_no_more_is_sent_at_once_than_a_pipe_takes(echo):
    list(Worker(echo).run_each(runs(20, AHEAD_BYTES // 3), ahead=True))
    assert max(length for _, length in echo.sent) <= AHEAD_BYTES


def test_who_stops_early_and_settles_can_go_on(echo):
    worker = Worker(echo)
    reports = worker.run_each(runs(10), ahead=True)
    assert [int(next(reports)[1].stdout) for _ in range(2)] == [0, 1]
    worker.settle()
    worker.ping()
