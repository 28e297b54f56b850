"""The two append-only logs of a run: JSON lines, and gzipped JSON lines. Reading stops at a tail that a crash left unfinished."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r1env.errors import RunError
from r1env.runs.jsonable import to_json

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
GZIP_FORMAT = 31  # zlib's number for "one gzip member, largest window"


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The rows as JSON lines."""
    return b"".join(to_json(row).encode("ascii") + b"\n" for row in rows)


def gzip_member(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The rows as one complete gzip member, which can be appended to others. No rows, no bytes."""
    lines = json_lines(rows)
    return gzip.compress(lines, mtime=0) if lines else b""


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of all complete lines; none where there is no file.

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
    """The rows of all complete gzip members, member by member; none where there is no file."""
    for _, data in _members(path):
        for line in data.splitlines():
            yield json.loads(line)


def whole_lines_size(path: Path) -> int:
    """The size in bytes of the file up to the end of its last complete line."""
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
    """The size in bytes of the file up to the end of its last complete gzip member."""
    size = 0
    for end, _ in _members(path):
        size = end
    return size


def _members(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset of its end, content) of every complete gzip member; stops at the first that is cut short or damaged."""
    if not path.exists():
        return
    end, pending = 0, b""
    with path.open("rb") as file:
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
