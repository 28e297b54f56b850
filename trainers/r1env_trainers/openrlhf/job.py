"""`Job`: the process that runs OpenRLHF, from its start to the last of its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from r1env_trainers.openrlhf.marked import MARK, stop_marked
from r1env_trainers.openrlhf.spec import JobSpec

LAUNCH = "r1env_trainers.openrlhf.launch"

STOP_SECONDS = 20.0
"""For Ray to take its processes down in order, before they are killed."""

TAIL_BYTES = 1 << 16
"""Of the log, looked through for what went wrong."""


class Job:
    """A running job. A context manager: whatever happens inside, nothing of the job is left running afterwards.

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
        (folder / "job.json").write_text(self._spec.model_dump_json(indent=2) + "\n", "utf-8")

    def __enter__(self) -> Self:
        environment = {**os.environ, **self._spec.environment}
        with self.log.open("ab") as log:
            # Its own session: a Ctrl-C at the terminal reaches us alone, and we take the job down in order.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()  # which it takes as the sign to stop, if it has not ended by itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        stop_marked(self._mark)
        self._process.wait()

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._process.poll()

    def complaint(self) -> str:
        """The last thing in its log that looks like the reason why it ended."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        errors = [line for line in lines if "Error" in line and "warn" not in line.lower()]
        return (errors or lines or ["it said nothing"])[-1].strip()[:500]


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises `SystemExit`, so that the job is taken down as on Ctrl-C. Elsewhere than in the main thread, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # a second one would cut the taking down short
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
