"""Which process something on this machine belongs to, so that what a dead one left can be told from what a living one uses."""

from __future__ import annotations

import socket
from pathlib import Path


def owner(pid: int) -> str:
    """Says which process of which machine something belongs to, so that another can tell whether that process is still there."""
    return f"{_machine()}:{pid}:{_started(pid)}"


def is_orphan(owned_by: str) -> bool:
    """Return whether what `owner` once gave names a process of this machine that is there no more."""
    machine, _, process = owned_by.rpartition(":")[0].rpartition(":")
    return machine == _machine() and process.isdecimal() and owned_by != owner(int(process))


def _machine() -> str:
    """This boot of this machine, and the process namespace in which the pid means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When the process was started, in clock ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
