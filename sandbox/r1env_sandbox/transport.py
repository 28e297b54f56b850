"""Where workers come from. `Backend` starts them, `Transport` is the stream to one; `docker` and `bwrap` are backends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

WORK_MB, TEMPORARY_MB = 96, 48  # of a worker's two memory file systems
MAX_INODES = 20_000  # of each: without a limit, empty files alone use up a worker's memory; this many are removed in 0.13 s
MAX_PROCESSES = 160  # well above what limits grant the submission, so that the runner itself can always fork

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
