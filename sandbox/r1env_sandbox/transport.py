"""Where workers come from. `Backend` starts them, `Transport` is the stream to one; `docker` and `bwrap` are backends.

`StreamTransport` is what their transports share, and `owner` names the process that something on this machine belongs to, so that what
a dead one left can be told from what a living one uses.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from r1env_sandbox.errors import WorkerLost

WORK_MB, TEMPORARY_MB = 96, 48  # of a worker's two memory file systems
MAX_INODES = 20_000  # of each: without a limit, empty files alone use up a worker's memory; this many are removed in 0.13 s
MAX_PROCESSES = 160  # well above what limits grant the submission, so that the runner itself can always fork

SEND_SECONDS = 60.0  # for a worker that does not read
CHUNK_BYTES = 1 << 18

CAPABILITIES = ("SETUID", "SETGID", "KILL", "CHOWN", "DAC_OVERRIDE", "FOWNER")
"""What the runner needs to change a child's uid, to end it, and to clean up after it. Submissions run without any."""

RUNNER_ENVIRONMENT: Mapping[str, str] = MappingProxyType({
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # a forked interpreter's, whose sets are then in the same order in every run
    "LD_BIND_NOW": "1",  # symbols are looked up once, rather than in every forked interpreter
})  # fmt: skip
"""Every environment variable of the runner. Submissions get their language's instead."""


class Transport(Protocol):
    """The stream to the runner of one worker, and that worker's life."""

    name: str

    def send(self, data: bytes) -> None:
        """Hand over all of the data.

        Raises:
            WorkerLost: the worker is gone or does not read.
        """

    def receive(self, timeout_s: float) -> bytes:
        """Return the next bytes from the runner, at least one.

        Raises:
            WorkerLost: the worker is gone, or nothing came in time.
        """

    def grow(self, memory_mb: int) -> None:
        """Let all processes of the worker together use this much memory, if they may not already."""

    def close(self) -> None:
        """End the worker and everything in it. Does not raise."""


@runtime_checkable
class Backend(Protocol):
    """Starts workers: places where the runner is pid 1, with nothing to reach but itself.

    Attributes:
        name: as verdicts and `Sandbox(backend=…)` name it.
        image, runtime: what verdicts say about where they come from.
        languages: those that its workers can compile and run.
    """

    name: str
    image: str
    runtime: str
    languages: Collection[str]

    def start(self, command: list[str], work_mb: int = WORK_MB) -> Transport:
        """Return a new worker that runs Python with these arguments as its pid 1. Called from several threads.

        Args:
            work_mb: of the file system in which programs work.

        Raises:
            SandboxUnavailable: no worker can be started on this machine.
            WorkerLost: this one could not be started.
        """

    def answers(self) -> bool:
        """Return whether workers can be started now. False while an engine restarts; its workers end with it."""

    def describe(self) -> dict[str, str]:
        """Return what it runs on, for a person."""

    def close(self) -> None:
        """Give back what the backend itself holds; its workers are closed before."""


class StreamTransport(ABC):
    """A `Transport` over a socket. Backends say what its bytes mean, how a limit is raised, and how the worker ends.

    Args:
        name: of the worker, as messages have it.
        stream: to the runner's stdin and stdout.
        memory_mb: what the worker may have from the start.
    """

    def __init__(self, name: str, stream: socket.socket, memory_mb: int) -> None:
        self.name = name
        self._socket = stream
        self._memory_mb = memory_mb
        # Held while a thread is in the socket. Another that closes it meanwhile would free the descriptor for the next connection, and
        # the first would go on reading from that one.
        self._sending, self._receiving = threading.Lock(), threading.Lock()

    def send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._socket.settimeout(SEND_SECONDS)
                self._socket.sendall(data)
        except OSError as error:
            raise self._lost(f"does not read ({error})") from error

    def receive(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with self._receiving:
                    self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                    data = self._socket.recv(CHUNK_BYTES)
            except TimeoutError as error:
                raise self._lost(f"did not answer in {timeout_s:.0f} s", by_program=True) from error
            except OSError as error:
                raise self._lost(f"is gone ({error})") from error
            if not data:
                raise self._lost("ended")
            if payload := self._payload(data):
                return payload

    def grow(self, memory_mb: int) -> None:
        if memory_mb <= self._memory_mb:
            return
        try:
            self._limit_memory(memory_mb)
        except OSError as error:
            raise WorkerLost(f"{self.name} cannot have {memory_mb} MB ({error})") from error
        self._memory_mb = memory_mb

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the other end may be gone
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that is in it; closing alone does not
        with self._sending, self._receiving:
            self._socket.close()
        self._end()

    def _lost(self, what: str, *, by_program: bool = False) -> WorkerLost:
        said = " ".join(self._log_tail().decode("utf-8", "replace").split())[-400:]
        cause = f"{self.name} {what}{': ' + said if said else ''}"
        # A runner that ends by itself says why.
        return WorkerLost(cause, out_of_memory=self._out_of_memory(), by_program=by_program or bool(said))

    def _payload(self, data: bytes) -> bytes:
        """Return what the runner wrote to stdout, as far as it can be told from what has come so far."""
        return data

    @abstractmethod
    def _limit_memory(self, memory_mb: int) -> None:
        """
        Raises:
            OSError: the limit cannot be changed.
        """

    @abstractmethod
    def _log_tail(self) -> bytes:
        """Return the end of what the runner said on stderr: why it died."""

    @abstractmethod
    def _out_of_memory(self) -> bool:
        """Return whether the worker had a process killed for want of memory."""

    @abstractmethod
    def _end(self) -> None:
        """End everything in the worker and give back what it held. Does not raise."""


def owner(pid: int) -> str:
    """Says which process of which machine something belongs to, so that another can tell whether that process is still there."""
    return f"{_machine()}:{pid}:{_started(pid)}"


def is_orphan(owned_by: str) -> bool:
    """Return whether what `owner` once gave names a process of this machine that is there no more."""
    machine, _, process = owned_by.rpartition(":")[0].rpartition(":")
    return machine == _machine() and process.isdecimal() and owned_by != owner(int(process))


def _machine() -> str:
    """This boot of this machine, and the process namespace in which the pid means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When the process was started, in clock ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
