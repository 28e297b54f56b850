"""The processes of a submission: finding, killing and reaping them. Only for pid 1 of a container."""

from __future__ import annotations

import os
import signal
import time


class Processes:
    """All processes of the container but the runner and the launcher.

    Attributes:
        orphans_cpu_ms, orphans_rss_kb: what those used that pid 1 has had to collect, since `forget_orphans`.
    """

    def __init__(self, uid: int, launcher_pid: int) -> None:
        self.uid = uid
        self.launcher_pid = launcher_pid
        self.forget_orphans()

    def forget_orphans(self) -> None:
        self.orphans_cpu_ms = 0.0
        self.orphans_rss_kb = 0

    def sweep(self) -> None:
        """Kill every process of the submission, and wait until there is none."""
        while True:
            self.kill()
            self.reap()
            if not self.programs():
                return
            time.sleep(0.0002)

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

    def programs(self) -> list[str]:
        """The ids of all processes but the runner and the launcher."""
        return [name for name in os.listdir("/proc") if name.isdecimal() and int(name) not in (os.getpid(), self.launcher_pid)]

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
