"""What counts as the expected answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox import TestCase
from r1env_sandbox.checkers import check_output, check_value


def output_passes(checker, stdout, expected):
    return check_output(TestCase.stdio("", expected, checker), stdout if isinstance(stdout, bytes) else stdout.encode()) is None


def value_passes(checker, value, expected):
    return check_value(TestCase.call("f", [], expected, checker), value) is None


@pytest.mark.parametrize(
    ("checker", "stdout", "expected", "passes"),
    [
        ("exact", "7\n", "7", True),
        ("exact", "7", "7\n", True),
        ("exact", "1 2\n3\n\n", "1 2\n3", True),
        ("exact", "1  2", "1 2", False),
        ("exact", " 7", "7", False),
        ("exact", "1\n", "1\n2\n3\n", False),
        ("exact", "1\n2\n3\n4", "1\n2\n3\n", False),
        ("exact", b"\xff", "\ufffd", False),
        ("exact", "Yes", "yes", False),
        ("token", "1   2\n3", "1 2 3\n", True),
        ("token", "1 2", "1 2 3", False),
        ("token", "1 2 3", "1 2", False),
        ("token", "12", "1 2", False),
        ("token", "0.50", "0.5", False),
        ("float", "0.50", "0.5", True),
        ("float", "0.5000001", "0.5", True),
        ("float", "0.51", "0.5", False),
        ("float", "1e0", "1", True),
        ("float", "yes 0.50", "yes 0.5", True),
        ("float", "no 0.5", "yes 0.5", False),
        ("float", "nan", "0.5", False),
        ("float", "inf", "1e999", False),
        ("float", "-nan", "nan", False),
        ("float", "٣", "3", False),
        ("float", "1_0", "10", False),
        ("float", "0x10", "16", False),
        ("float", "1000000007", "1000000008", False),
        ("float", "9007199254740993", "9007199254740992", False),
        ("float", "+7", "7", True),
        ("unordered", "b\na\n", "a\nb", True),
        ("unordered", "a\nb\nb", "a\na\nb", False),
        ("unordered", "a", "a\na", False),
    ],
)
def test_an_output(checker, stdout, expected, passes):
    assert output_passes(checker, stdout, expected) is passes


@pytest.mark.parametrize(
    ("checker", "value", "expected", "passes"),
    [
        ("exact", 7, 7, True),
        ("exact", 7.0, 7, False),
        ("exact", True, 1, False),
        ("exact", (1, 2), [1, 2], False),
        ("exact", {"a": {1}}, {"a": {1}}, True),
        ("exact", None, 0, False),
        ("json", (1, (2,)), [1, [2]], True),
        ("json", True, 1, False),
        ("float", 0.1 + 0.2, 0.3, True),
        ("float", [1, 2.0000001], [1.0, 2], True),
        ("float", [1, 2], [1, 2, 3], False),
        ("float", {"a": 1.0}, {"a": 1}, True),
        ("float", True, 1, False),
        ("float", "1", 1, False),
        ("float", 10**4000, 1.0, False),
        ("float", 10**15 + 1, 10**15, False),
        ("unordered", [2, 1, 1], [1, 1, 2], True),
        ("unordered", [2, 1], [1, 1, 2], False),
        ("unordered", [True], [1], False),
        ("unordered", 1, 1, True),
    ],
)
def test_a_value(checker, value, expected, passes):
    assert value_passes(checker, value, expected) is passes


@given(st.sampled_from(["exact", "token", "float", "unordered"]), st.text())
def test_what_is_expected_is_right_whatever_it_is(checker, text):
    assert output_passes(checker, text, text)


@given(st.sampled_from(["exact", "token", "float", "unordered"]), st.binary(), st.text())
def test_no_output_breaks_a_checker(checker, stdout, expected):
    assert output_passes(checker, stdout, expected) in (True, False)


def test_a_note_does_not_tell_what_is_expected():
    note = check_output(TestCase.stdio("", "secret\n", "token"), b"guess\n")
    assert note == "token 1 of 1 differs"
    assert "secret" not in str(check_value(TestCase.call("f", [], "secret"), "guess"))
