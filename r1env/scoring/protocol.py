"""Messages between the pool and its processes, and how they are framed.

The pool sends pickles, since a worker trusts it: `Load`, `Fork` and `End` to a zygote, `Work` to a worker. Replies are JSON, which is
validated and never unpickled: a worker has read what a model wrote. In both directions a frame is the length of the body, eight bytes
big-endian, and the body.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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
    forget: Sequence[bytes] = ()  # digests of rewards to let go of


@dataclass(frozen=True, slots=True)
class Fork:
    """Fork a worker that serves the connection whose descriptor comes with this message. Answered by `Forked` or `Refused`."""


@dataclass(frozen=True, slots=True)
class End:
    """End the worker. Answered by `Ended`, unless that was sent already."""


@dataclass(frozen=True, slots=True)
class Work:
    """Score rollouts with a loaded reward. Answered by `Refused`, or by `Begun` and one `Scored` for each rollout, in order."""

    digest: bytes
    rollouts: bytes  # a cloudpickle of list[Rollout]; of list[tuple[Rollout, ...]] for a reward of scope `group`
    settle_in: bool = False  # what the first rollout changes in the process belongs to the reward


Message = Load | Fork | End | Work


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Started(_Reply):
    """The first message of a process: it is ready to serve. `pid` is its own as it sees it, perhaps inside a namespace."""

    kind: Literal["started"] = "started"
    pid: int


class Loaded(_Reply):
    """The reward is ready. `forkable`: all that is loaded can be forked; otherwise the zygote scores itself."""

    kind: Literal["loaded"] = "loaded"
    forkable: bool


class Refused(_Reply):
    """The reward, or the rollouts, could not be unpickled here; or the system refused a fork, for the reason `errno`."""

    kind: Literal["refused"] = "refused"
    reason: str
    errno: int = 0


class Forked(_Reply):
    """A worker was forked; it says `Started` on its own connection."""

    kind: Literal["forked"] = "forked"


class Ended(_Reply):
    """The worker of this number (the first is 1) has ended, and so has all that it started."""

    kind: Literal["ended"] = "ended"
    fork: int
    exit_code: int  # minus the number of the signal that killed it


class Begun(_Reply):
    """The rollouts are unpickled and the first is being scored: its clock starts now."""

    kind: Literal["begun"] = "begun"


class Scored(_Reply):
    """The score of the rollout at `index` of the work. The clock of the next one starts now.

    `worn`: the worker has done its share and ends here, whatever is left of the work. `changes`: the worker ends because this rollout
    has left it changed in these ways; see `ProcessState`.
    """

    kind: Literal["scored"] = "scored"
    index: int
    score: Score
    worn: bool = False
    changes: tuple[str, ...] = ()


Reply = Started | Loaded | Refused | Forked | Ended | Begun | Scored

_scored = Scored.__pydantic_validator__
_replies: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encode_message(message: Message) -> bytes:
    """Return a framed message to a worker or zygote."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def receive_message(connection: socket.socket) -> tuple[Message | None, list[int]]:
    """Wait for the next message from the pool; return it with the descriptors that came along. None if the pool has hung up."""
    header, files, _, _ = socket.recv_fds(connection, HEADER.size, 1)
    header += _receive_exactly(connection, HEADER.size - len(header)) if header else b""
    body = _receive_exactly(connection, HEADER.unpack(header)[0]) if len(header) == HEADER.size else b""
    if not body:
        return None, files
    message: Message = pickle.loads(body)
    return message, files


_dumps = json.dumps  # bound here, because a reward may replace it


def encode_reply(reply: Reply) -> bytes:
    """Return a framed reply to the pool."""
    return _frame(reply.model_dump())


def encode_scored(index: int, score: Score, seconds: float, *, worn: bool = False, changes: tuple[str, ...] = ()) -> bytes:
    """Return a framed `Scored`. There is one for every rollout, so it is made without the detour over a model.

    Args:
        seconds: what scoring took, instead of what the score says. To the microsecond, which is what the system counts in.
    """
    verdict: dict[str, object] = {
        "value": score.value,
        "parts": score.parts,
        "status": score.status,
        "reason": score.reason,
        "seconds": round(seconds, 6),
    }
    if score.turns:  # empty for all rewards but those of scope `turn`
        verdict["turns"] = score.turns
    fields: dict[str, object] = {"kind": "scored", "index": index, "score": verdict}
    if worn or changes:
        fields |= {"worn": worn, "changes": changes}
    return _frame(fields)


def _frame(fields: dict[str, object]) -> bytes:
    """Python's JSON, not pydantic's, keeps infinite parts and lone surrogates."""
    body = _dumps(fields).encode("ascii")
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
        fields = json.loads(body)
        if isinstance(fields, dict) and fields.get("kind") == "scored":  # almost all of them
            scored: Scored = _scored.validate_python(fields)
            _make_small(scored.score)
            return scored
        return _replies.validate_python(fields)
    except RecursionError as error:
        raise ValueError("a reply nested too deeply") from error


_SCORE_FIELDS = set(Score.model_fields)


def _make_small(score: Score) -> None:
    """Share what scores have in common: a million of them are kept, and each takes 600 bytes instead of twice that."""
    values = score.__dict__
    if score.value is not None:
        values["value"] = _shared(score.value + 0.0)  # -0.0 is 0.0
    values["seconds"] = _shared(score.seconds)
    values["parts"] = {sys.intern(key): _shared(part + 0.0) for key, part in score.parts.items()}
    object.__setattr__(score, "__pydantic_fields_set__", _SCORE_FIELDS)


@lru_cache(maxsize=1024)
def _shared(number: float) -> float:
    """Return the same object for numbers that are equal; most scores are one of a few numbers, and most seconds a few microseconds."""
    return number


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Return `size` bytes, or none at all if the other side hung up before they came."""
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(min(size - len(received), 1 << 20))
        if not piece:
            return b""
        received += piece
    return bytes(received)
