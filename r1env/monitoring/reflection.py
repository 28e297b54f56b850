"""Reflective words: those whose growth DeepSeek-R1's authors plotted. Pure functions on text, linear in its length."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORDS = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
"""The ten words of DeepSeek-R1 (Nature 645, supplement, on the evolution of reasoning behaviours)."""

REFLECTIVE = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
LONGEST = 100_000  # characters read of a completion


def reflective_words(text: str) -> list[str]:
    """Every reflective word of the text in order, in lower case."""
    return [word.lower() for word in REFLECTIVE.findall(text[:LONGEST])]


def reflection_metrics(completions: Sequence[str]) -> dict[str, float]:
    """How often a model has second thoughts: all ten words, and "wait" alone as the paper plots it.

    Base models write such words before any training, so read the curves from their first step on. The counts by characters tell
    more reflection from longer completions.
    """
    words = [reflective_words(text) for text in completions]
    count = sum(map(len, words))
    waits = sum(found.count("wait") for found in words)
    characters = sum(min(len(text), LONGEST) for text in completions)
    return {
        "reflection/per_1000_completions": 1000 * count / max(len(completions), 1),
        "reflection/wait_per_1000_completions": 1000 * waits / max(len(completions), 1),
        "reflection/per_1000_characters": 1000 * count / max(characters, 1),
    }
