"""Tries a container runtime before anything is judged on it: one that does not start, or hangs, is found here and not in a verdict."""

from __future__ import annotations

import threading

from r1env_sandbox.errors import SandboxUnavailable, WorkerLost
from r1env_sandbox.languages import LANGUAGES
from r1env_sandbox.models import Limits
from r1env_sandbox.transport import Backend
from r1env_sandbox.worker import Report, Worker, run_command

PROBE_SECONDS = 60.0  # for all programs together; gVisor takes three
LOOP_SECONDS = 1  # of CPU time, after which a loop must be ended

_LIMITS = Limits(cpu_s=LOOP_SECONDS, wall_s=20)
_ECHO, _ENDLESS = b"print(input()[::-1])", b"while True: pass"


def prove_runtime(backend: Backend) -> None:
    """Start a worker, have it answer, run a program in a fresh interpreter and in a forked one, and end one that loops.

    Raises:
        SandboxUnavailable: any of this fails or takes too long; the message says which.
    """
    doing = "start a worker"
    try:
        worker = Worker(backend)
        deadline = threading.Timer(PROBE_SECONDS, worker.close)  # wakes whoever waits for the worker
        deadline.start()
        try:
            for fork in (False, True):
                doing = f"run a program in a {'forked' if fork else 'fresh'} interpreter"
                report = _run(worker, _ECHO, fork)
                if report.stdout != b"2 1\n":
                    raise WorkerLost(f"it printed {report.stdout[:100]!r} and {report.stderr[-300:]!r}")
            doing = f"end a program after {LOOP_SECONDS} s of CPU time"
            report = _run(worker, _ENDLESS, fork=False)
            if report.signal is None or report.stopped == "wall":
                raise WorkerLost(f"it ended after {report.cpu_ms:.0f} ms of CPU time, with the exit code {report.exit_code}")
        finally:
            deadline.cancel()
            worker.close()
    except WorkerLost as error:
        raise SandboxUnavailable(
            f"the runtime {backend.runtime!r} cannot {doing} ({error})", "Mend it or take another"
        ) from error


def _run(worker: Worker, source: bytes, fork: bool) -> Report:
    worker.begin({"main.py": source})
    report = worker.run(run_command(LANGUAGES["python"], _LIMITS, fork=fork), b"1 2\n")
    worker.end()
    return report
