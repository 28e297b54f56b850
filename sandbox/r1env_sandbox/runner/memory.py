"""The memory of the whole container, as its control group counts it. Both versions of control groups; nothing where there is neither."""

from __future__ import annotations

import os

_STATISTICS = ("/sys/fs/cgroup/memory/memory.stat", "/sys/fs/cgroup/memory.stat")
_EVENTS = ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events")
# Version 1 says `rss` for what version 2 calls `anon`. Files in memory (tmpfs, memfd) are `shmem`; the page cache is nobody's.
_OWN_PAGES = ("rss", "anon", "shmem")


class Memory:
    """Counters of the control group. Opened once, read often.

    Attributes:
        before: bytes that were used when `remember` was called last: what is not the program's.
    """

    def __init__(self) -> None:
        self._statistics = _open_first(_STATISTICS)
        self._events = _open_first(_EVENTS)
        self._oom_kills = 0
        self.new_oom_kill()
        self.remember()

    def remember(self) -> None:
        """Take what is used now as not the program's. Once a submission: the kernel adds up its counters for each reading."""
        self.before = self.used_bytes()

    def used_bytes(self) -> int:
        """What all processes and all files in memory have now; 0 where that is not known."""
        return sum(_counters(self._statistics).get(name, 0) for name in _OWN_PAGES)

    def new_oom_kill(self) -> bool:
        """Whether the kernel has ended a process for want of memory since the last call."""
        before, self._oom_kills = self._oom_kills, _counters(self._events).get("oom_kill", 0)
        return self._oom_kills > before


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
