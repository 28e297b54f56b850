"""Copies and near copies among the samples of one prompt. Pure functions of texts."""

from __future__ import annotations

PIECE = 5  # characters; long enough that unrelated texts share few pieces, short enough to see a change of one digit


def normalized(text: str) -> str:
    """The text with its case and its white space ironed out: what is left decides whether two samples are copies."""
    return " ".join(text.casefold().split())


def pieces(text: str) -> frozenset[str]:
    """All runs of `PIECE` characters of a normalized text; a shorter text is its own only piece."""
    return frozenset(text[start : start + PIECE] for start in range(max(1, len(text) - PIECE + 1)))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """Jaccard's index |A ∩ B| / |A ∪ B| of two sets that are not both empty, in [0, 1]."""
    return len(left & right) / len(left | right)


class SeenTexts:
    """The kept samples of one prompt, to hold the next one against."""

    def __init__(self, near: float | None) -> None:
        self._near = near
        self._texts: set[str] = set()
        self._pieces: list[frozenset[str]] = []

    def fault(self, text: str) -> str | None:
        """`duplicate`, `near_duplicate`, or None for a text unlike all that were added."""
        plain = normalized(text)
        if plain in self._texts:
            return "duplicate"
        if self._near is None:
            return None
        mine = pieces(plain)
        return "near_duplicate" if any(similarity(mine, other) >= self._near for other in self._pieces) else None

    def add(self, text: str) -> None:
        plain = normalized(text)
        self._texts.add(plain)
        if self._near is not None:
            self._pieces.append(pieces(plain))
