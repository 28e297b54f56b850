"""Refuses answers that would cost a computer algebra system more than any honest answer does. Linear in their length.

They stop the common bombs before a parser sees them. What slips through is stopped by the worker's own limits.
"""

from __future__ import annotations

import re

MAX_LENGTH = 1000  # characters; the longest reference answers of MATH have about 150
MAX_NESTING = 64  # the parser is recursive
MAX_DIGITS = 400  # of one number; 2^1000 has 302

_BIG_EXPONENT = re.compile(r"\^\s*[{(]?\s*[-+]?[0-9]{5,}")
_TOWER = re.compile(r"\^\s*[{(][^a-zA-Z\\{}()]*\^|\^\s*[0-9]+\s*\^")
_BIG_FACTORIAL = re.compile(r"[0-9]{5,}\s*[})]?\s*!|!\s*[})]{0,3}\s*!")
_LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")


def excess(answer: str) -> str | None:
    """What is too much about an answer, in a few words, or None."""
    if len(answer) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    if _nesting(answer) > MAX_NESTING:
        return f"nested deeper than {MAX_NESTING}"
    if _LONG_NUMBER.search(answer):
        return f"a number of more than {MAX_DIGITS} digits"
    if _BIG_EXPONENT.search(answer) or _TOWER.search(answer):
        return "a power too large to compute"
    if _BIG_FACTORIAL.search(answer):
        return "a factorial too large to compute"
    return None


def _nesting(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "})]":
            depth -= 1
    return deepest
