"""`r1env train` as a user would run it, in a process of its own, and what it cost: shared by `demo.py` and `r1_pipeline.py`."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """What the process took, its children included.

    Attributes:
        wall_seconds: these mean little on a busy machine.
        peak_gb: of the largest single process.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_gb: float


def train(*arguments: str) -> Cost:
    """Run `r1env train ARGUMENTS`.

    Raises:
        SystemExit: the training failed.
    """
    command = ["r1env", "train", *arguments]
    start = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, sys.stdout.fileno(), os.devnull, os.O_WRONLY, 0)]  # the results alone go there
    pid = os.posix_spawn(str(Path(sys.executable).with_name("r1env")), command, os.environ, file_actions=silent)
    _, status, usage = os.wait4(pid, 0)
    wall_seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{shlex.join(command)}: ended with status {os.waitstatus_to_exitcode(status)}")
    return Cost(
        wall_seconds=wall_seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_gb=usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6),
    )
