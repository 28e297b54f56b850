"""What can go wrong around a sandbox. What goes wrong *inside* one is a `Verdict`, never an exception.

1. `SandboxUnavailable`: no program can be run on this machine. to be fixed by the user; raised to the caller.
2. `SandboxBusy`: every worker was taken for too long. Raised to the caller.
3. `WorkerLost`: a worker died, hung, or answered nonsense. Caught in one place, `Sandbox.judge`, which tries again once on another
   worker and then answers `judge_error`; or, where workers keep failing under this one program alone, `runtime_error`.
4. `FilesDoNotFit`: what was to be laid out in a worker cannot be. Caught in the same place; a verdict on whoever the files are from.
5. `SessionLost`: the container of a session is gone, and the episode with it. Raised to the caller.
"""

from __future__ import annotations

_WAYS_OUT = (
    "Install Docker (https://docs.docker.com/engine/install/), start it, and check that `docker info` works for this user; "
    "a remote engine is used when DOCKER_HOST names one; root on Linux may do without an engine by backend='bwrap', with bubblewrap"
)


class SandboxUnavailable(RuntimeError):  # noqa: N818 - it says a state of the machine, not a fault of the caller
    """No sandbox can run here. The message carries the cause and what to do about it."""

    def __init__(self, cause: str, remedy: str = _WAYS_OUT) -> None:
        """
        Args:
            cause: what was tried and how it failed, in one line ("no Docker socket at /var/run/docker.sock").
            remedy: what to do about it.
        """
        super().__init__(f"no sandbox is available: {' '.join(cause.split())}. {remedy}")
        self.cause = cause


class SandboxBusy(TimeoutError):  # noqa: N818 - as above
    """No worker became free in time."""


class WorkerLost(RuntimeError):  # noqa: N818 - as above
    """A worker cannot be used any more.

    Attributes:
        out_of_memory: the engine says that its container ran out of memory.
        by_program: it failed by itself while it answered or should have, so that the program in it may be the cause. A worker that
            is gone without a word was ended from outside.
    """

    def __init__(self, cause: str, *, out_of_memory: bool = False, by_program: bool = False) -> None:
        super().__init__(cause)
        self.out_of_memory = out_of_memory
        self.by_program = by_program


class FilesDoNotFit(WorkerLost):
    """The files of a request cannot be laid out in a worker: too much, or names that exclude each other. The worker is given up.

    Attributes:
        worker: the name of the worker that said so.
    """

    def __init__(self, cause: str, worker: str) -> None:
        super().__init__(cause)
        self.worker = worker


class SessionLost(RuntimeError):  # noqa: N818 - as above
    """The container of a session has ended: it was closed, ran out of time or memory, or its engine went away."""
