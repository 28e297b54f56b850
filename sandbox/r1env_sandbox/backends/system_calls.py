"""The filter of system calls that a worker gets where no engine brings one. The runner adds its own, which closes what engines leave open.

It answers EPERM, so that programs go on, to what changes the machine (mounts, modules, clocks, swap, accounting), to what makes
namespaces, and to two kinds of socket that no network namespace contains.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _ANY_BIT, _ANSWER = 0x20, 0x15, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET
_CLONE3 = 435  # its flags are in memory, where no filter can look; the C library falls back on clone
_AF_ALG, _AF_VSOCK = 38, 40  # the kernel's ciphers, and the machine around a virtual one


@dataclass(frozen=True, slots=True)
class _Numbers:
    architecture: int
    clone: int
    socket: int
    denied: tuple[int, ...]


# In the order: mount umount2 pivot_root chroot; reboot swapon swapoff sethostname setdomainname; init_module delete_module finit_module
# kexec_load kexec_file_load; acct settimeofday clock_settime adjtimex clock_adjtime; quotactl syslog vhangup; open_by_handle_at
# name_to_handle_at fanotify_init lookup_dcookie; mbind get_mempolicy set_mempolicy migrate_pages move_pages; personality nfsservctl;
# and on x86-64 alone iopl ioperm modify_ldt uselib sysfs.
_NUMBERS = {
    "x86_64": _Numbers(
        architecture=0xC000003E,
        clone=56,
        socket=41,
        denied=(
            *(165, 166, 155, 161, 169, 167, 168, 170, 171, 175, 176, 313, 246, 320, 163, 164, 227, 159, 305, 179, 103, 153),
            *(304, 303, 300, 212, 237, 239, 238, 256, 279, 135, 180, 172, 173, 154, 134, 139),
        ),
    ),
    "aarch64": _Numbers(
        architecture=0xC00000B7,
        clone=220,
        socket=198,
        denied=(
            *(40, 39, 41, 51, 142, 224, 225, 161, 162, 105, 106, 273, 104, 294, 89, 170, 112, 171, 266, 60, 116, 58),
            *(265, 264, 262, 18, 235, 236, 237, 238, 239, 92, 42),
        ),
    ),
}


def engine_filter(machine: str | None = None) -> bytes:
    """Return the filter as a BPF program, for the machine that `platform.machine()` names unless told another.

    Raises:
        KeyError: the numbers for this machine are not known.
    """
    numbers = _NUMBERS[machine or platform.machine()]
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_EQUAL, 1, 0, numbers.architecture), (_ANSWER, 0, 0, _EPERM)]
    program.append((_LOAD, 0, 0, _NUMBER_AT))
    for number, answer in [*((number, _EPERM) for number in numbers.denied), (_CLONE3, _ENOSYS)]:
        program += [(_EQUAL, 0, 1, number), (_ANSWER, 0, 0, answer)]
    program += [(_EQUAL, 0, 4, numbers.clone), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT), (_ANY_BIT, 0, 1, _NEW_NAMESPACES)]
    program += [(_ANSWER, 0, 0, _EPERM), (_ANSWER, 0, 0, _ALLOW)]
    program += [(_EQUAL, 0, 4, numbers.socket), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)]
    program += [(_EQUAL, 1, 0, _AF_ALG), (_EQUAL, 0, 1, _AF_VSOCK), (_ANSWER, 0, 0, _EPERM), (_ANSWER, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
