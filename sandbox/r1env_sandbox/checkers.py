"""What counts as the expected answer. Pure functions on what came out of the sandbox; they run on the host.

Text is compared as bytes, strict about form and generous about white space at the end. Numbers are ASCII digits; nan and the
infinities equal nothing, so they are never right.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from r1env_sandbox.harness import plain
from r1env_sandbox.models import Checker, TestCase

_INTEGER = re.compile(rb"[+-]?[0-9]{1,4000}")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")


def check_output(test: TestCase, stdout: bytes) -> str | None:
    """None when a program's output is what a `stdio` test expects; otherwise one line that says where it is not.

    Raises:
        ValueError: the test's checker is not decided here (`special`).
    """
    expected = str(test.expected).encode("utf-8", "surrogatepass")
    if test.checker is Checker.EXACT:
        return (
            None
            if stdout.rstrip() == expected.rstrip()
            else _first_difference(stdout.split(b"\n"), expected.split(b"\n"), "line")
        )
    if test.checker is Checker.UNORDERED:
        same = Counter(_lines(stdout)) == Counter(_lines(expected))
        return None if same else "other lines than expected"
    if test.checker in (Checker.TOKEN, Checker.FLOAT):
        same_token: Callable[[bytes, bytes], bool] = bytes.__eq__
        if test.checker is Checker.FLOAT:
            same_token = partial(_close_tokens, test.tolerance)
        got, wanted = stdout.split(), expected.split()
        if len(got) == len(wanted) and all(map(same_token, got, wanted)):
            return None
        return _first_difference(got, wanted, "token", same_token)
    raise ValueError(f"the checker {test.checker} is a program")


def check_value(test: TestCase, value: Any) -> str | None:
    """None when a value, decoded plain data, is what a `call` test expects; otherwise one line."""
    expected = test.expected
    if test.checker is Checker.FLOAT:
        same = _close_values(value, expected, test.tolerance)
    elif test.checker is Checker.JSON:
        same = plain.canonical(_without_tuples(value)) == plain.canonical(_without_tuples(expected))
    elif test.checker is Checker.UNORDERED and type(value) is type(expected) and isinstance(value, list | tuple):
        same = Counter(map(plain.canonical, value)) == Counter(map(plain.canonical, expected))
    else:
        same = plain.canonical(value) == plain.canonical(expected)
    if same:
        return None
    if type(value) is not type(expected):
        return f"a {type(value).__name__} where a {type(expected).__name__} is expected"
    return f"another {type(value).__name__} than expected"


def _first_difference(
    got: list[bytes], wanted: list[bytes], what: str, same: Callable[[bytes, bytes], bool] = bytes.__eq__
) -> str:
    """Says where, never what is expected: notes may end up in a prompt."""
    for number, (one, other) in enumerate(zip(got, wanted, strict=False), start=1):
        if not same(one, other):
            return f"{what} {number} of {len(got)} differs"
    return f"{len(got)} {what}s where {len(wanted)} are expected" if len(got) != len(wanted) else f"{what}s differ"


def _lines(text: bytes) -> list[bytes]:
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


def _close_tokens(tolerance: float, got: bytes, wanted: bytes) -> bool:
    """Equal, or numbers within the tolerance. Two integers are compared as such: neither was rounded, and they may be large."""
    if got == wanted:
        return True
    if _INTEGER.fullmatch(got) and _INTEGER.fullmatch(wanted):
        return int(got) == int(wanted)
    return _close(_number(got), _number(wanted), tolerance)


def _number(token: bytes) -> float:
    return float(token) if len(token) < 1000 and _NUMBER.fullmatch(token) else math.nan


def _close(got: float, wanted: float, tolerance: float) -> bool:
    if not (math.isfinite(got) and math.isfinite(wanted)):
        return False
    return math.isclose(got, wanted, rel_tol=tolerance, abs_tol=tolerance)


def _close_values(got: Any, wanted: Any, tolerance: float) -> bool:
    if _is_number(got) and _is_number(wanted):
        if type(got) is type(wanted) is int:
            return bool(got == wanted)
        try:
            return _close(float(got), float(wanted), tolerance)
        except OverflowError:
            return False
    if type(got) is not type(wanted):
        return False
    if isinstance(got, list | tuple):
        return len(got) == len(wanted) and all(_close_values(a, b, tolerance) for a, b in zip(got, wanted, strict=True))
    if isinstance(got, dict):
        return got.keys() == wanted.keys() and all(_close_values(got[key], wanted[key], tolerance) for key in wanted)
    return plain.canonical(got) == plain.canonical(wanted)


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _without_tuples(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_tuples(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_tuples(item) for key, item in value.items()}
    return value
