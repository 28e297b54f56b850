"""What an answer can be: a number, a list, a tuple, a set, an interval, an assignment, a matrix, a choice, words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expression:
    """Something with a value."""

    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """Plain words; equal only to themselves."""

    text: str


@dataclass(frozen=True, slots=True)
class Option:
    """A choice letter, with what stands beside it."""

    letter: str
    content: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """Several things.

    `opening` and `closing` are the brackets: `()` a tuple, `{}` a set, `[]` and the mixed ones an interval when there are two
    items; none for a bare list. `separator` is what stood between them.
    """

    opening: str
    closing: str
    items: tuple[Form, ...]
    separator: str = ","


@dataclass(frozen=True, slots=True)
class Equation:
    """`members[0] = members[1] = …`; `names` are the variables that it gives values to, when it is an assignment."""

    members: tuple[Form, ...]
    names: tuple[str, ...] = ()
    left: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """What lies between two ends, each an expression; `closed` says of each whether it belongs."""

    low: str
    high: str
    closed: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals, and the variable it was said of (empty where it was written as a set)."""

    pieces: tuple[Interval, ...]
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of expressions."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`2:1`."""

    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Based:
    """A number with its base written below: `1011_2`."""

    digits: str
    base: str


@dataclass(frozen=True, slots=True)
class Approximate:
    """`x \\approx y`: an exact value and how it was rounded."""

    exact: Form
    rounded: Form


@dataclass(frozen=True, slots=True)
class Inequality:
    """`x+y<3`, as an expression that is positive: `3-(x+y)`; or at least 0, when it is not strict."""

    positive: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day or a duration as clocks show it: `6:30`, `2:05 PM`. `half` is `am`, `pm` or empty."""

    hour: int
    minutes: tuple[int, ...]
    half: str = ""


@dataclass(frozen=True, slots=True)
class Date:
    """A day of the calendar; `year` is 0 where none was written."""

    year: int
    month: int
    day: int


@dataclass(frozen=True, slots=True)
class Congruence:
    """`x \\equiv 3 \\pmod 7`."""

    variable: str
    residues: tuple[int, ...]
    modulus: int


@dataclass(frozen=True, slots=True)
class Piecewise:
    """Values with the conditions under which they hold."""

    pieces: tuple[tuple[Form, Form], ...]


Form = (
    Expression | Inequality | Words | Option | Items | Equation | Region | Matrix | Ratio | Based | Approximate
    | Clock | Date | Congruence | Piecewise
)  # fmt: skip

EMPTY = Items("{", "}", ())
INFINITY = r"\infty"


def as_region(form: Form) -> Region | None:
    """A pair of ends in brackets as the interval between them; None for what is no interval."""
    if not isinstance(form, Items) or len(form.items) != 2 or form.opening not in ("(", "[") or form.closing not in (")", "]"):
        return None
    low, high = form.items
    if not isinstance(low, Expression) or not isinstance(high, Expression):
        return None
    return Region((Interval(low.text, high.text, (form.opening == "[", form.closing == "]")),))
