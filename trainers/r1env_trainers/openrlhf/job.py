"""`Job`: the process that runs OpenRLHF, from its start to the last of its descendants."""

from __future__ import annotations

import logging
import os
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from r1env_trainers.openrlhf.interruption import Interruption
from r1env_trainers.openrlhf.marked import KILL_SECONDS, MARK, stop_marked
from r1env_trainers.openrlhf.spec import JobSpec

logger = logging.getLogger(__name__)

LAUNCH = "r1env_trainers.openrlhf.launch"

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
        """Its exit status, or None while it runs.

        Raises:
            KeyboardInterrupt, SystemExit: somebody wants us to stop.
        """
        self._interruption.raise_if_any()
        return self._process.poll()

    def complaint(self) -> str:
        """The last thing in its log that looks like the reason why it ended."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        errors = [line for line in lines if "Error" in line and "warn" not in line.lower()]
        return (errors or lines or ["it said nothing"])[-1].strip()[:500]

    def _take_down(self) -> None:
        """Every wait here has a limit: whoever wants us to stop gets an end, and a warning if there is something to clear up."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()  # which it takes as the sign to stop, if it has not ended by itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        left = stop_marked(self._mark, session=self._process.pid)
        self._process.kill()  # without /proc the line above has found nothing
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        if left:
            logger.warning("processes of OpenRLHF that could not be killed: %s", left)
