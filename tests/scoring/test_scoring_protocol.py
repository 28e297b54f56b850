"""What goes over the wire comes out the same, and nothing else is taken for a reply."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from r1env.scoring.protocol import HEADER, MAX_REPLY_BYTES, Begun, Scored, encode_reply, encode_scored, take_reply
from r1env.types import Score, Status


def framed(body: bytes) -> bytearray:
    return bytearray(HEADER.pack(len(body)) + body)


@pytest.mark.parametrize(
    "score",
    [
        Score(value=0.5, parts={"a": 0.5, "a/b": -1.0}, reason="fine"),
        Score.failure(Status.NO_ANSWER, "nothing", parts=("a",)),
        Score(value=1.0, parts={"a": math.inf}, reason="\ud800 \x00 \u202e \N{SNOWMAN}"),
    ],
)
def test_a_score_survives_the_wire(score: Score) -> None:
    reply = take_reply(bytearray(encode_reply(Scored(index=3, score=score))))
    assert isinstance(reply, Scored)
    assert reply.score.value == score.value
    assert reply.score.status is score.status
    assert reply.score.reason == score.reason
    assert repr(reply.score.parts) == repr(score.parts)


def test_a_reply_is_taken_only_when_it_is_whole() -> None:
    frame = encode_reply(Begun())
    buffer = bytearray()
    for byte in frame[:-1]:
        buffer.append(byte)
        assert take_reply(buffer) is None
    buffer += frame[-1:] + frame
    assert take_reply(buffer) == Begun()
    assert take_reply(buffer) == Begun()
    assert not buffer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80\x04N.",
        b"not json",
        b"[1]",
        b'{"kind": "scored"}',
        b'{"kind": "strange"}',
        b'{"kind": "begun", "more": 1}',
        b'{"kind": "scored", "index": 0, "score": {"value": NaN}}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        take_reply(framed(body))


def test_an_endless_reply_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="a reply of"):
        take_reply(bytearray(HEADER.pack(MAX_REPLY_BYTES + 1)))


def test_a_score_that_is_kept_takes_little_more_than_its_own_structure() -> None:
    frames = [encode_scored(0, Score(value=n % 2, parts={"exact": n % 2, "format": 1.0}), n % 50 * 1e-6) for n in range(2000)]
    tracemalloc.start()
    try:
        kept = [take_reply(bytearray(frame)) for frame in frames]
        scores = [reply.score for reply in kept if isinstance(reply, Scored)]
        del kept
        each = tracemalloc.get_traced_memory()[0] / len(scores)
    finally:
        tracemalloc.stop()
    assert len(scores) == 2000
    assert each < 600, "a million are kept while a call of a million rollouts runs; with numbers of its own each takes 750"


def test_a_score_of_minus_zero_is_zero_and_others_are_as_they_were() -> None:
    for value in (0.0, -0.0, 1e-320, -1.5):
        reply = take_reply(bytearray(encode_scored(0, Score(value=value, parts={"r": value}), 0.0)))
        assert isinstance(reply, Scored)
        assert (reply.score.value, repr(reply.score.parts["r"])) == (value, repr(value + 0.0))
