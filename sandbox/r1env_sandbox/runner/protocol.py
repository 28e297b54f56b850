"""Frames, the stream that carries them, what the launcher is asked for, and where things are in a container. The host uses this too."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PROGRAM = "/judge/prog"  # root's: the source, the submission's files, what the compiler made
BOX = "/judge/box"  # the submission's: where it runs; empty but for its files when a run starts
VERIFIER = "/judge/verifier"  # the folder of a session's second user; elsewhere it does not exist

WALL_STRETCH = 6
"""How many times its wall limit a program may take that others keep from the processors."""

IDLE_STRETCH = 3
"""How many times its wall limit the program of a conversation may take that waits for its next line: a test may go on asking for ever."""
MAX_FRAME_BYTES = 256 << 20
READ_BYTES = 1 << 16  # a pipe's capacity

_HEAD = struct.Struct(">II")


def pack(header: dict[str, Any], *blobs: bytes) -> bytes:
    """Return a frame: two lengths, the header as JSON, and the blobs one after the other."""
    text = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    return b"".join((_HEAD.pack(len(text), sum(map(len, blobs))), text, *blobs))


class Frames:
    """Cuts a stream of bytes into frames.

    Raises (by `pop`):
        ValueError: the stream is no sequence of frames, or a frame is longer than `MAX_FRAME_BYTES`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def pop(self) -> tuple[dict[str, Any], list[bytes]] | None:
        """Return the next header and its blobs, or None while they are not complete."""
        if len(self._buffer) < _HEAD.size:
            return None
        text_bytes, blob_bytes = _HEAD.unpack_from(self._buffer)
        end = _HEAD.size + text_bytes + blob_bytes
        if end > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {end} bytes")
        if len(self._buffer) < end:
            return None
        header = json.loads(bytes(self._buffer[_HEAD.size : _HEAD.size + text_bytes]))
        blobs, start = [], _HEAD.size + text_bytes
        for size in header["blobs"]:
            blobs.append(bytes(self._buffer[start : start + size]))
            start += size
        del self._buffer[:end]
        return header, blobs


# Linux's numbers: the host may be another system.
RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MSGQUEUE = 0, 1, 3, 4, 6, 7, 12

_PROGRAM = struct.Struct("<6I")
_LIMIT = struct.Struct("<IIQQ")
_GROUP = struct.Struct("<I")


class Limit(NamedTuple):
    """One of the kernel's limits of a process: `setrlimit` with a number of Linux. An `optional` one may be refused, as by gVisor."""

    number: int
    optional: bool
    soft: int
    hard: int


class Program(NamedTuple):
    """What the launcher starts. With `fork`, a Python file and its arguments, in a copy of the launcher's own interpreter."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    fork: bool
    uid: int
    groups: Sequence[int]
    folder: str
    limits: Sequence[Limit]


def pack_program(program: Program) -> bytes:
    """Return a program as the launcher reads it: numbers, limits, groups, and texts that end with a null character.

    Raises:
        ValueError: a text that no program can be given.
    """
    variables = [f"{name}={value}" for name, value in program.environment.items()]
    texts = [program.folder, *program.argv, *variables]
    if any("\0" in text for text in texts):
        raise ValueError("a null character in an argument or a variable")
    return b"".join((
        _PROGRAM.pack(program.fork, program.uid, len(program.limits), len(program.groups), len(program.argv), len(variables)),
        *(_LIMIT.pack(*limit) for limit in program.limits),
        *map(_GROUP.pack, program.groups),
        "\0".join(texts).encode("utf-8", "surrogateescape"),
        b"\0",
    ))  # fmt: skip


def unpack_program(data: bytes) -> Program:
    """Return what `pack_program` has packed."""
    fork, uid, limits, groups, arguments, _ = _PROGRAM.unpack_from(data)
    start = _PROGRAM.size
    end = start + limits * _LIMIT.size
    texts = data[end + groups * _GROUP.size : -1].decode("utf-8", "surrogateescape").split("\0")
    return Program(
        argv=texts[1 : 1 + arguments],
        environment=dict(text.split("=", 1) for text in texts[1 + arguments :]),
        fork=bool(fork),
        uid=uid,
        groups=[group for (group,) in _GROUP.iter_unpack(data[end : end + groups * _GROUP.size])],
        folder=texts[0],
        limits=[
            Limit(number, bool(optional), soft, hard) for number, optional, soft, hard in _LIMIT.iter_unpack(data[start:end])
        ],
    )


class HostGone(Exception):  # noqa: N818 - an event, not a fault
    """The host closed the stream: nothing is left to do."""


class Channel:
    """The stream to the host: stdin and stdout of this process."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._replies = bytearray()

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        while (frame := self._frames.pop()) is None:
            self._flush()
            self.feed()
        return frame

    def pending(self) -> tuple[dict[str, Any], list[bytes]] | None:
        return self._frames.pop()

    def feed(self) -> None:
        data = os.read(0, READ_BYTES)
        if not data:
            raise HostGone
        self._frames.feed(data)

    def send(self, header: dict[str, Any], *blobs: bytes) -> None:
        """Hand over a frame, and all replies before it."""
        self._replies += pack(header, *blobs)
        self._flush()

    def reply(self, header: dict[str, Any], *blobs: bytes) -> None:
        """Hand over a frame when there is nothing else to do: every write wakes three processes on its way to the host."""
        self._replies += pack(header, *blobs)
        if len(self._replies) >= READ_BYTES:
            self._flush()

    def _flush(self) -> None:
        with memoryview(self._replies) as view:
            start = 0
            while start < len(view):
                start += os.write(1, view[start:])
        self._replies.clear()
