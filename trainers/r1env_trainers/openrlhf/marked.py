"""All processes of a job, however deep and whoever started them: they carry a mark in their environment. Linux; none elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "R1ENV_OPENRLHF_JOB"
"""The environment variable; its value names the job."""


def marked(job: str) -> list[int]:
    """Ids of the running processes of a job, this one aside."""
    needle = f"{MARK}={job}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if state != "Z" and needle in environment and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def stop_marked(job: str, patience: float = 5.0) -> list[int]:
    """End what is left of a job: politely, and after `patience` seconds by force. Returns what had to be killed."""
    _send(marked(job), signal.SIGTERM)
    deadline = time.monotonic() + patience
    while (left := marked(job)) and time.monotonic() < deadline:
        time.sleep(0.1)
    while still := marked(job):  # a killed process may have been starting another one
        _send(still, signal.SIGKILL)
        time.sleep(0.05)
    return left


def _send(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
