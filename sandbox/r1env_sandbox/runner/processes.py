"""The processes of a container as its runner sees them: killing and reaping them, and what they use together.

The counters are those of the container's control group, of either version, where they can be read.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

SWEEP_SECONDS = 0.0002  # what a killed process takes to end
SWEEP_LIMIT_SECONDS = 20.0  # after which the container cannot be swept, and must be given up
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")  # a second, in /proc/PID/stat
ANY_CHILD = 0x40000000  # __WALL: children of clone() with another signal than SIGCHLD as well

_PROCESSES = ("/sys/fs/cgroup/pids/pids.current", "/sys/fs/cgroup/pids.current")
_CPU = (
    "/sys/fs/cgroup/cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu.stat",
)
_MEMORY = ("/sys/fs/cgroup/memory/memory.stat", "/sys/fs/cgroup/memory.stat")
_OUT_OF_MEMORY = ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events")
# Version 1 says `rss` for what version 2 calls `anon`. Files in memory (tmpfs, memfd) are `shmem`; the page cache is nobody's.
_OWN_PAGES = ("rss", "anon", "shmem")

_RUNNER_AND_LAUNCHER = b"2\n"
_START_CPU_MS = 5000.0  # that a container may have used before its runner starts; a group that used more is a whole machine's


class Processes:
    """All processes of the container but the runner and the launcher.

    Args:
        launcher_pid: the launcher.
        sync: returns when the launcher has handled every signal that it was sent.

    Attributes:
        orphans_cpu_ms, orphans_rss_kb: what those used that the runner has had to collect, since `forget_orphans`.
    """

    def __init__(self, launcher_pid: int, sync: Callable[[], None]) -> None:
        self.launcher_pid = launcher_pid
        self._sync = sync
        self._signalled = False
        self._count = _open_count()
        self._processors, self._priority = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
        self.forget_orphans()

    def put_back(self) -> None:
        """Give the runner and the launcher the priority and the processors they had: under gVisor, any process may change them."""
        for pid in (os.getpid(), self.launcher_pid):
            with contextlib.suppress(OSError):  # the host itself may have changed what they may have
                if os.getpriority(os.PRIO_PROCESS, pid) != self._priority:
                    os.setpriority(os.PRIO_PROCESS, pid, self._priority)
                if os.sched_getaffinity(pid) != self._processors:
                    os.sched_setaffinity(pid, self._processors)

    def forget_orphans(self) -> None:
        self.orphans_cpu_ms = 0.0
        self.orphans_rss_kb = 0
        self._seen_cpu_ms: dict[int, float] = {}

    def seen_cpu_ms(self) -> float:
        """CPU time of all processes that were ever seen here, since `forget_orphans`: for where there is no account of it.

        What a process uses after the last look, and one that lives between two, is missing.
        """
        for pid in self._programs():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
                user, system = file.read().rpartition(b")")[2].split()[11:13]
                used_ms = 1000 * (int(user) + int(system)) / CLOCK_TICKS
                self._seen_cpu_ms[pid] = max(used_ms, self._seen_cpu_ms.get(pid, 0.0))
        return sum(self._seen_cpu_ms.values())

    def _programs(self) -> Iterator[int]:
        pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())
        return (pid for pid in pids if pid not in (os.getpid(), self.launcher_pid))

    def sweep(self) -> None:
        """Kill every process of the submission, and wait until there is none.

        Raises:
            OSError: some are still there after `SWEEP_LIMIT_SECONDS`.
        """
        deadline = time.monotonic() + SWEEP_LIMIT_SECONDS
        while self.any_program():
            self.kill()
            self.reap()
            if time.monotonic() > deadline:
                raise OSError("processes of the submission do not end")
            time.sleep(SWEEP_SECONDS)
        if self._signalled:  # a signal that is handled late would hit what the runner starts next
            self._sync()
            self._signalled = False

    def kill(self) -> None:
        """Have the launcher send SIGKILL to every process but the runner and itself.

        The launcher does it because `kill(-1)` spares only process 1 and the caller. So neither needs the submission's uid for it,
        under which the submission could send signals back, and no new process is needed, so it works with the process table full.
        One signal may come to nothing, when the launcher is just about to wait: whoever calls this goes on until all are gone.
        """
        os.kill(self.launcher_pid, signal.SIGUSR1)
        self._signalled = True

    def any_program(self) -> bool:
        """Return whether there is any process but the runner and the launcher, dead ones that nobody has collected included."""
        if self._count is not None:
            return os.pread(self._count, 32, 0) != _RUNNER_AND_LAUNCHER
        return any(True for _ in self._programs())

    def longest_wait_s(self) -> float:
        """Seconds that one of the programs' processes was ready to run and no processor was free for it: the longest of them."""
        waited_ns = 0
        for pid in self._programs():
            # The process may be gone, or the kernel (gVisor's) not say.
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
                waited_ns = max(waited_ns, int(file.read().split()[1]))
        return waited_ns / 1e9

    def reap(self) -> None:
        """Collect ended orphans, and add what they used.

        Raises:
            SystemExit: the launcher is among them.
        """
        while True:
            try:
                pid, _, used = os.wait4(-1, os.WNOHANG | ANY_CHILD)
            except ChildProcessError:
                pid = self.launcher_pid
            if pid == 0:
                return
            if pid == self.launcher_pid:
                raise SystemExit("the launcher is gone")
            self.orphans_cpu_ms += 1000 * (used.ru_utime + used.ru_stime)
            self.orphans_rss_kb = max(self.orphans_rss_kb, used.ru_maxrss)


class ControlGroup:
    """What the container's control group counts. Its files are opened once and read often.

    Attributes:
        memory_before: bytes that were used when `remember` was called last: what is not the program's.
    """

    def __init__(self) -> None:
        self._memory = _open_first(_MEMORY)
        self._out_of_memory = _open_first(_OUT_OF_MEMORY)
        self._cpu = _open_first(_CPU)
        used = self.cpu_ms()
        if used is not None and used > _START_CPU_MS + 1000 * time.process_time():
            self._cpu = None  # not this container's own group
        self._oom_kills = 0
        self.new_oom_kill()
        self.remember()

    def cpu_ms(self) -> float | None:
        """CPU time that all processes of the container have ever used, whether or not anybody waited for them; None if unknown."""
        if self._cpu is None:
            return None
        text = os.pread(self._cpu, 4096, 0)
        if text[:1].isdigit():  # version 1: nanoseconds
            return int(text) / 1e6
        return _counters(self._cpu).get("usage_usec", 0) / 1e3

    def remember(self) -> None:
        """Take what is used now as not the program's. Once a submission: the kernel adds up its counters for each reading."""
        self.memory_before = self.memory_bytes()

    def memory_bytes(self) -> int:
        """Return what all processes and all files in memory have now; 0 where that is not known."""
        return sum(_counters(self._memory).get(name, 0) for name in _OWN_PAGES)

    def new_oom_kill(self) -> bool:
        """Return whether the kernel has ended a process for want of memory since the last call."""
        before, self._oom_kills = self._oom_kills, _counters(self._out_of_memory).get("oom_kill", 0)
        return self._oom_kills > before


def _open_count() -> int | None:
    """Return the control group's count of processes and threads, a tenth of the price of /proc; None where it counts others' too."""
    for path in _PROCESSES:
        descriptor = _open_first((path,))
        if descriptor is None:
            continue
        if os.pread(descriptor, 32, 0) == _RUNNER_AND_LAUNCHER:
            return descriptor
        os.close(descriptor)
    return None


def _counters(descriptor: int | None) -> dict[str, int]:
    if descriptor is None:
        return {}
    pairs = (line.split() for line in os.pread(descriptor, 8192, 0).decode("ascii", "replace").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _open_first(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        try:
            return os.open(path, os.O_RDONLY)
        except OSError:
            continue
    return None
