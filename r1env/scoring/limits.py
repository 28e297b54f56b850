"""Limits on what scoring one rollout may cost, enforced by the kernel on the process that scores it. Used in workers only.

CPU time is bounded by `ITIMER_PROF` with the default action of its signal: the kernel ends the process, also inside C code
that never returns to the interpreter. No Python handler is involved, and `SIGALRM` stays free for libraries that use it.
Memory is bounded by `RLIMIT_AS`, counted from what the process has at the start, so that a score does not depend on the
rollouts before. Where the system cannot tell the size of the address space (macOS), memory is not bounded.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from r1env.rewards import Limits

MEGABYTE = 1 << 20
GRACE_SECONDS = 1
"""`RLIMIT_CPU` counts whole seconds. It backs up the timer, in case a library has taken the timer for itself."""

CPU_SIGNALS = frozenset({signal.SIGPROF, signal.SIGXCPU})
"""Signals that kill a process that has used up its CPU time."""


def prepare_process() -> None:
    """Prepare a new worker: default actions of the signals, no core files, and first choice of the out-of-memory killer."""
    for number in CPU_SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # an ignored signal stays ignored across exec
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CPU_SIGNALS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # Linux only: losing one rollout is better than losing the trainer
        Path("/proc/self/oom_score_adj").write_text("1000")


@contextmanager
def bounded(limits: Limits, items: int = 1) -> Iterator[None]:
    """Limit CPU time and memory of the block to `items` times the limits. The kernel kills a process that exceeds its CPU time."""
    cpu_seconds = limits.cpu_seconds * items
    in_use = address_space_bytes()
    if in_use is not None:
        _set_soft_limit(resource.RLIMIT_AS, in_use + limits.memory_mb * MEGABYTE * items)
    _set_soft_limit(resource.RLIMIT_CPU, math.ceil(cpu_seconds_used() + cpu_seconds) + GRACE_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        _set_soft_limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
        if in_use is not None:
            _set_soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def cpu_seconds_used() -> float:
    """Return the user and system time of this process, its threads included.

    `time.process_time` will not do: while a CPU timer runs, Linux gives the value of the last tick.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def address_space_bytes() -> int | None:
    """Return the virtual memory of this process, or None where the system does not tell."""
    return _statm_bytes(0)


def resident_bytes() -> int | None:
    """Return the physical memory of this process, or None where the system does not tell."""
    return _statm_bytes(1)


def _set_soft_limit(kind: int, value: int) -> None:
    """Set a soft limit, no higher than the hard one, which may have been set from outside."""
    hard = _hard_limit(kind)
    if hard != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard):
        value = hard
    resource.setrlimit(kind, (value, hard))


@cache
def _hard_limit(kind: int) -> int:
    return resource.getrlimit(kind)[1]


def _statm_bytes(field: int) -> int | None:
    file = _statm()
    return None if file is None else int(os.pread(file, 64, 0).split()[field]) * resource.getpagesize()


@cache
def _statm() -> int | None:
    """Return the file of Linux with this process's memory, kept open: it is read before and after every rollout."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


# Whether this process is a scoring worker. If a reward in a worker scores something itself, that runs inline in the worker, under the
# limits of the outer rollout: workers have no workers.

_inside_worker = False


def become_worker() -> None:
    """Mark this process as a scoring worker."""
    global _inside_worker
    _inside_worker = True


def inside_worker() -> bool:
    """Return True in a scoring worker, and in what it forks."""
    return _inside_worker


# `PerProcess`: an object that is made once in each process when it is first needed, and never shared across `os.fork`.

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Holds one `T` for each process. Any thread may ask for it.

    Threads do not survive a fork, so an object that owns threads would be dead in the child. There it is forgotten (not closed, since
    it still belongs to the parent), and a new one is made when somebody asks.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None
        os.register_at_fork(after_in_child=self._forget)

    def get(self) -> T:
        """Return the object of this process; make it on the first call. Raises what making it raises."""
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def _forget(self) -> None:
        self._lock = threading.Lock()  # the old lock may be held by a thread that the child does not have
        self._value = None
