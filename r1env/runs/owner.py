"""Who writes a run: the lock on its folder, and the signals that ask its process to end or to write a checkpoint."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from r1env.errors import RunError

logger = logging.getLogger(__name__)

LOCK = "lock.json"
SILENT = 600.0  # seconds without a sign of life, after which another machine's lock counts as left behind
_held: set[Path] = set()  # by this process, in which a second lock of one file would be granted


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder: no other process writes the run meanwhile.

    The kernel ends the lock with the process, however it dies. What is in the file says whose it is; a process that died left its entry,
    and the next one takes over with a message.

    Raises:
        RunError: another process writes the run.
    """
    path = (folder / LOCK).resolve()
    if path in _held:
        raise RunError(f"{folder} is being written by this process already")
    try:
        # Record locks, unlike those of flock(2), are not inherited by forked workers, which may outlive this process.
        with path.open("a+", encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _take_over(folder, file)
            _held.add(path)
            try:
                yield
            finally:
                _held.discard(path)
                file.truncate(0)
    except BlockingIOError:
        raise RunError(
            f"{folder} is being written by {_describe(path)}; wait for it, or end it (SIGTERM makes it write a checkpoint)"
        ) from None
    except PermissionError as error:
        raise RunError(f"cannot lock the run {folder}: {error.strerror}; it needs a folder that you may write to") from error


def _take_over(folder: Path, file: IO[str]) -> None:
    """Write this process into the lock file; refuse where it names one of another machine that has shown a sign of life lately."""
    file.seek(0)
    left = file.read()
    if left:
        host = _entry(left).get("host")
        quiet = time.time() - max(path.stat().st_mtime for path in folder.iterdir() if path.is_file() and path.name != LOCK)
        if host != socket.gethostname() and quiet < SILENT:  # the kernel there may not know of our lock
            raise RunError(
                f"{folder} is being written by {_describe(Path(file.name))}, on another machine, and was written to {quiet:.0f} s ago; if "
                f"that process is gone, delete {file.name}"
            )
        logger.warning("%s was left by %s, which is gone: taking over", folder, _describe(Path(file.name)))
    file.truncate(0)
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}, file)
    file.flush()


def _describe(path: Path) -> str:
    entry = _entry(path.read_text("utf-8", "replace"))
    return f"process {entry.get('pid', '?')} on {entry.get('host', '?')} since {entry.get('since', '?')}"


def _entry(text: str) -> dict[str, object]:
    try:
        entry = json.loads(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is: what was learned is checkpointed, and the exit code is 143."""


class Signals:
    """SIGINT, SIGTERM and SIGUSR1 as a training loop wants them: never in the middle of a change.

    SIGINT raises `KeyboardInterrupt` and SIGTERM `Terminated`, at once; between `hold` and `release` they wait. SIGUSR1 sets
    `checkpoint_wanted`. A second signal of the first two kinds, while one waits, is ignored: a checkpoint takes its time.

    Attributes:
        holding: signals wait.
        checkpoint_wanted: a checkpoint was asked for with SIGUSR1; whoever writes it sets this back to False.

    Example:
        >>> signals = Signals()
        >>> with signals.handled():
        ...     signals.hold()
        ...     # change weights, log, write
        ...     signals.release()
    """

    def __init__(self) -> None:
        self.checkpoint_wanted = False
        self.holding = False
        self._waiting: type[KeyboardInterrupt] | None = None

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals inside; only the main thread can, and elsewhere this changes nothing. A signal that is ignored stays so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
        heard = [number for number in kinds if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._take) for number in heard}
        try:
            yield
        finally:
            self.holding, self._waiting = False, None
            for number, handler in before.items():
                signal.signal(number, handler)

    def hold(self) -> None:
        """Let signals wait until `release`."""
        self.holding = True

    def release(self) -> None:
        """Raise what has waited."""
        self.holding = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            raise waiting

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGUSR1", None):
            self.checkpoint_wanted = True
            return
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if not self.holding:
            raise kind
        self._waiting = self._waiting or kind
