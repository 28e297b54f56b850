"""What no process of a container may do, whatever its uid: set once by the runner, inherited by all."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

# No other family of sockets: most reach kernel code that nothing here needs, and no network namespace contains the machine around a
# virtual one (AF_VSOCK) or the kernel's ciphers (AF_ALG). Reading the names of interfaces takes AF_NETLINK.
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCKET = {"x86_64": 41, "aarch64": 198}

# Numbers from 424 on are the same everywhere. io_uring: its operations pass no seccomp filter, and Docker allowed it until version 25.
# System V and POSIX queues, and what setxattr sets, would outlive the program. The rest reads other processes, makes namespaces, or
# lists mounts with the host's paths.
_DENIED_EVERYWHERE = (424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 438, 442, 447, 457, 458, 463, 469)
_DENIED = {
    # ptrace process_vm_{readv,writev} keyctl add_key request_key unshare setns bpf perf_event_open userfaultfd kcmp shm/sem/msgget mq_open
    # {,l,f}setxattr
    "x86_64": (0xC000003E, (101, 310, 311, 250, 248, 249, 272, 308, 321, 298, 323, 312, 29, 64, 68, 240, 188, 189, 190)),
    "aarch64": (0xC00000B7, (117, 270, 271, 219, 217, 218, 97, 268, 280, 241, 282, 272, 194, 190, 186, 180, 5, 6, 7)),
}


_CLONE3 = 435  # its flags cannot be filtered; C libraries that are told that there is none use clone


def seccomp_filter(machine: str, *, loopback: bool = True) -> bytes:
    """Return a BPF program that answers EPERM to `_DENIED`, to most families of sockets, and to system calls of another architecture.

    It answers ENOSYS to clone3, as new engines do: an old engine's EPERM keeps programs from starting threads.

    Args:
        machine: as `platform.machine()` names it.
        loopback: allow internet sockets. What they leave in the kernel (connections that are waiting to be forgotten, counters)
            outlives a program, so that submissions that are judged do without.

    Raises:
        KeyError: the numbers for this machine are not known.
    """
    architecture, numbers = _DENIED[machine]
    denied = sorted((*numbers, *_DENIED_EVERYWHERE))
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    families = (_AF_UNIX, _AF_NETLINK, *((_AF_INET, _AF_INET6) if loopback else ()))
    sockets = [  # behind the table: to the first answer after them, which allows, unless the family is none of these
        (equal, 0, len(families) + 1, _SOCKET[machine]),
        (load, 0, 0, 16),  # the first argument
        *((equal, len(families) - 1 - index, 0, family) for index, family in enumerate(families[:-1])),
        (equal, 0, 1, families[-1]),
    ]
    refusal = len(denied) + len(sockets)  # how far behind the first number of the table
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, 0x00050001), (load, 0, 0, 0)]
    # x32 calls on x86-64 are numbered from 1 << 30: the same kernel functions under other numbers.
    program += [(at_least, refusal + 3, 0, 0x40000000), (equal, 0, 1, _CLONE3), (answer, 0, 0, 0x00050026)]
    program += [(equal, refusal - index, 0, number) for index, number in enumerate(denied)]
    program += [*sockets, (answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050001)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def lock_down(loopback: bool) -> str | None:
    """Set what every process of this container inherits. Returns why the filter of system calls could not be set, or None."""
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_dumpable, pr_set_seccomp, pr_set_no_new_privs = 4, 22, 38
    libc.prctl(pr_set_dumpable, 0, 0, 0, 0)
    libc.prctl(pr_set_no_new_privs, 1, 0, 0, 0)
    try:
        code = seccomp_filter(platform.machine(), loopback=loopback)
    except KeyError:
        return f"no table of system calls for {platform.machine()}"
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(pr_set_seccomp, 2, ctypes.create_string_buffer(program, len(program)), 0, 0):
        return os.strerror(ctypes.get_errno())
    return None


def give_up_root(uid: int, groups: Sequence[int] = ()) -> None:
    """Become an ordinary user for good."""
    os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
