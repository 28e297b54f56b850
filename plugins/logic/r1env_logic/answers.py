"""Rewards that read one short answer: `exact` (a text), `integer`, and `short_answer` (a name, a word, a date, a number).

All are linear in the length of the completion.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from r1env import Score, Status, Task, UsageError, parse_response, reward
from r1env.prompts import END_TOKENS

Policy = Literal["explicit", "lenient"]
MAX_DIGITS = 1000  # int() takes time quadratic in the digits, and Python itself refuses above 4,300


@reward(name="exact", isolation="inline")
def exact(completion: str, answer: str | None) -> Score:
    """Return 1 if the only `<answer>` block holds the reference answer to the letter, ignoring white space at its ends.

    Example:
        >>> exact("<answer>0147</answer>", "0147").value
        1.0
    """
    if answer is None:
        return _no_reference()
    given = parse_response(completion).answer
    if not given:
        return Score(value=0.0, status=Status.NO_ANSWER, reason="there is not exactly one filled <answer> block")
    return _verdict(given == answer.strip(), given)


@reward(name="integer", isolation="inline")
def integer(completion: str, answer: str | None, *, policy: Policy = "explicit") -> Score:
    """Return 1 if the final answer is the reference integer, ignoring leading zeros.

    The answer is the `<answer>` block; without one, the last `\\boxed{}` that is neither denied nor taken back; without a box,
    a response that is nothing but the integer. Under the policy `lenient` it may also be the last integer of the response,
    which pays a small model that ignores the instructions.

    Example:
        >>> integer("<think>12 + 34</think>\\\\boxed{46}", "46").value
        1.0
    """
    if policy not in ("explicit", "lenient"):
        raise UsageError(f"unknown answer policy {policy!r}; known: explicit, lenient")
    if answer is None:
        return _no_reference()
    expected = read_integer(answer)
    if expected is None:
        return Score(value=None, status=Status.UNPARSEABLE, reason=f"the reference answer {answer[:40]!r} is not an integer")
    given = final_text(completion, policy)
    if not given:
        return Score(value=0.0, status=Status.NO_ANSWER, reason="there is no answer block or box, and more than a number")
    found = read_integer(given)
    if found is None:
        return Score(value=0.0, status=Status.UNPARSEABLE, reason=f"{given[:40]!r} is not an integer")
    return _verdict(found == expected, given)


def final_text(completion: str, policy: Policy = "explicit") -> str | None:
    """Return the text that a completion gives as its answer, or None: see `integer`."""
    parsed = parse_response(completion)
    if "<answer>" in parsed.response or "</answer>" in parsed.response:
        return parsed.answer
    if "\\boxed{" in parsed.response:
        return boxed_answer(parsed.response)
    alone = parsed.response.strip()
    if read_integer(alone) is not None:
        return alone
    integers = re.findall(r"[+-]?[0-9]+", alone) if policy == "lenient" else []
    return integers[-1] if integers else None


def read_integer(text: str) -> int | None:
    """Return the integer that the text is, or None. It has ASCII digits, at most `MAX_DIGITS`, and at most one sign."""
    text = text.strip()
    digits = text[1:] if text[:1] in ("+", "-") else text
    if len(digits) > MAX_DIGITS or not digits.isascii() or not digits.isdigit():
        return None
    return int(text)


# Short answers in words

MAX_ANSWER = 300  # characters; a longer answer is no short one
MAX_RESPONSE = 20_000  # characters of a response that are searched for statements, from its end
MAX_STATEMENTS = 20  # each is checked against all that follows it, so their number bounds the time

Metric = Literal["exact", "f1"]
PARTS = ("exact", "f1")


@reward(name="short_answer", isolation="inline", parts=PARTS)
class ShortAnswer:
    """Compare a short answer with one or several references, as SQuAD does: normalised exact match, or F1 of the words.

    The references are the task's `answer` and its metadata's `answers` (a list, or `{"text": [...]}` as in SQuAD's files);
    the best of them counts. The answer is the only `<answer>` block; without one, the last `\\boxed{}`; without a box, the
    statements "answer: …" and "the answer is …", which must agree; without these, a response of one line. Text after a new
    "Question:" is another question's. An answer that is denied or taken back ("It is not …", "… is wrong") is none.

    Normalisation (Rajpurkar et al., 2016, arXiv 1606.05250) drops case, punctuation and the articles a, an, the. Unlike there,
    punctuation between or before digits stays, since 4.2 is not 42 and -7 is not 7. A reference that is a formula or a list
    has no value (status `unparseable`): the reward `math` reads those.

    Args:
        metric: `exact` gives 1 or 0; `f1` gives the F1 of the words (Chinese and Japanese characters count as words). Both
            are parts of the score. F1 pays for words of the answer among others, so use it as a metric rather than to train.

    Example:
        >>> task = Task(id="t", prompt="Who wrote Emma?", answer="Jane Austen")
        >>> ShortAnswer("The answer is **Jane Austen**.", task).value
        1.0
    """

    def __init__(self, metric: Metric = "exact") -> None:
        if metric not in ("exact", "f1"):
            raise UsageError(f"unknown metric {metric!r} of short_answer; known: exact, f1")
        self.metric = metric

    def __call__(self, completion: str, task: Task) -> Score:
        references = _references(task)
        if not references:
            return _no_reference(PARTS)
        unfit = next((text for text in references if _is_formula(text) or not normalize_answer(text)), None)
        if unfit is not None:
            reason = f"the reference answer {unfit[:40]!r} is not a short text; see the reward math for formulas and lists"
            return Score.failure(Status.UNPARSEABLE, reason, parts=PARTS)
        readings = short_answers(completion)
        if not readings:
            return self._score(0.0, 0.0, Status.NO_ANSWER, "no answer block, box or statement, or they disagree")
        words = [normalize_answer(reading) for reading in readings]
        expected = [normalize_answer(reference) for reference in references]
        best = max((found == wanted, token_f1(found, wanted)) for found in words for wanted in expected)
        same, f1 = float(best[0]), best[1]
        if same:
            return self._score(same, 1.0, Status.OK, "")
        return self._score(same, f1, Status.WRONG, f"{readings[0][:40]!r} is not the answer")

    def _score(self, same: float, f1: float, status: Status, reason: str) -> Score:
        value = same if self.metric == "exact" else f1
        return Score(value=value, parts={"exact": same, "f1": f1}, status=Status.OK if value > 0 else status, reason=reason)


def short_answers(completion: str) -> list[str]:
    """Return the possible readings of a completion's answer, the first being the likeliest; none if it gives no answer.

    There are two where a full stop may end the sentence or an abbreviation: "The answer is St. Louis. It is in Missouri."
    """
    parsed = parse_response(completion)
    if "<answer>" in parsed.response or "</answer>" in parsed.response:
        return [parsed.answer] if parsed.answer and len(parsed.answer) <= MAX_ANSWER else []
    response = _first_question(_without_end_tokens(parsed.response)[-MAX_RESPONSE:])
    if "\\boxed{" in response:
        found = boxed_answer(response)
        return [found] if found and len(found) <= MAX_ANSWER else []
    statements = list(_statements(response))
    if statements:
        agreed = {normalize_answer(readings[-1]) for readings in statements}
        return statements[-1] if len(agreed) == 1 and statements[-1] != [""] else []
    alone = response.strip()
    return [alone] if alone and "\n" not in alone and len(alone) <= MAX_ANSWER and not _DENIAL.search(alone) else []


def normalize_answer(text: str) -> str:
    """Return the text in SQuAD's normal form: lower case, no punctuation, no articles, single spaces.

    Punctuation that is part of a number stays, except for commas between groups of three digits. Hyphens and slashes become
    spaces, and initials are joined, so that "J. K." is "J.K.".

    Example:
        >>> normalize_answer("The U.S. has 1,000 (or 4.5) well-known sites.")
        'us has 1000 or 4.5 well known sites'
    """
    visible = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", re.sub(r"\\text\{([^{}]*)\}", r"\1", visible)).casefold()
    kept = [
        char if char.isalnum() or char.isspace() or unicodedata.category(char)[0] == "M" or _in_number(plain, place)
        else " " if unicodedata.category(char) == "Pd" or char == "/" else ""
        for place, char in enumerate(plain)
    ]  # fmt: skip
    words = "".join(kept).split()
    words = [word for word in words if word not in ("a", "an", "the")] or words
    return re.sub(r"(?<=\b[^\W\d_]) (?=[^\W\d_]\b)", "", " ".join(words))


def token_f1(found: str, wanted: str) -> float:
    """Return the F1 of the words of two normalised texts, counting repeated words as often as they occur in both."""
    first, second = _words(found), _words(wanted)
    common = (Counter(first) & Counter(second)).total()
    return 2 * common / (len(first) + len(second)) if common else 0.0


def boxed_answer(response: str) -> str | None:
    """Return the content of the last `\\boxed{}`, or None if it is empty, never closed, denied or taken back."""
    before, _, after = response.rpartition("\\boxed{")
    depth = 1
    for place, char in enumerate(after):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            claim = re.split(r"\\boxed\{|[.!?;。！？]\s|\n", before[-MAX_ANSWER:])[-1]
            denied = _DENIAL.search(claim) or _RETRACTION.search(after[place + 1 :])
            return None if denied else after[:place].strip() or None
    return None


# What makes a statement none: said of the answer before it, or of the answer after it.
_DENIAL = re.compile(
    r"\b(?:not|never|cannot|neither|nor|unless|if|suppose|assum\w*|imagine|whether|thought|could be|might be|maybe|perhaps|"
    r"possibly|wrong|incorrect|impossible|anything but)\b|n['’]t\b|不是|不可能|假设|如果|若",
    re.IGNORECASE,
)
_RETRACTION = re.compile(
    r"\b(?:wrong|incorrect|mistake\w*|wait|contradict\w*|impossible|not right|not correct|can(?:not|['’]t) be|should be|"
    r"should have been|actually|no,|scratch that|instead|on second thought|answer\s*(?:is\b|:))|错|不对|矛盾|等等",
    re.IGNORECASE,
)
_STATEMENT = re.compile(r"\banswer\b[ \t*_]*(?:\bis\b|:|：|=)[ \t*_:]*|答案(?:是|为|[:：])\s*", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"\n\s*[*_#]*(?:question|problem|q)\b[ \d*_]*[:：]", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?;。！？]\s|\n")


def _statements(response: str) -> Iterator[list[str]]:
    """Yield the readings of each statement of an answer; an empty text for one that is denied, taken back or too long."""
    for match in list(_STATEMENT.finditer(response))[-MAX_STATEMENTS:]:
        claim = _CLAUSE.split(response[max(0, match.start() - MAX_ANSWER) : match.start()])[-1]
        line, _, after = response[match.end() :].lstrip().partition("\n")
        readings = [text.strip(" \t*_`\"'“”「」") for text in dict.fromkeys((_first_sentence(line), line))]
        taken_back = _RETRACTION.search(_STATEMENT.sub("", line[len(readings[0]) :] + "\n" + after))
        denied = _DENIAL.search(claim) or _DENIAL.search(readings[0]) or taken_back
        fitting = [] if denied else [text.rstrip(".。") for text in readings[::-1] if text and len(text) <= MAX_ANSWER]
        yield fitting or [""]


def _first_sentence(line: str) -> str:
    """Return the line up to a full stop that follows a number or a word of three letters, so that "St. Louis" stays whole."""
    end = re.search(r"(?<=\w{3})[.!?]\s|(?<=\d)[.!?]\s|[。！？]", line)
    return line[: end.start()] if end else line


def _first_question(response: str) -> str:
    """Return the response up to a further question that the model asks itself, as base models do."""
    found = _NEXT_QUESTION.search(response, len(response) - len(response.lstrip()))
    return response[: found.start()] if found else response


def _in_number(text: str, place: int) -> bool:
    """Return True for a sign that belongs to a number: between digits, or before or after one and not mere punctuation."""
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if text[place].isspace() or unicodedata.category(text[place]) == "Sc":  # currency
        return False
    if (before.isdigit() and after.isdigit()) or (text[place] in "-\u2212" and after == "("):
        return True
    mere = text[place] in "()[]{}\"'“”‘’*_`.,;:<>"
    return not mere and ((after.isdigit() and not before.isalpha()) or before.isdigit())


def _words(text: str) -> list[str]:
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+", text)


def _references(task: Task) -> list[str]:
    """Return the reference answers of a task, each once."""
    listed: Any = task.metadata.get("answers")
    if isinstance(listed, Mapping):
        listed = listed.get("text")
    texts = [listed] if isinstance(listed, str) else listed if isinstance(listed, Sequence) else []
    found = [task.answer, *texts]
    return list(dict.fromkeys(str(text).strip() for text in found if text is not None and str(text).strip()))


def _is_formula(text: str) -> bool:
    """Return True for LaTeX, intervals, and lists of numbers, whose punctuation carries the meaning."""
    return re.search(r"\\(?!text\{)|\^|^[\[({].*[\])}]$|\d\s*,\s+-?\d", text) is not None


def _without_end_tokens(text: str) -> str:
    for token in END_TOKENS:
        text = text.replace(token, "")
    return text


def _verdict(right: bool, given: str) -> Score:
    if right:
        return Score(value=1.0)
    return Score(value=0.0, status=Status.WRONG, reason=f"{given[:40]!r} is not the answer")


def _no_reference(parts: tuple[str, ...] = ()) -> Score:
    return Score.failure(Status.UNPARSEABLE, "the task has no reference answer", parts=parts)
