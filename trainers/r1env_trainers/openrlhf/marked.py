"""All processes of a job, however deep and whoever started them. Linux; none elsewhere.

Either of two signs will do, for both can be lost: a mark in the environment, which a process that gives itself another title overwrites (all
of Ray's workers do); and the session that the job was started in, which a daemon leaves.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "R1ENV_OPENRLHF_JOB"
"""The environment variable; its value names the job."""

PATIENCE_SECONDS = 5.0
"""For processes to end themselves, before they are killed."""

KILL_SECONDS = 30.0
"""For killed processes to be gone. Those that wait for a disk take their time."""


def marked(job: str, session: int | None = None) -> list[int]:
    """Ids of the running processes of a job, this one aside.

    Args:
        job: the mark's value.
        session: of the job, if it has one of its own.
    """
    needle = f"{MARK}={job}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            ours = int(its_session) == session or needle in (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if ours and state != "Z" and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def own_session() -> int | None:
    """The session of this process if it leads one: if nobody else's shell is in it."""
    return os.getpid() if os.getsid(0) == os.getpid() else None


def stop_marked(job: str, session: int | None = None, *, patience: float = PATIENCE_SECONDS) -> list[int]:
    """End what is left of a job: politely, and after `patience` seconds by force. Returns what withstood that too, for `KILL_SECONDS`."""
    _send(marked(job, session), signal.SIGTERM)
    deadline = time.monotonic() + patience
    while marked(job, session) and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + KILL_SECONDS
    while (left := marked(job, session)) and time.monotonic() < deadline:
        _send(left, signal.SIGKILL)  # again and again: a killed process may have been starting another one
        time.sleep(0.05)
    return left


def _send(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
