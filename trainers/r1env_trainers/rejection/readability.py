"""What makes a chain of thought hard to read, as far as a rule can tell. Pure functions, linear in the length of the text."""

from __future__ import annotations

from r1env.prompts import parse_response

FENCES = ("```", "~~~")


def thinking_of(completion: str) -> str:
    """The thinking block; the whole completion where there is none."""
    parsed = parse_response(completion)
    return completion if parsed.thinking is None else parsed.thinking


def longest_paragraph(text: str) -> int:
    """Characters of the longest paragraph: a run of lines without an empty one between them."""
    longest = current = 0
    for line in text.splitlines(keepends=True):
        current = current + len(line) if line.strip() else 0
        longest = max(longest, current - (len(line) - len(line.rstrip("\r\n"))))
    return longest


def has_code_block(text: str) -> bool:
    """Whether a line opens fenced code, indented or not."""
    return any(line.lstrip().startswith(FENCES) for line in text.splitlines())
