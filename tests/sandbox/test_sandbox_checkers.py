"""What counts as the expected answer."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox import TestCase
from r1env_sandbox.checkers import check_output, check_value


def output_passes(checker, stdout, expected, **fields):
    test = TestCase(kind="stdio", stdin="", expected=expected, checker=checker, **fields)
    return check_output(test, stdout if isinstance(stdout, bytes) else stdout.encode()) is None


def value_passes(checker, value, expected, **fields):
    return check_value(TestCase(kind="call", function="f", expected=expected, checker=checker, **fields), value) is None


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


LONG = "7" * 5000


@pytest.mark.parametrize(
    ("checker", "stdout", "expected", "passes"),
    [
        ("exact", "1 2 \n3 4\t\n", "1 2\n3 4", True),
        ("exact", "1 2\r\n3 4\r\n", "1 2\n3 4\n", True),
        ("exact", "1 2\n3 4", "1 2 \r\n3 4 \r\n\r\n", True),
        ("exact", "1 2\n\n3 4", "1 2\n3 4", False),
        ("exact", "12\n34", "12 34", False),
        ("exact", LONG, LONG, True),
        ("float", LONG, "0" + LONG, True),
        ("float", LONG, LONG[:-1] + "8", False),
        ("float", "-" + LONG, LONG, False),
        ("float", LONG + ".0", LONG, False),
        ("float", "-0", "0", True),
        ("float", "[0.5000001, 2]", "[0.5, 2]", True),
        ("float", "[0.51, 2]", "[0.5, 2]", False),
        ("float", "(0.5, 2]", "[0.5, 2]", False),
        ("float", "[1,2.0000001,3]", "[1,2,3]", True),
        ("float", "[1,2,3]", "[12,3]", False),
        ("float", "{'a': 0.1}", "{'b': 0.1}", False),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_output_with_other_blanks_long_integers_or_lists(checker, stdout, expected, passes):
    assert output_passes(checker, stdout, expected) is passes


@pytest.mark.parametrize(
    ("printed", "expected", "passes"),
    [
        ("0.333333", "0.333333333333", True),
        ("0.333333333333", "0.333333", True),
        ("0.3333333", "0.333333333333", True),
        ("0.333334", "0.333333333333", False),
        ("0.333332", "0.333333333333", False),
        ("0.33333", "0.333333333333", False),
        ("0.666667", "0.666666666667", True),
        ("0.3", "0.333333333333", False),
        ("-0.333333", "0.333333333333", False),
        ("[0.333333, 0.500000]", "[0.333333333333, 0.5]", True),
        ("0.30000000000000004", "0.3", True),
        ("0.3000001", "0.3", False),
        ("5.551115123125783e-17", "0.0", True),
        ("7.0", "7", True),
        ("6.999999999999999", "7", True),
        ("7.000001", "7", False),
        ("1000000007.0", "1000000008", False),
        ("1000000007", "1000000008", False),
        ("1e6", "1000000", True),
        ("123456.789012", "123456.7890123", True),
        ("nan", "0.333333", False),
        ("inf", "1e400", False),
    ],
)
def test_a_tolerance_of_zero_compares_numbers_as_they_are_printed(printed, expected, passes):
    assert output_passes("float", printed, expected, tolerance=0.0) is passes


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("checker", "value", "expected", "passes"),
    [
        ("exact", Counter("aab"), {"a": 2, "b": 1}, True),
        ("exact", Counter("aab"), {"a": 2}, False),
        ("exact", defaultdict(list, {1: [2]}), {1: [2]}, True),
        ("exact", OrderedDict(a=1), {"a": 1}, True),
        ("exact", [Counter("a")], [{"a": 1}], True),
        ("exact", Point(1, 2), (1, 2), True),
        ("exact", Point(1, 2), [1, 2], False),
        ("json", Point(1, 2), [1, 2], True),
        ("exact", Fraction(7), 7, True),
        ("exact", Fraction(1, 2), 0.5, True),
        ("exact", Fraction(1, 3), 0.3333333333333333, False),
        ("exact", Decimal("7.0"), 7, True),
        ("exact", 7 + 0j, 7, True),
        ("exact", float("inf"), float("inf"), True),
        ("exact", float("nan"), 1.0, False),
        ("exact", {1: 2}.keys(), {1}, True),
        ("exact", deque([1]), [1], False),
        ("exact", range(2), [0, 1], False),
        ("json", deque([1]), [1], True),
        ("json", range(2), [0, 1], True),
        ("json", range(10**30), [0, 1], False),
        ("json", range(10**12), 7, False),
        ("json", [range(10**12)], [[1]], False),
        ("json", [range(10**12)], 7, False),
        ("float", {0.5}, {Decimal("0.5000001")}, False),
        ("json", {"a": 1}.values(), [1], True),
        ("json", [0.1 + 0.2] * 2, [0.3, 0.3], True),
        ("json", [0.31], [0.3], False),
        ("json", 7.0, 7, True),
        ("json", 7.5, 7, False),
        ("json", "7", 7, False),
        ("json", 10**5000, 10**5000, True),
        ("json", 10**5000, 0.5, False),
        ("exact", 10**5000, 10**5000, True),
        ("exact", {0.5: 1}, {0.5: 1}, True),
        ("float", {0.1 + 0.2}, {0.3}, True),
        ("float", {0.4}, {0.3}, False),
        ("float", 0.1 + 0.2j, 0.1 + 0.2000000001j, True),
        ("unordered", [Counter("a"), Counter("b")], [{"b": 1}, {"a": 1}], True),
        ("exact", Decimal("sNaN"), 7, False),
        ("float", Decimal("sNaN"), 7.0, False),
        ("exact", {"__set__": 5}, {"a": 1}, False),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_a_value_that_equals_what_is_expected(checker, value, expected, passes):
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
