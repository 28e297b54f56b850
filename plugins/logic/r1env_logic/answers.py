"""Rewards that read one short answer: `exact` (a text) and `integer`. Both are linear in the length of the completion."""

from __future__ import annotations

import re
from typing import Literal

from r1env import Score, Status, UsageError, parse_response, reward

Policy = Literal["explicit", "lenient"]
MAX_DIGITS = 1000  # int() takes time quadratic in the digits, and Python itself refuses above 4,300


@reward(name="exact", isolation="inline")
def exact(completion: str, answer: str | None) -> Score:
    """1 when the only `<answer>` block holds the reference answer to the letter, white space at its ends aside."""
    if answer is None:
        return _no_reference()
    given = parse_response(completion).answer
    if not given:
        return Score(value=0.0, status=Status.NO_ANSWER, reason="there is not exactly one filled <answer> block")
    return _verdict(given == answer.strip(), given)


@reward(name="integer", isolation="inline")
def integer(completion: str, answer: str | None, *, policy: Policy = "explicit") -> Score:
    """1 when the final answer is the reference integer, leading zeros aside.

    The answer is the `<answer>` block, or the last `\\boxed{}`, or a response that is nothing but the integer. Under the policy
    `lenient` it may also be the last integer of the response, which a small model that ignores the instructions still earns by.
    """
    if policy not in ("explicit", "lenient"):
        raise UsageError(f"unknown answer policy {policy!r}; known: explicit, lenient")
    if answer is None:
        return _no_reference()
    expected = read_integer(answer)
    if expected is None:
        return Score(value=None, status=Status.UNPARSEABLE, reason=f"the reference answer {answer[:40]!r} is no integer")
    given = final_text(completion, policy)
    if not given:
        return Score(value=0.0, status=Status.NO_ANSWER, reason="no answer block, no box, and more than a number")
    found = read_integer(given)
    if found is None:
        return Score(value=0.0, status=Status.UNPARSEABLE, reason=f"{given[:40]!r} is no integer")
    return _verdict(found == expected, given)


def final_text(completion: str, policy: Policy = "explicit") -> str | None:
    """The text that a completion gives as its answer, or None: see `integer`."""
    parsed = parse_response(completion)
    if "<answer>" in parsed.response or "</answer>" in parsed.response:
        return parsed.answer
    _, box, after = parsed.response.rpartition("\\boxed{")
    if box:
        content, closed, _ = after.partition("}")
        return content.strip() if closed else None
    alone = parsed.response.strip()
    if read_integer(alone) is not None:
        return alone
    integers = re.findall(r"[+-]?[0-9]+", alone) if policy == "lenient" else []
    return integers[-1] if integers else None


def read_integer(text: str) -> int | None:
    """The integer that the text is, or None. ASCII digits with at most one sign, `MAX_DIGITS` at most."""
    text = text.strip()
    digits = text[1:] if text[:1] in ("+", "-") else text
    if len(digits) > MAX_DIGITS or not digits.isascii() or not digits.isdigit():
        return None
    return int(text)


def _verdict(right: bool, given: str) -> Score:
    if right:
        return Score(value=1.0)
    return Score(value=0.0, status=Status.WRONG, reason=f"{given[:40]!r} is not the answer")


def _no_reference() -> Score:
    return Score(value=None, status=Status.UNPARSEABLE, reason="the task has no reference answer")
