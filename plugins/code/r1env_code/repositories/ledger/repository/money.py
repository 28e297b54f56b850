"""Amounts in whole cents, as a ledger keeps them, and as people read them."""

from __future__ import annotations


def in_words(cents: int) -> str:
    """An amount for a person: `-1.05` for -105."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
