"""Checks of options that several task sources share. They run before any task is made."""

from __future__ import annotations

from r1env import UsageError

STYLES = ("chat", "compact")


def check_count(name: str, value: object, low: int, high: int) -> int:
    """Return `value`, an integer from `low` to `high`.

    Raises:
        UsageError: it is not an integer in that range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name}={value!r}: it must be a whole number from {low} to {high}")
    return value


def check_style(style: str) -> str:
    """Return `style`: `chat` (a question in words) or `compact` (a few characters, for tiny models).

    Raises:
        UsageError: there is no such style.
    """
    if style not in STYLES:
        raise UsageError(f"unknown style {style!r}; known: {', '.join(STYLES)}")
    return style
