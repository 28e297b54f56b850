"""Finds the final answer in a completion. Linear in its length; nothing is parsed as mathematics here.

Looked at, in this order, and only after the thinking block: the `<answer>` block; boxes; a final statement ("the answer is
…", "Answer: …", "#### …", a heading and the line below); a last line, or a response, that is nothing but the answer; under the
lenient policy the last formula or number. What is denied, supposed or taken back is no answer. Where a completion gives two
different answers, it gives none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from r1env import parse_response
from r1env_math.ast import Based, Clock, Date, Equation, Expression, Form, Items, Matrix, Option, Ratio, Region, Words
from r1env_math.compare import Scalars, equal
from r1env_math.guards import MAX_LENGTH, excess
from r1env_math.normalize import normalize
from r1env_math.numeric import rational
from r1env_math.parser import read
from r1env_math.phrases import (
    AFTERWORD,
    ANNOUNCEMENT,
    CONCLUSION,
    COUNTERFACTUAL,
    DENIED_BEFORE,
    FINAL,
    HEDGE,
    NEGATED,
    NEXT_PROBLEM,
    REACH,
    SUPPOSED_BEFORE,
    WEAK,
    is_denied,
    is_retracted,
    may_announce,
)
from r1env_math.policy import AnswerPolicy, Conflict, Where
from r1env_math.units import has_words, quantity
from r1env_math.vocabulary import CHANGES, FRACTIONS, MEASURES, SCALES, UNCLEAR, scale_of, unit_of, words_of

MAX_TAIL = 20_000
"""Characters at the end of a response in which a final statement is looked for."""
PERCENT_DROPPED = "%"
"""The context of a reading that leaves a percent sign out; it counts where no question says what is asked."""
MAX_CANDIDATES = 50
"""More boxes or statements than this are not compared: they count as different."""

_END_TOKEN = re.compile(
    r"<\|im_(?:start|end)\|>|<\|end(?:oftext|_of_text)\|>|<\|eot_id\|>|</s>|<end_of_turn>|<｜end▁of▁sentence｜>|<eos>|<\|end\|>|<\|return\|>|<\|eom_id\|>"
)
_BRACE_OR_BOX = re.compile(r"(?P<box>\\?\\(?:boxed|fbox|framebox|answer)\s*\{)|(?P<escaped>\\[{}\\])|[{}]")
_BROKEN_BOX = re.compile(
    r"(?:(?<![a-zA-Z\\])[bB]oxed|\\(?:Boxed|BOXED|box|bbox|colorbox\{[a-z]{1,12}\}))\s?\{([^{}]{1,200})\}|"
    r"\\boxed\s?(?:\\\{([^{}]{1,200})\\\}|\[([^\[\]]{1,200})\]|\(([^()]{1,200})\))"
)
_JOINER = re.compile(
    r"(?<![a-zA-Z])[a-zA-Z](?:_\{?[0-9a-zA-Z]\}?)?\s?=|\\text\s*\{\s*(?:and|or)\s*\}|\\(?:quad|qquad|[,;! ()\[\]])|\band\b|\bor\b|\bet\b|\bund\b|\by\b|和|或|及|与|[\s,;$&]|(?<![a-zA-Z])[a-zA-Z](?:_\{?[0-9a-zA-Z]\}?)?\s?=",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?<![a-zA-Z\\])([a-zA-Z](?:_\{?[0-9a-zA-Z]\}?)?)\s?=\s?\$?\s?$")
_PART = re.compile(
    r"(?:^|[\n;；。.,，]|\*\*)\s{0,4}[*_#]{0,3}\s?(?:(?:part|question|q|subpart|第)\s?)?[(（\[]?(?P<label>[a-h]|[1-9]|i{1,3}|iv|v|[①-⑨])(?:[)）\]]|[.:：](?=\s|\*)|\s?(?:部分|问|小题))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$|[*\"])|[。！？।]|\n")
_CLAUSE_END = re.compile(
    _SENTENCE_END.pattern
    + r"|,? (?:because|since|as) |, (?:which|so|but|not|and not|where|meaning|that is)\b|,? \((?:not|since|because|as) "
)
_FORMULA = re.compile(r"\$\$(.{1,1000}?)\$\$|\$([^$\n]{1,1000})\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,1000}?)\\\]", re.DOTALL)
_MORE_FORMULAS = re.compile(r"\s{0,3}(?:,|;|and|or|,\s?and|,\s?or)\s{0,3}(?:\$|\\[(\[])")
_NUMBER = re.compile(
    r"(?<![0-9a-zA-Z_^.])(?<![0-9],)-?(?:\\?\$\s?|[€£¥₹])?[0-9](?:[0-9,]|(?<=[0-9])[\u00a0\u202f](?=[0-9]{3}))*(?:\.[0-9]+)?(?:/[0-9]+(?![0-9./]))?(?:\\?%|％)?(?![0-9_^])"
)
_SCALE = re.compile(r"\s{0,2}\$?\s{0,2}(\\?%|percent\b|[^\W\d_]{1,12}\.?)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_MEASURE = re.compile(r"\s?(?P<unit>[^\W\d_]{1,12}|°[CF]?)(?:\^?\{?[0-9²³]\}?)?(?![^\W_])")
_COPULA = re.compile(r"^[^=0-9]{0,200}\b(?:is|are|equals|gives|yields)\b:?\s+", re.IGNORECASE)
_SAYS_NOTHING = words_of("is are was were be been and in r e i y et und o when if since after before ago pi mas true left")
"""Of the words that change a number, those that in a sentence mostly do not."""
_FACTOR = re.compile(
    r"\s{0,2}\$?(\s{0,2}(?:\\?%|‰|(?:\\text\{\s?)?(?:percent|hundred|thousand|million|billion|trillion|dozen|lakh|crore)(?![a-zA-Z])\}?|[万亿億萬千百만억천]|тыс|млн|млрд))"
)
_NOTHING_SAID = re.compile(r"[\s*_`\"'.:]*")
_HTML = re.compile(r"</?(?:b|strong|i|em|p|span|div|u|center|h[1-6])(?:\s[^<>]{0,80})?>", re.IGNORECASE)
_FENCE = re.compile(r"\A```[a-z]{0,12}\n(.{1,200}?)\n```", re.DOTALL)
_FINAL_TAG = re.compile(r"<(final_?answer|FINAL_?ANSWER|final-answer)>(.{0,1200}?)</\1>", re.DOTALL)
_BOLD_END = re.compile(r"(?:[=:]|\b(?:is|are|of|to|with)\b|[\u3040-\u9fff])\s?\*\*\s?([^*\n]{1,200}?)\s?\*\*[.!。]?\s*$")
_CONDITION = re.compile(
    r"\b(?:not|isn't|never|at least|at most|more than|less than|greater than|fewer than|between|about|approximately|around|nearly|almost|roughly|either|or)\b"
    r"|不|至少|至多|最多|超过|少于|大约|约|左右|以上|以下|ない|以内|이상|이하|약 |не |около|больше|меньше|plus de|moins de|environ|mehr als|weniger als|etwa",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer that a completion gives.

    Attributes:
        text: the answer, or None.
        reason: where it was found; or why there is none.
        context: what announced it.
        others: other answers that the completion states as firmly; where one of them is wrong, it has none.
        doubt: why this is no answer to be paid for even where it is right; empty where it is one.
    """

    text: str | None
    reason: str
    context: str = ""
    others: tuple[str, ...] = ()
    doubt: str = ""


def extract(completion: str, policy: AnswerPolicy | None = None) -> Extraction:
    """Return the final answer of a completion: the first of its `readings`."""
    return readings(completion, policy)[0]


def readings(completion: str, policy: AnswerPolicy | None = None) -> list[Extraction]:
    """Return the readings of a completion in order, mostly one.

    A more generous policy adds readings to those of a stricter one and takes none away. So whatever a policy pays, the more
    generous ones pay too.
    """
    policy = policy or AnswerPolicy()
    found = _readings(completion, policy)
    firm = list(dict.fromkeys(_firm(each) for each in found))
    given = [each for each in firm if each.text is not None]
    return given or firm[:1]


def _readings(completion: str, policy: AnswerPolicy) -> list[Extraction]:
    parsed = parse_response(completion, prefilled=policy.prefilled)
    response = parsed.response
    if not parsed.closed:
        if not policy.unfinished_thought:
            return [Extraction(None, "the thinking was never finished")]
        response = parsed.thinking or ""
    if "<answer>" not in response and "</answer>" not in response:
        return _from_text(cut_response(response), policy)
    if not parsed.answer:
        return [Extraction(None, "there is not exactly one filled <answer> block")]
    return _from_text(parsed.answer, policy, in_block=True)


def _tagged(response: str) -> str:
    """Return the response with `<final_answer>…</final_answer>` as a box."""
    return (
        _FINAL_TAG.sub(lambda tag: rf"\boxed{{{tag[2].strip()}}}", response)
        if "inal" in response or "FINAL" in response
        else response
    )


def cut_response(response: str) -> str:
    """Return a response up to the first token that ends a turn, and up to a next problem that the model set itself."""
    response = _tagged(response)
    if "</" in response:
        response = _HTML.sub("", response)
    end = _END_TOKEN.search(response)
    response = response[: end.start()] if end else response
    if NEXT_PROBLEM.search(response) is None:
        return response
    answered = [response.find("\\boxed")]
    if may_announce(response) and (announced := ANNOUNCEMENT.search(response)):
        answered.append(announced.end())
    first = min((at for at in answered if at >= 0), default=-1)
    if first >= 0 and (following := NEXT_PROBLEM.search(response, first)):
        return response[: following.start()]
    return response


def _firm(found: Extraction) -> Extraction:
    if found.text is not None and len(found.text) <= MAX_LENGTH and HEDGE.search(found.text):
        return Extraction(None, "the answer is hedged")
    return found


def _from_text(text: str, policy: AnswerPolicy, *, in_block: bool = False) -> list[Extraction]:
    boxes = list(_boxes(text)) if "\\" in text else []
    if boxes:
        return [_from_boxes(text, boxes, policy)]
    broken = _broken_box(text, policy)
    if broken and policy.where is not Where.LENIENT:
        return broken
    alone = text.strip()
    whole = [Extraction(alone, "answer block")] if in_block else []
    if policy.where is Where.STRICT:
        return whole or [Extraction(None, "no answer block and no box")]
    stated = _from_statements(text[-MAX_TAIL:], policy)
    if stated:
        return [*stated, *whole, *broken]
    if in_block:
        return [*whole, *broken]
    found = broken
    if alone and "\n" not in alone:
        formula = _only_formula(alone)
        found.append(Extraction(formula, "only formula of the response") if formula else Extraction(alone, "whole response"))
    if (last := _last_line(text)) is not None:
        found.append(last)
    if (hope := _HOPE.search(alone[-2 * MAX_LENGTH :])) is not None:  # what Minerva's prompt makes a model say after its answer
        sentence = re.split(r"(?<=[.!?])\s+|\n", alone[-2 * MAX_LENGTH :][: hope.start()])[-1]
        if (value := _value_in_sentence(CONCLUSION.sub("", sentence.rstrip(".")), after_label=True)) is not None:
            found.append(Extraction(value, "sentence that is hoped to be correct"))
    if policy.where is Where.LENIENT:
        found.append(_last_value(text))
        if (bare := (found[-1].text or "").removesuffix("%")) != (found[-1].text or ""):
            found.append(Extraction(bare.strip(" \\"), "last number", PERCENT_DROPPED))
    return found or [Extraction(None, "no answer block, no box, no final statement")]


def _broken_box(text: str, policy: AnswerPolicy) -> list[Extraction]:
    """Return what is meant as a box at the end of a text that has none: `boxed{5}`, `\\boxed(5)`."""
    broken = _BROKEN_BOX.search(text) if "box" in text.lower() else None
    if broken is None or text[broken.end() :].strip(" .$\n") or is_denied(text, broken.start()):
        return []
    content = next(group for group in broken.groups() if group is not None)
    stated = _from_statements(text[: broken.start()][-MAX_TAIL:], policy)
    if stated and stated[0].text and _disagree([stated[0].text, content]):
        return []
    return [Extraction(content, "broken box", doubt="what is meant as a box is no command of LaTeX")]


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


def boxes_that_stand(text: str, policy: AnswerPolicy) -> tuple[list[str], bool]:
    """Return the contents of the boxes that are neither denied nor taken back, and whether there are others."""
    boxes = list(_boxes(text))[-MAX_CANDIDATES - 1 :] if "\\" in text else []
    kept = [
        box
        for box in boxes
        if policy.conflict is Conflict.LAST or not (is_denied(text, box[0]) or is_retracted(text, box[2] + 1))
    ]
    return [_innermost(text[start:end]) for _, start, end in kept], len(kept) < len(boxes)


def _from_boxes(text: str, boxes: list[tuple[int, int, int]], policy: AnswerPolicy) -> Extraction:
    boxes = boxes[-MAX_CANDIDATES - 1 :]
    after = text[boxes[-1][2] + 1 :][:REACH]
    if policy.conflict is Conflict.REFUSE:
        kept = [box for box in boxes if not is_denied(text, box[0]) and not is_retracted(text, box[2] + 1)]
        if not kept:
            later = _from_statements(after, policy)
            if later and later[0].text is not None:
                return later[0]
            return Extraction(None, "the answer is taken back")
        taken_back = kept[-1] is not boxes[-1]
        boxes = kept
        after = "" if taken_back else after
    contents = [_innermost(text[start:end]) for _, start, end in boxes]
    if not contents[-1].strip():
        return Extraction(None, "the last box is empty")
    if policy.conflict is Conflict.LAST or _agree(contents):
        return _unless_contradicted(Extraction(contents[-1] + _unit_after(after), "box"), after, policy)
    if len(boxes) <= MAX_CANDIDATES:
        gaps = [text[before[2] + 1 : follower[0]] for before, follower in itertools.pairwise(boxes)]
        if all(len(gap) < 80 and not _JOINER.sub("", gap) for gap in gaps):
            names = [_NAMED.search(text[max(0, box[0] - 20) : box[0]]) for box in boxes]
            named = [f"{name[1]}={content}" if name else content for name, content in zip(names, contents, strict=True)]
            return Extraction(", ".join(named if all(names) else contents), "boxes side by side")  # one list, in several boxes
        if _are_parts([text[: boxes[0][0]][-REACH:], *gaps]):
            return Extraction(f"({', '.join(contents)})", "one box for each part")
    return Extraction(None, "there are boxes with different answers")


def _are_parts(leads: list[str]) -> bool:
    """Return whether the texts before the boxes label them as parts, each another: (a), (b), …"""
    labels = []
    for lead in leads:
        found = list(_PART.finditer(lead[-REACH:]))
        if not found:
            return False
        labels.append(found[-1]["label"].lower())
    return len(labels) > 1 and len(set(labels)) == len(labels) and labels == sorted(labels)


def _unit_after(after: str) -> str:
    """`\\boxed{25}\\%`: what was left outside and makes it another number."""
    found = _FACTOR.match(after)
    return found[1] if found else ""


def _unless_contradicted(found: Extraction, after: str, policy: AnswerPolicy) -> Extraction:
    """Return the box, unless a statement after it gives another answer, or it is taken back."""
    assert found.text is not None
    if HEDGE.search(_first_sentence(after)):
        return Extraction(None, "the answer is hedged")
    if policy.conflict is Conflict.LAST:
        return found
    stated = _from_statements(after, policy)
    if not stated or stated[0].text is None:
        return found
    boxed, said = (_comparable(text) for text in (found.text, stated[0].text))
    if isinstance(said, Option) and not isinstance(boxed, Option) and policy.where is not Where.STRICT:
        return stated[0]  # a value on the way, and the choice at the end
    if isinstance(boxed, Words | Option) and isinstance(said, Words | Option) and type(boxed) is type(said):
        different = not _same(boxed, said)
    else:
        different = _disagree([found.text, stated[0].text])
    if different:
        return Extraction(None, "the box and the final statement disagree")
    return replace(found, others=_rivals([stated[0].text], found.text))


def _innermost(content: str) -> str:
    """Return what is in the box, when the box holds nothing but another box; the content itself otherwise."""
    while len(content) <= MAX_LENGTH:  # a longer one is refused anyway, and peeling it would take quadratic time
        inner = list(_boxes(content))
        if len(inner) != 1 or (content[: inner[0][0]] + content[inner[0][2] + 1 :]).strip():
            break
        content = content[inner[0][1] : inner[0][2]]
    return content


# Statements.


def _from_statements(text: str, policy: AnswerPolicy) -> list[Extraction]:
    """Return the answer that the text announces, and how else it may be read; nothing where it announces nothing."""
    if not may_announce(text):
        return []
    found = list(ANNOUNCEMENT.finditer(text))[-MAX_CANDIDATES:]
    if not found:
        return []
    asserted = [
        each
        for each in found
        if not NEGATED.search(each[0])
        and not SUPPOSED_BEFORE.search(text[max(0, each.start() - 60) : each.start()])
        and not ("would" in each[0] and COUNTERFACTUAL.search(text[max(0, each.start() - 200) : each.start()]))
    ]
    if not asserted:
        return [Extraction(None, "the answer is only supposed, or denied")]
    stated = [(each, statement_of(text, each)) for each in asserted]
    answered = [each for each in stated if not _is_asked(text, *each)]
    if not answered:
        return [Extraction(None, "the final statement is a question")]
    stated = answered
    if _NOTHING_SAID.fullmatch(stated[-1][1]):
        stated = (
            [each for each in stated if not _NOTHING_SAID.fullmatch(each[1])]
            if len(stated) > 1 and _is_label(found[-1][0]) is False
            else stated
        )
        if _NOTHING_SAID.fullmatch(stated[-1][1]):
            return [Extraction(None, "the final statement is empty")]
    if HEDGE.search(stated[-1][0][0]):
        return [Extraction(None, "the answer is hedged")]
    if policy.conflict is Conflict.REFUSE:
        kept = [each for each in stated if not is_retracted(text, each[0].end() + length_of(text, *each))]
        if not kept:
            return [Extraction(None, "the answer is taken back")]
        stated = _strongest(kept)
        if _disagree([said for _, said in stated]):
            return [Extraction(None, "there are statements with different answers")]
    announcement, said = stated[-1]
    others = _rivals([earlier for _, earlier in stated[:-1]], said) if policy.conflict is Conflict.REFUSE else ()
    readings = [Extraction(said, "final statement", announcement[0], others)]
    if _exclaimed(text, announcement, said):
        doubt = "the mark may be a factorial or an exclamation"
        readings = [replace(readings[0], text=each, doubt=doubt) for each in (said, said + "!")]
    if (value := _value_in_sentence(said, _is_label(announcement[0]) and "##" not in announcement[0])) is not None:
        readings.append(Extraction(value, "number of the final statement", others=others))
    return readings


def statement_of(text: str, announcement: re.Match[str]) -> str:
    """Return what an announcement in a text announces."""
    said = _stated(text[announcement.end() : announcement.end() + MAX_LENGTH + 1], _is_label(announcement[0]))
    behind = text[announcement.end() + length_of(text, announcement, said) :][:1]
    if behind == "!" and (announcement[0] == "####" or said.endswith("!")):
        return said + "!"  # nothing but the answer stands behind `####`: `5!` is a factorial, no exclamation
    return said


def _exclaimed(text: str, announcement: re.Match[str], said: str) -> bool:
    """Return whether a number or a letter behind a label or a heading ends in one exclamation mark: `Answer: 5!`."""
    end = announcement.end() + length_of(text, announcement, said)
    labelled = _is_label(announcement[0]) or text.startswith("\n", announcement.end())
    return (
        labelled
        and _MAY_HAVE_FACTORIAL.search(said) is not None
        and text.startswith("!", end)
        and not text.startswith("!!", end)
    )


_MAY_HAVE_FACTORIAL = re.compile(r"[0-9)}]$|(?<![^\W_])[a-zA-Z]$")


def length_of(text: str, announcement: re.Match[str], said: str) -> int:
    """Return how far behind its announcement a statement ends."""
    at = text.find(said, announcement.end(), announcement.end() + MAX_LENGTH) if said else -1
    return at - announcement.end() + len(said) if at >= 0 else 0


def _is_asked(text: str, announcement: re.Match[str], said: str) -> bool:
    """Return whether the sentence of a statement is a question: "#### What is 17 + 25?"."""
    end = announcement.end() + length_of(text, announcement, said)
    ends = _SENTENCE_END.search(text[end : end + MAX_LENGTH].lstrip(" $*_)"))
    return ends is not None and ends[0] in "?？"


def _strongest(stated: list[tuple[re.Match[str], str]]) -> list[tuple[re.Match[str], str]]:
    """Return what the last statement does not outrank: a final answer outranks an earlier answer, and that an earlier result."""
    ranks = [2 if FINAL.search(each[0]) else 0 if WEAK.search(each[0]) else 1 for each, _ in stated]
    if ranks[-1] != max(ranks):
        return stated
    return [each for each, rank in zip(stated, ranks, strict=True) if rank == ranks[-1]]


def _is_label(announcement: str) -> bool:
    return announcement.rstrip().rstrip("*_ ").endswith((":", "：", "=", "】", "####")) or announcement.lstrip(
        " \t\n"
    ).startswith("#")


def _stated(rest: str, after_colon: bool) -> str:
    """Return the answer at the beginning of what follows "the answer is": a formula in dollars, or the rest of the sentence."""
    rest = rest.lstrip(" \t\n*:：_}")
    if fenced := _FENCE.match(rest):
        return fenced[1].strip()
    formula = _FORMULA.match(rest)
    if formula and formula[2] is not None and rest[formula.end() : formula.end() + 1].isdigit():
        formula = None  # `$204 + $160` is money
    if formula and not _MORE_FORMULAS.match(rest, formula.end()) and not _SCALE_WORD.match(rest, formula.end()):
        return next(group for group in formula.groups() if group is not None).strip()
    sentence = _first_sentence(rest, _CLAUSE_END)
    said = _COPULA.match(sentence) if after_colon or sentence.startswith("that ") else None
    if said and not _INTERROGATIVE.match(sentence):  # "Answer: the largest n is 34"
        sentence = sentence[said.end() :]
    sentence = _ADVERB.sub("", sentence, count=1)
    if formula := _FORMULA.fullmatch(sentence.strip()):
        return next(group for group in formula.groups() if group is not None).strip()
    return (
        AFTERWORD.sub("", sentence)
        .strip(" \t*`,，;")
        .removesuffix("}" if sentence.count("}") > sentence.count("{") else "")
        .strip("\"' ")
    )


_ADVERB = re.compile(
    r"^\s*(?:(?:therefore|thus|hence|then|so|simply|just|indeed|clearly|equal to|given by|found to be|exactly|only),? )+",
    re.IGNORECASE,
)
_INTERROGATIVE = re.compile(r"\W{0,3}(?:what|which|how|who|where|when)\b", re.IGNORECASE)
_SCALE_WORD = re.compile(
    r"\s?(?:\\?%|percent|hundred|thousand|million|billion|trillion|dozen|lakh|crore|or\b|to\b|万|亿|千|тыс|млн|млрд|만|억)",
    re.IGNORECASE,
)


def _first_sentence(text: str, ends: re.Pattern[str] = _SENTENCE_END) -> str:
    for end in ends.finditer(text):
        if end[0] == "." and re.search(
            r"(?:тыс|млн|млрд|sq|approx|etc|руб|a\.m|p\.m|\ba|\bp)$", text[max(0, end.start() - 8) : end.start()]
        ):
            continue  # an abbreviation
        return text[: end.start()]
    return text


def _value_in_sentence(sentence: str, after_label: bool) -> str | None:
    """Return the last number of a sentence behind a label: "答：她还剩12页没有看". None where the sentence qualifies it."""
    if not after_label or len(sentence) > 200 or _CONDITION.search(sentence) or HEDGE.search(sentence):
        return None
    if "\\" in sentence or _OF_ANOTHER.search(sentence):
        return None
    if not re.match(r"\W{0,3}[^\W\d_]", sentence):  # what begins with a number is read with its unit, or not at all
        subject = _SUBJECT.match(sentence)
        return subject[1] if subject and not any(map(_changes, _WORD.findall(sentence[subject.end() :]))) else None
    numbers = list(_NUMBER.finditer(sentence))
    if not numbers:
        return None
    number = numbers[-1]
    words_before = _WORD.findall(sentence[max(0, number.start() - 40) : number.start()])
    words_after = _WORD.findall(sentence[number.end() : number.end() + 40])
    if any(_changes(word) for word in (*words_before[-2:], *words_after[:3])) or DENIED_BEFORE.search(
        sentence[: number.start()]
    ):
        return None
    value = _with_scale(sentence, number)
    if value == number[0] and (unit := _MEASURE.match(sentence, number.end())) and unit_of(unit["unit"]) in MEASURES:
        return value + unit[0].rstrip()
    if value == number[0] and words_after and words_after[0].lower() in SCALES.keys() | FRACTIONS.keys():
        return None  # `mil` may be a thousand
    return value


_SUBJECT = re.compile(r"(.{1,60}?)\s(?:is|are|was|were|will be|remain|remains|remained)\b")
_OF_ANOTHER = re.compile(r"[?？]|\b(?:wrong|false|but|except|other)\b")


def _changes(word: str) -> bool:
    low = word.lower()
    return (low in CHANGES | UNCLEAR and low not in _SAYS_NOTHING) or low in (
        "half",
        "twice",
        "double",
        "triple",
        "but",
        "except",
    )


# Nothing but the answer, and the lenient policy's last resort.


def _only_formula(line: str) -> str | None:
    """Return the formula of "Here is the matrix: $…$": the only one, after a colon, at the end."""
    formulas = list(_FORMULA.finditer(line[: 2 * MAX_LENGTH])) if len(line) <= 2 * MAX_LENGTH else []
    if (
        len(formulas) != 1
        or line[formulas[0].end() :].strip(" .")
        or not line[: formulas[0].start()].rstrip().endswith((":", "："))
    ):
        return None
    return next(group for group in formulas[0].groups() if group is not None).strip()


def _last_line(text: str) -> Extraction | None:
    """Return a last line (or display) that is nothing but a value, a conclusion that is nothing but one, or that ends in a bold one."""
    tail = text[-2 * MAX_LENGTH :].strip()
    if tail.endswith("```") and (fenced := re.search(r"(?:^|\n)```[a-z]{0,12}\n([^`\n]{1,200})\n```$", tail)):
        tail = tail[: fenced.start()] + "\n" + fenced[1]
    display = re.search(r"(?:^|\n)\s*(?:\$\$([^$]{1,600})\$\$|\\\[([^$]{1,600}?)\\\])[.。]?$", tail)
    line = (display[1] or display[2]) if display else tail.rpartition("\n")[2].strip()
    if len(line) > 300:
        return None
    line = _HOPE.sub("", line)
    concluded = CONCLUSION.sub("", line, count=1).strip()
    if called := _CALLED_ANSWER.fullmatch(concluded):  # "42 is the answer."
        concluded = called[1]
    candidate = concluded.strip("*_`. 。．")
    if formula := _FORMULA.fullmatch(candidate):
        candidate = next(group for group in formula.groups() if group is not None).strip()
    if candidate and _is_value(candidate):
        before = tail[: -len(line)].rstrip() if not display else tail[: display.start()].rstrip()
        if before.endswith((",", "=", "+", "，", "-", ":")) and not display:
            return None
        return Extraction(candidate, "last line")
    bold = _BOLD_END.search(line)
    if bold and _is_value(bold[1].strip(" .:$")):
        return Extraction(bold[1].strip(" .:"), "bold at the end")
    return None


_HOPE = re.compile(r"\s*I hope (?:it|this) is correct\.?\s*$")
_CALLED_ANSWER = re.compile(
    r"(.{1,80}?) is (?:the|our|my) (?:final |correct |required |desired )?(?:answer|result|solution)[.!]?"
)


def _is_value(text: str) -> bool:
    """Return whether a text is a number or an equation that gives one, without prose."""
    if len(text) > 200 or excess(text):
        return False
    form = read(normalize(text))
    if isinstance(form, Equation) and form.names:
        form = form.members[-1]
    return isinstance(form, Expression) and rational(quantity(form.text).core.replace(",", "")) is not None


def _last_value(text: str) -> Extraction:
    tail = text[-MAX_TAIL:]
    if re.search(r"\\(?:boxed|fbox)\s*\{[^}]*\Z", tail):
        return Extraction(None, "the last box is not closed")
    formulas = list(_FORMULA.finditer(tail))
    if any(each[2] is not None and tail[each.end() : each.end() + 1].isdigit() for each in formulas):
        formulas = [each for each in formulas if each[2] is None]  # `$204 + $160` is money
    numbers = list(_NUMBER.finditer(tail))
    if formulas and (not numbers or formulas[-1].end() > numbers[-1].start()):
        formula = next(group for group in formulas[-1].groups() if group is not None)
        if not re.search(r"(?<!\\)\b[^\W\d_]{3,} [^\W\d_]+", formula):  # prose between two amounts of money
            return Extraction(formula.strip(), "last formula")
    if numbers:
        last = numbers[-1]
        if is_denied(tail, last.start()):
            return Extraction(None, "the last number is denied")
        return Extraction(_with_scale(tail, last), "last number")
    return Extraction(None, "no formula and no number")


def _with_scale(text: str, number: re.Match[str]) -> str:
    """Return a number and the scale word behind it: `4,2 миллиона`, `5万`."""
    value = number[0].rstrip(",")
    value = value[:-1] if value.endswith("-") else value
    following = _SCALE.match(text, number.end())
    if following is None:
        return value
    word = following[1]
    if word in ("\\%", "percent"):
        return value + " \\%"
    if word[0] in "万亿億萬千百만억천백" or (
        scale_of(word) is not None
        and word.lower().rstrip(".") not in ("second", "seconds", "quarter", "quarters", "k", "third", "mil", "half")
    ):
        return f"{value} {word}"
    return value


# Agreement.


def _comparable(text: str) -> Form | None:
    """Return a text as something that can agree or disagree: a number, a list, a letter, a word or two; None for prose and formulas."""
    if len(text) > 200 or excess(text):
        return None
    form = read(normalize(text))
    if isinstance(form, Words):
        return form if len(form.text.split()) < 3 else None
    if isinstance(form, Equation) and form.names:
        form = form.members[-1]
    if isinstance(form, Expression):
        core = quantity(form.text)
        return None if core.unknown or core.changed else replace(form, text=core.core)
    return form if isinstance(form, Option | Items | Region | Ratio | Clock | Date | Based | Matrix) else None


def _same(first: Form, second: Form) -> bool:
    scalars = Scalars(AnswerPolicy())
    return equal(first, second, scalars) or equal(second, first, scalars)


def _agree(texts: Sequence[str]) -> bool:
    """Return whether all say the same as the last, as far as exact arithmetic can tell."""
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return True
    if len(different) > MAX_CANDIDATES or any(excess(text) for text in different):
        return False
    forms = [read(normalize(text)) for text in different]
    return all(_same(forms[-1], form) for form in forms[:-1])


def _rivals(texts: Sequence[str], last: str) -> tuple[str, ...]:
    """Return those of the texts that answer the same question as the last one, so that all must be right.

    Prose and letters do not rival a value; nor does a formula that has other variables, which may be a step on the way.
    """
    form = _comparable(last)
    if form is None or isinstance(form, Words | Option):
        return ()
    return tuple(
        text
        for text in dict.fromkeys(texts)
        if text != last
        and (rival := _comparable(text)) is not None
        and not isinstance(rival, Words | Option)
        and _variables(text) in (set(), _variables(last))
    )


def _variables(text: str) -> set[str]:
    return set(_VARIABLE.findall(_COMMAND.sub(" ", quantity(normalize(text)).core)))


_COMMAND = re.compile(r"\\[a-zA-Z]+|\bor\b|\band\b")
_VARIABLE = re.compile(r"[a-zA-Z]+")


def _disagree(texts: Sequence[str]) -> bool:
    """Return whether two of them are numbers, letters or words that differ. For units and formulas, see `_rivals`."""
    forms = [(text, form) for text in dict.fromkeys(texts) if (form := _comparable(text)) is not None]
    numbers = [
        form
        for text, form in forms
        if isinstance(form, Expression)
        and not has_words(normalize(text).replace(r"\frac", ""))
        and "%" not in text
        and rational(form.text.replace(",", "")) is not None
    ]
    letters = {form.letter for _, form in forms if isinstance(form, Option)}
    spoken = {form.text.casefold() for _, form in forms if isinstance(form, Words)}
    return max(len(letters), len(spoken)) > 1 or any(not _same(numbers[-1], number) for number in numbers[:-1])
