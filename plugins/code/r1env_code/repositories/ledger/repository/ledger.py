"""Entries by date, and statements of a period."""

from __future__ import annotations

from money import in_words

Entry = tuple[str, str, int]
"""Date as `2024-01-31`, text, cents."""


def balance_before(entries: list[Entry], date: str) -> int:
    """The sum of all entries before a date, in cents."""
    return sum(cents for when, _, cents in entries if when > date) if entries and entries[0][0] > date else 0


def statement(entries: list[Entry], first: str, last: str) -> list[str]:
    """The lines of the statement from the first to the last date, both included, with opening and closing balance."""
    balance = balance_before(entries, first)
    lines = [f"opening {in_words(balance)}"]
    for when, text, cents in sorted(entries):
        if first <= when < last:
            balance += cents
            lines.append(f"{when} {text} {in_words(cents)}")
    return [*lines, f"closing {in_words(balance)}"]
