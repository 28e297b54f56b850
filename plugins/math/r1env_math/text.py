"""Answers as plain text: what makes no difference to anybody, and numbers that can be read exactly."""

from __future__ import annotations

import re
from fractions import Fraction

_DELIMITERS = re.compile(r"\\?\$|\\[()\[\]]")
_DECORATION = re.compile(r"\\(?:displaystyle|left|right)(?![a-zA-Z])")
_FRACTION_COMMAND = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_IDLE_SPACE = re.compile(r" (?!\w)|(?<!\w) ")
_GROUPING = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!|\\,)(?=[0-9]{3}(?![0-9]))")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_DECIMAL = re.compile(rf"[+-]?(?:{_NUMBER})")
_FRACTION = re.compile(r"([+-]?)(?:\\frac\{(-?[0-9]+)\}\{([0-9]+)\}|\\frac([0-9])([0-9])|([0-9]+)/([0-9]+))")


def normalise(text: str) -> str:
    """The text without what carries no meaning: math delimiters, idle white space, a full stop at the end, `\\left`, …

    White space between two word characters stays: `1 2` is not `12`.
    """
    text = _DELIMITERS.sub(" ", text)
    text = _DECORATION.sub(" ", text)
    text = _FRACTION_COMMAND.sub(r"\\frac", text)
    text = _IDLE_SPACE.sub("", " ".join(text.split()))
    text = _GROUPING.sub(",", text)
    return text.removesuffix(".") or text


def rational(normalised: str) -> Fraction | None:
    """The exact value of a normalised text that is an integer, a decimal or a fraction of integers, or one of them in percent.

    None for any other text. The text must be short enough for `guards.excess`: numbers of any length are made integers.
    """
    if normalised.endswith("%"):
        value = _plain_rational(normalised[:-1].removesuffix("\\"))
        return None if value is None else value / 100
    return _plain_rational(normalised)


def _plain_rational(text: str) -> Fraction | None:
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if _DECIMAL.fullmatch(text):
        return Fraction(text.removesuffix("."))
    found = _FRACTION.fullmatch(text)
    if found is None:
        return None
    sign, *pairs = found.groups()
    numerator, denominator = (int(digits) for digits in pairs if digits is not None)
    if denominator == 0:
        return None
    return Fraction(-numerator if sign == "-" else numerator, denominator)
