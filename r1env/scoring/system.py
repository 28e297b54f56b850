"""What scoring asks of Linux beyond the standard library: ties between processes, namespaces, and what `/proc` says of a process tree.

Every function is harmless elsewhere: it does nothing, or returns None. `docs/scoring.md` says what is lost then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LINUX = sys.platform == "linux"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 19

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


# Ties between processes.


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when the thread that started it ends, even while this process is stopped.

    Args:
        parent: the process that started this one, to notice that it has ended already; None if it cannot be compared.
    """
    if _c("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0 and parent is not None and os.getppid() != parent:
        os._exit(1)


def wake_with_parent() -> None:
    """Have the kernel wake this process, if it is stopped, instead of killing it as `die_with_parent` asked."""
    _c("prctl", _PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends, so that none gets out of sight."""
    _c("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


NO_NAMESPACE = 97
"""Exit code of a worker that could not be put into a namespace as far as needed."""


def begin_worker(control_fd: int, parent: int, *, isolated: bool) -> bool:
    """Prepare a new process to load rewards. It returns in that process, or in a grandchild inside a PID namespace.

    Return whether there is a namespace.

    In a PID namespace a reward can neither see nor signal a process outside, and all that it started ends with the first process
    of the namespace. That one must be neither the worker (the kernel ignores signals of a first process to itself, those of CPU
    limits included) nor the process that the pool started (which is outside), so there are three.

    Args:
        control_fd: the connection to the pool, which only the last of them may hold.
        parent: the process of the pool.
        isolated: use a PID namespace where that is possible. It needs CAP_SYS_ADMIN. A user namespace would make it possible
            for everyone, but would also change which files, groups and sandboxes a reward can use.
    """
    die_with_parent(parent)
    if not isolated or _c("unshare", _CLONE_NEWPID | _CLONE_NEWNS) != 0:
        return False
    if (init := os.fork()) != 0:
        os.close(control_fd)
        _exit_like(os.waitpid(init, 0)[1])
    die_with_parent()
    if (worker := os.fork()) != 0:
        os.close(control_fd)
        _reap_until_the_end_of(worker)
    die_with_parent()
    # What is mounted later outside is seen inside, but not the other way round; `/proc` shows the pids of the inside.
    slave = _c("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
    if slave != 0 or _c("mount", b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None) != 0:
        os._exit(NO_NAMESPACE)
    return True


def _reap_until_the_end_of(worker: int) -> None:
    """Be the first process of a namespace: the parent of orphans. When it exits, the kernel kills whatever is left inside."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            _exit_like(status)


def _exit_like(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0 and code <= 128:
        os._exit(code)
    number = -code if code < 0 else code - 128
    if os.getpid() != 1:
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    os._exit(128 + number)  # of a first process, which cannot kill itself


def _c(name: str, *arguments: Any) -> int:
    """Call a function of the C library; return what it returns, or -1 where there is no such function."""
    function = getattr(_libc(), name, None) if LINUX else None
    if function is None:
        return -1
    wide = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    return int(function(*wide))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


# What processes leave behind in the system.


def remove_shared_memory(prefix: str) -> None:
    """Remove the segments of shared memory whose names begin so."""
    with suppress(OSError):
        for name in os.listdir("/dev/shm"):
            if name.startswith(prefix):
                os.unlink(f"/dev/shm/{name}")


# What a process tree uses.


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants have used. The counts of processes that have ended are in those of their parents.

    Attributes:
        cpu_seconds: CPU time of all, user and system.
        delays: by pid, for how many seconds each process was ready to run and had no processor.
        child_bytes: memory that the descendants share with nobody.
        stopped: the process itself is stopped (SIGSTOP, or a debugger).
    """

    cpu_seconds: float
    delays: Mapping[int, float]
    child_bytes: int
    stopped: bool


def usage(pid: int) -> Usage | None:
    """Return what a process and its descendants use; None where the system does not tell, or the process is gone."""
    own = _stat(pid)
    if own is None:
        return None
    cpu, memory = own.cpu_seconds, 0
    delays = {pid: _run_delay(pid)}
    for child in descendants(pid):
        found = _stat(child)
        if found is not None:
            cpu += found.cpu_seconds
            delays[child] = _run_delay(child)
            memory += _private_bytes(child)
    return Usage(cpu, delays, memory, own.stopped)


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped; False where the system does not tell."""
    found = _stat(pid)
    return found is not None and found.stopped


def descendants(pid: int) -> Iterator[int]:
    """Yield the children of a process, their children, and so on."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def children(pid: int) -> list[int]:
    """Return the children of a process, those that are zombies included; none where the system does not tell."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
    return found


@dataclass(frozen=True, slots=True)
class _Stat:
    cpu_seconds: float
    stopped: bool


def _stat(pid: int) -> _Stat | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return _Stat(sum(map(int, fields[11:15])) / TICKS_PER_SECOND, fields[0] in (b"T", b"t"))
    except (OSError, ValueError, IndexError):
        return None


def _run_delay(pid: int) -> float:
    """Return the seconds for which the thread that waited longest was ready to run and had no processor."""
    delays = [0.0]
    with suppress(OSError, ValueError, IndexError):
        threads = os.listdir(f"/proc/{pid}/task")
        delays += [int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_bytes().split()[1]) / 1e9 for thread in threads]
    return max(delays)


def _private_bytes(pid: int) -> int:
    """Return the memory that a process shares with nobody: pages of the parent that it has not changed do not count."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    sizes = (line.split() for line in lines if line.startswith((b"Private_", b"SwapPss:")))
    return sum(int(size[1]) << 10 for size in sizes)


# The pid of a process in another PID namespace, as this process sees it.

_CREDENTIALS = struct.Struct("3i")


def ask_for_sender(connection: socket.socket, *, wanted: bool) -> None:
    """Have the kernel say which process sent what is received from a Unix socket."""
    if LINUX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, int(wanted))


def receive_with_sender(connection: socket.socket) -> tuple[bytes, int]:
    """Receive from a socket for which `ask_for_sender` was called; return the data and the sender's pid, 0 where it is not known."""
    data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(_CREDENTIALS.size))
    for _, _, payload in ancillary:
        if len(payload) >= _CREDENTIALS.size:
            return data, int(_CREDENTIALS.unpack_from(payload)[0])
    return data, 0
