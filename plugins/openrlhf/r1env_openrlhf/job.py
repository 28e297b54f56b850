"""`Job`: the process that runs OpenRLHF, from its start to the last of its descendants."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

import psutil

from r1env_openrlhf.config import JobSpec

logger = logging.getLogger(__name__)

LAUNCH = "r1env_openrlhf.launch"

STOP_SECONDS = 20.0
"""For Ray to take its processes down in order, before they are killed."""

TAIL_BYTES = 1 << 16
"""Of the log, looked through for what went wrong."""


class Job:
    """A running job. A context manager: whatever happens inside, nothing of the job is left running afterwards.

    Inside, Ctrl-C and SIGTERM wait for the next `poll`.

    Args:
        interpreter: of the environment that has OpenRLHF.
        spec: what to run.
        folder: gets the spec as `job.json`, and the output as `log.txt`.
    """

    def __init__(self, interpreter: str, spec: JobSpec, folder: Path) -> None:
        self.log = folder / "log.txt"
        self._mark = uuid.uuid4().hex
        self._command = [interpreter, "-m", LAUNCH, str(folder / "job.json")]
        self._spec = spec.model_copy(update={"environment": {**spec.environment, MARK: self._mark}})
        self._interruption = Interruption()
        (folder / "job.json").write_text(self._spec.model_dump_json(indent=2) + "\n", "utf-8")

    def __enter__(self) -> Self:
        environment = {**os.environ, **self._spec.environment}
        self._interruption.__enter__()
        try:
            with self.log.open("ab") as log:
                # Its own session: a Ctrl-C at the terminal reaches us alone, and we take the job down in order.
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
                )
        except BaseException:
            self._interruption.__exit__()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._interruption.hold_off()
        try:
            self._take_down()
        finally:
            self._interruption.__exit__()
        if error is None:
            self._interruption.raise_if_any()  # one that came after the last `poll`

    def poll(self) -> int | None:
        """Return the job's exit status, or None while it runs.

        Raises:
            KeyboardInterrupt, SystemExit: somebody wants us to stop.
        """
        self._interruption.raise_if_any()
        return self._process.poll()

    def complaint(self) -> str:
        """Return the last line of the job's log that looks like the reason why it ended."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        errors = [line for line in lines if "Error" in line and "warn" not in line.lower()]
        return (errors or lines or ["it said nothing"])[-1].strip()[:500]

    def _take_down(self) -> None:
        """Stop the job within a bounded time, and warn if something is left to clear up."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()  # which it takes as the sign to stop, if it has not ended by itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        left = stop_marked(self._mark, session=self._process.pid)
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        if left:
            logger.warning("processes of OpenRLHF that could not be killed: %s", left)


# `Interruption`: Ctrl-C and SIGTERM, remembered until it is safe to act on them.

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context manager, inside which Ctrl-C and SIGTERM are remembered: an exception that comes anywhere could come between the start of a
    process and the note that it was started. Elsewhere than in the main thread it changes nothing, and a signal that is ignored stays so.

    A second signal raises at once, for what was to look for the first may hang; after `hold_off` none does.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._held_off = False

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._take) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold_off(self) -> None:
        """Only remember signals from now on: what follows must not be cut short."""
        self._held_off = True

    def raise_if_any(self) -> None:
        """
        Raises:
            KeyboardInterrupt: there was a Ctrl-C.
            SystemExit: there was a SIGTERM; the status is that of a shell, 143.
        """
        if self._number is not None:
            _raise(self._number)

    def _take(self, number: int, _: FrameType | None) -> None:
        again, self._number = self._number is not None, number
        if again and not self._held_off:
            _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


# All processes of a job, however deep and whoever started them.
#
# Either of two signs will do, for both can be lost: a mark in the environment, which a process that gives itself another title overwrites (all
# of Ray's workers do); and the session that the job was started in, which a daemon leaves.

MARK = "R1ENV_OPENRLHF_JOB"
"""The environment variable; its value names the job."""

PATIENCE_SECONDS = 5.0
"""For processes to end themselves, before they are killed."""

KILL_SECONDS = 30.0
"""For killed processes to be gone. Those that wait for a disk take their time."""


def marked(job: str, session: int | None = None) -> list[int]:
    """Return the ids of a job's running processes other than this one.

    Args:
        job: the mark's value.
        session: of the job, if it has one of its own.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it ended meanwhile, or is another user's
            ours = os.getsid(process.pid) == session or process.environ().get(MARK) == job
            if ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process.pid)
    return found


def own_session() -> int | None:
    """Return this process's session if it leads one, so that no other program is in it."""
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
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
