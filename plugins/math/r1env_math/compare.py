"""Compares two forms by structure. What two expressions are to each other is asked of rules that the caller gives.

The result only grows with what the rules call equal: with rules that know fewer equal expressions, fewer forms are equal. So
what is equal by exact arithmetic alone is equal with computer algebra too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from r1env_math.exact import has_finite_decimal
from r1env_math.ast import (
    EMPTY,
    INFINITY,
    Approximate,
    Based,
    Equation,
    Expression,
    Form,
    Inequality,
    Interval,
    Items,
    Matrix,
    Option,
    Ratio,
    Region,
    Words,
    as_region,
)
from r1env_math.numeric import rational


class Rules(Protocol):
    """What the parts of an answer are to those of the reference (which come first)."""

    def same(self, reference: str, answer: str) -> bool:
        """Whether two expressions have the same value."""

    def same_words(self, reference: str, answer: str) -> bool:
        """Whether two texts are the same words."""


MAX_ITEMS = 200
MAX_COMPARED = 40  # items of unordered collections that are not written alike; each is compared with each


def equal(reference: Form, answer: Form, rules: Rules) -> bool:
    """Whether the answer says what the reference says. The reference decides the form: `x=2` may be answered by `2`."""
    match reference, answer:
        case _, Approximate(exact, rounded):
            as_rounded = _is_decimal(reference) and _has_no_decimal(exact) and equal(reference, rounded, rules)
            return as_rounded or equal(reference, exact, rules)
        case Approximate(exact, rounded), _:
            return equal(exact, answer, rules) or (_has_no_decimal(exact) and equal(rounded, answer, rules))
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
        case (Items("{", "}", (item,)), _) | (Items("", "", (item,)), _):
            return equal(item, answer, rules)
        case _, Items("{", "}", (item,)):
            return equal(reference, item, rules)
        case Matrix(), Matrix():
            return _matrices(reference, answer, rules)
        case Ratio() | Expression(), Ratio() | Expression():
            return _ratios(reference, answer, rules)
        case Based(), Based():
            return reference.digits.lstrip("0") == answer.digits.lstrip("0") and reference.base == answer.base
        case Words(), Words():
            return rules.same_words(reference.text, answer.text)
    return False


def _is_decimal(form: Form) -> bool:
    return isinstance(form, Expression) and "." in form.text


def _has_no_decimal(form: Form) -> bool:
    """Whether only a rounding of a value can be written as a decimal: `\\pi`, not `3.1`."""
    if isinstance(form, Equation):
        return _has_no_decimal(form.members[-1])
    value = rational(form.text) if isinstance(form, Expression) else None
    return value is None or not has_finite_decimal(value)


def consistent(equation: Equation, rules: Rules) -> bool:
    """Whether the members of a chain are equal to each other: `x = 4/2 = 2`, not `3 = 4 = 5`."""
    values = equation.members[1:] if equation.names else equation.members
    return all(equal(values[-1], value, rules) for value in values[:-1])


def _gives(equation: Equation) -> bool:
    """Whether an equation states a value (`x=2`, `1+1=2`), and is not one still to be solved (`2x=4`)."""
    return bool(equation.names) or not re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", equation.left))


def _equations(reference: Equation, answer: Equation, rules: Rules) -> bool:
    if reference.names and answer.names:
        if not (consistent(reference, rules) and consistent(answer, rules)):
            return False
        if _same_names(reference.names, answer.names) and equal(reference.members[-1], answer.members[-1], rules):
            return True
    if len(reference.members) != 2 or len(answer.members) != 2:
        return False
    if _is_value(reference) or (answer.names and _is_value(answer)):
        return False  # `2x=4` is no answer where `x=2` is wanted
    sides = [side for equation in (reference, answer) for side in (equation.left, equation.right)]
    if any(not isinstance(member, Expression) for equation in (reference, answer) for member in equation.members):
        return False
    left, right = (f"{equation.left}-({equation.right})" for equation in (reference, answer))
    return all(sides) and rules.same(f"={left}", f"={right}")


def _is_value(equation: Equation) -> bool:
    value = equation.members[-1]
    return (
        bool(equation.names)
        and "+" not in equation.names[0]  # `x+y=1` gives `x+y` a value, but is an equation of x and y as well
        and isinstance(value, Expression)
        and not re.search(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", re.sub(r"\\[a-zA-Z]+|[ei]", " ", value.text))
    )


def _same_names(reference: Sequence[str], answer: Sequence[str]) -> bool:
    return [_bare(name) for name in reference] == [_bare(name) for name in answer]


def _bare(name: str) -> str:
    return re.sub(r"[{}\s|]|\\text|\\overline|\\angle", "", name).casefold() if len(name) > 1 else name


def _unwrapped(reference: Equation, answer: Form, rules: Rules) -> bool:
    value = reference.members[-1]
    if not _in_usual_order(reference.names):
        return False
    if isinstance(answer, Region):
        return isinstance(value, Region | Items) and equal(value, Region(answer.pieces), rules)
    return equal(value, answer, rules)


def _unwrapped_answer(reference: Form, answer: Equation, rules: Rules) -> bool:
    return _in_usual_order(answer.names) and equal(reference, answer.members[-1], rules)


def _in_usual_order(names: Sequence[str]) -> bool:
    """Whether `(x,y)=…` names its values as everybody does: `(y,x)=(1,2)` is not (1, 2)."""
    letters = [name for name in names if len(name) == 1]
    return len(letters) < len(names) or letters == sorted(letters)


def _collections(reference: Region | Items, answer: Region | Items, rules: Rules) -> bool:
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
    if "" in kinds and kinds[0] + kinds[1] in ("()", "[]"):
        names = _given_names(reference.items), _given_names(answer.items)
        return all(len(set(given)) in (0, len(given)) for given in names) and _in_order(
            _values(reference.items), _values(answer.items), rules
        )
    return False


def _lists(reference: Items, answer: Items, rules: Rules) -> bool:
    """Bare lists: by name where both name their values, in order where the names tell which is which, else in any order."""
    expected, given = _given_names(reference.items), _given_names(answer.items)
    if expected and given:
        if sorted(map(_bare, expected)) != sorted(map(_bare, given)):
            return False
        return _any_order(reference.items, answer.items, rules)
    named = expected or given
    if named and _tell_apart(named):
        return _in_order(_values(reference.items), _values(answer.items), rules)
    if named:
        return _any_order(_values(reference.items), _values(answer.items), rules)
    return _any_order(reference.items, answer.items, rules)


def _grouped(collection: Items) -> Items:
    """`p=5,q=2;p=7,q=2` as tuples: a list of lists of assignments."""
    if collection.opening or collection.separator not in (";", "or", "and"):
        return collection
    if not all(isinstance(item, Items) and not item.opening and item.separator == "," for item in collection.items):
        return collection
    tuples = [Items("(", ")", tuple(_values(item.items))) for item in collection.items if isinstance(item, Items)]
    return Items("", "", tuple(tuples), collection.separator)


def _given_names(items: Sequence[Form]) -> list[str]:
    """The names of the values, where every item gives one; nothing otherwise."""
    names = [item.names[0] if isinstance(item, Equation) and len(item.names) == 1 else "" for item in items]
    return names if all(names) else []


def _values(items: Sequence[Form]) -> list[Form]:
    """The values that the items give, in the order of their names where these are letters: `y=2, x=1` is (1, 2)."""
    names = _given_names(items)
    if len(set(names)) == len(names) and all(len(name) == 1 for name in names):
        items = sorted(items, key=lambda item: item.names if isinstance(item, Equation) else ())
    return [item.members[-1] if isinstance(item, Equation) and item.names else item for item in items]


def _tell_apart(names: list[str]) -> bool:
    """Whether names say which value is which: `x, y` do; `x, x` and `x_1, x_2` are roots in no order."""
    return len({name.partition("_")[0].strip("'") for name in names}) > 1


def _in_order(reference: Sequence[Form], answer: Sequence[Form], rules: Rules) -> bool:
    return len(reference) == len(answer) and all(equal(*pair, rules) for pair in zip(reference, answer, strict=True))


def _any_order(reference: Sequence[Form], answer: Sequence[Form], rules: Rules) -> bool:
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
    """A set's members once each, as far as they are the same text."""
    return list(dict.fromkeys(items))


def _regions(reference: Region | Items, answer: Region | Items, rules: Rules) -> bool:
    first = reference if isinstance(reference, Region) else as_region(reference)
    second = answer if isinstance(answer, Region) else as_region(answer)
    if first is None or second is None or len(first.pieces) != len(second.pieces):
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


def _same_interval(first: Interval, second: Interval, rules: Rules) -> bool:
    return (
        first.closed == second.closed and _same_end(first.low, second.low, rules) and _same_end(first.high, second.high, rules)
    )


def _same_end(first: str, second: str, rules: Rules) -> bool:
    ends = [end.removeprefix("+").replace(" ", "") for end in (first, second)]
    if any(end in (INFINITY, "-" + INFINITY) for end in ends):
        return ends[0] == ends[1]
    return rules.same(first, second)


def _matrices(reference: Matrix, answer: Matrix, rules: Rules) -> bool:
    shapes = [[len(row) for row in matrix.rows] for matrix in (reference, answer)]
    if shapes[0] != shapes[1] or sum(shapes[0]) > MAX_ITEMS:
        return False
    return all(
        rules.same(*cells) for rows in zip(reference.rows, answer.rows, strict=True) for cells in zip(*rows, strict=True)
    )


def _ratios(reference: Ratio | Expression, answer: Ratio | Expression, rules: Rules) -> bool:
    if isinstance(reference, Expression) and isinstance(answer, Expression):
        return rules.same(reference.text, answer.text)
    terms = [form.terms if isinstance(form, Ratio) else (form.text, "1") for form in (reference, answer)]
    if len(terms[0]) != len(terms[1]):
        return False
    first, second = terms
    return all(rules.same(f"({first[0]})*({b})", f"({second[0]})*({a})") for a, b in zip(first[1:], second[1:], strict=True))
