"""Reads the final answer out of a reference column, which may hold a bare answer, a worked solution, or a list."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from r1env_math.phrases import ANNOUNCEMENT, may_announce

MAX_LENGTH = 50_000  # of a worked solution; longer ones are not read

MAX_WORDS = 14  # of an answer in words; a longer text is a solution, or a remark

_WORD = re.compile(r"(?<![a-zA-Z\\])[^\W\d_]{3,}")
_TAGS = re.compile(r"^\s*<(answer|final_answer)>(.*)</\1>\s*$", re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_NAME = re.compile(r"([a-zA-Z](?:_\{?[0-9a-zA-Z]\}?)?)\s?=\s?\$?\s?$")


@lru_cache(maxsize=1024)
def final_answer(reference: str) -> str | None:
    """Return the final answer that a reference gives; None where it is empty, or a solution that marks none.

    The rule, in this order: a JSON list of one text is that text; `<answer>…</answer>` is what it holds; what follows the last
    `####`; the content of the last box, or of all boxes where the text around them has one line (`x=\\boxed{3}, y=\\boxed{5}`);
    what a text of more than a few words announces ("The answer is 18."); everything else is the answer itself.
    """
    text = _unlisted(reference.strip())
    if tags := _TAGS.match(text):
        text = tags[2].strip()
    if len(text) > MAX_LENGTH:
        return None
    if "####" in text:
        text = text.rpartition("####")[2].strip()
    if _BOX.search(text):
        return _from_boxes(text)
    if may_announce(text) and (announced := list(ANNOUNCEMENT.finditer(text))):
        last = announced[-1]
        said = text[last.end() :].strip(" \n*:：")
        if said:
            said = said.partition("\n")[0]
            text = re.sub(r"(?<=[^.])[.。]$", "", said.strip()) if said else text
    return None if _is_prose(text) else text.strip() or None


def _is_prose(text: str) -> bool:
    """Return whether a text is a solution that marks no answer: several lines of words, or one long sentence."""
    if len(text) < 40 or r"\begin{" in text:
        return False
    spoken = len(_WORD.findall(text))
    return spoken > MAX_WORDS or (spoken > 3 and "\n" in text.strip())


def _unlisted(text: str) -> str:
    if text[:2] not in ('["', "['") or not text.endswith("]"):
        return text
    try:
        items = json.loads(text if text[1] == '"' else '["' + text[2:-2] + '"]' if "', '" not in text else text)
    except ValueError:
        return text
    return items[0] if isinstance(items, list) and len(items) == 1 and isinstance(items[0], str) else text


def _from_boxes(text: str) -> str | None:
    """Return what the boxes hold. Nested braces count; a box that is not closed is none."""
    contents: list[tuple[int, int, str]] = []
    for found in _BOX.finditer(text):
        if contents and found.start() < contents[-1][1]:
            continue  # inside the last one
        depth, at = 1, found.end()
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 2
                continue
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if depth:
            break
        contents.append((found.start(), at, text[found.end() : at - 1].strip()))
    if not contents:
        return text.strip() or None
    different = list(dict.fromkeys(content for _, _, content in contents))
    if len(different) > 1 and "\n" not in text and len(text) < 200:
        names = [_NAME.search(text[:start]) for start, _, _ in contents]
        return ", ".join(
            f"{name[1]}={content}" if name and all(names) else content
            for name, (_, _, content) in zip(names, contents, strict=True)
        )
    return final_answer(contents[-1][2]) if contents[-1][2] else None
