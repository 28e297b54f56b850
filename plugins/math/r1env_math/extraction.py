"""Finds the final answer in a completion. Linear in its length; nothing is parsed as mathematics here.

Looked at, in this order, and only after the thinking block: the `<answer>` block; boxes; a final statement ("the answer is
…", "Answer: …", "#### …"); a response that is nothing but the answer; under the lenient policy the last formula or number.
Where a completion gives two different answers, it gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from r1env import parse_response
from r1env_math.compare import equal
from r1env_math.guards import MAX_LENGTH, excess
from r1env_math.numeric import rational
from r1env_math.phrases import AFTERWORD, ANNOUNCEMENT, HEDGE
from r1env_math.policy import AnswerPolicy, Conflict, Where
from r1env_math.parser import read
from r1env_math.scalars import Scalars
from r1env_math.normalize import normalize

MAX_TAIL = 20_000
"""Characters at the end of a response in which a final statement is looked for."""
MAX_CANDIDATES = 50
"""More boxes or statements than this are not compared: they count as different."""

_END_TOKEN = re.compile(
    r"<\|im_(?:start|end)\|>|<\|end(?:oftext|_of_text)\|>|<\|eot_id\|>|</s>|<end_of_turn>|<｜end▁of▁sentence｜>"
)
_BRACE_OR_BOX = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|(?P<escaped>\\[{}\\])|[{}]")
_JOINER = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|\\(?:quad|qquad|[,;! ()\[\]])|\band\b|\bor\b|[\s,;$&]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？।]|\n|,? (?:because|since|as) ")
_FORMULA = re.compile(r"\$\$(.{1,1000}?)\$\$|\$([^$\n]{1,1000})\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,1000}?)\\\]", re.DOTALL)
_MORE_FORMULAS = re.compile(r"\s{0,3}(?:,|;|and|or|,\s?and|,\s?or)\s{0,3}(?:\$|\\[(\[])")
_NUMBER = re.compile(r"(?<![0-9a-zA-Z_^.])-?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?%?(?![0-9a-zA-Z_^])")
_COPULA = re.compile(r"^[^=0-9]{0,200}\b(?:is|are|equals)\b:?\s+", re.IGNORECASE)
_FACTOR = re.compile(r"\s{0,2}\$?(\s{0,2}(?:\\?%|(?:percent|hundred|thousand|million|billion|trillion|dozen)(?![a-zA-Z])))")
_NOTHING_SAID = re.compile(r"[\s*_`\"'.:]*")


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer that a completion gives.

    Attributes:
        text: the answer, or None.
        reason: where it was found; or why there is none.
    """

    text: str | None
    reason: str


def extract(completion: str, policy: AnswerPolicy | None = None) -> Extraction:
    """The final answer of a completion."""
    policy = policy or AnswerPolicy()
    parsed = parse_response(completion, prefilled=policy.prefilled)
    response = parsed.response
    if not parsed.closed:
        if not policy.unfinished_thought:
            return Extraction(None, "the thinking was never finished")
        response = parsed.thinking or ""
    if "<answer>" not in response and "</answer>" not in response:
        return _firm(_from_text(_cut(response), policy))
    if not parsed.answer:
        return Extraction(None, "there is not exactly one filled <answer> block")
    return _firm(_from_text(parsed.answer, policy, in_block=True))


def _cut(response: str) -> str:
    """The response up to the first token that ends a turn: what follows is not the model's answer."""
    end = _END_TOKEN.search(response)
    return response[: end.start()] if end else response


def _firm(found: Extraction) -> Extraction:
    if found.text is not None and len(found.text) <= MAX_LENGTH and HEDGE.search(found.text):
        return Extraction(None, "the answer is hedged")
    return found


def _from_text(text: str, policy: AnswerPolicy, *, in_block: bool = False) -> Extraction:
    boxes = list(_boxes(text))
    if boxes:
        return _from_boxes(text, boxes, policy)
    if policy.where is Where.STRICT:
        return Extraction(text.strip(), "answer block") if in_block else Extraction(None, "no answer block and no box")
    stated = _from_statements(text[-MAX_TAIL:], policy)
    if stated is not None:
        return stated
    alone = text.strip()
    if in_block:
        return Extraction(alone, "answer block")
    if alone and "\n" not in alone:
        if formula := _only_formula(alone):
            return Extraction(formula, "only formula of the response")
        if policy.where is Where.EXPLICIT or _is_short(alone):
            return Extraction(alone, "whole response")
    if policy.where is Where.LENIENT:
        return _last_value(text)
    return Extraction(None, "no answer block, no box, no final statement")


# Boxes.


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


def _from_boxes(text: str, boxes: list[tuple[int, int, int]], policy: AnswerPolicy) -> Extraction:
    contents = [_innermost(text[start:end]) for _, start, end in boxes[-MAX_CANDIDATES - 1 :]]
    if not contents[-1].strip():
        return Extraction(None, "the last box is empty")
    after = text[boxes[-1][2] + 1 :][:200]
    if policy.conflict is Conflict.LAST or _agree(contents):
        return _unless_contradicted(Extraction(contents[-1] + _unit_after(after), "box"), after, policy)
    gaps = (text[before[2] + 1 : follower[0]] for before, follower in pairwise(boxes[-MAX_CANDIDATES - 1 :]))
    if len(boxes) <= MAX_CANDIDATES and all(len(gap) < 80 and not _JOINER.sub("", gap) for gap in gaps):
        return Extraction(", ".join(contents), "boxes side by side")  # one list, in several boxes
    return Extraction(None, "there are boxes with different answers")


def _unit_after(after: str) -> str:
    """`\\boxed{25}\\%`: what was left outside and makes it another number."""
    found = _FACTOR.match(after)
    return found[1] if found else ""


def _unless_contradicted(found: Extraction, after: str, policy: AnswerPolicy) -> Extraction:
    """The box, unless a statement after it gives another number, or it is taken back."""
    assert found.text is not None
    if HEDGE.search(_first_sentence(after)):
        return Extraction(None, "the answer is hedged")
    stated = _from_statements(after, policy)
    if policy.conflict is Conflict.LAST or stated is None or stated.text is None:
        return found
    values = [_plain_value(text) for text in (found.text, stated.text)]
    if None not in values and values[0] != values[1]:
        return Extraction(None, "the box and the final statement disagree")
    return found


def _innermost(content: str) -> str:
    """What is in the box, when the box holds nothing but another box; the content itself otherwise."""
    while len(content) <= MAX_LENGTH:  # a longer one is refused anyway, and peeling it would take quadratic time
        inner = list(_boxes(content))
        if len(inner) != 1 or (content[: inner[0][0]] + content[inner[0][2] + 1 :]).strip():
            break
        content = content[inner[0][1] : inner[0][2]]
    return content


# Statements.


def _from_statements(text: str, policy: AnswerPolicy) -> Extraction | None:
    """The answer that the text announces; None where it announces nothing."""
    found = list(ANNOUNCEMENT.finditer(text))
    if not found:
        return None
    stated = [_stated(text[each.end() : each.end() + MAX_LENGTH + 1], _is_label(each[0])) for each in found[-MAX_CANDIDATES:]]
    if _NOTHING_SAID.fullmatch(stated[-1]):
        return Extraction(None, "the final statement is empty")
    if HEDGE.search(found[-1][0]):
        return Extraction(None, "the answer is hedged")
    if policy.conflict is Conflict.REFUSE and _disagree(stated):
        return Extraction(None, "there are statements with different answers")
    return Extraction(stated[-1], "final statement")


def _is_label(announcement: str) -> bool:
    return announcement.rstrip().endswith((":", "：", "="))


def _stated(rest: str, after_colon: bool) -> str:
    """The answer at the beginning of what follows "the answer is": a formula in dollars, or the rest of the sentence."""
    rest = rest.lstrip(" \t\n*:：")
    formula = _FORMULA.match(rest)
    if formula and not _MORE_FORMULAS.match(rest, formula.end()):
        return next(group for group in formula.groups() if group is not None).strip()
    sentence = _first_sentence(rest)
    if (after_colon or sentence.startswith("that ")) and (said := _COPULA.match(sentence)):  # "Answer: the largest n is 34"
        sentence = sentence[said.end() :]
    if formula := _FORMULA.fullmatch(sentence.strip()):
        return next(group for group in formula.groups() if group is not None).strip()
    return AFTERWORD.sub("", sentence).strip(" \t*`")


def _first_sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


# Nothing but the answer, and the lenient policy's last resort.


def _only_formula(line: str) -> str | None:
    """The formula of "Here is the matrix: $…$": the only one, after a colon, at the end."""
    formulas = list(_FORMULA.finditer(line[: 2 * MAX_LENGTH])) if len(line) <= 2 * MAX_LENGTH else []
    if (
        len(formulas) != 1
        or line[formulas[0].end() :].strip(" .")
        or not line[: formulas[0].start()].rstrip().endswith((":", "："))
    ):
        return None
    return next(group for group in formulas[0].groups() if group is not None).strip()


def _is_short(line: str) -> bool:
    return len(line) <= 40 or " " not in line


def _last_value(text: str) -> Extraction:
    tail = text[-MAX_TAIL:]
    formulas = list(_FORMULA.finditer(tail))
    numbers = list(_NUMBER.finditer(tail))
    if formulas and (not numbers or formulas[-1].end() > numbers[-1].start()):
        formula = next(group for group in formulas[-1].groups() if group is not None)
        return Extraction(formula.strip(), "last formula")
    if numbers:
        return Extraction(numbers[-1][0].rstrip(","), "last number")
    return Extraction(None, "no formula and no number")


# Agreement.


def _agree(texts: Sequence[str]) -> bool:
    """Whether all say the same as the last, as far as exact arithmetic can tell."""
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return True
    if len(different) > MAX_CANDIDATES or any(excess(text) for text in different):
        return False
    scalars = Scalars(AnswerPolicy())
    forms = [read(normalize(text)) for text in different]
    return all(equal(forms[-1], form, scalars) for form in forms[:-1])


def _disagree(texts: Sequence[str]) -> bool:
    """Whether two of them are plain numbers that differ. Other statements may be steps on the way."""
    values = {value for text in texts if (value := _plain_value(text)) is not None}
    return len(values) > 1


def _plain_value(text: str) -> object | None:
    return None if len(text) > 60 or excess(text) else rational(normalize(text).replace(",", ""))
