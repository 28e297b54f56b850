"""`WorkerProcess`: the parent's handle of one worker. It starts the worker, talks to it with deadlines, and kills it and its children.

Used by one thread at a time.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from r1env.rewards import Limits
from r1env.scoring.limits import CPU_SIGNALS
from r1env.scoring.protocol import Begun, Load, Loaded, Refused, Reply, Scored, Work, encode_message, take_reply
from r1env.types import Status

T = TypeVar("T")

SLICE_SECONDS = 0.1
"""How often a wait checks whether the worker has died without hanging up, and whether anybody still wants the result."""

CHUNK_SECONDS = 60.0
"""Limit for sending rollouts and unpickling them. No reward runs meanwhile, so it only has to end some day."""

EXIT_SECONDS = 1.0
"""How long a worker that has hung up may take to exit, before it is killed and its exit code is lost."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Workers run in parallel already, and the CPU time of a rollout should not depend on the number of cores."""

# `-m r1env.scoring.worker` would search the current directory first, where a file may be called like a standard module, and would
# find r1env only where it is installed, not where the caller's changed `sys.path` found it.
START = (
    "import sys; connection, lifeline, *sys.path = sys.argv[1:]; del sys.argv[1:]; "
    "from r1env.scoring.worker import main; main(int(connection), int(lifeline))"
)


class ScoringFault(Exception):  # noqa: N818 - not always an error: exceeding a limit is an everyday event
    """There is no score. `status`, `reason` and `seconds` describe the failure that takes its place.

    `fatal`: the worker is dead or cannot be trusted any more, and must be retired.
    """

    def __init__(self, status: Status, reason: str, *, seconds: float = 0.0, fatal: bool = True) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.seconds = seconds
        self.fatal = fatal


class AbandonedError(Exception):
    """Nobody waits for the result any more."""


class WorkerProcess:
    """One running worker. `abandoned` is checked while waiting; once it returns True, the wait ends with `AbandonedError`.

    Raises:
        OSError: the system refuses another process.
    """

    def __init__(self) -> None:
        self.abandoned: Callable[[], bool] = lambda: False
        self.loaded: set[bytes] = set()
        self._received = bytearray()
        self._socket, theirs = socket.socketpair()
        self._retired = False
        lifeline, held = os.pipe()
        self._lifeline = open(held, "wb", buffering=0)  # noqa: SIM115 - open as long as the worker may live
        _running.add(self)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno()), str(lifeline), *map(str, sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a reward that prints without end fills no pipe and waits for nobody
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,  # out of reach of Ctrl-C, and a process group of its own to kill
                env={**os.environ, **ONE_THREAD},
            )
        except BaseException:
            self.hang_up()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self._socket.settimeout(SLICE_SECONDS)

    def load(self, message: Load, seconds: float) -> None:
        """Load a reward.

        Raises:
            ScoringFault: it cannot be loaded, or not within `seconds`.
        """
        self._send(encode_message(message), seconds)
        reply = self._receive(seconds)
        if isinstance(reply, Refused):
            raise ScoringFault(Status.ERROR, reply.reason)
        if not isinstance(reply, Loaded):
            raise _out_of_turn(reply)
        self.loaded.add(message.digest)

    def begin(self, message: Work) -> None:
        """Send rollouts, and return when the worker starts with the first.

        Raises:
            ScoringFault: they did not arrive whole.
        """
        self._send(encode_message(message), CHUNK_SECONDS)
        reply = self._receive(CHUNK_SECONDS)
        if isinstance(reply, Refused):
            raise ScoringFault(Status.ERROR, f"the rollout cannot be read by a worker: {reply.reason}", fatal=False)
        if not isinstance(reply, Begun):
            raise _out_of_turn(reply)

    def next_score(self, index: int, limits: Limits, items: int = 1) -> Scored:
        """Wait for the score of the rollout at `index` of the work. Its clock has been running since the previous reply.

        Raises:
            ScoringFault: the worker exceeded `items` times the limits, died, or sent something else.
        """
        try:
            reply = self._receive(limits.wall_seconds * items)
        except _DeathError as death:
            if -death.exit_code not in CPU_SIGNALS:
                raise
            seconds = limits.cpu_seconds * items
            raise ScoringFault(Status.TIMEOUT, f"exceeded {seconds:g} s of CPU time", seconds=seconds) from death
        if not isinstance(reply, Scored) or reply.index != index:
            raise _out_of_turn(reply)
        return reply

    def has_exited(self) -> bool:
        """Return whether the process has ended. It is not reaped; see `retire`."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody else in this process has reaped it
            return True

    def retire(self) -> int:
        """Kill the worker and all that it forked, and return its exit code (minus the signal's number where it was killed).

        The group is killed before its leader is reaped: until then the number cannot belong to anybody else.
        """
        if not self._retired:
            self._retired = True
            with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group whose leader is dead
                os.killpg(self._process.pid, signal.SIGKILL)
        exit_code = self._process.wait()
        self.hang_up()
        return exit_code

    def hang_up(self) -> None:
        """Close this process's ends of the connection and of the lifeline, which ends the worker."""
        self._socket.close()
        self._lifeline.close()

    def _send(self, frame: bytes, seconds: float) -> None:
        rest = memoryview(frame)
        deadline = time.monotonic() + seconds
        while rest:
            try:
                rest = rest[self._patiently(partial(self._socket.send, rest), deadline, seconds) :]
            except (BrokenPipeError, ConnectionResetError) as error:
                raise self._death() from error

    def _receive(self, seconds: float) -> Reply:
        deadline = time.monotonic() + seconds
        while True:
            try:
                reply = take_reply(self._received)
            except ValueError as error:
                raise ScoringFault(Status.ERROR, f"the worker sent no valid reply: {type(error).__name__}") from error
            if reply is not None:
                return reply
            try:
                data = self._patiently(partial(self._socket.recv, 1 << 16), deadline, seconds)
            except ConnectionResetError as error:
                raise self._death() from error
            if not data:
                raise self._death()
            self._received += data

    def _patiently(self, attempt: Callable[[], T], deadline: float, seconds: float) -> T:
        """Repeat `attempt`, which raises `TimeoutError` after a slice. What has arrived counts, even after the deadline."""
        exited = False
        while True:
            try:
                return attempt()
            except TimeoutError:
                if exited:  # and everything it sent has been read; a process that it forked may hold the connection open
                    raise self._death() from None
            if self.abandoned():
                raise AbandonedError
            exited = self.has_exited()
            if not exited and time.monotonic() >= deadline:
                raise ScoringFault(Status.TIMEOUT, f"exceeded {seconds:g} s of wall time")

    def _death(self) -> _DeathError:
        deadline = time.monotonic() + EXIT_SECONDS
        while not self.has_exited() and time.monotonic() < deadline:
            time.sleep(0.001)
        return _DeathError(self.retire())


class _DeathError(ScoringFault):
    """The worker's process has ended (and is retired already)."""

    def __init__(self, exit_code: int) -> None:
        if exit_code < 0:
            how = f"was killed by signal {-exit_code} ({signal.strsignal(-exit_code)})"
        else:
            how = f"exited with code {exit_code}"
        super().__init__(Status.ERROR, f"the worker {how}")
        self.exit_code = exit_code


def _out_of_turn(reply: Reply) -> ScoringFault:
    return ScoringFault(Status.ERROR, f"the worker sent {type(reply).__name__} out of turn")


_running: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _let_go_of_the_parents_workers() -> None:
    """A forked child must not keep the workers of its parent alive by holding their lifelines."""
    for worker in list(_running):
        worker.hang_up()


os.register_at_fork(after_in_child=_let_go_of_the_parents_workers)
