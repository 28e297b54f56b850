"""Finds the final answer in a completion. Linear in its length; nothing is parsed as mathematics here.

Looked at, in this order, and only after the thinking block: the `<answer>` block; boxes; a final statement ("the answer is
…", "Answer: …", "#### …"); a response that is a single line. Where a completion gives two different answers, it gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from r1env import parse_response
from r1env_math.guards import MAX_LENGTH
from r1env_math.text import normalise

_BRACE_OR_BOX = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|(?P<escaped>\\[{}\\])|[{}]")
_JOINER = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|\\(?:quad|qquad|[,;! ()\[\]])|\band\b|\bor\b|[\s,;$&]", re.IGNORECASE)
_STATEMENT = re.compile(r"answer\s{1,3}is\b\s{0,3}:?|answer\s{0,3}:|####", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?:\s|$)|\n")


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer that a completion gives.

    Attributes:
        text: the answer, or None.
        reason: where it was found; or why there is none.
    """

    text: str | None
    reason: str


def extract(completion: str, *, prefilled: bool = False) -> Extraction:
    """The final answer of a completion.

    Args:
        prefilled: the prompt ended with `<think>`.
    """
    parsed = parse_response(completion, prefilled=prefilled)
    if not parsed.closed:
        return Extraction(None, "the thinking was never finished")
    if "<answer>" not in parsed.response and "</answer>" not in parsed.response:
        return _from_text(parsed.response)
    if not parsed.answer:
        return Extraction(None, "there is not exactly one filled <answer> block")
    return _from_text(parsed.answer, in_block=True)


def _from_text(text: str, *, in_block: bool = False) -> Extraction:
    boxes = list(_boxes(text))
    if boxes:
        return _from_boxes(text, boxes)
    statements = list(_STATEMENT.finditer(text))
    if statements:
        stated = _stated(text[statements[-1].end() :], after_colon=statements[-1][0].endswith(":"))
        return Extraction(stated, "final statement") if stated else Extraction(None, "the final statement is empty")
    alone = text.strip()
    if in_block:
        return Extraction(alone, "answer block")
    if alone and "\n" not in alone:
        return Extraction(alone, "whole response")
    return Extraction(None, "no answer block, no box, no final statement")


def _boxes(text: str) -> Iterator[tuple[int, int, int]]:
    """Start of the command, start and end of the content of every closed box that is in no other closed box, in order."""
    found: list[tuple[int, int, int]] = []
    open_braces: list[re.Match[str]] = []
    for token in _BRACE_OR_BOX.finditer(text):
        if token["escaped"]:
            continue
        if token[0] != "}":
            open_braces.append(token)
        elif open_braces:
            opening = open_braces.pop()
            if opening["box"]:
                while found and found[-1][0] > opening.start():
                    found.pop()
                found.append((opening.start(), opening.end(), token.start()))
    yield from found


def _from_boxes(text: str, boxes: list[tuple[int, int, int]]) -> Extraction:
    contents = [_innermost(text[start:end]) for _, start, end in boxes]
    if not contents[-1].strip():
        return Extraction(None, "the last box is empty")
    if len(contents) == 1 or len({normalise(content) for content in contents}) == 1:
        return Extraction(contents[-1], "box")
    gaps = (text[before[2] + 1 : after[0]] for before, after in pairwise(boxes))
    if all(len(gap) < 80 and not _JOINER.sub("", gap) for gap in gaps):  # one list, in several boxes
        return Extraction(", ".join(contents), "boxes side by side")
    return Extraction(None, "there are boxes with different answers")


def _innermost(content: str) -> str:
    """What is in the box, when the box holds nothing but another box; the content itself otherwise."""
    while len(content) <= MAX_LENGTH:  # a longer one is refused anyway, and peeling it would take quadratic time
        inner = list(_boxes(content))
        if len(inner) != 1 or (content[: inner[0][0]] + content[inner[0][2] + 1 :]).strip():
            break
        content = content[inner[0][1] : inner[0][2]]
    return content


def _stated(rest: str, *, after_colon: bool) -> str:
    """The answer at the beginning of what follows "the answer is": a formula in dollars, or the rest of the sentence."""
    rest = rest.lstrip(" \t\n*:")
    if rest.startswith("$"):
        opening = "$$" if rest.startswith("$$") else "$"
        formula, closed, _ = rest[len(opening) :].partition(opening)
        if closed:
            return formula.strip()
    sentence_end = _SENTENCE_END.search(rest)
    sentence = rest[: sentence_end.start()] if sentence_end else rest
    if after_colon:  # "Answer: the largest n is 34"
        sentence = sentence.rpartition(" is ")[2]
    return sentence.strip(" \t*")
