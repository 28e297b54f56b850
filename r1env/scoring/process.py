"""`WorkerProcess`: the parent's handle of one zygote and of the worker that it has forked.

It starts them, talks to them with deadlines, and ends them with everything that they started. Used by one thread at a time: the
kernel ends the processes together with the thread that started them.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress

from r1env.rewards import Limits
from r1env.scoring.limits import CPU_SIGNALS, MEGABYTE
from r1env.scoring.protocol import (
    Begun,
    End,
    Ended,
    Fork,
    Forked,
    Load,
    Loaded,
    Message,
    Refused,
    Reply,
    Scored,
    Started,
    Work,
    encode_message,
    take_reply,
)
from r1env.scoring.system import (
    NO_NAMESPACE,
    ask_for_sender,
    is_stopped,
    receive_with_sender,
    remove_shared_memory,
    usage,
)
from r1env.types import Status

SLICE_SECONDS = 0.1
"""How often a wait checks what the worker uses, whether it has died without hanging up, and whether anybody still wants the result."""

CHUNK_SECONDS = 60.0
"""Limit for sending rollouts and unpickling them. No reward runs meanwhile, so it only has to end some day."""

FORK_SECONDS = 30.0
"""Limit for forking a worker, which takes milliseconds, and for ending one."""

EXIT_SECONDS = 5.0
"""How long it may take to learn how a worker has ended that has hung up."""

MAX_LOADS = 64
"""A zygote is replaced when it has loaded so many rewards, so that what their modules keep does not pile up."""

KEPT_BYTES = 32 << 20
"""Rewards that are sent whole stay loaded until those that were used later are so large together."""

STRETCH = 20
"""The wall limit never grows by more than this factor, however busy the machine is."""

OWN_FAULTS = CPU_SIGNALS | {
    signal.SIGABRT, signal.SIGALRM, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGPIPE, signal.SIGSEGV, signal.SIGSYS,
    signal.SIGTRAP, signal.SIGXFSZ,
}  # fmt: skip
"""Signals that a process brings upon itself. Others may have come from outside, or from the out-of-memory killer."""

STOPPED = "the worker was stopped by a signal"

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Workers run in parallel already, and the CPU time of a rollout should not depend on the number of cores."""

# `-m r1env.scoring.worker` would search the current directory first, where a file may be called like a standard module, and would
# find r1env only where it is installed, not where the caller's changed `sys.path` found it.
START = (
    "import sys; control, parent, isolated, folder, *sys.path = sys.argv[1:]; del sys.argv[1:]; "
    "from r1env.scoring.system import begin_worker; "
    "isolated = begin_worker(int(control), int(parent), isolated=isolated == 'True'); "
    "from r1env.scoring.worker import main; main(int(control), int(parent), folder, isolated=isolated)"
)

NAMESPACE_VARIABLE = "R1ENV_WORKER_NAMESPACE"
"""Set to `off` to run workers in the PID namespace of the program even where they could have one of their own."""


class ScoringFault(Exception):  # noqa: N818 - not always an error: exceeding a limit is an everyday event
    """There is no score. `status`, `reason` and `seconds` describe the failure that takes its place.

    `fatal`: the worker is dead or cannot be trusted any more, and must be replaced. `outside`: perhaps it was nothing the reward did,
    so the rollout should be scored again.
    """

    def __init__(self, status: Status, reason: str, *, seconds: float = 0.0, fatal: bool = True, outside: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.seconds = seconds
        self.fatal = fatal
        self.outside = outside


class RefusedError(Exception):
    """The reward cannot be loaded: it raised an exception of its own."""


class StartError(Exception):
    """No worker is ready. It may be nothing the reward did.

    `transient`: it was nothing the reward did. The system is short of something, or a signal ended or stopped a process that had not begun
    to load the reward, or had finished. `killed`: a signal that may have come from outside did so while the reward was being loaded.
    `late`: the time for loading ran out.
    """

    def __init__(self, reason: str, *, transient: bool = False, late: bool = False, killed: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient
        self.killed = killed
        self.late = late


class AbandonedError(Exception):
    """Nobody waits for the result any more."""


class WorkerProcess:
    """A running zygote, and the worker that it has forked, if any. `abandoned` is checked while waiting; once it returns True, the wait
    ends with `AbandonedError`.

    Attributes:
        fresh: the worker has scored nothing yet.

    Raises:
        StartError: the system refuses another process.
    """

    def __init__(self) -> None:
        self.abandoned: Callable[[], bool] = lambda: False
        self.fresh = True
        self._loaded: dict[bytes, int] = {}  # digest and size, the latest used last
        self._loads = 0
        self._forkable = False
        self._started = False
        self._retired = False
        self._forks = 0
        self._ends: dict[int, int] = {}  # exit codes by number of the fork
        self._worker: _Channel | None = None
        try:
            self._folder = tempfile.mkdtemp(prefix="r1env-")
            mine, theirs = socket.socketpair()
        except OSError as error:
            raise _no_start(error) from error
        self._control = _Channel(mine)
        _running.add(self)
        isolated = str(_namespaces and os.environ.get(NAMESPACE_VARIABLE, "") != "off")
        search_path = [str(folder) for folder in sys.path]
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    START,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    isolated,
                    self._folder,
                    *search_path,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a reward that prints without end fills no pipe and waits for nobody
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # out of reach of Ctrl-C, and a process group of its own to kill
                env={**os.environ, **ONE_THREAD},
            )
        except OSError as error:
            self._discard()
            raise _no_start(error) from error
        except BaseException:
            self._discard()
            raise
        finally:
            theirs.close()
        self._control.pid = self._process.pid  # until the zygote says something, which may be a process below this one

    @property
    def loads(self) -> int:
        """How many rewards were loaded."""
        return self._loads

    def has(self, digest: bytes) -> bool:
        """Return whether this reward is loaded."""
        return digest in self._loaded

    def load(self, message: Load, seconds: float) -> None:
        """Load a reward, and let go of those that were not used for long.

        Raises:
            RefusedError: the reward raised an exception.
            StartError: it was not loaded within `seconds`, or the process died.
        """
        deadline = _Deadline(seconds, self._control)
        if not self._started:
            self._receive_start(self._control, deadline)
            self._started = True
        self._end_fork()  # it does not have the new reward
        message = Load(message.digest, message.search_path, message.reward, self._forgettable(len(message.reward)))
        reply = self._ask(message, deadline)
        if isinstance(reply, Refused):
            raise RefusedError(reply.reason)
        if not isinstance(reply, Loaded):
            raise StartError(_out_of_turn(reply))
        for digest in message.forget:
            del self._loaded[digest]
        self._loaded[message.digest] = len(message.reward)
        self._loads += 1
        self._forkable = reply.forkable
        self.fresh = True

    def prepare(self) -> None:
        """Have a worker that can score: fork one if there is none.

        Raises:
            StartError: the system refuses, or the process died.
        """
        if self._worker is not None or not self._forkable:
            return
        deadline = _Deadline(FORK_SECONDS, self._control)
        try:
            mine, theirs = socket.socketpair()
        except OSError as error:
            raise _no_start(error) from error
        with theirs:
            channel = _Channel(mine)
            try:
                reply = self._ask(Fork(), deadline, theirs)
                if isinstance(reply, Refused):
                    raise _no_start(OSError(reply.errno, reply.reason))
                if not isinstance(reply, Forked):
                    raise StartError(_out_of_turn(reply))
                self._forks += 1
                theirs.close()
                self._receive_start(channel, deadline)
            except BaseException:
                channel.close()
                raise
        self._worker = channel
        self.fresh = True

    def begin(self, message: Work) -> None:
        """Send rollouts, and return when the worker starts with the first.

        Raises:
            ScoringFault: they did not arrive whole.
        """
        self._loaded[message.digest] = self._loaded.pop(message.digest)
        channel = self._scoring
        deadline = _Deadline(CHUNK_SECONDS, channel)
        try:
            channel.send(encode_message(message), self._check(deadline))
            reply = self._receive(channel, deadline)
        except StartError as error:
            raise ScoringFault(Status.ERROR, str(error), outside=True) from error
        if isinstance(reply, Refused):
            raise ScoringFault(Status.ERROR, f"the rollout cannot be read by a worker: {reply.reason}", fatal=False)
        if not isinstance(reply, Begun):
            raise ScoringFault(Status.ERROR, _out_of_turn(reply))

    def next_score(self, index: int, limits: Limits, items: int = 1) -> Scored:
        """Wait for the score of the rollout at `index` of the work. Its clock has been running since the previous reply.

        Raises:
            ScoringFault: the worker exceeded `items` times the limits, died, or sent something else.
        """
        channel, start = self._worker or self._control, time.monotonic()
        clock: Callable[[], None] | None = None
        try:
            while (reply := channel.take()) is None:
                if channel.hung_up:
                    raise self._death(channel)
                if not channel.receive_more():
                    clock = clock or self._check(_Clock(limits, items, channel.pid, start))
                    clock()
        except _DeathError as death:
            if -death.exit_code not in CPU_SIGNALS:
                raise
            raise _out_of_cpu(limits, items) from death
        if not isinstance(reply, Scored) or reply.index != index:
            raise ScoringFault(Status.ERROR, _out_of_turn(reply))
        self.fresh = False
        return reply

    def end_worker(self) -> None:
        """End the worker and everything that it started. What is loaded stays loaded, if that is possible."""
        if self._forkable:
            self._end_fork()
        else:
            self.retire()

    @property
    def retired(self) -> bool:
        """True once nothing is left of it."""
        return self._retired

    def has_exited(self) -> bool:
        """Return whether the zygote has ended. It is not reaped; see `retire`."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody else in this process has reaped it
            return True

    def lost_worker(self) -> bool:
        """Return whether the worker has ended while nobody used it, so that it is no rollout's fault."""
        if self._worker is None:
            return False
        self._note_ends()
        return self._forks in self._ends

    def retire(self) -> int:
        """End zygote and worker and all that they started; return the exit code (minus the signal's number where it was killed).

        A process group is killed before its leader is reaped: until then the number cannot belong to anybody else.
        """
        if not self._retired:
            self._retired = True
            if self._worker is not None and not self.has_exited():
                self._end_fork()
            with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group whose leader is dead
                os.killpg(self._process.pid, signal.SIGKILL)
            exit_code = self._process.wait()
            self._control.wait_for_hang_up()
            if exit_code == NO_NAMESPACE:
                _do_without_namespaces()
            self._discard()
        return self._process.wait()

    def hang_up(self) -> None:
        """Close this process's ends of the connections, which ends the worker."""
        self._control.close()
        if self._worker is not None:
            self._worker.close()

    def _discard(self) -> None:
        self.hang_up()
        deadline = time.monotonic() + EXIT_SECONDS
        while os.path.exists(self._folder) and time.monotonic() < deadline:
            shutil.rmtree(self._folder, ignore_errors=True)  # a worker that was just killed may still write for a moment
        remove_shared_memory(os.path.basename(self._folder))

    @property
    def _scoring(self) -> _Channel:
        return self._control if self._worker is None else self._worker

    def _forgettable(self, size: int) -> list[bytes]:
        """Return the loaded rewards, the longest unused first, without which the rest and a new one are small enough."""
        excess = sum(self._loaded.values()) + size - KEPT_BYTES
        found = []
        for digest, kept in self._loaded.items():
            if excess > 0:
                found.append(digest)
                excess -= kept
        return found

    def _end_fork(self) -> None:
        """End the forked worker, if there is one, and forget it."""
        if self._worker is None:
            return
        channel, self._worker = self._worker, None
        self.fresh = True
        try:
            if self._forks not in self._ends:
                self._control.send(encode_message(End()), _Deadline(EXIT_SECONDS, self._control))
                self._wait_for_end()
        except (StartError, ScoringFault, OSError):
            pass  # the zygote is dead or stuck; the next who uses it will notice
        finally:
            if self._forks not in self._ends and channel.pid:  # it may still run, and nobody else can end it
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(channel.pid, signal.SIGKILL)
            channel.close()

    def _wait_for_end(self) -> int | None:
        """Wait until the zygote says how the current fork has ended; return its exit code, or None if it does not say."""
        deadline = time.monotonic() + EXIT_SECONDS
        while self._forks not in self._ends and time.monotonic() < deadline:
            self._note_ends(wait=True)
            if self._control.hung_up or is_stopped(self._control.pid):
                break
        return self._ends.get(self._forks)

    def _note_ends(self, *, wait: bool = False) -> None:
        """Read what the zygote has said about workers that ended."""
        if wait or self._control.has_data():
            self._control.receive_more()
        while (reply := self._control.take()) is not None:
            if isinstance(reply, Ended):
                self._ends = {reply.fork: reply.exit_code}
            else:
                raise ScoringFault(Status.ERROR, _out_of_turn(reply))

    def _ask(self, message: Message, deadline: _Deadline, file: socket.socket | None = None) -> Reply:
        """Send a message to the zygote and return its answer."""
        try:
            self._control.send(encode_message(message), self._check(deadline), file)
            while True:
                reply = self._receive(self._control, deadline)
                if not isinstance(reply, Ended):
                    return reply
                self._ends = {reply.fork: reply.exit_code}
        except ScoringFault as fault:
            loading = isinstance(message, Load)
            raise StartError(fault.reason, killed=fault.outside and loading, transient=fault.outside and not loading) from fault

    def _receive_start(self, channel: _Channel, deadline: _Deadline) -> None:
        try:
            channel.learn_pid(self._check(deadline))
            reply = self._receive(channel, deadline)
        except ScoringFault as fault:
            raise StartError(fault.reason, transient=fault.outside) from fault
        if not isinstance(reply, Started):
            raise StartError(_out_of_turn(reply))
        channel.pid = channel.pid or reply.pid

    def _receive(self, channel: _Channel, check: Callable[[], None]) -> Reply:
        checks = self._check(check)
        while (reply := channel.take()) is None:
            if channel.hung_up:
                raise self._death(channel)
            if not channel.receive_more():
                checks()
        return reply

    def _check(self, check: Callable[[], None]) -> Callable[[], None]:
        """Return what a wait does after each slice in which nothing has arrived."""
        exited = False

        def checks() -> None:
            nonlocal exited
            if exited:  # and everything it sent has been read; a process that it forked may hold the connection open
                raise self._death(self._scoring)
            if self.abandoned():
                raise AbandonedError
            exited = self.has_exited() or self.lost_worker()
            if not exited:
                check()

        return checks

    def _death(self, channel: _Channel) -> ScoringFault:
        """Return the fault that a worker, or the zygote, is dead."""
        if channel is self._worker and (code := self._wait_for_end()) is not None:
            self._end_fork()
            return _DeathError(code)
        deadline = time.monotonic() + EXIT_SECONDS
        while not self.has_exited() and time.monotonic() < deadline:
            time.sleep(0.001)
        return _DeathError(self.retire())


class _Channel:
    """One connection to a process: frames out, replies in.

    Attributes:
        pid: of the process at the other end, as this process sees it; 0 where it is not known.
        hung_up: nothing more will arrive.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.pid = 0
        self.hung_up = False
        self._socket = connection
        self._socket.settimeout(SLICE_SECONDS)
        self._received = bytearray()
        ask_for_sender(self._socket, wanted=True)

    def learn_pid(self, check: Callable[[], None]) -> None:
        """Wait for the first bytes, and note who sent them."""
        while not self._received and not self.hung_up:
            try:
                data, self.pid = receive_with_sender(self._socket)
            except TimeoutError:
                check()
            except ConnectionResetError:
                self.hung_up = True
            else:
                self._received += data
                self.hung_up = not data
        if not self.hung_up:
            ask_for_sender(self._socket, wanted=False)

    def send(self, frame: bytes, check: Callable[[], None], file: socket.socket | None = None) -> None:
        """Send everything; `check` is called after each slice in which nothing went out."""
        rest = memoryview(frame)
        while rest:
            try:
                sent = self._socket.send(rest) if file is None else socket.send_fds(self._socket, [rest], [file.fileno()])
            except TimeoutError:
                check()
            except (BrokenPipeError, ConnectionResetError):
                return  # the reply, or that there is none, says what has happened
            else:
                file = None  # it has gone with the first bytes
                rest = rest[sent:]

    def take(self) -> Reply | None:
        """Return the next reply that has arrived, if any.

        Raises:
            ScoringFault: it is no reply.
        """
        try:
            return take_reply(self._received)
        except ValueError as error:
            raise ScoringFault(Status.ERROR, f"the worker sent no valid reply: {type(error).__name__}") from error

    def receive_more(self) -> bool:
        """Wait a slice for more; return False if nothing has arrived."""
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        self._received += data
        self.hung_up = self.hung_up or not data
        return True

    def has_data(self) -> bool:
        """Return whether something, or the end, has arrived and is not read yet."""
        if self.hung_up:
            return False
        arrival = select.poll()
        arrival.register(self._socket, select.POLLIN)
        return bool(arrival.poll(0))

    def wait_for_hang_up(self) -> None:
        """Wait until the process at the other end is gone, for a while."""
        deadline = time.monotonic() + EXIT_SECONDS
        while not self.hung_up and time.monotonic() < deadline:
            self.receive_more()

    def close(self) -> None:
        self._socket.close()


class _Deadline:
    """Called after each slice of a wait in which no rollout is scored. Raises `StartError` when it lasts too long, and `ScoringFault` when the
    other process is stopped."""

    def __init__(self, seconds: float, channel: _Channel) -> None:
        self._seconds = seconds
        self._channel = channel
        self._end = time.monotonic() + seconds
        self._stopped = False

    def __call__(self) -> None:
        stopped = self._channel.pid != 0 and is_stopped(self._channel.pid)
        if stopped and self._stopped:
            raise ScoringFault(Status.ERROR, STOPPED, outside=True)
        self._stopped = stopped
        if time.monotonic() >= self._end:
            raise StartError(f"exceeded {self._seconds:g} s of wall time", late=True)


class _Clock:
    """Called after each slice in which a rollout is being scored. Raises `ScoringFault` when its limits are exceeded.

    The wall limit does not count the time in which the worker, or a process that it started, was ready to run and had no processor:
    load does not change a verdict. Child processes count towards the CPU limit, and have the memory limit together.
    """

    def __init__(self, limits: Limits, items: int, pid: int, start: float) -> None:
        self._limits = limits
        self._items = items
        self._pid = pid
        self._start = self._looked = start
        self._cpu_before: float | None = None  # what the worker had used before this rollout, and in its first slice
        self._delays: Mapping[int, float] = {}
        self._excused = 0.0  # seconds without a processor

    def __call__(self) -> None:
        limits, items, now = self._limits, self._items, time.monotonic()
        elapsed, wall = now - self._start, limits.wall_seconds * items
        used = usage(self._pid) if self._pid else None
        if used is not None:
            self._excuse(used.delays, now)
            if self._cpu_before is None:
                self._cpu_before = used.cpu_seconds
            elif used.stopped:
                raise ScoringFault(Status.ERROR, STOPPED, outside=True)
            if used.child_bytes > limits.memory_mb * MEGABYTE * items:
                held = used.child_bytes // MEGABYTE
                raise ScoringFault(
                    Status.LIMIT,
                    f"its child processes hold {held} MB; the limit is {limits.memory_mb * items} MB",
                    seconds=elapsed,
                )
            if used.cpu_seconds - self._cpu_before > limits.cpu_seconds * items:
                raise _out_of_cpu(limits, items)
        if elapsed - min(self._excused, (STRETCH - 1) * wall) >= wall:
            raise ScoringFault(Status.TIMEOUT, f"exceeded {wall:g} s of wall time", seconds=wall)

    def _excuse(self, delays: Mapping[int, float], now: float) -> None:
        """Add what was waited since the last look by the process that waited longest. A new process was started by this rollout."""
        since = now - self._looked
        if self._delays:
            waited = max(delay - self._delays.get(pid, 0.0) for pid, delay in delays.items())
        else:  # how long the worker had waited before is not known; but if this look comes late, this process had to wait as well
            waited = max([since - 2 * SLICE_SECONDS, *(delay for pid, delay in delays.items() if pid != self._pid)])
        self._excused += max(0.0, min(waited, since))
        self._delays, self._looked = delays, now


class _DeathError(ScoringFault):
    """The worker's process has ended (and nothing is left of it)."""

    def __init__(self, exit_code: int) -> None:
        if exit_code < 0:
            how = f"was killed by signal {-exit_code} ({signal.strsignal(-exit_code)})"
        else:
            how = f"exited with code {exit_code}"
        super().__init__(Status.ERROR, f"the worker {how}", outside=exit_code < 0 and -exit_code not in OWN_FAULTS)
        self.exit_code = exit_code


def _out_of_cpu(limits: Limits, items: int) -> ScoringFault:
    seconds = limits.cpu_seconds * items
    return ScoringFault(Status.TIMEOUT, f"exceeded {seconds:g} s of CPU time", seconds=seconds)


def _out_of_turn(reply: Reply) -> str:
    return f"the worker sent {type(reply).__name__} out of turn"


def _no_start(error: OSError) -> StartError:
    short = error.errno in (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)
    return StartError(str(error), transient=short)


_namespaces = sys.platform == "linux"


def _do_without_namespaces() -> None:
    """After one that could be made proved useless, because its `/proc` could not be mounted."""
    global _namespaces
    _namespaces = False


_running: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _let_go_of_the_parents_workers() -> None:
    """A forked child must not keep the workers of its parent alive by holding their connections."""
    for worker in list(_running):
        worker.hang_up()


os.register_at_fork(after_in_child=_let_go_of_the_parents_workers)
