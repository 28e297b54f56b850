"""Messages between the pool and its workers, and how they are framed.

The pool sends pickles (`Load`, `Work`), since a worker trusts it. A worker replies in JSON, which is validated and never unpickled:
it has read what a model wrote. In both directions a frame is the length of the body, eight bytes big-endian, and the body.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from r1env.types import Score

HEADER = struct.Struct(">Q")
MAX_REPLY_BYTES = 1 << 20
"""A score is a few numbers and one line; a longer reply means that the worker has been taken over."""


@dataclass(frozen=True, slots=True)
class Load:
    """Make a reward ready. Answered by `Loaded` or `Refused`."""

    digest: bytes  # names the reward in later messages
    search_path: list[str]  # the caller's `sys.path`, so that the worker finds what the caller finds
    reward: bytes  # a cloudpickle


@dataclass(frozen=True, slots=True)
class Work:
    """Score rollouts with a loaded reward. Answered by `Refused`, or by `Begun` and one `Scored` for each rollout, in order."""

    digest: bytes
    rollouts: bytes  # a cloudpickle of list[Rollout]; of list[tuple[Rollout, ...]] for a reward of scope `group`


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Loaded(_Reply):
    """The reward is ready."""

    kind: Literal["loaded"] = "loaded"


class Refused(_Reply):
    """The reward, or the rollouts, could not be unpickled here."""

    kind: Literal["refused"] = "refused"
    reason: str


class Begun(_Reply):
    """The rollouts are unpickled and the first is being scored: its clock starts now."""

    kind: Literal["begun"] = "begun"


class Scored(_Reply):
    """The score of the rollout at `index` of the work. The clock of the next one starts now.

    `worn`: the worker has done its share and ends here, whatever is left of the work.
    """

    kind: Literal["scored"] = "scored"
    index: int
    score: Score
    worn: bool = False


Reply = Loaded | Refused | Begun | Scored

_replies: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encode_message(message: Load | Work) -> bytes:
    """Return a framed message to a worker."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def receive_message(connection: socket.socket) -> Load | Work | None:
    """Wait for the next message from the pool and return it; None if the pool has hung up."""
    header = _receive_exactly(connection, HEADER.size)
    body = header and _receive_exactly(connection, HEADER.unpack(header)[0])
    if not body:
        return None
    message: Load | Work = pickle.loads(body)
    return message


def encode_reply(reply: Reply) -> bytes:
    """Return a framed reply to the pool. It is Python's JSON, not pydantic's, which keeps infinite parts and lone surrogates."""
    fields = reply.model_dump()
    if isinstance(reply, Scored) and not reply.score.turns:
        del fields["score"]["turns"]  # empty for all rewards but those of scope `turn`: not worth its way
    body = json.dumps(fields).encode("ascii")
    return HEADER.pack(len(body)) + body


def take_reply(buffer: bytearray) -> Reply | None:
    """Remove the first reply from the front of `buffer` and return it; None if it has not arrived completely.

    Raises:
        ValueError: it is too long, not JSON, or no reply.
    """
    if len(buffer) < HEADER.size:
        return None
    (length,) = HEADER.unpack_from(buffer)
    if length > MAX_REPLY_BYTES:
        raise ValueError(f"a reply of {length} bytes")
    end = HEADER.size + length
    if len(buffer) < end:
        return None
    body = bytes(buffer[HEADER.size : end])
    del buffer[:end]
    try:
        return _replies.validate_python(json.loads(body))
    except RecursionError as error:
        raise ValueError("a reply nested too deeply") from error


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Return `size` bytes, or none at all if the other side hung up before they came."""
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(min(size - len(received), 1 << 20))
        if not piece:
            return b""
        received += piece
    return bytes(received)
