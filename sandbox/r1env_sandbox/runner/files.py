"""Files of a container: laying out a submission's, making fresh folders for every run, collecting, and putting back what runs change.

Whatever a submission may own is made anew for every run: an inode that it owned once keeps what it set on it (access lists, extended
attributes, flags, times), however empty it is. What it may only touch (shared folders, device files) gets its times put back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from r1env_sandbox.runner.confinement import give_up_root
from r1env_sandbox.runner.protocol import BOX, PROGRAM, VERIFIER

SHARED = ("/tmp", "/dev/mqueue", "/dev/shm")  # writable for all and root's own; the last two only where they are mounted
FEW_FILES = 64  # removed one by one, in less time than it takes to start rm
CLEAN_SECONDS = 20.0
SOME_TIME_NS = 1_000_000_000_000_000_000  # of all files that a run finds: a fixed moment of 2001, which tells nothing


class Touchables:
    """What a submission can change the times of without owning it: found once, put back after every run.

    Attributes:
        shared: those of `SHARED` that are there.
    """

    def __init__(self) -> None:
        self.shared = [folder for folder in SHARED if os.path.isdir(folder)]
        devices = [f"/dev/{name}" for name in _names("/dev") if name == "ptmx" or not os.path.islink(f"/dev/{name}")]
        paths = dict.fromkeys((*self.shared, "/dev", os.path.dirname(BOX), "/dev/pts", *devices))
        self._paths = [path for path in paths if _is_ours(path)]

    def put_back(self) -> None:
        for path in self._paths:
            try:
                os.utime(path, ns=(SOME_TIME_NS, SOME_TIME_NS))
            except OSError:  # a read-only mount, on which nobody can change them either
                continue


def write(path: str, data: bytes, mode: int) -> None:
    """Write a file as root."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(SOME_TIME_NS, SOME_TIME_NS))


def readable(data: bytes) -> int:
    """Return a descriptor from which the data can be read, as from a file."""
    if not data:
        return os.open("/dev/null", os.O_RDONLY)
    memory = os.memfd_create("stdin", 0)
    view = memoryview(data)
    while view:
        view = view[os.write(memory, view) :]
    os.fchmod(memory, 0o444)
    reader = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)
    os.close(memory)
    return reader


def fill_box(uid: int, names: list[str]) -> None:
    """Copy files from the program folder into the box, as the submission's own.

    Raises:
        OSError: they do not fit.
    """
    for name in names:
        path = BOX
        for part in os.path.dirname(name).split("/"):
            path = os.path.join(path, part)
            if not os.path.isdir(path):
                os.mkdir(path)
                os.chown(path, uid, uid)
        with open(os.path.join(PROGRAM, name), "rb") as file:
            write(os.path.join(BOX, name), file.read(), 0o644)
        os.chown(os.path.join(BOX, name), uid, uid)


def renew_box(uid: int) -> None:
    """Remove the box with everything in it, and make a new one: another inode, in a folder that no submission owns.

    Raises:
        OSError: something is left that cannot be removed.
    """
    remove(BOX)
    os.mkdir(BOX, 0o700)
    os.chown(BOX, uid, uid)


def open_for_verifier(verifier: int) -> None:
    """For a session: let the group of its agent read the box, and make a folder for the verifier alone."""
    os.chmod(BOX, 0o750)
    os.mkdir(VERIFIER, 0o700)
    os.chown(VERIFIER, verifier, verifier)


def renew(uid: int, touchables: Touchables) -> None:
    """Make everything that a submission can change as it was before it came.

    Raises:
        OSError: something is left that cannot be removed.
    """
    renew_box(uid)
    for folder in touchables.shared:
        empty(folder)
    touchables.put_back()


def remove(folder: str) -> None:
    """Remove a folder and all that is in it, whatever that is. A folder that is not there is fine.

    Raises:
        OSError: something is left.
    """
    empty(folder)
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return


def empty(folder: str) -> None:
    """Remove everything in a folder. A hostile tree is removed by rm, which neither recurses nor follows links.

    Raises:
        OSError: something is left.
    """
    entries = _names(folder)
    if not entries:
        return
    paths = [os.path.join(folder, entry) for entry in entries]
    if len(paths) <= FEW_FILES and not any(stat.S_ISDIR(os.lstat(path).st_mode) for path in paths):
        for path in paths:
            os.unlink(path)
        return
    import subprocess  # loads threading, which makes every fork dearer: the launcher must not have it

    quiet = subprocess.DEVNULL
    for start in range(0, len(paths), 256):  # in parts, as names may be long
        command = ["rm", "-rf", "--", *paths[start : start + 256]]
        try:
            subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=CLEAN_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{folder} cannot be emptied in {CLEAN_SECONDS:g} s") from error
    if left := _names(folder):
        raise OSError(f"{len(left)} entries of {folder} cannot be removed")


def collect(uid: int, names: list[str], max_bytes: int) -> list[bytes | None]:
    """Files of the box, read by a child with the submission's rights: what those cannot open is not there.

    Args:
        max_bytes: of all of them together; what is beyond is left out, from the file in which the bound is met.
    """

    def read(pipe: IO[bytes]) -> None:
        left = max_bytes
        for name in names:
            data = _read_plain(BOX, name, left)
            left -= len(data or b"")
            pipe.write((b"-" if data is None else b"+") + len(data or b"").to_bytes(8, "big"))
            pipe.write(data or b"")

    files: list[bytes | None] = []
    with _child_as(uid, read) as pipe:
        while len(files) < len(names) and len(head := pipe.read(9)) == 9:
            data = pipe.read(int.from_bytes(head[1:], "big"))
            files.append(data if head[:1] == b"+" else None)
    return files + [None] * (len(names) - len(files))  # the child was ended for want of memory


def put(uid: int, groups: Sequence[int], path: str, data: bytes) -> str | None:
    """Write a file with a user's rights, its folders included. Returns why that failed, or None."""

    def write_it(pipe: IO[bytes]) -> None:
        try:
            _write_with_folders(path, data)
            pipe.write(b"+")
        except (OSError, ValueError) as error:
            pipe.write(_reason(error))

    with _child_as(uid, write_it, groups) as pipe:
        answer = pipe.read()
    return None if answer == b"+" else answer.decode("utf-8", "replace") or "writing it took too much memory"


def get(uid: int, groups: Sequence[int], path: str, max_bytes: int) -> tuple[bytes, str | None]:
    """Read a file with a user's rights. Returns its contents, or why that failed."""

    def read(pipe: IO[bytes]) -> None:
        try:
            data = _read_any(path, max_bytes)
        except (OSError, ValueError) as error:
            pipe.write(b"-" + _reason(error))
        else:
            pipe.write(b"+")
            pipe.write(data)

    with _child_as(uid, read, groups) as pipe:
        outcome, rest = pipe.read(1), pipe.read()
    if outcome == b"+":
        return rest, None
    return b"", rest.decode("utf-8", "replace") or "reading it took too much memory"


@contextmanager
def _child_as(uid: int, work: Callable[[IO[bytes]], None], groups: Sequence[int] = ()) -> Iterator[IO[bytes]]:
    """What a child with a user's rights writes to its pipe. Nobody else with these rights is alive meanwhile."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            give_up_root(uid, groups)
            with open(writer, "wb") as pipe:
                work(pipe)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            yield pipe
    finally:
        os.waitpid(pid, 0)


def _reason(error: Exception) -> bytes:
    return str(getattr(error, "strerror", None) or error).encode("utf-8", "replace")[:500]


def _write_with_folders(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path) or "/", exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644), "wb") as file:
        file.write(data)


def _read_any(path: str, max_bytes: int) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a plain file")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(f"longer than {max_bytes} bytes")
    return data


def _read_plain(folder: str, name: str, max_bytes: int) -> bytes | None:
    """Return the beginning of a plain file with one name, no part of whose path is a link; None where there is no such file."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *parents, last = name.split("/")
        for part in parents:
            if stat.S_ISLNK(os.lstat(part, dir_fd=directory).st_mode):  # old gVisors follow it below; nobody is left to swap it
                return None
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        with open(os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                return None
            return file.read(max_bytes)
    except (OSError, ValueError, MemoryError):  # ValueError: a name that no file can have
        return None
    finally:
        os.close(directory)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_ours(path: str) -> bool:
    try:
        return os.stat(path).st_uid == 0
    except OSError:
        return False
