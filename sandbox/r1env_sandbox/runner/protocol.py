"""Frames, the stream that carries them, and where things are in a container. The host uses this module too."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

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
