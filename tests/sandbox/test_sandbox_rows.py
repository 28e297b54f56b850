"""Rows of the command and of the server: whatever comes in, one line of JSON goes out."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections import defaultdict, deque, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_values import rich, values

from r1env_sandbox import JudgeResult, SandboxUnavailable, TestResult, Verdict
from r1env_sandbox.cli import _judge_lines, _lines
from r1env_sandbox.harness import plain
from r1env_sandbox.rows import judge_line

ROW = {"language": "python", "source": "", "tests": [{"kind": "stdio", "stdin": "", "expected": ""}]}


class Judge:
    """A sandbox that answers everything alike, or fails alike."""

    def __init__(self, answer):
        self.answer = answer

    def judge(self, *_, **__):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def answered(line, answer=None):
    sandbox = Judge(answer or JudgeResult(status=Verdict.WRONG_ANSWER, score=0.0))
    row = judge_line(sandbox, line if isinstance(line, bytes) else json.dumps(line).encode())
    return json.loads(json.dumps(row, allow_nan=False))


@given(st.binary() | st.text().map(str.encode))
def test_any_line_is_answered(line):
    assert answered(line)["status"] == "rejected_input"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(["id", "language", "source", "files", "collect", "tests", "limits", "stop_at_first_failure", "\ud800"]),
)
def test_any_field_is_answered(value, field):
    row = answered(json.dumps({**ROW, field: value}).encode())
    assert row["status"] in ("rejected_input", "wrong_answer")


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (b"\xff\xfe", "codec can't decode"),
        (b"[" * 200_000, "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "a row is a JSON object"),
        (b'{"id": NaN}', "not a finite number"),
        (b'{"\\ud800": 1}', "language: Field required"),
        (json.dumps({**ROW, "tests": [{"kind": "call", "function": "f", "args": [{"__set__": 5}], "expected": 1}]}).encode(), "holds something else"),
        (json.dumps({**ROW, "tests": [{"kind": "stdio", "\ud800": 1}]}).encode(), "tests"),
        (json.dumps({**ROW, "files": {str(n): "x" * (9 << 20) for n in range(4)}}).encode(), "longer than 32 MB together"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_line_that_is_no_row_is_told_why(line, note):
    row = answered(line)
    assert (row["status"], row["score"]) == ("rejected_input", None)
    assert note in row["info"]["note"]


@pytest.mark.parametrize("row_id", [None, "x", 7, 2.5, "\ud800", -5, True])
def test_an_id_comes_back(row_id):
    assert answered({**ROW, "id": row_id})["id"] == row_id or row_id in ("\ud800", True)


def test_an_id_that_cannot_be_written_back_is_refused():
    line = json.dumps({**ROW, "id": 0}).replace(": 0", ": " + "9" * 5000).encode()
    assert answered(line)["status"] == "rejected_input"
    assert answered(line)["id"] is None


@pytest.mark.parametrize(
    "fault",
    [ValueError("x\ud800"), RuntimeError(), RecursionError("deep"), MemoryError(), KeyError("tag"), OverflowError("int")],
)
def test_a_fault_of_ours_costs_one_row(fault):
    row = answered(ROW, fault)
    assert (row["status"], row["score"]) == ("judge_error", None)
    assert type(fault).__name__ in row["info"]["note"]


def test_only_a_missing_sandbox_ends_the_command():
    with pytest.raises(SandboxUnavailable):
        answered(ROW, SandboxUnavailable("gone"))


def deepest(wrap):
    value = 0
    for _ in range(plain.MAX_DEPTH - 1):
        value = wrap(value)
    return value


def returned(value):
    return JudgeResult(status=Verdict.WRONG_ANSWER, score=0.0, tests=(TestResult(status=Verdict.WRONG_ANSWER, value=value),))


@given(values | rich)
def test_any_value_that_a_function_returned_can_be_written_and_read(value):
    result = returned(value)
    written = answered(ROW, result)["tests"][0]["value"]
    assert plain.canonical(plain.decode(written)) == plain.canonical(value)
    assert JudgeResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: {1: value},
        lambda value: (value,),
        lambda value: {"a": value},
        lambda value: deque([value]),
        lambda value: defaultdict(int, {1: value}),
        namedtuple("Pair", "only"),
    ],
)
def test_the_deepest_value_can_be_written(wrap):
    value = deepest(wrap)
    assert plain.decode(answered(ROW, returned(value))["tests"][0]["value"]) == value


class Gone(Judge):
    workers = 1

    def __init__(self):
        super().__init__(SandboxUnavailable("the engine went away"))


def test_the_command_does_not_wait_for_a_line_that_never_comes(monkeypatch):
    """Whoever sends one line and waits for its answer before the next must see the command end."""
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin, open(writer, "wb", buffering=0) as sender:
        sender.write(json.dumps(ROW).encode() + b"\n")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
        with pytest.raises(SandboxUnavailable):
            _judge_lines(Gone(), stdin, io.StringIO())


@pytest.mark.parametrize("parts", [[b"a\nbc\n"], [b"a", b"\nb", b"c\n"], [b"a\nbc"], [b"\n\n", b"a\nbc\n"], [b""]])
def test_lines_of_a_pipe_arrive_whole(parts, monkeypatch):
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))

        def send():
            with open(writer, "wb", buffering=0) as sender:
                for part in parts:
                    sender.write(part)

        threading.Thread(target=send).start()
        assert [line.strip() for line in _lines(stdin, []) if line.strip()] == b"".join(parts).split()
