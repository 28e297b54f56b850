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
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from resource import RLIMIT_AS, RLIMIT_CPU, RUSAGE_SELF, getrlimit, getrusage, setrlimit
from signal import ITIMER_PROF, setitimer
from typing import Generic, TypeVar

from r1env.rewards import Limits

MEGABYTE = 1 << 20
GRACE_SECONDS = 1
BACK_UP_SECONDS = 5
"""`RLIMIT_CPU` counts whole seconds. It backs up the timer, in case a library has taken the timer for itself, and is set anew only
after so many seconds: rollouts are often scored in microseconds."""

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


class Bounds:
    """Limits the CPU time and memory of a block. The kernel kills a process that exceeds its CPU time.

    Args:
        limits: what one item may cost.
        items: how many items the block scores; it may cost so many times the limits.
        used: CPU seconds of this process so far.
        in_use: bytes of address space that the process has already, which do not count; None where the system does not tell, and
            memory is not bounded.

    Attributes:
        intact: False if the block has changed the limits, which leaves the process unfit for others.
    """

    __slots__ = ("_cpu_seconds", "_memory", "intact")

    def __init__(self, limits: Limits, items: int, used: float, in_use: int | None) -> None:
        self.intact = True
        self._cpu_seconds = limits.cpu_seconds * items
        self._memory = None if in_use is None else _below_hard(RLIMIT_AS, in_use + limits.memory_mb * MEGABYTE * items)
        _back_up_the_timer(used, self._cpu_seconds)

    def __enter__(self) -> Bounds:
        if self._memory is not None:
            setrlimit(RLIMIT_AS, self._memory)
        setitimer(ITIMER_PROF, self._cpu_seconds)
        return self

    def __exit__(self, *_: object) -> None:
        setitimer(ITIMER_PROF, 0.0)
        if getrlimit(RLIMIT_CPU) != _cpu_limit[0]:
            self.intact = False
        if self._memory is not None:
            try:
                self.intact &= _exchange(RLIMIT_AS, (self._memory[1], self._memory[1])) == self._memory
            except (ValueError, OSError):  # the hard limit is lower than it was
                self.intact = False


def _back_up_the_timer(used: float, seconds: float) -> None:
    """Set `RLIMIT_CPU`, so that it allows at least so many seconds more than were used, and not many more."""
    soft, hard = _cpu_limit[0]
    if not seconds + GRACE_SECONDS <= soft - used <= seconds + 2 * BACK_UP_SECONDS:
        soft = _below_hard(RLIMIT_CPU, math.ceil(used + seconds) + GRACE_SECONDS + BACK_UP_SECONDS)[0]
        setrlimit(RLIMIT_CPU, (soft, hard))
        _cpu_limit[0] = (soft, hard)


_cpu_limit = [getrlimit(RLIMIT_CPU)]
"""The limit as this module has set it last."""


def cpu_seconds_used() -> float:
    """Return the user and system time of this process, its threads included.

    `time.process_time` will not do: while a CPU timer runs, Linux gives the value of the last tick.
    """
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _below_hard(kind: int, value: int) -> tuple[int, int]:
    """Return a soft limit, no higher than the hard one, which may have been set from outside, and the hard one."""
    hard = _hard_limit(kind)
    return (value if hard == resource.RLIM_INFINITY else min(value, hard)), hard


@cache
def _hard_limit(kind: int) -> int:
    return resource.getrlimit(kind)[1]


def _exchange(kind: int, value: tuple[int, int]) -> tuple[int, int]:
    """Set a limit and return what it was."""
    if _prlimit is not None:
        before: tuple[int, int] = _prlimit(0, kind, value)
        return before
    before = getrlimit(kind)
    setrlimit(kind, value)
    return before


_prlimit = getattr(resource, "prlimit", None)  # Linux only


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
