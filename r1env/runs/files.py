"""Writing so that a crash, a kill or a full disk leaves the old content or the new, never half of one."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r1env.errors import RunError


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


def unused_path(parent: Path, stem: str) -> Path:
    """Return a path in `parent` that nothing has yet: `stem`, or else `stem-2`, `stem-3`, …."""
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 10_000))
    return next(parent / name for name in names if not (parent / name).exists())


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


# JSON that holds whatever a model wrote and whatever a metric became.


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in ASCII, since a model's text may hold lone surrogates; on one line unless `indent` is given.

    NaN and infinities become `null`; numbers of NumPy or torch are taken as numbers.
    """
    return json.dumps(json_ready(value), ensure_ascii=True, allow_nan=False, indent=indent)


def json_ready(value: Any) -> Any:
    """Return the value with plain numbers only, None where one is not finite.

    Raises:
        TypeError: something in it is neither a container, a text nor a number.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return json_ready(float(value))


# The two append-only logs of a run: JSON lines, and gzipped JSON lines. Reading stops at a tail that a crash left unfinished.


logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
GZIP_FORMAT = 31  # zlib's number for "one gzip member, largest window"


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the rows as JSON lines."""
    return b"".join(to_json(row).encode("ascii") + b"\n" for row in rows)


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of all complete lines; none where there is no file.

    Raises:
        RunError: a complete line is not JSON.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise RunError(f"{path}, line {number} is damaged: {error}") from error


def read_gzip_members(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of all complete gzip members, member by member; none where there is no file."""
    for _, data in gzip_members(path):
        for line in data.splitlines():
            yield json.loads(line)


def whole_lines_size(path: Path) -> int:
    """Return the size in bytes of the file up to the end of its last complete line."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end > 0:
            start = max(0, end - CHUNK_BYTES)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def whole_members_size(path: Path) -> int:
    """Return the size in bytes of the file up to the end of its last complete gzip member."""
    size = 0
    for end, _ in gzip_members(path):
        size = end
    return size


def gzip_members(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset of its end, content) of every complete gzip member from offset `start` on; stops at the first that is cut short or damaged."""
    if not path.exists():
        return
    end, pending = start, b""
    with path.open("rb") as file:
        file.seek(start)
        while True:
            inflate, pieces = zlib.decompressobj(wbits=GZIP_FORMAT), []
            while not inflate.eof:
                chunk = pending or file.read(CHUNK_BYTES)
                if not chunk:
                    return
                pending = b""
                try:
                    pieces.append(inflate.decompress(chunk))
                except zlib.error as error:
                    logger.warning("%s is damaged after byte %d and is read up to there: %s", path, end, error)
                    return
            pending = inflate.unused_data
            end = file.tell() - len(pending)
            yield end, b"".join(pieces)
