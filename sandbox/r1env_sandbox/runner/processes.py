"""The processes of a submission: finding, killing and reaping them. Only for pid 1 of a container."""

from __future__ import annotations

import os
import signal
import time

SWEEP_SECONDS = 0.0002  # what a killed process takes to end

_COUNTS = ("/sys/fs/cgroup/pids/pids.current", "/sys/fs/cgroup/pids.current")
_RUNNER_AND_LAUNCHER = b"2\n"


class Processes:
    """All processes of the container but the runner and the launcher.

    Attributes:
        orphans_cpu_ms, orphans_rss_kb: what those used that pid 1 has had to collect, since `forget_orphans`.
    """

    def __init__(self, uid: int, launcher_pid: int) -> None:
        self.uid = uid
        self.launcher_pid = launcher_pid
        self._count = _open_count()
        self.forget_orphans()

    def forget_orphans(self) -> None:
        self.orphans_cpu_ms = 0.0
        self.orphans_rss_kb = 0

    def sweep(self) -> None:
        """Kill every process of the submission, and wait until there is none."""
        while self.any_program():
            self.kill()
            self.reap()
            time.sleep(SWEEP_SECONDS)

    def kill(self) -> None:
        """Send SIGKILL to every process of the submission's uid.

        With that uid as its real and effective one, the runner may signal nothing else, so one kill(-1) reaches all of them and
        spares the launcher. It needs no new process, so it works with the process table full; the saved uid 0 leads back.
        """
        os.setresuid(self.uid, self.uid, 0)
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.setresuid(0, 0, 0)

    def any_program(self) -> bool:
        """Whether there is any process but the runner and the launcher, dead ones that nobody has collected included."""
        if self._count is not None:
            return os.pread(self._count, 32, 0) != _RUNNER_AND_LAUNCHER
        return any(name.isdecimal() and int(name) not in (os.getpid(), self.launcher_pid) for name in os.listdir("/proc"))

    def reap(self) -> None:
        """Collect ended orphans, and add what they used."""
        while True:
            try:
                pid, _, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                pid = self.launcher_pid
            if pid == 0:
                return
            if pid == self.launcher_pid:
                raise SystemExit("the launcher is gone")
            self.orphans_cpu_ms += 1000 * (used.ru_utime + used.ru_stime)
            self.orphans_rss_kb = max(self.orphans_rss_kb, used.ru_maxrss)


def _open_count() -> int | None:
    """The control group's count of processes and threads, a tenth of the price of /proc; None where it counts others' too."""
    for path in _COUNTS:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        if os.pread(descriptor, 32, 0) == _RUNNER_AND_LAUNCHER:
            return descriptor
        os.close(descriptor)
    return None
