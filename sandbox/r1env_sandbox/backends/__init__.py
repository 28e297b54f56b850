"""Where workers come from. `Backend` starts them, `Transport` is the stream to one; `docker` and `bwrap` are backends, `choose` takes one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable


class Transport(Protocol):
    """The stream to the runner of one worker, and that worker's life."""

    name: str

    def send(self, data: bytes) -> None:
        """Hand over all of the data.

        Raises:
            WorkerLost: the worker is gone or does not read.
        """

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes from the runner, at least one.

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

    def start(self, command: list[str]) -> Transport:
        """A new worker that runs Python with these arguments as its pid 1. Called from several threads.

        Raises:
            SandboxUnavailable: no worker can be started on this machine.
            WorkerLost: this one could not be started.
        """

    def describe(self) -> dict[str, str]:
        """What it runs on, for a person."""

    def close(self) -> None:
        """Give back what the backend itself holds; its workers are closed before."""
