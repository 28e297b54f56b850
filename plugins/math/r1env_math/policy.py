"""`AnswerPolicy`: what counts as the final answer and how strictly it is compared. A user sees it and sets it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import r1env


class Where(StrEnum):
    """Where the final answer may stand, after the thinking block."""

    STRICT = "strict"  # in a box or in the one `<answer>` block
    EXPLICIT = "explicit"  # also in a plain final statement ("the answer is …"), or the response is nothing but the answer
    LENIENT = "lenient"  # also the last formula or number of the response


class Conflict(StrEnum):
    """What becomes of a completion that gives different answers."""

    REFUSE = "refuse"  # it has no answer
    LAST = "last"  # the last one is its answer


class Units(StrEnum):
    """What a unit (`cm`, `°`, `\\$`, `apples`) does to a number. Two different units are always different answers."""

    IGNORE = "ignore"  # where only one side has one, it does not count
    REQUIRE = "require"  # an answer must have the reference's unit


class Case(StrEnum):
    """Whether capitals matter in words, choice letters, and the names of variables."""

    IGNORE = "ignore"  # `b` is choice B, `2cx` is `2Cx` as long as no formula uses both letters
    KEEP = "keep"  # they matter


Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """How answers are found and compared.

    Attributes:
        where: where the answer may stand.
        unfinished_thought: a completion whose thinking block never ends is read as if it had none. Off: it has no answer.
        prefilled: the prompt ended with `<think>`, so the completion starts inside the block.
        conflict: what becomes of several answers that differ.
        units: what a unit on one side only does.
        tolerance: the relative error that two plain numbers may differ by; 0 is exact.
        rounded_reference: a reference that is a decimal of at least three significant digits also stands for the fractions
            that have no finite decimal and round to it: 0.458 for 11/24.
        case: whether capitals matter in words and names.

    Raises:
        r1env.UsageError: a value that there is not; the message names those there are.
    """

    where: Where = Where.EXPLICIT
    unfinished_thought: bool = False
    prefilled: bool = False
    conflict: Conflict = Conflict.REFUSE
    units: Units = Units.IGNORE
    tolerance: float = 0.0
    rounded_reference: bool = True
    case: Case = Case.IGNORE

    def __post_init__(self) -> None:
        chosen = {
            "where": _choice(Where, "where", self.where),
            "conflict": _choice(Conflict, "conflict", self.conflict),
            "units": _choice(Units, "units", self.units),
            "case": _choice(Case, "case", self.case),
        }
        for name, member in chosen.items():
            object.__setattr__(self, name, member)  # frozen: a plain name becomes its member once, here
        flags = {
            "unfinished_thought": self.unfinished_thought,
            "prefilled": self.prefilled,
            "rounded_reference": self.rounded_reference,
        }
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise r1env.UsageError(f"math: {name} is {flag!r}; known: true, false")
        if isinstance(self.tolerance, bool) or not isinstance(self.tolerance, int | float) or not 0 <= self.tolerance < 1:
            raise r1env.UsageError(f"math: tolerance is {self.tolerance!r}; it is a relative error, from 0 to below 1")


def _choice(choices: type[Choice], name: str, value: object) -> Choice:
    for member in choices:
        if member == value:
            return member
    raise r1env.UsageError(f"math: {name} is {value!r}; known: {', '.join(choices)}")
