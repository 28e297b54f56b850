"""`verify`: is the final answer of a completion the reference answer, and how was that decided?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from r1env_math.equivalence import equal, read
from r1env_math.extraction import extract
from r1env_math.guards import excess
from r1env_math.text import normalise, rational


class How(StrEnum):
    """What a verdict rests on."""

    TEXT = "text"  # both are the same text
    RATIONAL = "rational"  # both are plain numbers, compared exactly
    SYMBOLIC = "symbolic"  # both were read as mathematics and compared by Math-Verify
    NO_ANSWER = "no_answer"  # the completion gives no single answer
    EXCESS = "excess"  # the answer is too long, too deep or too large to be looked at
    UNREADABLE = "unreadable"  # the answer is no mathematics that can be read
    BAD_REFERENCE = "bad_reference"  # the reference cannot be read, so nothing can be said


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a completion is right, and why.

    Attributes:
        correct: None when only the reference is to blame.
        how: see `How`.
        extracted: the answer that was found in the completion.
        reason: one line for a person.
    """

    correct: bool | None
    how: How
    extracted: str | None
    reason: str


def verify(answer: str, completion: str, *, prefilled: bool = False) -> Verdict:
    """Check a completion against the reference `answer`.

    Runs in this process and may take as long as SymPy takes; the reward `math` runs it in a worker with limits.

    Args:
        prefilled: the prompt ended with `<think>`.
    """
    found = extract(completion, prefilled=prefilled)
    if found.text is None:
        return Verdict(False, How.NO_ANSWER, None, found.reason)
    if too_much := excess(found.text):
        return Verdict(False, How.EXCESS, found.text[:100], too_much)
    how, correct = _compare(normalise(answer), normalise(found.text))
    return Verdict(correct, how, found.text, f"{_SAYINGS[how]} ({found.reason})")


_SAYINGS = {
    How.TEXT: "the same text",
    How.RATIONAL: "compared as exact numbers",
    How.SYMBOLIC: "compared by Math-Verify",
    How.UNREADABLE: "cannot be read as mathematics",
    How.BAD_REFERENCE: "the reference answer cannot be read as mathematics",
}


def _compare(reference: str, given: str) -> tuple[How, bool | None]:
    if not reference:
        return How.BAD_REFERENCE, None
    if reference == given:
        return How.TEXT, True
    if excess(reference):
        return How.BAD_REFERENCE, None
    expected, found = rational(reference), rational(given)
    if expected is not None and found is not None:
        return How.RATIONAL, expected == found
    reference_forms = read(reference)
    if not reference_forms:
        return How.BAD_REFERENCE, None
    given_forms = read(given)
    if not given_forms:
        return How.UNREADABLE, False
    return How.SYMBOLIC, equal(reference_forms, given_forms)
