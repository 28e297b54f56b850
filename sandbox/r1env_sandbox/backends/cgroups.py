"""Control groups for workers that no engine makes them for: a bound on the memory and the number of all processes of a worker
together, and an account of their CPU time.

Version 1 (one folder a controller) and version 2 (one folder). Without either nothing bounds the memory of a program that forks, so
that there is no worker without one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from r1env_sandbox.errors import SandboxUnavailable
from r1env_sandbox.transport import is_orphan

ROOT = Path("/sys/fs/cgroup")
FOLDER = "r1env-sandbox"
REMOVE_SECONDS = 1.0
END_SECONDS = 10.0  # for processes that were sent SIGKILL to be gone


class ControlGroup:
    """The control group of one worker.

    Args:
        name: of its folder, made here: `owner`, a dot, anything.
        memory_mb, processes: what all its processes together may have.

    Attributes:
        folders: one for each controller, the one for memory first and the one for the number of processes last.
        mount_points: where those in it expect the counters of each folder.

    Raises:
        SandboxUnavailable: none can be made on this machine.
    """

    def __init__(self, name: str, memory_mb: int, processes: int) -> None:
        parents = _parents()
        self.mount_points = [str(parent.parent) for parent in parents]
        self.folders = [parent / name for parent in parents]
        try:
            for folder in self.folders:
                folder.mkdir()
            self.limit_memory(memory_mb)
            _write(self.folders[-1] / "pids.max", processes)
        except OSError as error:
            self.remove()
            raise SandboxUnavailable(*_refused(error)) from error

    def limit_memory(self, memory_mb: int) -> None:
        """Change how much memory, swap included, its processes may have.

        Raises:
            OSError: the kernel refuses.
        """
        memory, size = self.folders[0], memory_mb << 20
        if (memory / "memory.max").exists():
            _write(memory / "memory.max", size)
            if (memory / "memory.swap.max").exists():
                _write(memory / "memory.swap.max", 0)
            return
        names = [name for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if (memory / name).exists()]
        growing = size > int((memory / "memory.limit_in_bytes").read_text("ascii"))
        for name in reversed(names) if growing else names:  # memory with swap may never be less than memory
            _write(memory / name, size)

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel has ended one of its processes for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(OSError):
                lines = (self.folders[0] / name).read_text("ascii").splitlines()
                return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
        return False

    def kill(self) -> bool:
        """End all its processes, and wait for that. False when some are still there."""
        deadline = time.monotonic() + END_SECONDS
        while processes := self._processes():
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def remove(self) -> None:
        """Give it back. It has to be empty; the kernel may need a moment to see that."""
        deadline = time.monotonic() + REMOVE_SECONDS
        while not all(_remove(folder) for folder in self.folders if folder.exists()) and time.monotonic() < deadline:
            time.sleep(0.005)

    def _processes(self) -> list[int]:
        try:
            return [int(line) for line in (self.folders[0] / "cgroup.procs").read_text("ascii").split()]
        except OSError:
            return []


def reap_orphans() -> int:
    """Remove the groups whose owners are dead; how many there were. Their processes have ended: they do so with their owner."""
    reaped = 0
    for parent in _parents():
        for folder in parent.iterdir():
            if folder.is_dir() and is_orphan(folder.name.rpartition(".")[0]):
                reaped += _remove(folder)
    return reaped


def version() -> int:
    """1 or 2: which control groups this machine has for memory."""
    return 1 if (ROOT / "memory" / "memory.limit_in_bytes").exists() else 2


def _parents() -> list[Path]:
    """Return the folders in which a worker's are made: those for memory, for CPU time and for the number of processes, or one for all.

    Raises:
        SandboxUnavailable: there are none that can be written to.
    """
    tops = [ROOT]
    if version() == 1:
        account = ROOT / "cpuacct"  # without it, the CPU time of children that nobody waits for is not known
        tops = [ROOT / "memory", *([account] if account.is_dir() else []), ROOT / "pids"]
    try:
        for top in tops:
            (top / FOLDER).mkdir(exist_ok=True)
            if version() == 2:
                for folder in (top, top / FOLDER):
                    _write(folder / "cgroup.subtree_control", "+memory +pids")
    except OSError as error:
        raise SandboxUnavailable(*_refused(error)) from error
    return [top / FOLDER for top in tops]


def _refused(error: OSError) -> tuple[str, str]:
    return (
        f"no control group can be made, without which memory has no bound ({error})",
        f"Let root write to {ROOT}: on the host itself, or in a container that was given it; or use Docker",
    )


def _remove(folder: Path) -> bool:
    with contextlib.suppress(OSError):  # somebody else was faster, or a process has not gone yet: the next start finds it
        folder.rmdir()
        return True
    return False


def _write(path: Path, value: int | str) -> None:
    path.write_text(str(value), "ascii")
