"""What counts as the expected answer. Pure functions on what came out of the sandbox; they run on the host.

Text is compared as bytes: strict about form, generous about white space at the ends of lines. Numbers are ASCII digits; nan is equal to
nothing, and an infinity only to itself, as a value.

Values are compared as Python's `==` does, on copies of types that are known here, with one exception: of the built-in types, only
equal ones match (True is not 1, and a tuple is no list), so a Counter matches a dict, a named tuple a tuple, a NumPy array a list, and a
Fraction an equal number.

Floats, where a checker allows them to differ, are equal within the test's tolerance, absolute or relative. A tolerance of 0 compares them
as they are printed: the number with fewer decimals, if it has at least six, says to how many (0.333333 is 0.333333333333), and the noise of
arithmetic in double precision counts for nothing (0.30000000000000004 is 0.3).
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

from r1env_sandbox.harness import plain
from r1env_sandbox.models import Checker, TestCase

_INTEGER = re.compile(rb"[+-]?[0-9]+")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_BRACKETS = re.compile(rb"([\[\](){},;]+)")
PRINTED_DECIMALS = 6  # what %f and most languages print
NOISE = 1e-9  # relative; sums of a million doubles stay below it
SMALLEST = 1e-12  # what noise makes of a zero

_Numbers = Callable[[Any, Any], bool]


def check_output(test: TestCase, stdout: bytes) -> str | None:
    """Return None when a program's output is what a `stdio` test expects; otherwise one line that says where it is not.

    Raises:
        ValueError: the test's checker is not decided here (`special`).
    """
    expected = str(test.expected).encode("utf-8", "surrogatepass")
    if test.checker is Checker.EXACT:
        got, wanted = _lines(stdout), _lines(expected)
        return None if got == wanted else _first_difference(got, wanted, "line")
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
    """Return None when a value, decoded plain data, is what a `call` test expects; otherwise one line."""
    expected = test.expected
    try:
        if test.checker is Checker.FLOAT:
            same = _agree(value, expected, partial(_close_numbers, test.tolerance))
        elif test.checker is Checker.JSON:
            same = _agree(_as_json(value, expected), _as_json(expected, expected), partial(_close_numbers, test.tolerance))
        elif test.checker is Checker.UNORDERED and type(value) is type(expected) and isinstance(value, list | tuple):
            same = Counter(plain.canonical(_base(item)) for item in value) == Counter(
                plain.canonical(_base(item)) for item in expected
            )
        else:
            same = _agree(value, expected, _equal_numbers)
    except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError):  # too large, too deep, not comparable
        same = False
    if same:
        return None
    if type(value) is not type(expected):
        return f"a {type(value).__name__} where a {type(expected).__name__} is expected"
    return f"another {type(value).__name__} than expected"


# --- text -----------------------------------------------------------------------------------------------------------------------


def _first_difference(
    got: list[bytes], wanted: list[bytes], what: str, same: Callable[[bytes, bytes], bool] = bytes.__eq__
) -> str:
    """Say where, never what is expected: notes may end up in a prompt."""
    for number, (one, other) in enumerate(zip(got, wanted, strict=False), start=1):
        if not same(one, other):
            return f"{what} {number} of {len(got)} differs"
    return f"{len(got)} {what}s where {len(wanted)} are expected" if len(got) != len(wanted) else f"{what}s differ"


def _lines(text: bytes) -> list[bytes]:
    """Return the lines of a text without blanks at their ends (a carriage return is one), and without empty lines at its end."""
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


def _close_tokens(tolerance: float, got: bytes, wanted: bytes) -> bool:
    """Equal, or numbers that are close, also between brackets and commas, as a printed list has them."""
    if got == wanted:
        return True
    one, other = _BRACKETS.split(got), _BRACKETS.split(wanted)
    return len(one) == len(other) and all(map(partial(_close_texts, tolerance), one, other))


def _close_texts(tolerance: float, got: bytes, wanted: bytes) -> bool:
    """Two integers are compared as such: neither was rounded, and they may be of any length."""
    if got == wanted:
        return True
    if _INTEGER.fullmatch(got) and _INTEGER.fullmatch(wanted):
        return _normal(got) == _normal(wanted)
    if not (len(got) < 1000 and len(wanted) < 1000 and _NUMBER.fullmatch(got) and _NUMBER.fullmatch(wanted)):
        return False
    one, other = float(got), float(wanted)
    if not (math.isfinite(one) and math.isfinite(other)):
        return False
    if tolerance > 0:
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return _same_as_printed(got, wanted, one, other)


def _normal(digits: bytes) -> bytes:
    """Return an integer without plus sign and leading zeros."""
    sign = b"-" if digits[:1] == b"-" else b""
    bare = digits.lstrip(b"+-").lstrip(b"0")
    return sign + bare if bare else b"0"


def _same_as_printed(got: bytes, wanted: bytes, one: float, other: float) -> bool:
    exact_one, exact_other = Decimal(got.decode()), Decimal(wanted.decode())
    if exact_one == exact_other:
        return True
    if _INTEGER.fullmatch(wanted) and abs(other) >= 1:  # an integer was not rounded; 6.999999999999999 is still 7
        return math.isclose(one, other, rel_tol=SMALLEST)
    if math.isclose(one, other, rel_tol=NOISE, abs_tol=SMALLEST):
        return True
    decimals = min(_decimals(got), _decimals(wanted))
    return decimals >= PRINTED_DECIMALS and abs(exact_one - exact_other) <= Decimal("0.500001").scaleb(-decimals)


def _decimals(number: bytes) -> int:
    mantissa = number.lower().partition(b"e")
    return 0 if mantissa[1] else len(number.partition(b".")[2])


# --- values ---------------------------------------------------------------------------------------------------------------------


def _agree(got: Any, wanted: Any, numbers: _Numbers) -> bool:
    """Return whether two values are equal, given what equal numbers are."""
    if _is_number(got) and _is_number(wanted):
        return numbers(got, wanted)
    got, wanted = _shallow(got), _shallow(wanted)
    if type(got) is not type(wanted):
        return False
    if isinstance(got, list | tuple | deque):
        return len(got) == len(wanted) and all(_agree(one, other, numbers) for one, other in zip(got, wanted, strict=True))
    if isinstance(got, dict):
        return _agree_by_key(got, wanted, numbers)
    if isinstance(got, set | frozenset):
        if len(got) != len(wanted):
            return False
        rest = [item for item in got if not any(_agree(item, other, numbers) for other in _likely(item, wanted))]
        return not rest
    return plain.canonical(got) == plain.canonical(wanted)


def _agree_by_key(got: dict[Any, Any], wanted: dict[Any, Any], numbers: _Numbers) -> bool:
    if len(got) != len(wanted):
        return False
    theirs = {plain.canonical(_base(key)): item for key, item in got.items()}
    ours = {plain.canonical(_base(key)): item for key, item in wanted.items()}
    return theirs.keys() == ours.keys() and all(_agree(theirs[key], item, numbers) for key, item in ours.items())


def _likely(item: Any, wanted: Set[Any]) -> list[Any]:
    """Return the items of a set that may agree with one: itself, or, for a float, all that are near."""
    if item in wanted:
        return [other for other in wanted if other == item]
    return (
        [other for other in wanted if isinstance(item, float) and _is_number(other) and abs(other - item) < 1]
        if len(wanted) < 1000
        else []
    )


def _shallow(value: Any) -> Any:
    """Return a container as the built-in type that it is equal to."""
    if isinstance(value, Mapping) and type(value) is not dict:
        return dict(value)
    if isinstance(value, tuple) and type(value) is not tuple:
        return tuple(value)
    if isinstance(value, type({}.keys()) | type({}.items())):
        return set(value)
    return value


def _base(value: Any) -> Any:
    """Return a value with all its containers, and with numbers that equal an integer or a float, as built-in types."""
    value = _shallow(value)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_base(item) for item in value)
    if isinstance(value, dict):
        return {_base(key): _base(item) for key, item in value.items()}
    return value


def _as_json(value: Any, expected: Any) -> Any:
    """Return a value as it would come out of JSON: whatever has an order is a list."""
    value = _shallow(value)
    if isinstance(value, range) and not (isinstance(expected, list | tuple) and len(expected) == len(value)):
        return value  # never written out: it may have any length
    if isinstance(value, list | tuple | deque | range | type({}.values())):
        others = expected if isinstance(expected, list | tuple) else ()
        return [_as_json(item, others[place] if place < len(others) else None) for place, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _as_json(item, expected.get(key) if isinstance(expected, dict) else None) for key, item in value.items()}
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, complex, Fraction, Decimal)


def _equal_numbers(got: Any, wanted: Any) -> bool:
    """Equal, and of equal types where both are Python's own."""
    if {type(got), type(wanted)} == {int, float}:
        return False
    return bool(got == wanted)


def _close_numbers(tolerance: float, got: Any, wanted: Any) -> bool:
    if type(got) is type(wanted) is int:
        return bool(got == wanted)
    if isinstance(got, complex) or isinstance(wanted, complex):
        one, other = complex(got), complex(wanted)
        return _close_numbers(tolerance, one.real, other.real) and _close_numbers(tolerance, one.imag, other.imag)
    if got == wanted:
        return True
    one, other = float(got), float(wanted)
    if not (math.isfinite(one) and math.isfinite(other)):
        return False
    if tolerance > 0:
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return _same_as_printed(repr(one).encode(), repr(other).encode(), one, other)
