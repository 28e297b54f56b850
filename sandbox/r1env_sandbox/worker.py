"""`Worker`: one container as seen from the host. Speaks the runner's protocol; what a report means is for `verdicts`."""

from __future__ import annotations

import json
import math
import random
import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from r1env_sandbox.errors import FilesDoNotFit, WorkerLost
from r1env_sandbox.languages import LanguageSpec
from r1env_sandbox.models import Limits
from r1env_sandbox.runner.protocol import (
    BOX,
    PROGRAM,
    RLIMIT_CORE,
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_MSGQUEUE,
    RLIMIT_NOFILE,
    RLIMIT_NPROC,
    RLIMIT_STACK,
    WALL_STRETCH,
    Frames,
    Limit,
    Program,
    pack,
    pack_program,
)
from r1env_sandbox.transport import WORK_MB, Backend, Transport

START_SECONDS = 60.0  # of a container on a busy machine; half a second is usual
GRACE_SECONDS = 30.0  # for the runner to stop a program, read what it wrote and clean up, beyond the program's own wall limit
AHEAD_BYTES = 32 << 10  # of requests that are sent together: a pipe takes them without waiting for the runner
AHEAD_RUNS = 16
STACK_LIMIT_MB = 256  # deep recursion is honest; more would make every thread of a program reserve it
MAX_LAYOUT_BYTES = WORK_MB << 20
MEMORY_OVERHEAD_MB = 160  # of the runner and of the files a submission may write, which count as memory

_BUFFERS = 4  # copies of what a program wrote, while the runner reads it and hands it over

# Each needs only those before it.
_RUNNER_MODULES = ("protocol", "confinement", "processes", "launcher", "files", "server")
_BOOTSTRAP = """
import json, sys, types
package = "r1env_sandbox.runner"
for name, source in [("r1env_sandbox", ""), (package, "")] + [(f"{package}.{n}", s) for n, s in json.loads(sys.argv[1])]:
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules[package + ".server"].main(sys.argv[2])
"""
"""Gives the container's Python the modules of `r1env_sandbox.runner`, which are not in its image."""

PRELOADED = (
    *("bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "heapq", "io"),
    *("itertools", "json", "math", "operator", "re", "string", "textwrap", "typing"),
)
"""What programs import most; a forked interpreter has them already. Not `random`: loaded, it draws a new seed after every fork, at
forty pages a test, where importing it takes less than a millisecond of the few tests that want it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start: its arguments and what it may use.

    Attributes:
        fork: run `argv[0]`, a Python file, in a fork of an interpreter that is already there.
        artifact: a file that it makes in the box, to be kept next to the source.
        keep_box: leave the box as the program leaves it.
        result: give it a descriptor 3, which ends up in `Report.result`. Only harnesses need one.
        uid, groups, folder: whose rights it has, and where it starts; None for the submission's and the box.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cpu_s: float
    wall_s: float
    memory_mb: int
    output_kb: int
    file_mb: int
    processes: int
    fork: bool = False
    artifact: str | None = None
    keep_box: bool = False
    result: bool = False
    uid: int | None = None
    groups: tuple[int, ...] = ()
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a program did.

    Attributes:
        exit_code, signal: one of them is None.
        stopped: why the runner ended it: `wall`, `cpu`, `output`, `memory`, `host`; None when it ended by itself or by a limit of the kernel's.
        oom: the kernel ended one of its processes for want of memory.
        result: what it wrote to descriptor 3.
        artifact: the file that `Command.artifact` names; empty when there is none.
    """

    exit_code: int | None
    signal: int | None
    cpu_ms: float
    wall_ms: float
    max_rss_kb: int
    stopped: str | None
    oom: bool
    stdout: bytes
    stderr: bytes
    result: bytes
    artifact: bytes


class Worker:
    """One container. Used by one thread at a time.

    Args:
        preload: modules that forked interpreters have.
        loopback: whether programs may have internet sockets, on the container's own loopback interface.
        session: whether it is for a session, which has a second user and a folder of `disk_mb` instead of the usual one.

    Attributes:
        uid: of the programs in it; the second user of a session has the next one.

    Raises (by every method but `close`):
        WorkerLost: it died, did not answer in time, or answered nonsense. It can only be closed then.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        preload: Sequence[str] = (),
        loopback: bool = False,
        session: bool = False,
        disk_mb: int = WORK_MB,
    ) -> None:
        # The process limit of a uid counts over all containers of a host, so each worker takes one of its own.
        self.uid = random.SystemRandom().randrange(10_000, 60_000)
        verifier = self.uid + 1 if session else None
        configuration = {"uid": self.uid, "preload": list(preload), "loopback": loopback, "verifier": verifier}
        command = ["-s", "-B", "-c", _BOOTSTRAP, _runner_modules(), json.dumps(configuration)]
        self._transport: Transport = backend.start(command) if disk_mb == WORK_MB else backend.start(command, disk_mb)
        self._frames = Frames()
        self._nonce = ""
        self._sent: deque[tuple[str, Command]] = deque()  # runs that were asked for and not heard of yet, with their nonces
        self._closed = False
        self.name = self._transport.name
        self.born = time.monotonic()
        self.submissions = 0
        self.memory_mb = 0
        try:
            self.about = self._ask({"op": "ping"}, START_SECONDS)[0]
        except BaseException:
            self.close()
            raise

    def ping(self) -> None:
        """Prove that the worker answers."""
        self._ask({"op": "ping"}, GRACE_SECONDS)

    def begin(self, files: Mapping[str, bytes], *, box: Sequence[str] = (), executable: Sequence[str] = ()) -> None:
        """Lay out a submission: its files, and which of them are also in the box when a run starts.

        Raises:
            FilesDoNotFit: they cannot be.
        """
        self.submissions += 1
        if sum(map(len, files.values())) > MAX_LAYOUT_BYTES:
            raise FilesDoNotFit(f"files of more than {MAX_LAYOUT_BYTES >> 20} MB", self.name)
        names = [[name, name in executable] for name in files]
        reply, _ = self._ask({"op": "begin", "files": names, "box": list(box)}, GRACE_SECONDS, *files.values())
        if reply.get("fault"):
            raise FilesDoNotFit(str(reply["fault"]), self.name)

    def run(self, command: Command, stdin: bytes = b"") -> Report:
        """Run a program to its end."""
        self.grow(_memory_of(command))
        return _report(*self._ask(_run_request(command), patience_s(command), self.pack(command), stdin))

    def run_each(self, runs: Sequence[tuple[Command, bytes]], *, ahead: bool = False) -> Iterator[tuple[Command, Report]]:
        """Run programs with their inputs, one after the other.

        Args:
            ahead: hand over many at once, so that the runner waits for nobody between them. Only the first goes alone: it shows
                whether there is any use in the others. Whoever stops early must call `settle`.
        """
        number = 0
        while number < len(runs):
            requests = bytearray()
            while number < len(runs) and (not self._sent or (ahead and number > 1 and len(self._sent) < AHEAD_RUNS)):
                command, stdin = runs[number]
                self.new_request()
                request = pack({**_run_request(command), "nonce": self._nonce}, self.pack(command), stdin)
                if self._sent and len(requests) + len(request) > AHEAD_BYTES:
                    break
                requests += request
                self._sent.append((self._nonce, command))
                number += 1
            self.grow(max(_memory_of(command) for _, command in self._sent))
            self._transport.send(bytes(requests))
            while self._sent:
                yield self._next_report()

    def settle(self) -> None:
        """Hear out the runs of `run_each` that nobody has asked for."""
        while self._sent:
            self._next_report()

    def _next_report(self) -> tuple[Command, Report]:
        # The runner may report on all of them at once.
        deadline = time.monotonic() + patience_s(*(command for _, command in self._sent))
        self._nonce, command = self._sent.popleft()
        return command, _report(*self.receive(deadline))

    def converse(self, command: Command) -> Conversation:
        """Start a program and exchange lines with it."""
        self.grow(_memory_of(command))
        return Conversation(self, command)

    def end(self, collect: Sequence[str] = (), max_bytes: int = 0) -> dict[str, bytes]:
        """Clean up after a submission, and return those of the files it was asked for that are there.

        Args:
            max_bytes: of all these files together.
        """
        self.grow(_BUFFERS * max_bytes >> 20)
        reply, blobs = self._ask({"op": "end", "collect": list(collect), "max_bytes": max_bytes}, GRACE_SECONDS)
        return {name: data for name, data in zip(collect, blobs, strict=True) if name not in reply["missing"]}

    def put(self, path: str, data: bytes, uid: int, groups: Sequence[int]) -> str | None:
        """Write a file with a user's rights. Returns why that failed, or None."""
        self.grow(_BUFFERS * len(data) >> 20)
        request = {"op": "put", "path": path, "uid": uid, "groups": list(groups)}
        reply, _ = self._ask(request, GRACE_SECONDS, data)
        return reply["fault"] and str(reply["fault"])

    def get(self, path: str, max_bytes: int, uid: int, groups: Sequence[int]) -> tuple[bytes, str | None]:
        """Read a file with a user's rights. Returns its contents, or why that failed."""
        self.grow(_BUFFERS * max_bytes >> 20)
        request = {"op": "get", "path": path, "uid": uid, "groups": list(groups), "max_bytes": max_bytes}
        reply, blobs = self._ask(request, GRACE_SECONDS)
        return blobs[0], reply["fault"] and str(reply["fault"])

    def grow(self, memory_mb: int) -> None:
        """Let the worker have this much memory, besides that of the runner and of files."""
        if memory_mb + MEMORY_OVERHEAD_MB > self.memory_mb:
            self._transport.grow(memory_mb + MEMORY_OVERHEAD_MB)
            self.memory_mb = memory_mb + MEMORY_OVERHEAD_MB

    def close(self) -> None:
        """End the container. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._transport.close()

    def send(self, header: dict[str, Any], *blobs: bytes) -> None:
        self._transport.send(pack({**header, "nonce": self._nonce}, *blobs))

    def receive(self, deadline: float) -> tuple[dict[str, Any], list[bytes]]:
        """Return the next frame of this request."""
        try:
            while (frame := self._frames.pop()) is None:
                self._frames.feed(self._transport.receive(max(0.0, deadline - time.monotonic())))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkerLost(f"{self.name} does not speak the protocol: {error}") from error
        if frame[0].get("nonce") != self._nonce:
            raise WorkerLost(f"{self.name} answered another request")
        if frame[0].get("op") == "fault":
            raise WorkerLost(f"{self.name} gives up: {str(frame[0].get('fault'))[:500]}", by_program=True)
        return frame

    def pack(self, command: Command) -> bytes:
        """Return a program as the launcher reads it."""
        # The kernel's clock for CPU time is coarse and may fire 0.15 s early, and a busy machine charges a fifth too much in whole ticks.
        # The runner and the verdict go by the exact account, where there is one: then this is only for the case that the runner is slow.
        cpu_s = math.ceil(command.cpu_s) + 1
        if self.about.get("cpu_account"):
            cpu_s += max(1, cpu_s // 2)
        values = {
            RLIMIT_FSIZE: command.file_mb << 20,
            RLIMIT_NPROC: command.processes,
            RLIMIT_STACK: min(command.memory_mb, STACK_LIMIT_MB) << 20,
            RLIMIT_NOFILE: 256,
            RLIMIT_CORE: 0,
            RLIMIT_MSGQUEUE: 0,  # gVisor refuses it; the filter of system calls denies the queues themselves
        }
        limits = [
            Limit(
                RLIMIT_CPU, False, cpu_s, cpu_s + 1
            ),  # SIGXCPU says why a program ended; the hard limit is for those that ignore it
            *(Limit(number, number == RLIMIT_MSGQUEUE, value, value) for number, value in values.items()),
        ]
        return pack_program(
            Program(
                argv=command.argv,
                environment=command.environment,
                fork=command.fork,
                uid=self.uid if command.uid is None else command.uid,
                groups=command.groups,
                folder=BOX if command.folder is None else command.folder,
                limits=limits,
            )
        )

    def new_request(self) -> None:
        self._nonce = secrets.token_hex(16)

    def _ask(self, header: dict[str, Any], timeout_s: float, *blobs: bytes) -> tuple[dict[str, Any], list[bytes]]:
        self.new_request()
        self.send(header, *blobs)
        return self.receive(time.monotonic() + timeout_s)


class Conversation:
    """A running program that is sent lines and answers on its descriptor 3 (Python's harnesses do)."""

    def __init__(self, worker: Worker, command: Command) -> None:
        self._worker = worker
        self._deadline = time.monotonic() + patience_s(command)
        self._pending = bytearray()
        self._report: Report | None = None
        worker.new_request()
        worker.send({**_run_request(command), "interactive": True}, worker.pack(command), b"")

    def say(self, line: str) -> None:
        """Send a line; it is lost when the program has ended."""
        if self._report is None:
            self._worker.send({"op": "input"}, line.encode() + b"\n")

    def listen(self) -> bytes | None:
        """Return the next line, without its end; None when the program has ended. The runner bounds how much it may say."""
        while (end := self._pending.find(b"\n")) < 0:
            if self._report is not None:
                return None
            header, blobs = self._worker.receive(self._deadline)
            if header["op"] == "output":
                self._pending += blobs[0]
            else:
                self._report = _report(header, blobs)
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line

    @property
    def spoke_out_of_turn(self) -> bool:
        """Whether more has come than the line that was asked for."""
        return bool(self._pending)

    @property
    def ended(self) -> bool:
        """Whether the program has ended, as far as this side has heard."""
        return self._report is not None

    def finish(self) -> Report:
        """Stop the program if it still runs; what it did."""
        if self._report is None:
            self._worker.send({"op": "stop"})
        while self._report is None:
            header, blobs = self._worker.receive(self._deadline)
            if header["op"] != "output":
                self._report = _report(header, blobs)
        return self._report


def patience_s(*commands: Command) -> float:
    """Return how long a worker may take to run programs one after the other: on a busy machine, the runner gives them more time."""
    return WALL_STRETCH * sum(command.wall_s for command in commands) + GRACE_SECONDS


def run_command(spec: LanguageSpec, limits: Limits, *, fork: bool = False, script: str | None = None) -> Command:
    """Return how a compiled or interpreted submission is run once.

    Args:
        script: a Python file next to the source to run instead of it.
    """
    source = f"{PROGRAM}/{script or spec.source_file}"
    artifact = f"{PROGRAM}/{spec.artifact}" if spec.artifact else ""
    argv = tuple(part.replace("{source}", source).replace("{artifact}", artifact) for part in spec.run)
    return Command(
        argv=(source,) if fork else argv,
        environment=spec.environment,
        cpu_s=limits.cpu_s,
        wall_s=limits.wall_s,
        memory_mb=limits.memory_mb + spec.extra_memory_mb,
        output_kb=limits.output_kb,
        file_mb=limits.file_mb,
        processes=limits.processes + spec.extra_processes,
        fork=fork,
        result=script is not None,
    )


def compile_command(spec: LanguageSpec, limits: Limits) -> Command:
    """Return how a submission is compiled.

    Raises:
        ValueError: its language has no compiler.
    """
    if spec.compile is None or spec.artifact is None:
        raise ValueError(f"{spec.name} is not compiled")
    source = f"{PROGRAM}/{spec.source_file}"
    return Command(
        argv=tuple(part.replace("{source}", source).replace("{artifact}", spec.artifact) for part in spec.compile),
        environment=spec.environment,
        cpu_s=limits.compile_cpu_s,
        wall_s=limits.compile_wall_s,
        memory_mb=limits.compile_memory_mb + spec.extra_memory_mb,
        output_kb=256,
        file_mb=64,
        processes=32 + spec.extra_processes,
        artifact=spec.artifact,
    )


def _memory_of(command: Command) -> int:
    return command.memory_mb + (_BUFFERS * command.output_kb >> 10)


def _run_request(command: Command) -> dict[str, Any]:
    return {
        "op": "run",
        "cpu_s": command.cpu_s,
        "result": command.result,
        "wall_s": command.wall_s,
        "output_bytes": command.output_kb << 10,
        "memory_bytes": command.memory_mb << 20,
        "artifact": command.artifact,
        "file_bytes": command.file_mb << 20,
        "keep_box": command.keep_box,
    }


def _report(header: dict[str, Any], blobs: list[bytes]) -> Report:
    try:
        names = ("exit_code", "signal", "cpu_ms", "wall_ms", "max_rss_kb", "stopped", "oom")
        return Report(*(header[name] for name in names), *blobs)
    except (KeyError, TypeError) as error:
        raise WorkerLost(f"a report without {error}") from error


@cache
def _runner_modules() -> str:
    folder = files("r1env_sandbox.runner")
    return json.dumps([[name, folder.joinpath(f"{name}.py").read_text("utf-8")] for name in _RUNNER_MODULES])
