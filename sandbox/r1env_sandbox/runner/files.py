"""Files of a container: writing a submission's, collecting what it wrote, and removing what it left."""

from __future__ import annotations

import os
import stat

from r1env_sandbox.runner.confinement import give_up_root
from r1env_sandbox.runner.protocol import BOX, PROGRAM, Frames, pack

WRITABLE = (BOX, "/tmp", "/dev/mqueue", "/dev/shm")  # all that a submission can write to; the last two only if they are mounted

FEW_FILES = 64  # removed one by one, in less time than it takes to start rm
CLEAN_SECONDS = 20.0


def write(path: str, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def readable(data: bytes) -> int:
    """A descriptor from which the data can be read, as from a file."""
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
    """Copy files from the program folder into the box, as the submission's own."""
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


def own_box(uid: int) -> None:
    os.chown(BOX, uid, uid)
    os.chmod(BOX, 0o700)


def empty_box(uid: int) -> bool:
    """Remove everything that a submission has written. False when something is left."""
    clean = [wipe(folder) for folder in WRITABLE]
    own_box(uid)
    return all(clean)


def wipe(folder: str) -> bool:
    """Empty a folder. True when nothing is left; a hostile tree is removed by rm, which neither recurses nor follows links."""
    try:
        entries = os.listdir(folder)
    except OSError:
        return not os.path.isdir(folder)
    if not entries:
        return True
    paths = [os.path.join(folder, entry) for entry in entries]
    if len(paths) <= FEW_FILES and not any(stat.S_ISDIR(os.lstat(path).st_mode) for path in paths):
        for path in paths:
            os.unlink(path)
        return True
    import subprocess  # loads threading, which makes every fork dearer: the launcher must not have it

    try:
        command = ["rm", "-rf", "--", folder]
        quiet = subprocess.DEVNULL
        subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=CLEAN_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    os.makedirs(folder, 0o755, exist_ok=True)
    return not os.listdir(folder)


def collect(uid: int, names: list[str], max_bytes: int) -> list[bytes | None]:
    """Files of the box, read by a child with the submission's rights: what those cannot open is not there."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            give_up_root(uid)
            files = [_read_plain(BOX, name, max_bytes) for name in names]
            with open(writer, "wb") as pipe:
                pipe.write(pack({"missing": [data is None for data in files]}, *(data or b"" for data in files)))
        finally:
            os._exit(0)
    os.close(writer)
    frames = Frames()
    with open(reader, "rb") as pipe:
        frames.feed(pipe.read())
    os.waitpid(pid, 0)
    frame = frames.pop()
    if frame is None:
        return [None] * len(names)
    header, blobs = frame
    return [None if missing else blob for missing, blob in zip(header["missing"], blobs, strict=True)]


def _read_plain(folder: str, name: str, max_bytes: int) -> bytes | None:
    """The beginning of a plain file with one name, no part of whose path is a link; None where there is no such file."""
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
    except OSError:
        return None
    finally:
        os.close(directory)
