"""`Session`: one container for a whole episode, in which an agent runs commands and keeps files. `SessionPool` hands them out.

A session is isolated like a submission: no network except its own loopback, a read-only system, limits on memory, processes, files and
time, and unprivileged uids. Unlike with a submission, files are kept from one command to the next. Processes are not: all of them end
with their command. A container serves one session and is removed with it.

Two users share a session and never run at the same time. The *agent* owns the workspace. The *verifier* may read what the agent lets
its group read, and has a folder that the agent cannot enter: upload tests there only when they are to be run. Never let the verifier
import or execute what the agent wrote where a verdict depends on it; hand the workspace's files to `Sandbox.judge` for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import posixpath
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Literal, TypeVar

from r1env_sandbox.errors import SandboxBusy, SessionLost, WorkerLost
from r1env_sandbox.models import Limits
from r1env_sandbox.runner.protocol import BOX, PROGRAM, VERIFIER
from r1env_sandbox.transport import WORK_MB
from r1env_sandbox.worker import Command, Conversation, Report, Worker

log = logging.getLogger(__name__)

User = Literal["agent", "verifier"]
Result = TypeVar("Result")

WORKSPACE = BOX
"""The agent's folder, in which commands start unless told otherwise."""

VERIFIER_FOLDER = VERIFIER
"""A folder that the verifier alone can enter."""

MAX_FILE_MB = 64  # of one upload or download
MAX_COMMAND_BYTES = 48 << 10  # of arguments and environment together; longer scripts are uploaded
MAX_SECONDS = 3600.0  # that a session may last, unless it is opened for longer
EXEC_SECONDS = 60.0
CALL_SECONDS = 10.0  # of an interpreter's call, and
CALL_GRACE_SECONDS = 3.0  # for the interpreter to end it by itself, and keep its state
MAX_CODE_BYTES = 256 << 10
MAX_CALLS_OUTPUT_KB = 4096  # of all calls of an interpreter together
PROCESSORS = 2.0  # of a worker: CPU time that a command may use in a second
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": WORKSPACE, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class ExecResult:
    """The result of a command.

    Attributes:
        exit_code: the exit status; None if a signal ended the command. 126 and 127 have the same meaning as in a shell.
        signal: the signal that ended the command, or None.
        stdout, stderr: the output, within the limit on its length.
        stopped: the limit that ended the command: `time`, `memory` or `output`; None if it ended by itself.
        cpu_ms, wall_ms: time of all its processes together.
    """

    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    stopped: Literal["time", "memory", "output"] | None
    cpu_ms: float
    wall_ms: float

    @property
    def ok(self) -> bool:
        """Whether the command ended by itself with the exit status 0."""
        return self.exit_code == 0 and self.stopped is None

    @property
    def text(self) -> str:
        """Both outputs as text, stdout first. Bytes that are not UTF-8 are replaced."""
        return (self.stdout + self.stderr).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call of an interpreter.

    Attributes:
        output: the printed text, the value of the last line, and the traceback; at most 64 KB.
        failed: the code raised, or did not end in time.
        restarted: the interpreter ended and its state is lost; the next call starts a new one. `output` says why.
    """

    output: str
    failed: bool
    restarted: bool


class Session:
    """A container for one episode. It is a context manager. Methods may be called from any thread and run one after the other.

    Raises (by every method except `close`):
        SessionLost: the container no longer exists: it was closed, exceeded its time, or was ended from outside or with its engine.

    Example:
        >>> with sandbox.open_session() as session:  # doctest: +SKIP
        ...     session.upload("main.py", "print(6 * 7)")
        ...     session.exec("python3 main.py > out.txt", timeout_s=5).exit_code
        ...     session.download("out.txt")
        0
        b'42\\n'
    """

    def __init__(self, worker: Worker, limits: Limits, max_seconds: float, on_close: Callable[[Session], None]) -> None:
        self.name = worker.name
        self.limits = limits
        self._worker = worker
        self._on_close = on_close
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._closed_because = ""
        self._interpreter: Interpreter | None = None
        self._users: dict[User, tuple[int, tuple[int, ...]]] = {
            "agent": (worker.uid, ()),
            "verifier": (worker.uid + 1, (worker.uid,)),
        }
        self._timer = threading.Timer(max_seconds, self._end, [f"it was open for {max_seconds:g} s"])
        self._timer.daemon = True
        self._timer.start()

    def exec(
        self,
        command: str | Sequence[str],
        *,
        stdin: str | bytes = b"",
        user: User = "agent",
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        timeout_s: float = EXEC_SECONDS,
    ) -> ExecResult:
        """Run a command to its end, and end every process that it leaves running.

        Args:
            command: a string for bash, or a program with its arguments.
            stdin: the standard input.
            user: the user that runs the command.
            cwd: the working directory, relative to the workspace.
            env: environment variables in addition to PATH, HOME, LANG and OMP_NUM_THREADS, or replacing them.
            timeout_s: limit of wall time; the CPU time is limited to twice that.

        Raises:
            ValueError: the name of a variable or folder is invalid, `timeout_s` is not positive, or the arguments have more than 48 KB.
        """
        argv = ("bash", "-c", command) if isinstance(command, str) else tuple(command)
        environment = {**_ENVIRONMENT, **(env or {})}
        _check_command(argv, environment, timeout_s)
        uid, groups = self._user(user)
        order = Command(
            argv=argv,
            environment=environment,
            cpu_s=PROCESSORS * timeout_s,
            wall_s=timeout_s,
            memory_mb=self.limits.memory_mb,
            output_kb=self.limits.output_kb,
            file_mb=self.limits.file_mb,
            processes=self.limits.processes,
            keep_box=True,
            uid=uid,
            groups=groups,
            folder=_path(cwd),
        )
        data = stdin.encode("utf-8", "surrogatepass") if isinstance(stdin, str) else stdin

        def run(worker: Worker) -> Report:
            worker.begin({})  # files that are there already are not this command's memory
            return worker.run(order, data)

        return _result(self._on_worker(run))

    async def exec_async(self, command: str | Sequence[str], **options: object) -> ExecResult:
        """`exec`, in a thread, for use on an event loop."""
        return await asyncio.to_thread(self.exec, command, **options)  # type: ignore[arg-type]

    def upload(self, path: str, data: str | bytes, *, user: User = "agent") -> None:
        """Write a file as a user, and create its parent folders. An existing file is replaced.

        Args:
            path: relative to the user's folder: the workspace, or `VERIFIER_FOLDER`.

        Raises:
            OSError: the user may not write there, or there is not enough space.
            ValueError: the content has more than 64 MB, or the path is invalid.
        """
        content = data.encode() if isinstance(data, str) else data
        if len(content) > MAX_FILE_MB << 20:
            raise ValueError(f"{path}: more than {MAX_FILE_MB} MB")
        where = _path(path, VERIFIER_FOLDER if user == "verifier" else WORKSPACE)
        uid, groups = self._user(user)
        if fault := self._on_worker(lambda worker: worker.put(where, content, uid, groups)):
            raise OSError(f"cannot write {path} as the {user}: {fault}")

    def download(self, path: str, *, user: User = "agent", max_bytes: int = MAX_FILE_MB << 20) -> bytes:
        """Read a regular file as a user.

        Args:
            path: as for `upload`.
            max_bytes: maximum length of the file.

        Raises:
            OSError: there is no such file, the user may not read it, or it is longer.
        """
        where = _path(path, VERIFIER_FOLDER if user == "verifier" else WORKSPACE)
        uid, groups = self._user(user)
        data, fault = self._on_worker(lambda worker: worker.get(where, min(max_bytes, MAX_FILE_MB << 20), uid, groups))
        if fault:
            raise OSError(f"cannot read {path} as the {user}: {fault}")
        return data

    def interpreter(self) -> Interpreter:
        """Start a Python interpreter that keeps its state between calls. Until it is closed, the session runs nothing else."""
        with self._lock:
            if self._interpreter is not None:
                raise RuntimeError("the session has an interpreter already")
            self._interpreter = Interpreter(self)
            return self._interpreter

    def close(self) -> None:
        """Remove the container with everything in it. It may be called more than once."""
        self._end("it was closed")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _user(self, name: User) -> tuple[int, tuple[int, ...]]:
        if name not in self._users:
            raise ValueError(f"a session's users are {' and '.join(self._users)}, not {name!r}")
        return self._users[name]

    def _on_worker(self, work: Callable[[Worker], Result], interpreter: Interpreter | None = None) -> Result:
        with self._lock:
            if self._interpreter is not interpreter:
                raise RuntimeError("the session has an interpreter, or had this one; close it to run anything else")
            if self._closed_because:
                raise SessionLost(f"session {self.name}: {self._closed_because}")
            try:
                return work(self._worker)
            except WorkerLost as error:
                cause = self._closed_because or str(error)
        self._end(cause)
        raise SessionLost(f"session {self.name}: {cause}")

    def _end(self, because: str) -> None:
        with self._closing:
            if self._closed_because:
                return
            self._closed_because = because
        self._timer.cancel()
        self._worker.close()  # wakes a thread that waits for it
        self._on_close(self)


class Interpreter:
    """A Python interpreter in a session, run as the agent. It is a context manager. Later calls can use what earlier ones defined.

    The interpreter ends if its code exits, does not stop after an interrupt, or exceeds the session's memory limit. The next call then
    starts a new one.

    Example:
        >>> with session.interpreter() as python:  # doctest: +SKIP
        ...     python.run("x = 6")
        ...     python.run("x * 7").output
        '42\\n'
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._conversation: Conversation | None = None
        self._calls = 0

    def run(self, code: str, timeout_s: float = CALL_SECONDS) -> CallResult:
        """Run code to its end.

        Args:
            timeout_s: limit of wall time. Then the code is interrupted; if it does not stop, the interpreter is ended.

        Raises:
            ValueError: the code has more than 256 KB, or `timeout_s` is not positive.
            SessionLost: the container no longer exists.
        """
        if len(code.encode("utf-8", "surrogatepass")) > MAX_CODE_BYTES:
            raise ValueError(f"code of more than {MAX_CODE_BYTES >> 10} KB")
        if not timeout_s > 0:
            raise ValueError(f"a time limit of {timeout_s} s")
        return self._session._on_worker(lambda worker: self._call(worker, code, timeout_s), self)

    def close(self) -> None:
        """End the interpreter, so that the session can run commands again. It may be called more than once."""
        session = self._session
        if session._interpreter is not self:
            return
        with contextlib.suppress(SessionLost):
            session._on_worker(lambda _: self._end(), self)
        session._interpreter = None

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, worker: Worker, code: str, timeout_s: float) -> CallResult:
        conversation = self._conversation or self._start(worker)
        self._calls += 1
        answered, late, lock = False, False, threading.Lock()

        def stop() -> None:
            nonlocal late
            with lock:
                if not answered:
                    late = True
                    worker.send({"op": "stop"})

        timer = threading.Timer(timeout_s + CALL_GRACE_SECONDS, stop)
        timer.daemon = True
        conversation.say(json.dumps({"call": self._calls, "code": code, "seconds": timeout_s}))
        timer.start()
        try:
            reply = _reply_to(self._calls, conversation)
        finally:
            timer.cancel()
            with lock:
                answered = True  # a timer that goes off this moment stops nothing
        if reply is not None and not late:
            return CallResult(*reply, restarted=False)
        report = self._end()
        why = f"did not stop after {timeout_s:g} s" if late else _why_it_ended(report)
        return CallResult(f"the interpreter {why}; everything that it held is lost", failed=True, restarted=True)

    def _start(self, worker: Worker) -> Conversation:
        limits = self._session.limits
        worker.begin({"interpreter.py": _interpreter_source()})
        self._conversation = worker.converse(
            Command(
                argv=("python3", "-s", "-B", f"{PROGRAM}/interpreter.py"),
                environment=_ENVIRONMENT,
                cpu_s=PROCESSORS * MAX_SECONDS,
                wall_s=MAX_SECONDS,
                memory_mb=limits.memory_mb,
                output_kb=max(MAX_CALLS_OUTPUT_KB, limits.output_kb),
                file_mb=limits.file_mb,
                processes=limits.processes,
                keep_box=True,
                result=True,
            )
        )
        return self._conversation

    def _end(self) -> Report | None:
        conversation, self._conversation = self._conversation, None
        return None if conversation is None else conversation.finish()


def _reply_to(call: int, conversation: Conversation) -> tuple[str, bool] | None:
    """Return output and failure of a call; None when the interpreter has ended. Lines that answer nothing are the code's own."""
    while (line := conversation.listen()) is not None:
        try:
            reply = json.loads(line)
            if reply["call"] == call:
                return str(reply["output"]), bool(reply["failed"])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return None


def _why_it_ended(report: Report | None) -> str:
    if report is None:
        return "ended"
    if report.stopped or report.oom:
        limits = {"memory": "memory", "output": "output", "cpu": "time", "wall": "time"}
        return f"was ended by the limit on {limits.get(report.stopped or 'memory', 'memory')}"
    return f"ended with the exit code {report.exit_code}" if report.signal is None else f"was ended by signal {report.signal}"


@cache
def _interpreter_source() -> bytes:
    return files("r1env_sandbox.harness").joinpath("interpreter.py").read_bytes()


class SessionPool:
    """Opens sessions, at most so many at once, and ends all of them with itself. From the first one on, a container is kept ready.

    Args:
        start: starts a container with a work folder of so many MB.
        max_sessions: at once; whoever comes after waits.
    """

    def __init__(self, start: Callable[[int], Worker], max_sessions: int) -> None:
        self._start = start
        self._max_sessions = max_sessions
        self._changed = threading.Condition()
        self._open: set[Session] = set()
        self._opening = 0
        self._spare: Future[Worker] | None = None
        self._closed = False
        self._background = ThreadPoolExecutor(1, thread_name_prefix="r1env-session")

    def open(self, limits: Limits, *, disk_mb: int, max_seconds: float, timeout_s: float) -> Session:
        """Return a new session.

        Raises:
            SandboxBusy: none of those that are open was closed in time, or the pool is closed.
            SandboxUnavailable: no container can be started.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._closed and len(self._open) + self._opening >= self._max_sessions:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise SandboxBusy(f"no session was closed in {timeout_s:g} s; there are {self._max_sessions}")
            if self._closed:
                raise SandboxBusy("the sandbox is closed")
            self._opening += 1
        try:
            worker = self._take_spare(disk_mb) or self._start(disk_mb)
            try:
                worker.grow(limits.memory_mb + disk_mb)
            except BaseException:
                worker.close()
                raise
            session = Session(worker, limits, max_seconds, self._forget)
        finally:
            with self._changed:
                self._opening -= 1
                self._changed.notify_all()
        with self._changed:
            if not self._closed:
                self._open.add(session)
                self._prepare_spare()
                return session
        session.close()
        raise SandboxBusy("the sandbox is closed")

    def close(self) -> None:
        """End all sessions. Closing twice is fine."""
        with self._changed:
            self._closed = True
            sessions, spare = list(self._open), self._spare
            self._spare = None
            self._changed.notify_all()
        for session in sessions:
            session.close()
        if spare is not None:
            with contextlib.suppress(Exception):  # it could not be started, which is nobody's concern any more
                spare.result().close()
        self._background.shutdown()

    def _take_spare(self, disk_mb: int) -> Worker | None:
        with self._changed:
            spare, self._spare = (None, self._spare) if disk_mb != WORK_MB else (self._spare, None)
        if spare is None:
            return None
        try:
            worker = spare.result()
            worker.ping()
        except Exception as error:  # noqa: BLE001 - of any kind: another is started, whose error is the caller's
            log.info("the container that was kept ready is of no use: %s", error)
            return None
        return worker

    def _prepare_spare(self) -> None:
        """Start a container for the next session. The lock is held."""
        if self._spare is None and self._max_sessions > 1:
            self._spare = self._background.submit(self._start, WORK_MB)

    def _forget(self, session: Session) -> None:
        with self._changed:
            self._open.discard(session)
            self._changed.notify_all()


def _check_command(argv: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> None:
    texts = (*argv, *environment, *environment.values())
    if not argv or not argv[0]:
        raise ValueError("there is no command")
    if not timeout_s > 0:
        raise ValueError(f"a time limit of {timeout_s} s")
    if any("\0" in text or not _has_bytes(text) for text in texts) or any(not name or "=" in name for name in environment):
        raise ValueError("an argument, or the name of a variable, that no program can be given")
    if len(json.dumps([list(argv), dict(environment)])) > MAX_COMMAND_BYTES:
        raise ValueError(f"arguments and variables of more than {MAX_COMMAND_BYTES >> 10} KB; upload a script")


def _has_bytes(text: str) -> bool:
    """Return whether a text can be given to a program: halves of characters have no bytes."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _path(path: str, folder: str = WORKSPACE) -> str:
    if not path or "\0" in path or not _has_bytes(path) or len(path.encode("utf-8", "surrogateescape")) > 2048:
        raise ValueError(f"{path[:60]!r} is no path")
    return posixpath.join(folder, path)


def _result(report: Report) -> ExecResult:
    stopped: Literal["time", "memory", "output"] | None = None
    if report.stopped in ("wall", "cpu"):
        stopped = "time"
    elif report.stopped == "memory" or report.oom:
        stopped = "memory"
    elif report.stopped == "output":
        stopped = "output"
    return ExecResult(
        exit_code=report.exit_code,
        signal=report.signal,
        stdout=report.stdout,
        stderr=report.stderr,
        stopped=stopped,
        cpu_ms=round(report.cpu_ms, 3),
        wall_ms=round(report.wall_ms, 3),
    )
