"""Compares two forms: `equal` by structure, `Scalars` the expressions in them.

The result only grows with what `Scalars` calls equal: where it knows fewer equal expressions, fewer forms are equal. So what is
equal by exact arithmetic alone is equal with computer algebra too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from math import gcd

from r1env_math.ast import (
    EMPTY,
    INFINITY,
    Approximate,
    Based,
    Clock,
    Congruence,
    Date,
    Equation,
    Expression,
    Form,
    Inequality,
    Interval,
    Items,
    Matrix,
    Option,
    Piecewise,
    Ratio,
    Region,
    Words,
    as_region,
)
from r1env_math.exact import TooLargeError, Value, approximation, has_finite_decimal, ratio
from r1env_math.numeric import rational, value_of
from r1env_math.phrases import asks_for_percent
from r1env_math.policy import AnswerPolicy, Case, Units
from r1env_math.units import DEGREE, Quantity, asked_for, has_words, in_radians, quantity
from r1env_math.vocabulary import words_of

_IS_COMPOSITE = re.compile(r"[-+*/]|\\frac|^[a-z]{2,}$")
MAX_ITEMS = 200
MAX_COMPARED = 40  # items of unordered collections that are not written alike; each is compared with each


def equal(reference: Form, answer: Form, rules: Scalars) -> bool:
    """Return whether the answer says what the reference says. The reference decides the form: `x=2` may be answered by `2`."""
    match reference, answer:
        case _, Approximate(exact, rounded) if not _rounds_well(exact, rounded):
            return False
        case _, Approximate(exact, rounded):
            as_rounded = _is_decimal(reference) and _has_no_decimal(exact) and equal(reference, rounded, rules)
            return as_rounded or equal(reference, exact, rules)
        case Approximate(exact, rounded), _:
            return equal(exact, answer, rules) or (_has_no_decimal(exact) and equal(rounded, answer, rules))
        case (Clock(), _) | (_, Clock()):
            return _clocks(reference, answer, rules)
        case Date(), _:
            return reference == answer or (isinstance(answer, Expression) and _as_date(answer.text) == reference)
        case _, Date():
            return isinstance(reference, Expression) and _as_date(reference.text) == answer
        case Congruence(), Congruence():
            same = (reference.residues, reference.modulus) == (answer.residues, answer.modulus)
            return same and (reference.variable == answer.variable or not reference.variable or not answer.variable)
        case Piecewise(), Piecewise():
            return _piecewise(reference, answer, rules)
        case (Equation(members=(_, Piecewise() as value)), Piecewise()):
            return equal(value, answer, rules)
        case (Piecewise(), Equation(members=(_, Piecewise() as value))):
            return equal(reference, value, rules)
        case (Inequality(), Region()) | (Region(), Inequality()):
            first, second = (_as_inequality(form) if isinstance(form, Region) else form for form in (reference, answer))
            return first is not None and second is not None and equal(first, second, rules)
        case Inequality(), Inequality():
            same_sign = rules.same(f">{reference.positive}", f">{answer.positive}")
            return reference.strict is answer.strict and same_sign
        case Equation(), Equation():
            return _equations(reference, answer, rules)
        case Equation(), _:
            return bool(reference.names) and consistent(reference, rules) and _unwrapped(reference, answer, rules)
        case _, Equation():
            return consistent(answer, rules) and _gives(answer) and _unwrapped_answer(reference, answer, rules)
        case Option(), Option():
            contents = reference.content, answer.content
            return reference.letter == answer.letter and (not all(contents) or rules.same(*contents))
        case Option(), _:
            if isinstance(answer, Words | Expression) and not reference.content:
                return rules.same_words(reference.letter, answer.text)
            return (
                bool(reference.content)
                and isinstance(answer, Expression | Words)
                and rules.same(reference.content, answer.text)
            )
        case _, Option():
            return isinstance(reference, Expression) and bool(answer.content) and rules.same(reference.text, answer.content)
        case Region() | Items(), Region() | Items():
            return _collections(reference, answer, rules)
        case Items("", "", (way, *ways), "or"), Expression() if ways and all(equal(way, other, rules) for other in ways):
            return equal(way, answer, rules)  # the reference writes one value in two ways
        case Words(), Words() | Items() if (names := _listed_names(reference)) is not None:
            return rules.same_words(_text_of(reference), _text_of(answer)) or names == _listed_names(answer)
        case Items("", ""), Words() if (names := _listed_names(reference)) is not None:
            return names == _listed_names(answer)
        case (_, Items("", "", (_, _, *_) as ways, "or")) if not isinstance(reference, Words):
            return all(equal(reference, way, rules) for way in ways)  # `\frac12 or 0.5`
        case (Items("{", "}", (item,)), _) | (Items("", "", (item,)), _):
            return equal(item, answer, rules)
        case _, Items("{", "}", (item,)):
            return equal(reference, item, rules)
        case Matrix(), Items("[", "]") if (rows := _rows(answer)) is not None:
            return _matrices(reference, rows, rules)
        case Items("[", "]"), Matrix() if (rows := _rows(reference)) is not None:
            return _matrices(rows, answer, rules)
        case Matrix(), Matrix():
            return _matrices(reference, answer, rules)
        case Ratio() | Expression(), Ratio() | Expression():
            return _ratios(reference, answer, rules)
        case Based(), Based():
            return reference.digits.lstrip("0") == answer.digits.lstrip("0") and reference.base == answer.base
        case Based(), Expression() | Words():  # the question names the base, and the answer leaves it out
            digits = re.sub(r"\\text|[{}\s]", "", answer.text).lower()
            return str(rules.base) == reference.base and digits.lstrip("0") == reference.digits.lstrip("0")
        case Words(), Words():
            return rules.same_words(reference.text, answer.text)
    return False


def _text_of(form: Form) -> str:
    return form.text if isinstance(form, Words | Expression) else ""


def _listed_names(form: Form) -> list[str] | None:
    """Return the names that a text or a list gives, in no order: `Alice and Bob`; None where it gives fewer than two, or other things."""
    if isinstance(form, Items):
        names = [_text_of(item) for item in form.items] if form.separator != "or" and not form.opening else []
    else:
        names = re.split(r",\s*(?:and )?| and | & ", _text_of(form))
    names = sorted(re.sub(r"\\text|[{}]", "", name).strip().casefold() for name in names)
    return names if len(names) > 1 and all(re.fullmatch(r"[^\W\d_]{2,}(?: [^\W\d_]+){0,2}", name) for name in names) else None


def _rounds_well(exact: Form, rounded: Form) -> bool:
    """Return whether a number may be the rounding of another: `5\\sim 6` is a range."""
    if isinstance(exact, Equation):
        exact = exact.members[-1]
    value = value_of(exact.text) if isinstance(exact, Expression) else None
    near = rational(rounded.text) if isinstance(rounded, Expression) else None
    written = rounded.text.strip("-").removesuffix("%") if isinstance(rounded, Expression) else ""
    if value is None or near is None or not _PLAIN_DECIMAL.fullmatch(written):
        return True
    known = value.rational if value.rational is not None else approximation(value)
    if known is None:
        return True
    places = len(written.partition(".")[2]) + (2 if isinstance(rounded, Expression) and "%" in rounded.text else 0)
    unit = Fraction(1, 10**places) if places else Fraction(10 ** (len(written) - len(written.rstrip("0"))))
    off = Fraction(known) - near
    cut_off = 0 <= off * (1 if near > 0 else -1) < unit and places  # 0.66 for 2/3
    return bool(abs(off) <= unit / 2 or cut_off)


_PLAIN_DECIMAL = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")


def _clocks(reference: Form, answer: Form, rules: Scalars) -> bool:
    """Times are compared as times. A ratio such as `2:3` is compared with what may be a time only where the other is no time."""
    if isinstance(reference, Clock) and isinstance(answer, Clock):
        if reference.minutes != answer.minutes:
            return False
        if reference.half == answer.half:
            return reference.hour == answer.hour
        if reference.half and answer.half:
            return False
        halved, bare = (reference, answer) if reference.half else (answer, reference)
        return bare.hour in ((halved.hour % 12 + 12 * (halved.half == "pm")), halved.hour)
    clock, other = (reference, answer) if isinstance(reference, Clock) else (answer, reference)
    assert isinstance(clock, Clock)
    if clock.half or len(clock.minutes) != 1 or clock.minutes[0] < 10 or not isinstance(other, Ratio | Expression):
        return False
    if clock is reference and gcd(clock.hour, clock.minutes[0]) > 1:
        return False  # a ratio would be in lowest terms
    ratio_of_clock = Ratio((str(clock.hour), str(clock.minutes[0])))
    first, second = (ratio_of_clock, other) if clock is reference else (other, ratio_of_clock)
    return _ratios(first, second, rules)


def _as_date(text: str) -> Date | None:
    found = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})(?:/([0-9]{4}))?", text) or re.fullmatch(
        r"\\frac\{([0-9]{1,2})\}\{([0-9]{1,2})\}()", text
    )
    return Date(int(found[3] or 0), int(found[1]), int(found[2])) if found else None


def _piecewise(reference: Piecewise, answer: Piecewise, rules: Scalars) -> bool:
    rest = list(answer.pieces)
    if len(reference.pieces) != len(rest):
        return False
    for value, condition in reference.pieces:
        place = next(
            (
                at
                for at, piece in enumerate(rest)
                if equal(value, piece[0], rules) and _same_condition(condition, piece[1], rules)
            ),
            None,
        )
        if place is None:
            return False
        del rest[place]
    return True


def _same_condition(reference: Form, answer: Form, rules: Scalars) -> bool:
    otherwise = [
        isinstance(form, Words) and form.text.lower() in ("otherwise", "else", "elsewhere") for form in (reference, answer)
    ]
    if any(otherwise) and isinstance(answer if otherwise[0] else reference, Region | Expression | Inequality | Words):
        return True  # the last of two conditions; `_piecewise` compares the others
    return reference == answer or equal(reference, answer, rules)


def _is_decimal(form: Form) -> bool:
    return isinstance(form, Expression) and "." in form.text


def _has_no_decimal(form: Form) -> bool:
    """Return whether only a rounding of a value can be written as a decimal: `\\pi`, not `3.1`."""
    if isinstance(form, Equation):
        return _has_no_decimal(form.members[-1])
    value = rational(form.text) if isinstance(form, Expression) else None
    return value is None or not has_finite_decimal(value)


def consistent(equation: Equation, rules: Scalars) -> bool:
    """Return whether the members of a chain are equal to each other: `x = 4/2 = 2`, not `3 = 4 = 5`."""
    values = equation.members[1:] if equation.names else equation.members
    if equation.names:  # `a=b=5` gives both their value
        values = tuple(value for value in values[:-1] if not _is_letter(value)) + values[-1:]
    return all(equal(values[-1], value, rules) for value in values[:-1])


def _is_letter(form: Form) -> bool:
    return isinstance(form, Expression) and re.fullmatch(r"[a-zA-Z](?:_[0-9a-z])?", form.text) is not None


def _gives(equation: Equation) -> bool:
    """Return whether an equation states a value (`x=2`, `1+1=2`), and is not one still to be solved (`2x=4`)."""
    return bool(equation.names) or not re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", equation.left))


def _equations(reference: Equation, answer: Equation, rules: Scalars) -> bool:
    if reference.names and answer.names:
        if _interchangeable(reference, answer):
            return equal(reference.members[-1], answer.members[-1], rules)
        if not (consistent(reference, rules) and consistent(answer, rules)):
            return False
        if _same_names(reference.names, answer.names) and equal(reference.members[-1], answer.members[-1], rules):
            return True
    if len(reference.members) != 2 or len(answer.members) != 2:
        return False
    if _is_value(reference) or (answer.names and _is_value(answer)):
        return False  # `2x=4` is no answer where `x=2` is wanted
    if isinstance(reference.members[1], Piecewise) and isinstance(answer.members[1], Piecewise):
        return False
    sides = [side for equation in (reference, answer) for side in (equation.left, equation.right)]
    if any(not isinstance(member, Expression) for equation in (reference, answer) for member in equation.members):
        return False
    left, right = (f"{equation.left}-({equation.right})" for equation in (reference, answer))
    return all(sides) and rules.same(f"={left}", f"={right}")


def _interchangeable(reference: Equation, answer: Equation) -> bool:
    """Return whether one writes `f(x)=` and the other `y=`."""
    names = reference.names + answer.names
    called = [name for name in names if re.fullmatch(r"[a-zA-Z]'?(?:\^\{-1\})?\([a-z]\)", name)]
    return len(names) == 2 and len(called) == 1 and "y" in names


def _is_value(equation: Equation) -> bool:
    value = equation.members[-1]
    return (
        bool(equation.names)
        and not _IS_COMPOSITE.search(equation.names[0])  # `x+y=1` gives `x+y` a value, but is an equation of x and y as well
        and isinstance(value, Expression)
        and not re.search(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", re.sub(r"\\[a-zA-Z]+|[ei]", " ", value.text))
    )


def _same_names(reference: Sequence[str], answer: Sequence[str]) -> bool:
    return [_bare(name) for name in reference] == [_bare(name) for name in answer]


def _bare(name: str) -> str:
    return re.sub(r"[{}\s|]|\\text|\\overline|\\angle", "", name).casefold() if len(name) > 1 else name


def _unwrapped(reference: Equation, answer: Form, rules: Scalars) -> bool:
    value = reference.members[-1]
    if not _in_usual_order(reference.names):
        return False
    if isinstance(answer, Region):
        return isinstance(value, Region | Items) and equal(value, Region(answer.pieces), rules)
    return equal(value, answer, rules)


def _unwrapped_answer(reference: Form, answer: Equation, rules: Scalars) -> bool:
    return _in_usual_order(answer.names) and equal(reference, answer.members[-1], rules)


def _in_usual_order(names: Sequence[str]) -> bool:
    """Return whether `(x,y)=…` names its values as everybody does: `(y,x)=(1,2)` is not (1, 2)."""
    letters = [name for name in names if len(name) == 1]
    return len(letters) < len(names) or letters == sorted(letters)


def _collections(reference: Region | Items, answer: Region | Items, rules: Scalars) -> bool:
    if isinstance(reference, Region) or isinstance(answer, Region):
        return _regions(reference, answer, rules)
    if len(reference.items) > MAX_ITEMS or len(answer.items) > MAX_ITEMS:
        return False
    if len(reference.items) == 1 and len(answer.items) == 1 and reference.opening in ("", "{") and answer.opening in ("", "{"):
        return equal(reference.items[0], answer.items[0], rules)
    reference, answer = _grouped(reference), _grouped(answer)
    kinds = reference.opening + reference.closing, answer.opening + answer.closing
    if reference is EMPTY or answer is EMPTY or not reference.items or not answer.items:
        return kinds == ("{}", "{}") and not reference.items and not answer.items
    if kinds[0] == kinds[1] and kinds[0] not in ("", "{}"):
        return _in_order(reference.items, answer.items, rules)
    if kinds == ("{}", "{}"):
        return _any_order(_distinct(reference.items), _distinct(answer.items), rules)
    if "{}" in kinds and "" in kinds:
        return _any_order(_values(reference.items), _values(answer.items), rules)
    if kinds == ("", ""):
        return _lists(reference, answer, rules)
    separators = {reference.separator, answer.separator}
    if "" in kinds and kinds[0] + kinds[1] in ("()", "[]") and not separators & {"±", "or"}:
        names = _given_names(reference.items), _given_names(answer.items)
        if not all(len(set(given)) in (0, len(given)) for given in names):
            return False
        in_order = _in_order(_values(reference.items), _values(answer.items), rules)
        return in_order or _in_written_order(reference.items, answer.items, rules)
    return False


def _lists(reference: Items, answer: Items, rules: Scalars) -> bool:
    """Bare lists: by name where both name their values, in order where the names tell which is which, else in any order."""
    expected, given = _given_names(reference.items), _given_names(answer.items)
    if expected and given:
        numbered = [all("_" in name for name in names) for names in (expected, given)]
        if (
            not all(numbered) and _unnumbered(expected) == _unnumbered(given) and len(_unnumbered(given)) == 1
        ):  # x_1, x_2 and x, x
            return _any_order(_values(reference.items), _values(answer.items), rules)
        if sorted(map(_bare, expected)) != sorted(map(_bare, given)):
            return False
        return _any_order(reference.items, answer.items, rules)
    named = expected or given
    if named and _tell_apart(named):
        in_order = _in_order(_values(reference.items), _values(answer.items), rules)
        return in_order or _in_written_order(reference.items, answer.items, rules)
    if named:
        return _any_order(_values(reference.items), _values(answer.items), rules)
    return _any_order(reference.items, answer.items, rules)


def _unnumbered(names: Sequence[str]) -> set[str]:
    return {re.sub(r"_\{?[0-9]\}?$", "", name) for name in names}


def _in_written_order(reference: Sequence[Form], answer: Sequence[Form], rules: Scalars) -> bool:
    """`w=16, d=3` for 16, 3: names that follow no alphabetical order are given in the order of the question."""
    names = sorted(_given_names(reference) or _given_names(answer))
    usual = all(len(name) == 1 for name in names) and all(
        ord(after) - ord(before) == 1 for before, after in itertools.pairwise(names)
    )
    if usual or not names:
        return False
    first, second = (
        [item.members[-1] if isinstance(item, Equation) else item for item in items] for items in (reference, answer)
    )
    return _in_order(first, second, rules)


def _grouped(collection: Items) -> Items:
    """`p=5,q=2;p=7,q=2` as tuples: a list of lists of assignments."""
    if collection.opening or collection.separator not in (";", "or", "and"):
        return collection
    if not all(isinstance(item, Items) and not item.opening and item.separator == "," for item in collection.items):
        return collection
    tuples = [Items("(", ")", tuple(_values(item.items))) for item in collection.items if isinstance(item, Items)]
    return Items("", "", tuple(tuples), collection.separator)


def _given_names(items: Sequence[Form]) -> list[str]:
    """Return the names of the values, where every item gives one; nothing otherwise."""
    names = [item.names[0] if isinstance(item, Equation) and len(item.names) == 1 else "" for item in items]
    return names if all(names) else []


def _values(items: Sequence[Form]) -> list[Form]:
    """Return the values that the items give, in the order of their names where these are letters: `y=2, x=1` is (1, 2)."""
    names = _given_names(items)
    if len(set(names)) == len(names) and all(len(name) == 1 for name in names):
        items = sorted(items, key=lambda item: item.names if isinstance(item, Equation) else ())
    return [item.members[-1] if isinstance(item, Equation) and item.names else item for item in items]


def _tell_apart(names: list[str]) -> bool:
    """Return whether names say which value is which: `x, y` do; `x, x` and `x_1, x_2` are roots in no order."""
    return len({name.partition("_")[0].strip("'") for name in names}) > 1


def _in_order(reference: Sequence[Form], answer: Sequence[Form], rules: Scalars) -> bool:
    return len(reference) == len(answer) and all(equal(*pair, rules) for pair in zip(reference, answer, strict=True))


def _any_order(reference: Sequence[Form], answer: Sequence[Form], rules: Scalars) -> bool:
    if len(reference) != len(answer) or len(reference) > MAX_ITEMS:
        return False
    rest = list(answer)
    unmatched = []
    for wanted in reference:  # what is written alike first: it needs no arithmetic
        if wanted in rest:
            rest.remove(wanted)
        else:
            unmatched.append(wanted)
    if len(rest) > MAX_COMPARED:
        return False
    for wanted in unmatched:
        place = next((place for place, found in enumerate(rest) if equal(wanted, found, rules)), None)
        if place is None:
            return False
        del rest[place]
    return True


def _distinct(items: Sequence[Form]) -> list[Form]:
    """Return a set's members once each, as far as they are the same text."""
    return list(dict.fromkeys(items))


def _merged(region: Region) -> Region:
    """Return a union with its overlapping and touching intervals joined, where their ends are rational numbers or infinite."""
    pieces: list[tuple[float | Fraction, float | Fraction, Interval]] = []
    for piece in region.pieces:
        ends = [_end(piece.low), _end(piece.high)]
        if ends[0] is None or ends[1] is None:
            return region
        pieces.append((ends[0], ends[1], piece))
    pieces.sort(key=lambda each: (each[0], not each[2].closed[0]))
    joined: list[tuple[float | Fraction, float | Fraction, Interval]] = []
    for low, high, piece in pieces:
        if joined:
            last_low, last_high, last = joined[-1]
            if low < last_high or (low == last_high and (piece.closed[0] or last.closed[1])):
                if high > last_high:
                    joined[-1] = (last_low, high, Interval(last.low, piece.high, (last.closed[0], piece.closed[1])))
                elif high == last_high:
                    joined[-1] = (
                        last_low,
                        high,
                        Interval(last.low, last.high, (last.closed[0], last.closed[1] or piece.closed[1])),
                    )
                continue
        joined.append((low, high, piece))
    return Region(tuple(piece for _, _, piece in joined), region.variable)


def _end(text: str) -> float | Fraction | None:
    bare = text.removeprefix("+").replace(" ", "")
    if bare in (INFINITY, "-" + INFINITY):
        return float("-inf") if bare.startswith("-") else float("inf")
    return rational(text)


def _regions(reference: Region | Items, answer: Region | Items, rules: Scalars) -> bool:
    first = reference if isinstance(reference, Region) else as_region(reference)
    second = answer if isinstance(answer, Region) else as_region(answer)
    if first is None or second is None:
        return False
    if len(first.pieces) > 1 or len(second.pieces) > 1:
        first, second = _merged(first), _merged(second)
    if len(first.pieces) != len(second.pieces):
        return False
    if first.variable and second.variable and first.variable != second.variable:
        return False
    rest = list(second.pieces)
    for piece in first.pieces:
        place = next((place for place, found in enumerate(rest) if _same_interval(piece, found, rules)), None)
        if place is None:
            return False
        del rest[place]
    return True


def _same_interval(first: Interval, second: Interval, rules: Scalars) -> bool:
    return (
        first.closed == second.closed and _same_end(first.low, second.low, rules) and _same_end(first.high, second.high, rules)
    )


def _same_end(first: str, second: str, rules: Scalars) -> bool:
    ends = [end.removeprefix("+").replace(" ", "") for end in (first, second)]
    if any(end in (INFINITY, "-" + INFINITY) for end in ends):
        return ends[0] == ends[1]
    return rules.same(first, second)


def _matrices(reference: Matrix, answer: Matrix, rules: Scalars) -> bool:
    shapes = [[len(row) for row in matrix.rows] for matrix in (reference, answer)]
    if shapes[0] != shapes[1] or sum(shapes[0]) > MAX_ITEMS:
        return False
    return all(
        rules.same(*cells) for rows in zip(reference.rows, answer.rows, strict=True) for cells in zip(*rows, strict=True)
    )


def _rows(listed: Items) -> Matrix | None:
    """`[[1,0],[0,1]]` as a matrix."""
    rows = [row for row in listed.items if isinstance(row, Items) and row.opening + row.closing == "[]"]
    cells = [[cell.text for cell in row.items if isinstance(cell, Expression)] for row in rows]
    if not rows or len(rows) < len(listed.items) or any(len(row) != len(rows[0].items) for row in cells):
        return None
    return Matrix(tuple(map(tuple, cells)))


def _as_inequality(region: Region) -> Inequality | None:
    """`y<2x+1`, said of y, as an inequality of x and y; None where no other variable occurs."""
    if len(region.pieces) != 1 or not region.variable:
        return None
    (piece,) = region.pieces
    if piece.low == "-" + INFINITY and _variables(piece.high):
        return Inequality(f"{piece.high}-({region.variable})", not piece.closed[1])
    if piece.high == INFINITY and _variables(piece.low):
        return Inequality(f"{region.variable}-({piece.low})", not piece.closed[0])
    return None


def _ratios(reference: Ratio | Expression, answer: Ratio | Expression, rules: Scalars) -> bool:
    if isinstance(reference, Expression) and isinstance(answer, Expression):
        return rules.same(reference.text, answer.text)
    terms = [form.terms if isinstance(form, Ratio) else (form.text, "1") for form in (reference, answer)]
    if len(terms[0]) != len(terms[1]):
        return False
    first, second = terms
    return all(rules.same(f"({first[0]})*({b})", f"({second[0]})*({a})") for a, b in zip(first[1:], second[1:], strict=True))


# Expressions.

Symbolic = Callable[[str, str], bool]
"""Whether two normalized expressions are equal by computer algebra."""

_DECIMAL = re.compile(r"-?[0-9]*\.[0-9]+")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_ROMAN = re.compile(r"\\text\{[^{}]*\}")
_CONSTANTS = frozenset("eiπ")
_FREE_CONSTANTS = frozenset("CcKk")
_YES = words_of(
    """
    yes true correct 是 是的 对 正确 真 oui vrai ja wahr richtig sí si verdadero sim verdadeiro sì vero да верно истина はい 正しい 真
    예 네 맞다 참 हाँ نعم صحيح evet đúng có ya benar ndiyo ใช่ হ্যাঁ
    """
)
_NO = words_of(
    """
    no false incorrect 否 不 不是 不对 错误 错 假 non faux nein falsch falso não нет ложь неверно いいえ 偽 아니요 아니오 거짓 नहीं لا خطأ hayır
    sai không tidak salah hapana ไม่ใช่ না
    """
)
_REASON = re.compile(
    r"^([^\s,.;:，。]+)(?:[,.;:，。]\s*|\s+(?:because|since|as|it|they|there|he|she|that|this)\b)", re.IGNORECASE
)


class Context:
    """What a question says about how its answer is to be read; each is looked up when it is first needed."""

    def __init__(self, question: str = "") -> None:
        self._question = question[-8000:]

    @cached_property
    def percent(self) -> bool:
        """Whether it asks for a percentage."""
        return asks_for_percent(self._question)

    @cached_property
    def asked(self) -> frozenset[str]:
        """Its words; see `units.asked_for`."""
        return asked_for(self._question) if self._question else frozenset()

    @cached_property
    def base(self) -> int | None:
        """The number base that it asks for, or None."""
        found = _BASE_ASKED.search(self._question)
        number = (found[1] or found[2]).lower() if found else ""
        return _BASE_NAMES.get(number) or (int(number) if number.isdecimal() else None)


_BASE_ASKED = re.compile(
    r"(?:in|to|into) base[- ]?\$?([0-9]{1,2}|two|three|four|five|six|seven|eight|nine|twelve|sixteen)|\b(binary|octal|hexadecimal)\b",
    re.IGNORECASE,
)
_BASE_NAMES = {"binary": 2, "octal": 8, "hexadecimal": 16, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
               "nine": 9, "twelve": 12, "sixteen": 16}  # fmt: skip


class Scalars:
    """Compares expressions under one policy, and remembers what it took.

    Attributes:
        used_symbolic: computer algebra was asked.
        wants_symbolic: computer algebra was not allowed, and could have found two expressions equal.
        used_rounding: two numbers were called equal though they are not exactly.
        unknown: a word beside a number of the answer that is no known unit, where the number would have been right.
    """

    def __init__(self, policy: AnswerPolicy, context: Context | None = None, *, symbolic: Symbolic | None = None) -> None:
        self._policy = policy
        self._context = context or Context()
        self._symbolic = symbolic
        self.used_symbolic = False
        self.wants_symbolic = False
        self.used_rounding = False
        self.unknown = ""

    @property
    def base(self) -> int | None:
        """The number base that the question asks for."""
        return self._context.base

    def same(self, reference: str, answer: str) -> bool:
        """Return whether two normalized expressions have the same value.

        With a leading `=` (or `>`), whether they are 0 (or positive) for the same values of their variables.
        """
        if reference[:1] in ("=", ">"):
            found_ratio = _ratio(reference[1:], answer[1:], equations=reference[0] == "=")
            return found_ratio is not None and (found_ratio > 0 or reference[0] == "=")
        if reference == answer:
            return bool(reference)
        expected, found = (self._quantity(text) for text in (reference, answer))
        if expected.changed or found.changed:
            return False
        if self._policy.units is Units.REQUIRE and expected.unit != found.unit:
            return False
        if DEGREE in (expected.unit, found.unit) and expected.unit != found.unit:
            equal_values = self._same_angle(expected, found)
        elif expected.unit and found.unit and expected.unit != found.unit:
            if expected.measure is None or found.measure is None or expected.measure[1] != found.measure[1]:
                return False
            cores = (f"({each.core})*({each.measure[0]})" for each in (expected, found) if each.measure)
            equal_values = self._same_core(*cores)
        else:
            equal_values = self._same_core(expected.core, found.core)
        if equal_values and found.unknown and found.unknown != expected.unknown:
            self.unknown = found.unknown
            return False
        return equal_values

    def _quantity(self, text: str) -> Quantity:
        return quantity(text, self._context.asked if has_words(text) else frozenset())

    def same_words(self, reference: str, answer: str) -> bool:
        """Return whether two texts are the same words; capitals count as the policy says. Yes and true are one word."""
        if reference == answer:
            return True
        if self._policy.case is Case.KEEP:
            return False
        first, second = reference.casefold(), answer.casefold()
        if first == second or _without_article(first) == _without_article(second):
            return True
        for words in (_YES, _NO):
            if first in words:
                if second in words:
                    return True
                opening = _REASON.match(second)
                return opening is not None and opening[1] in words and not _contrary(second, words)
        return False

    def _same_core(self, reference: str, answer: str) -> bool:
        first, second = value_of(reference), value_of(answer)
        if first is not None and second is not None:
            equal = _equal(first, second)
            if (equal and not _vanished(reference, answer)) or self._same_number(first, second, reference, answer):
                return True
            if equal or (equal is False and not (first.opaque or second.opaque)):
                return self._same_but_for_case(reference, answer)
        if self._symbolic is None:
            self.wants_symbolic = True
        elif not _vanished(reference, answer):
            self.used_symbolic = True
            if self._symbolic(reference, answer):
                return True
        return self._same_but_for_case(reference, answer)

    def _same_number(self, first: Value, second: Value, reference: str, answer: str) -> bool:
        expected, found = first.rational, second.rational
        if expected is None or found is None:
            return False
        if ("%" in reference) != ("%" in answer) and self._context.percent and expected * 100 in (found, found * 10_000):
            return True
        near = self._policy.tolerance and abs(expected - found) <= abs(expected) * Fraction(self._policy.tolerance)
        if near or (self._policy.rounded_reference and _rounds_to(found, reference.removesuffix("%"), "%" in reference)):
            self.used_rounding = True
            return not (near and expected == 0 != found)
        return False

    def _same_angle(self, expected: Quantity, found: Quantity) -> bool:
        """Return one side in degrees: 120° is 2π/3, and 44° is 44 where no π says that radians are meant."""
        degrees, other = (expected, found) if expected.unit == DEGREE else (found, expected)
        if other.unit not in (None, "rad"):
            return False
        if r"\pi" in other.core or other.unit == "rad":
            value = value_of(degrees.core)
            number = None if value is None else value.rational
            return number is not None and self._same_core(in_radians(number), other.core)
        return self._same_core(expected.core, found.core)

    def _same_but_for_case(self, reference: str, answer: str) -> bool:
        """`2Cx` and `2cx`: a free constant, C or K, written small on one side, where that confuses it with no other letter."""
        if self._policy.case is Case.KEEP:
            return False
        letters, others = (set(_letters(text)) for text in (reference, answer))
        changed = letters ^ others
        if not changed or not changed <= _FREE_CONSTANTS:
            return False
        if any(len({each.swapcase(), each} & side) > 1 for each in changed for side in (letters, others)):
            return False
        first, second = (value_of(_lowered(text)) for text in (reference, answer))
        return first is not None and second is not None and _equal(first, second) is True


def _without_article(text: str) -> str:
    return re.sub(r"^(?:the|an?) (?=\w{2})", "", text)


def _contrary(text: str, words: frozenset[str]) -> bool:
    """Return whether a text that opens with one of `words` also says the opposite word."""
    others = _NO if words is _YES else _YES
    return any(word in others for word in re.findall(r"\w+", text))


def _vanished(reference: str, answer: str) -> bool:
    """Return whether the answer has letters that the reference has not: `0(or 7)`, `x^0 y-y+5`.

    They cancel where the values are equal, and what cancels was not understood: prose read as a product of variables.
    """
    return bool(_variables(answer) - _variables(reference))


def _variables(text: str) -> set[str]:
    return set(_letters(_ROMAN.sub(" ", text))) - _CONSTANTS


def _equal(first: Value, second: Value) -> bool | None:
    """Return whether two values are one; None where they are too large to tell."""
    try:
        return first.same(second)
    except TooLargeError:
        return None


def _ratio(reference: str, answer: str, *, equations: bool) -> Fraction | None:
    first, second = value_of(reference), value_of(answer)
    if equations and first is not None and second is not None:  # where a denominator is not 0, the numerator decides
        first, second = first.over_one(), second.over_one()
    try:
        return None if first is None or second is None else ratio(first, second)
    except TooLargeError:
        return None


def _letters(text: str) -> str:
    return "".join(char for char in _COMMAND.sub(" ", text) if char.isalpha())


def _lowered(text: str) -> str:
    return "".join(piece if piece.startswith("\\") else piece.lower() for piece in re.split(r"(\\[a-zA-Z]+)", text))


def _rounds_to(value: Fraction, reference: str, percent: bool) -> bool:
    """Return whether a decimal of at least three significant digits is a fraction's rounding, and the fraction has no finite decimal."""
    if not _DECIMAL.fullmatch(reference) or len(reference.lstrip("-0.").replace(".", "")) < 3 or has_finite_decimal(value):
        return False
    places = len(reference.partition(".")[2])
    scaled = abs(value * (100 if percent else 1)) * 10**places
    rounded = int(scaled + Fraction(1, 2))
    sign = -1 if value < 0 else 1
    return Fraction(sign * rounded, 10**places) == Fraction(reference)
