"""Checks of the options that several sources share; a wrong one is named before any task is made."""

from __future__ import annotations

from r1env import UsageError

STYLES = ("chat", "compact")


def check_count(name: str, value: object, low: int, high: int) -> int:
    """`value` as an integer from `low` to `high`.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name}={value!r}: it must be a whole number from {low} to {high}")
    return value


def check_style(style: str) -> str:
    """`chat` (a question in words) or `compact` (a few characters, for tiny models).

    Raises:
        UsageError: it is neither.
    """
    if style not in STYLES:
        raise UsageError(f"unknown style {style!r}; known: {', '.join(STYLES)}")
    return style
