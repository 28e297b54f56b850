"""Whether two expressions have the same value: with their units, exactly, and by computer algebra where that is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from r1env_math.exact import TooLargeError, Value, has_finite_decimal, ratio
from r1env_math.numeric import value_of
from r1env_math.policy import AnswerPolicy, Case, Units
from r1env_math.units import DEGREE, Quantity, in_radians, quantity

Symbolic = Callable[[str, str], bool]
"""Whether two normalised expressions are equal by computer algebra."""

_DECIMAL = re.compile(r"-?[0-9]*\.[0-9]+")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_FREE_CONSTANTS = frozenset("CcKk")


class Scalars:
    """Compares expressions under one policy, and remembers what it took.

    Attributes:
        used_symbolic: computer algebra was asked.
        used_rounding: two numbers were called equal though they are not exactly.
    """

    def __init__(self, policy: AnswerPolicy, *, percent_asked: bool = False, symbolic: Symbolic | None = None) -> None:
        self._policy = policy
        self._percent_asked = percent_asked
        self._symbolic = symbolic
        self.used_symbolic = False
        self.used_rounding = False

    def same(self, reference: str, answer: str) -> bool:
        """Whether two normalised expressions have the same value.

        With a leading `=` (or `>`), whether they are 0 (or positive) for the same values of their variables.
        """
        if reference[:1] in ("=", ">"):
            found_ratio = _ratio(reference[1:], answer[1:])
            return found_ratio is not None and (found_ratio > 0 or reference[0] == "=")
        if reference == answer:
            return bool(reference)
        expected, found = quantity(reference), quantity(answer)
        if expected.unit and found.unit and expected.unit != found.unit:
            return False
        if self._policy.units is Units.REQUIRE and expected.unit != found.unit:
            return False
        if DEGREE in (expected.unit, found.unit) and expected.unit != found.unit:
            return self._same_angle(expected, found)
        return self._same_core(expected.core, found.core)

    def same_words(self, reference: str, answer: str) -> bool:
        """Whether two texts are the same words; capitals count as the policy says."""
        return reference == answer or (self._policy.case is Case.IGNORE and reference.casefold() == answer.casefold())

    def _same_core(self, reference: str, answer: str) -> bool:
        first, second = value_of(reference), value_of(answer)
        if first is not None and second is not None:
            equal = _equal(first, second)
            if equal or self._same_number(first, second, reference, answer):
                return True
            if equal is False and not (first.opaque or second.opaque):
                return self._same_but_for_case(reference, answer)
        if self._symbolic is not None:
            self.used_symbolic = True
            if self._symbolic(reference, answer):
                return True
        return self._same_but_for_case(reference, answer)

    def _same_number(self, first: Value, second: Value, reference: str, answer: str) -> bool:
        expected, found = first.rational, second.rational
        if expected is None or found is None:
            return False
        if self._percent_asked and ("%" in reference) != ("%" in answer) and expected * 100 in (found, found * 10_000):
            return True
        near = self._policy.tolerance and abs(expected - found) <= abs(expected) * Fraction(self._policy.tolerance)
        if near or (self._policy.rounded_reference and _rounds_to(found, reference.removesuffix("%"), "%" in reference)):
            self.used_rounding = True
            return not (near and expected == 0 != found)
        return False

    def _same_angle(self, expected: Quantity, found: Quantity) -> bool:
        """One side in degrees: 120° is 2π/3, and 44° is 44 where no π says that radians are meant."""
        degrees, other = (expected, found) if expected.unit == DEGREE else (found, expected)
        if other.unit not in (None, "rad"):
            return False
        if r"\pi" in other.core or other.unit == "rad":
            value = value_of(degrees.core)
            number = None if value is None else value.rational
            return number is not None and self._same_core(in_radians(number), other.core)
        return self._same_core(expected.core, found.core)

    def _same_but_for_case(self, reference: str, answer: str) -> bool:
        """`2Cx` and `2cx`: a free constant, C or K, written small on one side, where that confuses it with no other letter."""
        if self._policy.case is Case.KEEP:
            return False
        letters, others = (set(_letters(text)) for text in (reference, answer))
        changed = letters ^ others
        if not changed or not changed <= _FREE_CONSTANTS:
            return False
        if any(len({each.swapcase(), each} & side) > 1 for each in changed for side in (letters, others)):
            return False
        first, second = (value_of(_lowered(text)) for text in (reference, answer))
        return first is not None and second is not None and _equal(first, second) is True


def _equal(first: Value, second: Value) -> bool | None:
    """Whether two values are one; None where they are too large to tell."""
    try:
        return first.same(second)
    except TooLargeError:
        return None


def _ratio(reference: str, answer: str) -> Fraction | None:
    first, second = value_of(reference), value_of(answer)
    try:
        return None if first is None or second is None else ratio(first, second)
    except TooLargeError:
        return None


def _letters(text: str) -> str:
    return "".join(char for char in _COMMAND.sub(" ", text) if char.isalpha())


def _lowered(text: str) -> str:
    return "".join(piece if piece.startswith("\\") else piece.lower() for piece in re.split(r"(\\[a-zA-Z]+)", text))


def _rounds_to(value: Fraction, reference: str, percent: bool) -> bool:
    """Whether a decimal of at least three significant digits is a fraction's rounding, and the fraction has no finite decimal."""
    if not _DECIMAL.fullmatch(reference) or len(reference.lstrip("-0.").replace(".", "")) < 3 or has_finite_decimal(value):
        return False
    places = len(reference.partition(".")[2])
    scaled = abs(value * (100 if percent else 1)) * 10**places
    rounded = int(scaled + Fraction(1, 2))
    sign = -1 if value < 0 else 1
    return Fraction(sign * rounded, 10**places) == Fraction(reference)
