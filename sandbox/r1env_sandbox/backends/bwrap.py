"""Workers in bubblewrap's namespaces on this very host: no engine and no image, and the host's own compilers. Root's alone.

For an ordinary user bubblewrap maps a single uid, so that a submission and the runner that counts its time and its memory could not be
kept apart; that is refused rather than done half.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from r1env_sandbox.backends import cgroups
from r1env_sandbox.backends.cgroups import ControlGroup
from r1env_sandbox.errors import SandboxUnavailable, WorkerLost
from r1env_sandbox.languages import INCLUDE_FOLDER, LANGUAGES, LanguageSpec
from r1env_sandbox.transport import (
    CAPABILITIES,
    MAX_INODES,
    MAX_PROCESSES,
    RUNNER_ENVIRONMENT,
    TEMPORARY_MB,
    WORK_MB,
    StreamTransport,
    owner,
)

START_SECONDS = 30.0  # 0.05 is usual
PATH = RUNNER_ENVIRONMENT["PATH"]

_TOOLS = ("bwrap", "unshare", "mount", "sh", "rm", "python3")  # unshare and mount are of util-linux

# bubblewrap limits the size of a memory file system but not its number of files. So both are mounted before it starts, in a mount
# namespace that ends with the worker; what is mounted over there is any folder that every Linux has.
_STAGE = "/mnt"
_PREPARE = f"""
set -ef
for group in $R1ENV_GROUPS; do echo $$ > "$group/cgroup.procs"; done
unset R1ENV_GROUPS
ulimit -c 0
ulimit -n 1024
mount -t tmpfs -o mode=755,size=1m tmpfs {_STAGE}
mkdir {_STAGE}/judge {_STAGE}/tmp
mount -t tmpfs -o size=${{R1ENV_WORK_MB}}m,nr_inodes={MAX_INODES},mode=711,nosuid,nodev,noatime tmpfs {_STAGE}/judge
mount -t tmpfs -o size={TEMPORARY_MB}m,nr_inodes={MAX_INODES},mode=1777,nosuid,nodev,noexec,noatime tmpfs {_STAGE}/tmp
unset R1ENV_WORK_MB
exec bwrap "$@"
"""
# What finding compilers and libraries takes.
_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "java-*-openjdk")
_HIDDEN_FILES = ("kcore", "keys", "kmsg", "latency_stats", "sched_debug", "timer_list")  # of /proc, as engines do
_READ_ONLY = ("sys", "sysrq-trigger")  # of /proc


class BwrapBackend:
    """Starts workers in bubblewrap.

    Args:
        memory_mb: that a worker has from the start; one that needs more is given more.

    Raises:
        SandboxUnavailable: not root, no bubblewrap, no control groups, or nothing to run Python with.
    """

    name = "bwrap"

    def __init__(self, *, memory_mb: int = 1280) -> None:
        if os.geteuid() != 0:
            raise SandboxUnavailable(
                "backend 'bwrap' is root's alone: an ordinary user's programs could not be kept apart from what watches them",
                "Use Docker (a user in the group docker may), start this as root, or send programs to a server "
                "(`r1env-sandbox serve`) that runs elsewhere",
            )
        if missing := [tool for tool in _TOOLS if shutil.which(tool, path=f"{PATH}:/usr/sbin:/sbin") is None]:
            raise SandboxUnavailable(
                f"backend 'bwrap' lacks {', '.join(missing)}",
                "Install bubblewrap, util-linux and python3 with the system's packages",
            )
        try:
            self._filter = engine_filter()
        except KeyError as error:
            raise SandboxUnavailable(f"no table of system calls for {error}", "Use Docker") from error
        self._memory_mb = memory_mb
        self._python = str(shutil.which("python3", path=PATH))
        self.image = _system()
        self.runtime = _output("bwrap", "--version")
        self.languages: Collection[str] = frozenset(name for name, spec in LANGUAGES.items() if not _missing(spec))
        cgroups.reap_orphans()
        self._try()

    def start(self, command: list[str], work_mb: int = WORK_MB) -> BwrapTransport:
        name = f"{owner(os.getpid())}.{secrets.token_hex(4)}"
        group = ControlGroup(name, self._memory_mb, MAX_PROCESSES)
        calls = _readable(self._filter)
        ours, theirs = socket.socketpair()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - the transport closes it
        prepare = ["unshare", "--mount", "sh", "-c", _PREPARE, "sh"]
        try:
            process = subprocess.Popen(
                [*prepare, *self._options(group, calls), self._python, *command],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=log,
                pass_fds=[calls],
                env=self._environment(group, work_mb),
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is for this process
            )
        except OSError as error:
            ours.close()
            log.close()
            group.remove()
            raise SandboxUnavailable(f"bubblewrap cannot be started ({error})") from error
        finally:
            theirs.close()
            os.close(calls)
        return BwrapTransport(process, ours, log, group, self._memory_mb)

    def answers(self) -> bool:
        return True

    def describe(self) -> dict[str, str]:
        lacking = {name: missing for name, spec in LANGUAGES.items() if (missing := _missing(spec))}
        pytest = "importable" if _imports(self._python, "pytest") else "missing: tests of the kind pytest cannot be judged"
        return {
            "engine": f"{self.runtime}, kernel {platform.release()}",
            "cgroup version": str(cgroups.version()),
            "user namespaces": "not remapped",
            "programs see": "the host's /usr, read-only, and no other folder of the host",
            "processor time of a worker": "not shared out: each program's own limit only",
            "image": self.image,
            "languages": ", ".join(sorted(self.languages)),
            "languages missing": "; ".join(f"{name} (no {missing})" for name, missing in lacking.items()) or "none",
            "pytest for the host's python3": pytest,
        }

    def close(self) -> None:
        """Nothing is held but by workers."""

    def _try(self) -> None:
        """
        Raises:
            SandboxUnavailable: this root may not make namespaces or mounts, as in most containers.
        """
        worker = self.start(["-c", "print('ready')"])
        try:
            worker.receive(START_SECONDS)
        except WorkerLost as error:
            raise SandboxUnavailable(
                f"bubblewrap does not start here ({error})",
                "Start this on the host itself or in a privileged container, or use Docker",
            ) from error
        finally:
            worker.close()

    def _environment(self, group: ControlGroup, work_mb: int) -> dict[str, str]:
        # /usr/sbin for the tools that start it; workers find their programs by the PATH of their language
        paths = {
            "PATH": f"{PATH}:/usr/sbin:/sbin",
            "R1ENV_GROUPS": " ".join(map(str, group.folders)),
            "R1ENV_WORK_MB": str(work_mb),
        }
        return {**RUNNER_ENVIRONMENT, **paths}

    def _options(self, group: ControlGroup, calls: int) -> list[str]:
        return [
            *("--as-pid-1", "--new-session", "--hostname", "sandbox", "--seccomp", str(calls)),
            *(f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts", "cgroup")),
            *("--cap-drop", "ALL", *(word for name in CAPABILITIES for word in ("--cap-add", f"CAP_{name}"))),
            *_system_folders(),
            *("--proc", "/proc", *_covers_of_proc(), "--dev", "/dev", "--remount-ro", "/dev"),
            *("--dir", "/sys", "--dir", "/sys/fs", "--dir", "/sys/fs/cgroup"),
            *(
                word
                for folder, mount_point in zip(group.folders, group.mount_points, strict=True)
                for word in ("--ro-bind", str(folder), mount_point)
            ),
            *("--bind", f"{_STAGE}/judge", "/judge", "--bind", f"{_STAGE}/tmp", "/tmp"),
            *("--remount-ro", "/", "--chdir", "/", "--setenv", "PATH", PATH, "--"),
        ]


class BwrapTransport(StreamTransport):
    """The socket to the runner in one bubblewrap. The runner ends when it closes, and everything else with the runner."""

    def __init__(
        self, process: subprocess.Popen[bytes], stream: socket.socket, log: IO[bytes], group: ControlGroup, memory_mb: int
    ) -> None:
        super().__init__(f"bwrap-{process.pid}", stream, memory_mb)
        self._process = process
        self._log = log  # of the runner, or of bubblewrap
        self._group = group

    def _limit_memory(self, memory_mb: int) -> None:
        self._group.limit_memory(memory_mb)

    def _log_tail(self) -> bytes:
        try:
            end = os.fstat(self._log.fileno()).st_size
            return os.pread(self._log.fileno(), 400, max(0, end - 400))
        except (OSError, ValueError):  # closed by another thread
            return b""

    def _out_of_memory(self) -> bool:
        return self._group.ran_out_of_memory()

    def _end(self) -> None:
        self._process.kill()  # it may not have entered its control group yet
        self._group.kill()
        self._process.wait()
        self._group.remove()
        self._log.close()


def _readable(data: bytes) -> int:
    """Return a descriptor at the beginning of the data."""
    descriptor = os.memfd_create("data")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _system_folders() -> Iterator[str]:
    """Yield the host's programs and libraries, read-only, without what was installed for its Python: that may be what tests are made of."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin"):
        folder = Path("/", name)
        if folder.is_symlink():
            yield from ("--symlink", str(folder.readlink()), str(folder))
        elif folder.is_dir():
            yield from ("--ro-bind", str(folder), str(folder))
    for packages in sorted(Path("/usr/local/lib").glob("python3*/*-packages")):
        yield from ("--tmpfs", str(packages), "--remount-ro", str(packages))
    yield from ("--dir", "/etc")  # a folder that bubblewrap makes for a mount alone is root's to enter
    for path in sorted(path for pattern in _ETC for path in Path("/etc").glob(pattern)):
        yield from ("--ro-bind", str(path), str(path))
    if Path(INCLUDE_FOLDER).is_dir():
        yield from ("--dir", "/opt", "--dir", str(Path(INCLUDE_FOLDER).parent), "--ro-bind", INCLUDE_FOLDER, INCLUDE_FOLDER)


def _covers_of_proc() -> Iterator[str]:
    for name in _READ_ONLY:
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in _HIDDEN_FILES:
        if Path("/proc", name).exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")


def _missing(spec: LanguageSpec) -> str:
    """Return what this host lacks of a language: a program, or the C library's headers, which compilers come without. Empty: nothing."""
    programs = [command[0] for command in (spec.compile, spec.run) if command and not command[0].startswith("{")]
    if spec.compile and spec.compile[0] == "sh":
        programs.append(spec.compile[2].split()[0])
    for program in programs:
        found = shutil.which(program, path=PATH)
        if found is None or not Path(found).exists():
            return program
    if spec.name in ("c", "cpp", "cpp20") and not Path("/usr/include/stdio.h").exists():
        return "headers of the C library"
    return ""


def _imports(python: str, module: str) -> bool:
    answer = subprocess.run([python, "-I", "-c", f"import {module}"], capture_output=True, check=False, timeout=30)
    return answer.returncode == 0


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxUnavailable(f"{command[0]} fails ({error})", "Install bubblewrap anew") from error


def _system() -> str:
    """Return what stands where an image's id stands elsewhere: a verdict can be repeated on a host with the same programs."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return f"host, kernel {platform.release()}"
    return f"host, {release.get('PRETTY_NAME', 'Linux')}"


# The filter of system calls that a worker gets, as no engine brings one. The runner adds its own, which closes what engines leave open.
# It answers EPERM, so that programs go on, to what changes the machine (mounts, modules, clocks, swap, accounting), to what makes
# namespaces, and to two kinds of socket that no network namespace contains.

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
