"""`verify`: is the final answer of a completion the reference answer, and how was that decided?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import r1env
from r1env_math import symbolic
from r1env_math.compare import equal
from r1env_math.extraction import Extraction, extract
from r1env_math.ast import (
    INFINITY,
    Approximate,
    Equation,
    Expression,
    Form,
    Interval,
    Items,
    Matrix,
    Option,
    Ratio,
    Region,
    Words,
)
from r1env_math.guards import excess, unevaluated
from r1env_math.numeric import value_of
from r1env_math.policy import AnswerPolicy
from r1env_math.parser import read
from r1env_math.scalars import Scalars
from r1env_math.normalize import normalize
from r1env_math.units import quantity


class How(StrEnum):
    """What a verdict rests on."""

    TEXT = "text"  # both are the same text, or words that were compared as words
    EXACT = "exact"  # compared by exact arithmetic
    NUMERIC = "numeric"  # equal within the policy's tolerance, or as a rounded reference
    SET = "set"  # lists, tuples, sets, intervals or matrices, compared item by item and exactly
    CHOICE = "choice"  # a choice letter
    SYMBOLIC = "symbolic"  # computer algebra was needed for at least one part
    NO_ANSWER = "no_answer"  # the completion gives no single answer
    EXCESS = "excess"  # the answer is too long, too deep or too large to be looked at
    UNEVALUATED = "unevaluated"  # the answer is an integral, sum or limit still to be worked out, and the reference is none
    UNREADABLE = "unreadable"  # the answer is no mathematics that can be read
    BAD_REFERENCE = "bad_reference"  # the reference cannot be read, so nothing can be said


_STATUS = {
    How.NO_ANSWER: r1env.Status.NO_ANSWER,
    How.EXCESS: r1env.Status.UNPARSEABLE,
    How.UNREADABLE: r1env.Status.UNPARSEABLE,
    How.BAD_REFERENCE: r1env.Status.UNPARSEABLE,
}
_SAYINGS = {
    How.TEXT: "compared as text",
    How.EXACT: "compared exactly",
    How.NUMERIC: "equal after rounding",
    How.SET: "compared item by item",
    How.CHOICE: "compared as choices",
    How.SYMBOLIC: "compared by computer algebra",
    How.UNREADABLE: "cannot be read as mathematics",
    How.BAD_REFERENCE: "the reference answer cannot be read as mathematics",
}
_PERCENT = re.compile(r"percent|%", re.IGNORECASE)
_SHOWN = 200  # characters of a form in a verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a completion is right, and why.

    Attributes:
        correct: None when only the reference is to blame.
        how: see `How`.
        extracted: the answer that was found in the completion.
        reference_form, answer_form: how the two were read, for a person; empty where they were not.
        reason: one line for a person.
        seconds: CPU seconds that this took.
    """

    correct: bool | None
    how: How
    extracted: str | None
    reason: str
    reference_form: str = ""
    answer_form: str = ""
    seconds: float = 0.0

    @property
    def status(self) -> r1env.Status:
        """The status of the score that this verdict makes."""
        refused = r1env.Status.OK if self.correct else r1env.Status.WRONG
        return _STATUS.get(self.how, refused)


def verify(answer: str, completion: str, *, task: r1env.Task | None = None, policy: AnswerPolicy | None = None) -> Verdict:
    """Check a completion against the reference `answer`.

    Runs in this process and may take as long as SymPy takes; the reward `math` runs it in a worker with limits.

    Args:
        task: whose question it is. Where it asks for a percentage, `25` and `25\\%` are one answer.
        policy: what counts as the answer; see `AnswerPolicy`.
    """
    start = time.process_time()
    policy = policy or AnswerPolicy()
    found = extract(completion, policy)
    verdict = _refused_unread(found) or _compared(answer, found, task, policy, with_algebra=True)
    return replace(verdict, seconds=time.process_time() - start)


def settle(
    answer: str, completion: str, *, task: r1env.Task | None = None, policy: AnswerPolicy | None = None
) -> Verdict | None:
    """What `verify` says where exact arithmetic alone finds both equal; None where more is needed. Quick; without SymPy."""
    start = time.process_time()
    policy = policy or AnswerPolicy()
    found = extract(completion, policy)
    if _refused_unread(found):
        return None
    verdict = _compared(answer, found, task, policy, with_algebra=False)
    return replace(verdict, seconds=time.process_time() - start) if verdict.correct else None


def fault_of_reference(answer: str, *, with_algebra: bool = True) -> str | None:
    """Why a reference answer cannot be compared with anything but its own text; None when it can.

    Args:
        with_algebra: ask SymPy for what exact arithmetic cannot read.
    """
    reference = _prepared(answer)
    if reference is None:
        return "it is empty" if not answer.strip() else excess(answer) or "it is empty"
    unread = [text for text in _expressions(read(reference)) if not _is_readable(text, with_algebra=with_algebra)]
    return f"{unread[0]!r} is no mathematics that can be read" if unread else None


def _refused_unread(found: Extraction) -> Verdict | None:
    if found.text is None:
        return Verdict(False, How.NO_ANSWER, None, found.reason)
    if too_much := excess(found.text):
        return Verdict(False, How.EXCESS, found.text[:100], too_much)
    return None


def _compared(answer: str, found: Extraction, task: r1env.Task | None, policy: AnswerPolicy, *, with_algebra: bool) -> Verdict:
    assert found.text is not None  # `_refused_unread` came first
    reference, given = _prepared(answer), normalize(found.text)
    if reference is None:
        return Verdict(None, How.BAD_REFERENCE, found.text, _SAYINGS[How.BAD_REFERENCE])
    if reference == given:
        return Verdict(True, How.TEXT, found.text, f"the same text ({found.reason})", reference[:_SHOWN], given[:_SHOWN])
    if too_much := excess(given):  # digits of other scripts, superscripts
        return Verdict(False, How.EXCESS, found.text, too_much)
    if left_over := unevaluated(reference, given):
        return Verdict(False, How.UNEVALUATED, found.text, left_over)
    forms = read(reference), read(given)
    scalars = Scalars(
        policy,
        percent_asked=task is not None and _PERCENT.search(task.question) is not None,
        symbolic=_same_by_algebra if with_algebra else None,
    )
    correct: bool | None = bool(given) and equal(*forms, scalars)
    how = _how(forms[0], scalars)
    if not correct and with_algebra:
        if not all(map(_is_readable, _expressions(forms[0]))):
            correct, how = None, How.BAD_REFERENCE
        elif not all(map(_is_readable, _expressions(forms[1]))):
            how = How.UNREADABLE
    return Verdict(correct, how, found.text, f"{_SAYINGS[how]} ({found.reason})", _shown(forms[0]), _shown(forms[1]))


def _prepared(answer: str) -> str | None:
    """The reference in one spelling; None when there is nothing, or too much."""
    return None if excess(answer) else _strip_box(normalize(answer)) or None


def _strip_box(reference: str) -> str:
    """Some data sets keep the box round their references."""
    inner = reference.removeprefix(r"\boxed{")
    return inner[:-1] if inner != reference and inner.endswith("}") else reference


def _same_by_algebra(reference: str, answer: str) -> bool:
    complex_numbers = symbolic.mentions_i(reference) or symbolic.mentions_i(answer)
    first, second = (symbolic.read(text, complex_numbers=complex_numbers) for text in (reference, answer))
    return first is not None and second is not None and symbolic.equal(first, second)


def _is_readable(expression: str, *, with_algebra: bool = True) -> bool:
    core = quantity(expression).core
    if value_of(core) is not None or core.lstrip("+-") == INFINITY:
        return True
    return with_algebra and symbolic.read(core, complex_numbers=symbolic.mentions_i(core)) is not None


def _expressions(form: Form | Interval) -> Iterator[str]:
    """Every expression in a form."""
    match form:
        case Expression(text):
            yield text
        case Equation(members=(_, *values), names=(_, *_)):
            for value in values:
                yield from _expressions(value)
        case Items(items=parts) | Equation(members=parts) | Region(pieces=parts):
            for part in parts:
                yield from _expressions(part)
        case Interval(low, high):
            yield from (low, high)
        case Matrix(rows):
            for row in rows:
                yield from row
        case Approximate(exact, rounded):
            yield from (*_expressions(exact), *_expressions(rounded))
        case Ratio(terms):
            yield from terms


def _how(reference: Form, scalars: Scalars) -> How:
    if scalars.used_symbolic:
        return How.SYMBOLIC
    if scalars.used_rounding:
        return How.NUMERIC
    match reference:
        case Option():
            return How.CHOICE
        case Words():
            return How.TEXT
        case Items() | Region() | Matrix():
            return How.SET
    return How.EXACT


def _shown(form: Form) -> str:
    return str(form)[:_SHOWN]
