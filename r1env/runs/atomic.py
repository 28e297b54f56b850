"""Writing so that a crash, a kill or a full disk leaves the old content or the new, never half of one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Put `text` (as UTF-8; lone surrogates become `?`) in place of the file's content, all or nothing.

    Raises:
        OSError: the file is as it was before.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def append_bytes(path: Path, data: bytes) -> None:
    """Add `data` at the end of the file, and give it to the operating system before returning.

    Raises:
        OSError: the file is as it was before; a half-written tail has been cut off again.
    """
    with path.open("ab", buffering=0) as file:
        start = file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
        except OSError:
            os.ftruncate(file.fileno(), start)
            raise


def sync(path: Path) -> int:
    """Make sure that the file is on the disk; returns its size in bytes, 0 where there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def cut(path: Path, size: int) -> None:
    """Shorten the file to `size` bytes; a file that is shorter, or not there, is left alone."""
    if path.exists() and path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
