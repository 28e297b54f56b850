"""Finds answers that are neither right nor wrong, because notation or reference can be read in two ways.

`doubt` is asked about an answer that was refused. It returns a reason where the answer would be right in another reading that
neither the question nor the reference rules out. What is wrong in every reading stays wrong, so only somebody who knows the
answer can get out of a zero this way, and a plain answer would have earned more. Exact arithmetic only: the result is the same
whether computer algebra was allowed or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import chain

from r1env_math.ast import (
    EMPTY,
    INFINITY,
    Clock,
    Congruence,
    Date,
    Equation,
    Expression,
    Form,
    Items,
    Matrix,
    Region,
    Words,
    as_region,
)
from r1env_math.compare import Context, Scalars, equal
from r1env_math.exact import approximation, has_finite_decimal
from r1env_math.numeric import rational, value_of
from r1env_math.parser import read
from r1env_math.phrases import writes_decimal_comma
from r1env_math.policy import AnswerPolicy
from r1env_math.units import quantity
from r1env_math.vocabulary import words_of


@dataclass(frozen=True)
class Case:
    """A refused answer.

    Attributes:
        reference, given: both normalized.
        question: the text of the question, or empty.
        policy: what the comparison goes by.
    """

    reference: str
    given: str
    question: str
    policy: AnswerPolicy

    def same(self, reference: str, given: str) -> bool:
        """Return whether two normalized texts are equal by exact arithmetic."""
        return self.equal(read(reference), read(given))

    def equal(self, reference: Form, given: Form) -> bool:
        """Return whether two forms are equal by exact arithmetic."""
        return equal(reference, given, Scalars(self.policy, Context(self.question)))

    @property
    def both_ways(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both texts, each first once."""
        return (self.reference, self.given), (self.given, self.reference)


_INTEGER = re.compile(r"-?[0-9]{1,40}")


def doubt(case: Case) -> str | None:
    """Return why a refused answer cannot be called wrong either; None where it is wrong."""
    if _INTEGER.fullmatch(case.reference) and _INTEGER.fullmatch(case.given):
        return None
    return next((reason for applies, reason in _DOUBTS if applies(case)), None)


def _logarithm(case: Case) -> bool:
    if r"\log" not in case.reference + case.given:
        return False
    reference, given = (_BARE_LOG.sub(r"\\ln", text) for text in (case.reference, case.given))
    return case.same(reference, given)


_BARE_LOG = re.compile(r"\\log(?![a-zA-Z_])")


def _constant_of_integration(case: Case) -> bool:
    for long, short in case.both_ways:
        if _CONSTANT.search(long) and not _CONSTANT.search(short) and case.same(long[:-2], short):
            return True
    return False


_CONSTANT = re.compile(r"(?<=.)\+[CcK]$")


def _rounded(case: Case) -> bool:
    """Return whether a decimal reference is what the exact answer, or a longer decimal, rounds to."""
    reference, given = (quantity(text).core for text in (case.reference, case.given))
    if not case.policy.rounded_reference or not _DECIMAL.fullmatch(reference) or given in (r"\pi", "e"):
        return False  # the name of π is no value of it
    digits, places = len(reference.lstrip("-0.").replace(".", "")), len(reference.partition(".")[2])
    value = value_of(given)
    exact = None if value is None or digits < 2 else value.rational
    if exact is not None:
        if digits < 3 and has_finite_decimal(exact):
            return False
        if has_finite_decimal(exact) and not (_DECIMAL.fullmatch(given) and len(given.partition(".")[2]) > places):
            return False
        return bool(abs(exact - Fraction(reference)) * 10**places <= Fraction(1, 2))
    near = None if value is None or digits < 3 else approximation(value)
    return near is not None and abs(near - Decimal(reference)) * 10**places <= Decimal("0.5")


_DECIMAL = re.compile(r"-?[0-9]{0,20}\.[0-9]{1,40}")


def _point_or_group(case: Case) -> bool:
    """`1.234` where the question's language groups digits by points."""
    if not any(map(_POINT_GROUPED.search, (case.reference, case.given))) or not writes_decimal_comma(case.question):
        return False
    texts = [_POINT_GROUPED.sub(lambda found: found[0].replace(".", ""), text) for text in (case.reference, case.given)]
    return case.same(*texts)


_POINT_GROUPED = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?![0-9.,])")


def _number_or_list(case: Case) -> bool:
    """`12,34,567`: an Indian number, or three numbers."""
    return any(_INDIAN.fullmatch(text) and case.same(text.replace(",", ""), other) for text, other in case.both_ways)


_INDIAN = re.compile(r"-?[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}")


def _time_or_duration(case: Case) -> bool:
    """`1:30` and an hour and a half, or a minute and a half."""
    forms = [read(text) for text in (case.reference, case.given)]
    for clock, other in (forms, reversed(forms)):
        if not isinstance(clock, Clock) or clock.half or not isinstance(other, Expression):
            continue
        measured = quantity(other.text)
        amount = rational(measured.core)
        if measured.measure is None or amount is None or measured.measure[1] != (("time", 1),):
            return False
        seconds = amount * measured.measure[0]
        counted = [clock.hour, *clock.minutes]
        for unit in (3600, 60):
            if seconds == sum(part * Fraction(unit, 60**place) for place, part in enumerate(counted)):
                return True
    return False


def _day_or_month(case: Case) -> bool:
    """`3/4`: the fourth of March, or the third of April."""
    forms = [read(text) for text in (case.reference, case.given)]
    for date, text in ((forms[0], case.given), (forms[1], case.reference)):
        numbers = _NUMERIC_DATE.fullmatch(text.replace(r"\frac", "").replace("}{", "/").strip("{}"))
        if isinstance(date, Date) and numbers:
            return (int(numbers[2]), int(numbers[1])) == (date.month, date.day) and int(numbers[3] or date.year) == date.year
    dates = [_NUMERIC_DATE.fullmatch(text) for text in (case.reference, case.given)]
    return (
        dates[0] is not None
        and dates[1] is not None
        and dates[0].group(1, 2, 3) == dates[1].group(2, 1, 3)
        and bool(dates[0][3])
    )


_NUMERIC_DATE = re.compile(r"0?([0-9]{1,2})[/.]0?([0-9]{1,2})(?:[/.]([0-9]{4}))?")


def _remainder(case: Case) -> bool:
    """`10R3` and `10\\frac37`: the divisor of the one is not known."""
    for text, other in case.both_ways:
        divided, mixed = _WITH_REMAINDER.fullmatch(text), _MIXED.fullmatch(other)
        if divided and mixed:
            return divided.groups() == mixed.groups()
    return False


_WITH_REMAINDER = re.compile(r"([0-9]{1,9}) ?(?:\\text\{ ?)?,?(?:[rR]|remainder:?|rem\.?) ?\}? ?([0-9]{1,9})")
_MIXED = re.compile(r"([0-9]{1,9}) ?\\frac\{([0-9]{1,9})\}\{[0-9]{1,9}\}")


def _equation_or_expression(case: Case) -> bool:
    """`3x+2y-6` for `3x+2y=6`: the equation of a curve without its `= 0`."""
    equation, other = read(case.reference), read(case.given)
    if not isinstance(equation, Equation) or not isinstance(other, Expression) or len(equation.members) != 2:
        return False
    if not all(isinstance(member, Expression) for member in equation.members) or equation.names:
        return False
    difference = f"{equation.left}-({equation.right})"
    variables = set(re.findall("[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", " ", difference)))
    return len(variables) > 1 and Scalars(case.policy).same(f"={difference}", f"={other.text}")


def _list_or_union(case: Case) -> bool:
    """`[0,1],[2,3]` for the union of the two."""
    forms = [read(text) for text in (case.reference, case.given)]
    for listed, other in (forms, reversed(forms)):
        if isinstance(listed, Items) and not listed.opening and len(listed.items) > 1 and isinstance(other, Region):
            pieces = [as_region(item) for item in listed.items]
            if all(pieces):
                return case.equal(other, Region(tuple(piece.pieces[0] for piece in pieces if piece)))
    return False


def _vector(case: Case) -> bool:
    """Return a column or a row, and the tuple of its entries; the zero vector and 0."""
    forms = [read(text) for text in (case.reference, case.given)]
    for matrix, other in (forms, reversed(forms)):
        if not isinstance(matrix, Matrix):
            continue
        entries = tuple(chain.from_iterable(matrix.rows))
        if isinstance(other, Items):
            is_vector = len(matrix.rows) == 1 or all(len(row) == 1 for row in matrix.rows)
            return is_vector and case.equal(Items("(", ")", tuple(map(Expression, entries))), Items("(", ")", other.items))
        zero = (
            re.sub(r"\\(?:text|vec|hat|overrightarrow)|[{}]", "", other.text) == "0"
            if isinstance(other, Expression | Words)
            else False
        )
        return zero and all(rational(entry) == 0 for entry in entries)
    return False


def _spaces(case: Case) -> bool:
    """`1 2 3` for a list of the three."""
    return any(
        _SPACED.fullmatch(text) is not None and case.same(text.replace(" ", ","), other) for text, other in case.both_ways
    )


_SPACED = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?: -?[0-9]+(?:\.[0-9]+)?){1,20}")


def _numbered_names(case: Case) -> bool:
    """`x_1=1, x_2=2` and `x_1=2, x_2=1`: the numbers may be the question's, or were given out at will."""
    if "_" not in case.reference or "_" not in case.given:
        return False
    forms = [read(text) for text in (case.reference, case.given)]
    letters, values = [], []
    for form in forms:
        if not isinstance(form, Items) or form.opening:
            return False
        named = [item for item in form.items if isinstance(item, Equation) and len(item.names) == 1 and "_" in item.names[0]]
        if len(named) != len(form.items):
            return False
        letters.append({item.names[0].partition("_")[0] for item in named})
        values.append(Items("", "", tuple(item.members[-1] for item in named)))
    return letters[0] == letters[1] and len(letters[0]) == 1 and case.equal(*values)


_NO_VALUE = words_of("undefined dne diverges divergent indeterminate nonexistent impossible none") | {
    "does not exist", "not defined", "no value", "no limit", "no such number", "not possible", "it does not exist", "doesn't exist",
}  # fmt: skip
_WITHOUT_END = words_of("infinite infinity infinitely unlimited unbounded ∞") | {
    "infinitely many", "infinite solutions", "infinitely many solutions", "infinite number of solutions", "infinite many",
}  # fmt: skip


def _nothing_or_everything(case: Case) -> bool:
    """Phrases that some take for one: undefined, does not exist, no solution; infinitely many and ∞."""
    said = [_said(read(text)) for text in (case.reference, case.given)]
    return any(all(each in phrases for each in said) for phrases in (_NO_VALUE | {"∅"}, _WITHOUT_END))


def _said(form: Form) -> str:
    if form == EMPTY:
        return "∅"
    text = form.text if isinstance(form, Words | Expression) else ""
    return "∞" if text == INFINITY else text.casefold()


def _roman_numeral(case: Case) -> bool:
    for text, other in case.both_ways:
        numeral = re.sub(r"\\text|[{}]", "", text).strip()
        if len(numeral) > 1 and _ROMAN.fullmatch(numeral) and rational(other) == _roman_value(numeral):
            return True
    return False


_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")


_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def _roman_value(numeral: str) -> int:
    values = [_ROMAN_DIGITS[letter] for letter in numeral]
    return sum(-value if value < follower else value for value, follower in zip(values, [*values[1:], 0], strict=True))


_LITTLE_WORDS = words_of(
    "on in at by the a an is it its of to be was are were that this as for so they he she there which day only"
)
_OTHER_SENSE = words_of(
    "not no non never nor neither or and but except without un anti opposite other than before after half less more"
)


def _part_of_words(case: Case) -> bool:
    """`isosceles` for "Triangle ABC is isosceles", `on Tuesday` for `Tuesday`."""
    forms = [read(text) for text in (case.reference, case.given)]
    if not all(isinstance(form, Words) for form in forms):
        return False
    reference, given = (re.findall(r"[^\W_]+", form.text.casefold()) for form in forms if isinstance(form, Words))
    short, long = (given, reference) if len(given) < len(reference) else (reference, given)
    if not short or max(map(len, short)) < 4 or len(long) > 12:
        return False
    places = [at for at in range(len(long) - len(short) + 1) if long[at : at + len(short)] == short]
    if not places or len(short) == len(long):
        return False
    rest = long[: places[-1]] + long[places[-1] + len(short) :]
    if long is given:
        return all(word in _LITTLE_WORDS for word in rest)
    return places[-1] + len(short) == len(long) and not any(word in _OTHER_SENSE for word in rest)


def _scale_or_unit(case: Case) -> bool:
    """`5 mil`: thousandths of an inch, or thousands."""
    return any(
        _THOUSANDS.search(text) is not None and case.same(_THOUSANDS.sub("", text), other) for text, other in case.both_ways
    )


_THOUSANDS = re.compile(r"(?<=[0-9]) ?(?:\\text\{ ?)?(?:mil|mille|mila)\}?$")


def _thousand_letter(case: Case) -> bool:
    """`70k`, `8\\text{ M}`: thousands and millions, or a variable, kelvin, moles in a litre."""
    for text, other in case.both_ways:
        lettered = _LETTERED.fullmatch(text)
        if lettered and case.same(f"{lettered[1]}*{1000 if lettered[2] in 'kK' else 10**6}", other):
            return True
    return False


_LETTERED = re.compile(r"(-?[0-9]{1,12}(?:\.[0-9]{1,12})?) ?(?:\\text\{ ?)?([kKM])\}?")


def _percentage_points(case: Case) -> bool:
    """Return a difference of percentages in points, in per cent, or as a bare number."""
    for text, other in case.both_ways:
        points = _POINTS.search(text)
        if points and (case.same(text[: points.start()], other) or case.same(text[: points.start()] + "%", other)):
            return True
    return False


_POINTS = re.compile(r" ?(?:\\text\{ ?)?(?:percentage|percent|%) ?points?\}?$")


def _residue(case: Case) -> bool:
    """`5 mod 7` and 5."""
    forms = [read(text) for text in (case.reference, case.given)]
    for congruence, other in (forms, reversed(forms)):
        if isinstance(congruence, Congruence) and isinstance(other, Expression):
            value = rational(other.text)
            return value is not None and value.denominator == 1 and congruence.residues == (int(value) % congruence.modulus,)
    return False


def _pounds(case: Case) -> bool:
    """Pounds of weight, or of money."""
    first, second = (quantity(text) for text in (case.reference, case.given))
    return {first.unit, second.unit} == {"lb", "£"} and case.same(first.core, second.core)


_DOUBTS: tuple[tuple[Callable[[Case], bool], str], ...] = (
    (_rounded, "the reference may be rounded, and is what the answer rounds to"),
    (_logarithm, "`log` has the base 10 for some and e for others"),
    (_constant_of_integration, "equal but for a constant of integration"),
    (_point_or_group, "the point may group digits or mark decimals"),
    (_number_or_list, "the commas may group digits or separate numbers"),
    (_spaces, "the spaces may separate numbers"),
    (_time_or_duration, "one is a time, and the other a duration"),
    (_day_or_month, "day and month may be swapped"),
    (_remainder, "one gives a remainder, and the other a fraction"),
    (_equation_or_expression, "one is an equation, and the other leaves `= 0` out"),
    (_list_or_union, "one is a union, and the other a list of intervals"),
    (_vector, "one is a matrix, and the other a tuple or a number"),
    (_numbered_names, "the values are right, and their numbered names swapped"),
    (_nothing_or_everything, "the phrases mean the same to some"),
    (_roman_numeral, "a Roman numeral, or letters"),
    (_part_of_words, "one says only a part of the other"),
    (_scale_or_unit, "the word may multiply by 1000, or be a unit"),
    (_thousand_letter, "the letter may multiply, or be a variable or a unit"),
    (_percentage_points, "percentage points, or per cent"),
    (_residue, "one is a residue, and the other a number"),
    (_pounds, "pounds of weight, or of money"),
)
"""What makes an answer doubtful, and what is said then; in the order in which they are tried."""


def doubt_of_equal(reference: str, given: str) -> str | None:
    """Return why an answer that is equal to the reference is not paid for all the same; None where it is right."""
    if given.startswith(r"\approx") and _INTEGER.fullmatch(reference):
        return "an estimate, where the reference is an exact count"
    if _POINTS.search(given) and not _POINTS.search(reference):
        return "percentage points, or per cent"
    return None
