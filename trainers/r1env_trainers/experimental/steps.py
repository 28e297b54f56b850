"""Cuts a completion into reasoning steps. What a step is, is the first thing that process rewards founder on: here it is a line."""

from __future__ import annotations

from itertools import accumulate


def split_steps(completion: str, delimiter: str = "\n") -> list[str]:
    """The steps in order, each with the delimiters after it, so that joining them gives back the completion.

    Blank pieces belong to the step before them (at the very beginning, to the first one). Linear in the length of the text.
    """
    steps: list[str] = []
    for piece in _pieces(completion, delimiter):
        if steps and (not piece.strip() or not steps[-1].strip()):
            steps[-1] += piece
        else:
            steps.append(piece)
    return steps


def step_ends(lengths: list[int]) -> list[int]:
    """The index of each step's last token, from the numbers of tokens of the steps (none is 0)."""
    return [end - 1 for end in accumulate(lengths)]


def _pieces(text: str, delimiter: str) -> list[str]:
    *before, last = text.split(delimiter)
    pieces = [piece + delimiter for piece in before]
    return [*pieces, last] if last else pieces
