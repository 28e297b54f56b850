"""Reads a normalized text as a form, without evaluating anything: the expressions in it stay text.

Linear in the text but for nesting, which `guards` bounds.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor

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
from r1env_math.normalize import balanced, words
from r1env_math.numeric import rational, value_of
from r1env_math.remarks import without_remarks
from r1env_math.units import quantity
from r1env_math.vocabulary import HAN_DIGITS, MONTHS, number_in_words

_EMPTY_WORDS = frozenset(
    ("no solution", "no solutions", "no real solution", "no real solutions", "none", "empty set", "the empty set", "no such number",
     "no integer solutions", "no real roots", "sin solución", "no hay solución", "no tiene solución", "pas de solution", "aucune solution",
     "sem solução", "nessuna soluzione", "решений нет", "не имеет решений", "geen oplossing", "해가 없다", "解なし", "does not exist", "dne", "impossible", "无解", "нет решений", "keine lösung")
)  # fmt: skip
_EMPTY_SOLUTIONS = frozenset(_EMPTY_WORDS - {"does not exist", "dne", "impossible", "no such number", "none"})
_TOKEN = re.compile(
    r"\\text\{\s?(?:,?\s?)(?P<word>and|or)\s?\}|(?<![a-zA-Z\\])(?P<plain>and|or)(?![a-zA-Z])"
    r"|\\(?:begin|end)\{[a-zA-Z]+\*?\}|\\[a-zA-Z]+|\\[{}|$\\]|.",
    re.DOTALL,
)
_NAME = r"(?:[a-zA-Z]|\\[a-zA-Z]+)'{0,3}(?:_(?:[0-9a-zA-Z]|\{[^{}]{1,12}\}))?"
_IS_NAME = re.compile(_NAME)
_IS_FUNCTION = re.compile(rf"({_NAME}(?:\^\{{?-1\}}?)?)\(({_NAME}(?:,{_NAME})*|[0-9])\)")
_IS_LABEL = re.compile(
    r"\\#[A-Z]|\\dim\(? ?[A-Z]\)?|(?:E|\\mathbb\{E\}|\\text\{ ?(?:E|Var|Cov|rank|tr) ?\})[\[(][^\[\]()]{1,20}[\])]|\|\\(?:vec|overline)\{[A-Za-z]{1,3}\}\||[a-zA-Z]\^\{?\*\}?"
    r"|\\(?:hat|bar|tilde)\{[a-zA-Z]\}|"
    r"[A-Z]{2,4}|\|[A-Z]{2}\||\\(?:angle|triangle|overline|measuredangle|vec)[ {]?[A-Za-z]{1,4}\}?|m\\angle ?[A-Z]{1,3}"
    r"|\\text\{[^{}]*\}(?:_\{?[a-zA-Z0-9]+\}?)?|(?!\\)[^\W\d_]{2,}(?: [^\W\d_]+)*"
)
_LABEL = r"(?:[A-Z]{2,3}|\\overline\{[A-Z]{2}\}|\|[A-Z]{2}\||[SV]_\{[^{}]{1,20}\})"
_IS_SUM_OF_NAMES = re.compile(
    rf"{_NAME}(?:[-+*/]{_NAME})+|(?:{_LABEL})(?:[-+*/:]{_LABEL})+|\\frac\{{(?:{_LABEL}|{_NAME}|d\^?[2]?[a-z])\}}\{{(?:{_LABEL}|{_NAME}|d[a-z]\^?[2]?)\}}|[a-z]{{2,4}}"
    rf"|\\(?:max|min|gcd|lcm|deg|det|tr)\(?.{{1,30}}|P\(.{{1,30}}\)|\|{_NAME}(?:[-+]{_NAME})*\|"
)
_MATRIX = re.compile(r"[(\[]?\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}[)\]]?", re.DOTALL)
_SCALED_MATRIX = re.compile(r"([^&]{1,40}?)(?:\\cdot|\\times|\*)? ?([(\[]?\\begin\{.*)", re.DOTALL)
_BASE_NAME = r"[0-9]{1,2}|hex|oct|bin|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen"
_BASED = re.compile(
    rf"\(?(?:\\text\{{)?([0-9a-zA-Z]+)\}}?\)?_(?:([0-9])|\{{?\(?(?:\\text\{{ ?)?(?:base ?)?\}}?({_BASE_NAME}) ?\}}?\)?\}}?)"
)
_BASED_IN_WORDS = re.compile(rf"([0-9a-fA-F]+) ?\(?(?:\\text\{{ ?)?\(?(?:in )?base ?\}}?({_BASE_NAME})\)?\}}?\)?")
_BASES = {
    "hex": "16",
    "oct": "8",
    "bin": "2",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "twelve": "12",
    "sixteen": "16",
}
_OPTION = re.compile(
    r"(?:\\text\{)?\s?(?:[(\[](?P<enclosed>[A-J])[)\]]|(?P<bare>[A-J])(?:[).:](?=.)|(?=\}?$)))\}?\s?(?P<content>.*)", re.DOTALL
)
_TERM = r"(?:[^:a-zA-Z\\]|(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])|\\(?!text)[a-zA-Z]+|\\[^a-zA-Z]){1,40}"
_RATIO = re.compile(rf"{_TERM}(?::{_TERM}){{1,4}}")
_PROSE = re.compile(r"(?<![a-zA-Z\\])[^\W\d_]{3,}|\\text\{[^{}]*[^\W\d_]{2,}")
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")
_CASES = re.compile(r"\\begin\{cases\}(.*)\\end\{cases\}", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_NO_SOLUTION = re.compile(
    r"(?:(?:the |this )?(?:equation|system|inequality|problem) has |there (?:is|are|exists?) )?"
    r"no (?:real |integer |such |positive |rational )*(?:(?:solutions?|roots?|real numbers?|integers?)|(?<=such )(?:[a-z]|numbers?|values?))(?: exists?)?",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?P<hour>[01]?[0-9]|2[0-4])(?::|h|点|點|時|시 ?|\.(?=[0-5][0-9] ?(?:\\text\{ ?)?[aApP]\.?[mM]))(?P<minutes>[0-5][0-9](?::[0-5][0-9])?)[分분]?"
    r" ?(?:\\text\{ ?)?(?P<half>[aApP]\.?[mM]\.?)?\}?"
)
_BARE_HOUR = re.compile(r"(?P<hour>1[0-2]|[1-9]) ?(?:\\text\{ ?)?(?P<half>[aApP]\.?[mM]\.?)\}?")
_DATE_WORDS = re.compile(
    r"(?:(?P<month>[^\W\d_]{3,10})\.? (?:the )?(?P<day>[0-9]{1,2})|(?P<day2>[0-9]{1,2})(?: |\. ?)(?:of |de )?(?P<month2>[^\W\d_]{3,10})\.?)(?:,? ?(?:de )?(?P<year>[0-9]{4}))?",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(r"^(?:mon|tues|wednes|thurs|fri|satur|sun)day(?:, ?| )(?:the )?", re.IGNORECASE)
_DATE_ISO = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})|(?P<year2>[0-9]{4})年(?P<month2>[0-9]{1,2})月(?P<day2>[0-9]{1,2})日"
)
_CONGRUENCE = re.compile(
    r"(?:(?P<variable>[a-zA-Z])\\equiv ?)?(?P<residues>-?[0-9]{1,9}(?:,-?[0-9]{1,9}){0,20}) ?(?:\(?\\?(?:pmod|bmod|mod|text\{\(?mod ?\}|text\{\(mod) ?\{?(?P<modulus>[0-9]{1,9})\}?\)?)"
)
_PART_LABEL = re.compile(r"^\\text\{ ?([^{}:]{1,24}): ?\}|^([A-Z][a-z]{1,15}):(?=[0-9])")
_SET_OF_INTEGERS = re.compile(r"\\\{ ?([a-zA-Z]) ?\\in ?\\mathbb\{([ZN])\} ?(?:\||:) ?(.+)\\\}")
_MEANS_OR = {"或者": r"\text{ or }", "或": r"\text{ or }", "和": r"\text{ and }", "与": r"\text{ and }", "及": r"\text{ and }", "または": r"\text{ or }", "또는": r"\text{ or }", "и": r"\text{ and }", "или": r"\text{ or }",
             "und": r"\text{ and }", "et": r"\text{ and }", "y": r"\text{ and }", "e": r"\text{ and }", "en": r"\text{ and }"}  # fmt: skip
_FOREIGN_JOIN = re.compile(
    r"(?<=[0-9a-zA-Z)}\]]) ?(?:\\text\{ ?)?(或者|或|和|与|及|または|또는)(?: ?\})? ?(?=[-0-9a-zA-Z(\\\[])"
    r"|\\text\{ ?(и|или|oder|und|ou|et|o|y|e|of|en) ?\}|(?<=[0-9a-zA-Z)}\]]) (и|или|oder|und|ou|et) (?=[-0-9a-zA-Z(\\\[])"
)
_ELLIPSIS = re.compile(r"\\ldots|\.\.\.")
_RELATIONS = {
    r"\gtrsim": r"\gtrsim",
    "<": "<",
    ">": ">",
    r"\le": r"\le",
    r"\ge": r"\ge",
    r"\neq": r"\neq",
    r"\in": r"\in",
    "=": "=",
    r"\approx": r"\approx",
}
_SETS = {r"\mathbb{R}", r"\R", r"\Reals"}


@lru_cache(maxsize=1024)
def read(normalized: str) -> Form:
    """Take a normalized answer apart."""
    if _NUMBER.fullmatch(normalized):
        return Expression(normalized)
    if moment := _moment(_flatten(normalized)):
        return moment
    if builder := _BARE_BUILDER.fullmatch(normalized):
        normalized = rf"\{{{builder[1]}\}}"
    if parts := _labelled_parts(normalized):
        return parts
    normalized = without_remarks(_LINE_NAME.sub("", normalized, count=1) if normalized[:1] in "lL" else normalized, whole=True)
    if _ALL_REAL.fullmatch(words(normalized)):
        return Region((Interval("-" + INFINITY, INFINITY, (False, False)),))
    if punctured := _REALS_EXCEPT.fullmatch(words(normalized)):
        return _list([rf"{punctured[1] or 'x'}\neq {part}" for part in re.split(r",|and|or", punctured[2])], ",")
    if signed := _SIGNED_REALS.fullmatch(words(normalized)):
        half = (signed["strict"] or signed["closed"]).lower()
        is_positive = half in ("positive", "nonnegative", "non-negative")
        closed = signed["closed"] is not None
        ends = ("0", INFINITY) if is_positive else ("-" + INFINITY, "0")
        return Region((Interval(*ends, (closed and is_positive, closed and not is_positive)),))
    if _ELLIPSIS.search(normalized):
        return Words(normalized.replace(" ", ""))
    plain = words(normalized)
    if (
        plain.lower() in _EMPTY_WORDS
        or _NO_SOLUTION.fullmatch(plain)
        or normalized in (r"\emptyset", r"\{\}", r"\{\emptyset\}")
    ):
        empty = (
            plain.lower() in _EMPTY_SOLUTIONS
            or _NO_SOLUTION.fullmatch(plain)
            or (normalized.startswith("\\") and plain.lower() not in ("dne", "does not exist", "impossible"))
        )
        return EMPTY if empty else Words("does not exist" if plain.lower() == "dne" else plain)
    if option := _option(normalized):
        return option
    if re.match(r"(?:yes|no|true|false)[,.;]", plain, re.IGNORECASE) and not re.search(r"[0-9]", plain[:12]):
        return Words(plain)
    if (number := number_in_words(plain)) is not None and plain:
        return Expression(str(number))
    if (percent := _PERCENT_IN_WORDS.fullmatch(plain)) and (number := number_in_words(percent[1])) is not None:
        return Expression(f"{number}%")
    if negative := _NEGATIVE.fullmatch(plain):
        return Expression(f"-{negative[1] or negative[2]}")
    if _is_words(normalized):
        if (counted := _counted_in_words(plain)) is not None:
            return counted
        return Words(plain)
    if (congruence := _CONGRUENCE.fullmatch(normalized)) and (congruence["variable"] or "bmod" not in normalized):
        modulus = int(congruence["modulus"])
        if modulus:
            residues = sorted({int(residue) % modulus for residue in congruence["residues"].split(",")})
            return Congruence(congruence["variable"] or "", tuple(residues), modulus)
    if "i" in normalized and "j" in normalized and _PLAIN_VECTOR.fullmatch(normalized):
        normalized = re.sub(r"(?<![a-zA-Z\\])([ijk])(?![a-zA-Z])", r"\\hat{\1}", normalized)
    if r"\hat{" in normalized and (vector := _unit_vectors(normalized)) is not None:
        return vector
    normalized = _FOREIGN_JOIN.sub(lambda found: _MEANS_OR.get(found[1] or found[2] or found[3], r"\text{ or }"), normalized)
    return _read(_flatten(normalized))


_REALS_EXCEPT = re.compile(
    r"(?:all |any )?real(?: number)?s? ?(?:[a-z] )?(?:except|other than|but|excluding|not equal to|without)(?: for)? ?(?:([a-z])=)?(-?[0-9./]{1,9}(?: ?(?:,|and|or) ?-?[0-9./]{1,9}){0,3})",
    re.IGNORECASE,
)
_SIGNED_REALS = re.compile(
    r"(?:all |the )?(?:the )?(?:(?P<strict>positive|negative)|(?P<closed>non-?negative|non-?positive)) reals?(?: numbers?)?",
    re.IGNORECASE,
)
_ALL_REAL = re.compile(
    r"(?:the set of |x is |x can be )?(?:all|any) (?:the )?reals?(?: numbers?)?|任意实数|全体实数|所有实数|すべての実数",
    re.IGNORECASE,
)
_BARE_BUILDER = re.compile(r"\{([a-z](?:\\in[^|:{}]{1,20}(?:\{[A-Z]\})?)?[|:][^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_LINE = Interval("-" + INFINITY, INFINITY, (False, False))
_PLAIN_VECTOR = re.compile(
    r"(?=[^i]*i[^i]*$)(?=[^j]*j[^j]*$)-?(?:[0-9./]{0,9}|\\frac\{[0-9]+\}\{[0-9]+\}|[0-9]*\\sqrt\{[0-9]+\})[ijk](?:[-+](?:[0-9./]{0,9}|\\frac\{[0-9]+\}\{[0-9]+\}|[0-9]*\\sqrt\{[0-9]+\})[ijk]){1,2}"
)
_NEGATIVE = re.compile(
    r"(?:(?:negative|minus|moins|menos|meno|минус|eksi) |[负負]|マイナス)([0-9]{1,30}(?:\.[0-9]{1,30})?)|零下([0-9]{1,30})(?:摄氏)?度?",
    re.IGNORECASE,
)
_PERCENT_IN_WORDS = re.compile(r"([a-z -]{3,60}?) ?(?:%|per ?cent)", re.IGNORECASE)
_LINE_NAME = re.compile(r"[lL](?:_[0-9])?:(?=[^:]*=[^:]*$)")
_PART_LABELS = re.compile(r"(?:^|[,; ]|(?<=[0-9)}]))\(([a-e1-5])\) ?")


def _labelled_parts(text: str) -> Form | None:
    """`(a) 3, (b) 5`: the answers to the parts, in order."""
    if not text.startswith(("(a)", "(1)")) or ("(b)" not in text and "(2)" not in text):
        return None
    pieces = _PART_LABELS.split(text)[1:]
    labels, contents = pieces[::2], [piece.strip(" ,;") for piece in pieces[1::2]]
    names = "abcde" if text[1] == "a" else "12345"
    if len(labels) < 2 or labels != list(names[: len(labels)]) or not all(contents):
        return None
    return Items("(", ")", tuple(_read(content) for content in contents))


_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")


def _moment(text: str) -> Form | None:
    """Return a time of day or a date."""
    if len(text) > 40 or not any(char.isdigit() for char in text):
        return None
    clock = _CLOCK.fullmatch(text) or _BARE_HOUR.fullmatch(text)
    if clock is not None:
        half = (clock["half"] or "").replace(".", "").lower()
        minutes = clock.groupdict().get("minutes") or "0"
        return Clock(int(clock["hour"]), tuple(map(int, minutes.split(":"))), half)
    found = _DATE_ISO.fullmatch(text)
    if found is not None:
        year, month, day = (int(found[name] or found[name + "2"]) for name in ("year", "month", "day"))
        return Date(year, month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None
    spoken = re.sub(r"(?<=[0-9]) ?th\b", "", words(text)).replace(" ,", ",").removeprefix("the ")
    found = _DATE_WORDS.fullmatch(_WEEKDAY.sub("", spoken, count=1))
    if found is not None:
        month_name = (found["month"] or found["month2"]).lower()
        if month_name in MONTHS:
            return Date(int(found["year"] or 0), MONTHS[month_name], int(found["day"] or found["day2"]))
    return None


def _counted_in_words(plain: str) -> Form | None:
    """`十二个` and `twelve apples` as the number 12, where what follows is a counter or what is counted."""
    spoken = plain.split(" ")
    for length in range(min(len(spoken) - 1, 6), 0, -1):
        if plain.isascii() and (number := number_in_words(" ".join(spoken[:length]))) is not None:
            counted = quantity(f"{number} {' '.join(spoken[length:])}")
            known = counted.core == str(number) and not counted.unknown and not counted.changed
            return Expression(f"{number} {' '.join(spoken[length:])}") if known else None
    digits = next((at for at, char in enumerate(plain) if char not in HAN_DIGITS), len(plain))
    value = number_in_words(plain[:digits]) if digits else None
    if value is None:
        return None
    counted = quantity(f"{value}{plain[digits:]}")
    return (
        Expression(f"{value}{plain[digits:]}")
        if counted.core == str(value) and not counted.unknown and not counted.changed
        else None
    )


def _unit_vectors(text: str) -> Form | None:
    """`2\\hat{i}+3\\hat{j}` as the tuple of its components."""
    size = 3 if r"\hat{k}" in text else 2
    components = []
    for wanted in "ijk"[:size]:
        component = text
        for name in "ijk":
            component = component.replace(rf"\hat{{{name}}}", "(1)" if name == wanted else "(0)")
        value = value_of(component)
        if value is None:
            return None
        components.append(Expression(component))
    return Items("(", ")", tuple(components))


def _read(text: str) -> Form:
    for separator in ("or", "and", ";", ","):
        parts, found = _split(text, separator)
        if len(parts) > 1:
            return _list(parts, found)
    return _single(text)


def _list(parts: list[str], separator: str) -> Form:
    unequal = re.match(r"([a-zA-Z])\\neq", parts[0])
    if (
        unequal
        and separator in (",", "and")
        and all(rational(part.removeprefix(unequal[0]).strip()) is not None for part in parts)
    ):
        points = sorted({rational(part.removeprefix(unequal[0]).strip()) or Fraction(0) for part in parts})
        ends = ["-" + INFINITY, *map(str, points), INFINITY]
        return Region(tuple(Interval(*pair, (False, False)) for pair in pairwise(ends)), unequal[1])
    items = [_item(part) for part in parts]
    if separator in ("and", "or") and not all(isinstance(item, Items) for item in items):  # `1, 2, 3 and 4` is one list
        items = [each for item in items for each in (item.items if isinstance(item, Items) and not item.opening else (item,))]
    if separator in (",", "and"):  # `x\in\mathbb{R}, x\ne 0`
        narrowed = {item.variable for item in items if isinstance(item, Region) and item.pieces != (_LINE,)}
        items = [
            item for item in items if not (isinstance(item, Region) and item.pieces == (_LINE,) and item.variable in narrowed)
        ]
        if len(items) == 1:
            return items[0]
    regions = [item for item in items if isinstance(item, Region)]
    if len(regions) == len(items):
        merged = _joined(regions, separator)
        if merged is not None:
            return merged
    spread = [each for item in items for each in _plus_minus(item)]
    flat = [each for item in spread for each in (item.items if isinstance(item, Items) and item.separator == "±" else (item,))]
    return Items("", "", tuple(flat), separator)


def _item(part: str) -> Form:
    """Return a part of a list: words are words there too."""
    plain = words(part)
    if len(plain) > 2 and _is_words(part):
        number = number_in_words(plain)
        return Words(plain) if number is None else Expression(str(number))
    return _read(part)


def _plus_minus(item: Form) -> tuple[Form, ...]:
    """`x=\\pm 2` is two values."""
    if isinstance(item, Expression) and len(signs := _PLUS_MINUS.findall(item.text)) == 1:
        both = ("+", "-") if signs[0] == r"\pm" else ("-", "+")
        return tuple(Expression(_PLUS_MINUS.sub(sign, item.text).removeprefix("+").strip()) for sign in both)
    if isinstance(item, Equation) and item.names and len(item.members) == 2:
        values = _plus_minus(item.members[1])
        if len(values) == 2:
            return tuple(Equation((item.members[0], value), item.names, item.left, _text(value)) for value in values)
    return (item,)


def _single(text: str) -> Form:
    if text.startswith(r"\approx"):  # "about 0.5" states 0.5, but about 5 is no count; `x\approx y` is a relation
        text = text.removeprefix(r"\approx").lstrip()
    if label := _PART_LABEL.match(text):
        value = _single(text[label.end() :].strip())
        if isinstance(value, Expression):
            return Equation(
                (Expression(label[1] or label[2]), value), (label[1] or label[2],), label[1] or label[2], value.text
            )
    text = without_remarks(text)
    members, relations = _relations(text)
    if relations:
        related = _related(members, relations)
        if isinstance(related, Equation):
            both = _plus_minus(related)
            return Items("", "", both, "±") if len(both) == 2 else related
        return related
    if union := _union(text):
        return union
    if enclosed := _enclosed(text):
        return enclosed
    if matrix := _MATRIX.fullmatch(text):
        whole = _matrix(matrix[2])
        return whole if len(whole.rows) > 1 or len(whole.rows[0]) > 1 else Expression(whole.rows[0][0])
    if (
        (scaled := _SCALED_MATRIX.fullmatch(text))
        and value_of(scaled[1]) is not None
        and (times := _MATRIX.fullmatch(scaled[2]))
    ):
        return Matrix(tuple(tuple(f"({scaled[1]})*({cell})" for cell in row) for row in _matrix(times[2]).rows))
    if point := re.fullmatch(r"[A-Z]'?\(([^()]+,[^()]+)\)", text):
        return _single(f"({point[1]})")
    if text in (r"\mathbb{R}^+", r"\mathbb{R}^{+}", r"\mathbb{R}_{>0}", r"\mathbb{R}_+", r"\mathbb{R}_{+}"):
        return Region((Interval("0", INFINITY, (False, False)),))
    if transposed := re.fullmatch(r"[(\[]([^()\[\]]+)[)\]]\^\{?(?:T|\\top|\\text\{T\})\}?", text):
        cells, _ = _split(transposed[1], ",")
        if len(cells) > 1:
            return Matrix(tuple((cell,) for cell in cells))
    if text in _SETS:
        return Region((Interval("-" + INFINITY, INFINITY, (False, False)),))
    if (based := _BASED.fullmatch(text)) and (based[1].isdecimal() or len(based[1]) > 1):
        base = based[2] or based[3]
        return Based(based[1].lower(), _BASES.get(base, base))
    if worded := _BASED_IN_WORDS.fullmatch(text):
        return Based(worded[1].lower(), _BASES.get(worded[2], worded[2]))
    if binary := re.fullmatch(r"0b([01]{1,64})|0o([0-7]{1,30})", text):
        return Based(binary[1] or binary[2], "2" if binary[1] else "8")
    if hexadecimal := re.fullmatch(r"0[xX]([0-9a-fA-F]{1,16})", text):
        return Based(hexadecimal[1].lower(), "16")
    text = re.sub(r"(?<=[0-9]) ?(?:\\text\{ ?)?to ?\}? ?(?=[0-9])", ":", text) if "to" in text else text
    if ":" in text and _RATIO.fullmatch(text) and "\\{" not in text:
        return Ratio(tuple(text.split(":")))
    if (cases := _CASES.fullmatch(text)) and "&" in cases[1] and (piecewise := _piecewise(cases[1])):
        return piecewise
    if cases := _CASES.fullmatch(text):
        return _list([part.strip(" ,;") for part in cases[1].split(r"\\") if part.strip()], ",")
    if _PROSE.search(quantity(text).core) and value_of(text) is None:
        return Words(words(text))
    values = _plus_minus(Expression(text))
    return Items("", "", values, "±") if len(values) == 2 else values[0]


def _piecewise(inside: str) -> Form | None:
    """Return the rows of `cases`: a value, `&`, and a condition."""
    pieces: list[tuple[Form, Form]] = []
    for row in inside.split(r"\\"):
        value, found, condition = row.partition("&")
        if not row.strip(" ,.;"):
            continue
        condition = re.sub(r"\\text\{ ?(?:if|for|when|where|,| )* ?\}|\\text\{ ?(?:if|for|when) ([^{}]*)\}", r"\1", condition)
        condition = re.sub(r"^\W{0,3}(?:if|for|when) ", "", condition).replace("&", "").strip(" ,.;")
        if not found or not condition or len(pieces) > 20:
            return None
        pieces.append((_read(value.strip(" ,.;")), _read(condition)))
    return Piecewise(tuple(pieces)) if len(pieces) > 1 else None


def _related(members: list[str], relations: list[str]) -> Form:
    if set(relations) == {"="}:
        return _equation(members)
    if relations == [r"\in"]:
        inside = _single(members[1])
        if isinstance(inside, Items) and (region := as_region(inside)):
            inside = region
        if not _names(members[0]):
            return Words(rf"{members[0]}\in {members[1]}")  # `2x\in[0,1]` says something else of x
        if isinstance(inside, Region):
            return Region(inside.pieces, members[0])
        return Equation((Expression(members[0]), inside), (members[0],), *members)
    if set(relations) <= {"=", r"\approx"}:
        at = relations.index(r"\approx")
        exact = _equation(members[: at + 1]) if at else _single(members[0])
        if at == 0 and (names := _names(members[0])) and len(members) == 2:
            return Equation((Expression(members[0]), _single(members[1])), names, *members)
        return Approximate(exact, _single(members[-1]))
    if len(members) == 2 and all(relation in _FLIPPED for relation in relations):
        negated = [re.fullmatch(rf"-({_NAME})", member) for member in members]
        for at, found in enumerate(negated):
            if found and rational(members[1 - at]) is not None:  # `-x>-3` is `x<3`
                other = f"-({members[1 - at]})"
                members = [found[1], other] if at == 0 else [other, found[1]]
                relations = [_FLIPPED[relations[0]]]
                break
    if (
        len(members) == 2
        and (absolute := re.fullmatch(rf"\|({_NAME})\|", members[0]))
        and (bound := rational(members[1])) is not None
        and bound > 0
    ):
        low, high = f"-({members[1]})", members[1]
        if relations[0] in ("<", r"\le"):
            closed = relations[0] != "<"
            return Region((Interval(low, high, (closed, closed)),), absolute[1])
        if relations[0] in (">", r"\ge"):
            closed = relations[0] != ">"
            return Region(
                (Interval("-" + INFINITY, low, (False, closed)), Interval(high, INFINITY, (closed, False))), absolute[1]
            )
    region = _inequality(members, relations)
    if region is None and len(members) == 2 and relations[0] in _FLIPPED:
        low, high = members if relations[0] in ("<", r"\le") else reversed(members)
        return Inequality(f"{high}-({low})", relations[0] in "<>")
    return region or Words(f"{members[0]}{''.join(f'{r}{m}' for r, m in zip(relations, members[1:], strict=True))}")


def _equation(members: list[str]) -> Form:
    names = _names(members[0])
    if not names and len(members) == 2 and _IS_NAME.fullmatch(members[1]):
        return _equation(members[::-1])  # `5=x`
    forms = tuple(_single(member) if place or not names else Expression(member) for place, member in enumerate(members))
    return Equation(forms, names, members[0], members[-1])


def _names(left: str) -> tuple[str, ...]:
    """Return what is given a value: `x`, `f(x)`, `(x,y,z)`, `AB`, `m+n`, `\\text{Area}`; nothing for other expressions."""
    if _IS_NAME.fullmatch(left) or _IS_SUM_OF_NAMES.fullmatch(left) or _IS_LABEL.fullmatch(left):
        return (left,) if left not in (r"\pi", "e", "i", INFINITY) else ()
    if _IS_FUNCTION.fullmatch(left):
        return (left,)
    if left.startswith("(") and left.endswith(")"):
        parts, _ = _split(left[1:-1], ",")
        if len(parts) > 1 and all(_IS_NAME.fullmatch(part) or _IS_FUNCTION.fullmatch(part) for part in parts):
            return tuple(parts)
    return ()


_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


def _inequality(members: list[str], relations: list[str]) -> Region | None:
    """`x<3`, `5\\ge x`, `-1\\le a\\le 3`, `x\\neq 0` as a region of the variable."""
    if any(relation not in (*_FLIPPED, r"\neq") for relation in relations):
        return None
    if len(members) == 2:
        left, right = members
        relation = relations[0]
        if not _IS_NAME.fullmatch(left) and _IS_NAME.fullmatch(right):
            left, right, relation = right, left, _FLIPPED.get(relation, relation)
        if not _IS_NAME.fullmatch(left) or left in (r"\pi", INFINITY):
            return None
        if relation == r"\neq":
            ends = ("-" + INFINITY, right, INFINITY)
            return Region(tuple(Interval(low, high, (False, False)) for low, high in pairwise(ends)), left)
        return Region((_half_line(relation, right),), left)
    if len(members) == 3 and _IS_NAME.fullmatch(members[1]):
        if all(relation in ("<", r"\le") for relation in relations):
            return Region((Interval(members[0], members[2], (relations[0] != "<", relations[1] != "<")),), members[1])
        if all(relation in (">", r"\ge") for relation in relations):
            return Region((Interval(members[2], members[0], (relations[1] != ">", relations[0] != ">")),), members[1])
    return None


def _half_line(relation: str, end: str) -> Interval:
    if relation in ("<", r"\le"):
        return Interval("-" + INFINITY, end, (False, relation == r"\le"))
    return Interval(end, INFINITY, (relation == r"\ge", False))


def _joined(regions: list[Region], separator: str) -> Region | None:
    """`x<1 or x>3` as one region; `x>1 and x<3` as the interval."""
    variables = {region.variable for region in regions}
    if len(variables) != 1 or "" in variables:
        return None
    if separator == "or":
        return Region(tuple(piece for region in regions for piece in region.pieces), *variables)
    if separator in ("and", ",") and len(regions) == 2:
        first, second = (region.pieces[0] for region in regions)
        if any(len(region.pieces) != 1 for region in regions):
            return None
        for lower, upper in ((first, second), (second, first)):
            if lower.high == INFINITY and upper.low == "-" + INFINITY:
                apart = (rational(lower.low), rational(upper.high))
                if separator == "," and apart[0] is not None and apart[1] is not None and apart[0] > apart[1]:
                    return Region((upper, lower), *variables)  # `x<-1, x>4` can only mean "or"
                return Region((Interval(lower.low, upper.high, (lower.closed[0], upper.closed[1])),), *variables)
    return None


def _union(text: str) -> Region | Items | None:
    """Intervals joined by `\\cup`, an interval without some points, `\\{x | x<3\\}`."""
    parts, _ = _split(text, r"\cup")
    if len(parts) > 1:
        sets = [_enclosed(part) for part in parts]
        if all(isinstance(each, Items) and each.opening == "{" for each in sets):
            return Items("{", "}", tuple(item for each in sets if isinstance(each, Items) for item in each.items))
        regions = [_region_of(part) for part in parts]
        if all(region is not None for region in regions):
            return Region(tuple(piece for region in regions if region for piece in region.pieces))
        return None
    for sign in (r"\setminus", "-"):
        parts, _ = _split(text, sign)
        if len(parts) == 2 and all(parts) and parts[1].startswith((r"\{", "(", "[")):
            whole, points = _region_of(parts[0]), _enclosed(parts[1])
            hole = as_region(points) if points else None
            if (
                whole
                and hole
                and len(whole.pieces) == 1
                and whole.pieces[0] == Interval("-" + INFINITY, INFINITY, (False, False))
            ):
                (gap,) = hole.pieces
                low = Interval("-" + INFINITY, gap.low, (False, not gap.closed[0]))
                return Region((low, Interval(gap.high, INFINITY, (not gap.closed[1], False))))
            if whole and isinstance(points, Items) and all(isinstance(point, Expression) for point in points.items):
                return _without(whole, [_text(point) for point in points.items])
    return _builder(text)


def _region_of(text: str) -> Region | None:
    form = _single(text)
    return form if isinstance(form, Region) else as_region(form)


def _without(whole: Region, points: list[str]) -> Region | None:
    """A region that is one interval, without some of the points inside it (in rising order)."""
    if len(whole.pieces) != 1:
        return None
    (piece,) = whole.pieces
    ends = [piece.low, *points, piece.high]
    last = len(ends) - 2
    return Region(
        tuple(
            Interval(low, high, (place == 0 and piece.closed[0], place == last and piece.closed[1]))
            for place, (low, high) in enumerate(pairwise(ends))
        )
    )


def _builder(text: str) -> Region | None:
    """`\\{x | x<3\\}`, `\\{x \\in \\mathbb{R} : x \\neq 0\\}`."""
    if not (text.startswith(r"\{") and text.endswith(r"\}")):
        return None
    inside = text[2:-2]
    for bar in ("|", ":"):
        head, found, condition = inside.partition(bar)
        variable = head.partition(r"\in")[0].strip()
        if not found or (head.strip() != variable and head.partition(r"\in")[2].strip() not in _SETS):
            continue
        if _IS_NAME.fullmatch(variable):
            form = _read(condition.strip())
            if isinstance(form, Region) and form.variable == variable:
                return Region(form.pieces)
    return None


_FRENCH = re.compile(r"([\]\[])([^\[\](){}]{1,60}|(?:[^\[\](){}]|\{[^{}]*\}){1,90})([\]\[])")


def _enclosed(text: str) -> Form | None:
    """Return what stands in one pair of brackets."""
    french = _FRENCH.fullmatch(text)
    if french and french[1] + french[3] != "[]":  # `]2,5[` excludes both ends
        parts, _ = _split(french[2], ";")
        parts = parts if len(parts) == 2 else _split(french[2], ",")[0]
        if len(parts) == 2:
            return Items(
                "(" if french[1] == "]" else "[", "]" if french[3] == "]" else ")", tuple(Expression(part) for part in parts)
            )
    if integers := _SET_OF_INTEGERS.fullmatch(text):
        return _enumerated(integers[1], integers[2], integers[3])
    for opening, closing in ((r"\{", r"\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")")):
        if not (text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)):
            continue
        inside = text[len(opening) : -len(closing)]
        if not balanced(inside):
            continue
        parts, separator = _split(inside, ",")
        if len(parts) == 1:
            parts, separator = _split(inside, ";")
        if len(parts) == 1 and opening != r"\{":
            return None  # `(x+1)` is an expression
        spread = [each for part in parts for each in _plus_minus(_single(part))]
        items = tuple(
            each for item in spread for each in (item.items if isinstance(item, Items) and item.separator == "±" else (item,))
        )
        return Items(opening.strip("\\"), closing.strip("\\"), items, separator)
    return None


def _enumerated(variable: str, kind: str, condition: str) -> Form | None:
    """`\\{x\\in\\mathbb{Z}: 1\\le x\\le 3\\}` as the set of its members, where they are at most 50."""
    region = _read(condition.strip())
    if not isinstance(region, Region) or region.variable != variable or len(region.pieces) != 1:
        return None
    piece = region.pieces[0]
    low, high = rational(piece.low), rational(piece.high)
    if low is None and kind == "N" and piece.low == "-" + INFINITY:
        low = Fraction(0)
    if low is None or high is None or high - low > 50:
        return None
    first = ceil(low) + (1 if low.denominator == 1 and not piece.closed[0] else 0)
    last = floor(high) - (1 if high.denominator == 1 and not piece.closed[1] else 0)
    return Items("{", "}", tuple(Expression(str(member)) for member in range(first, last + 1)))


def _split(text: str, separator: str) -> tuple[list[str], str]:
    """Return the parts between a separator that stands outside all brackets; the text alone where there is none, or a part is empty."""
    parts, start, depth = [], 0, 0
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece in ("(", "[", "{", r"\{") or piece.startswith(r"\begin{"):
            depth += 1
        elif piece in (")", "]", "}", r"\}") or piece.startswith(r"\end{"):
            depth -= 1
        elif depth == 0 and separator in (piece, token["word"], token["plain"]):
            parts.append(text[start : token.start()])
            start = token.end()
    parts = [part.strip(" ") for part in (*parts, text[start:])]
    if separator in ("and", "or", ",", ";"):
        parts = [part.strip(" ,") for part in parts]
        if parts and not parts[-1] and len(parts) > 1:
            parts.pop()
    if separator == "-":
        parts = [part for part in parts if part] if len(parts) == 2 else parts
        return (parts, separator) if len(parts) == 2 else ([text], separator)
    return (parts, separator) if all(parts) else ([text.strip()], separator)


def _relations(text: str) -> tuple[list[str], list[str]]:
    """Return the members of a chain and the relations between them."""
    members, relations, start, depth = [], [], 0, 0
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece in ("(", "[", "{", r"\{") or piece.startswith(r"\begin{"):
            depth += 1
        elif piece in (")", "]", "}", r"\}") or piece.startswith(r"\end{"):
            depth -= 1
        elif depth == 0 and piece in _RELATIONS:
            members.append(text[start : token.start()].strip())
            relations.append(piece)
            start = token.end()
    members.append(text[start:].strip())
    if not all(members):
        return [text], []
    return members, relations


def _matrix(inside: str) -> Matrix:
    rows = [row.strip() for row in inside.replace(r"\hline", "").split(r"\\")]
    if rows and not rows[-1]:
        rows.pop()
    return Matrix(tuple(tuple(cell.strip() for cell in row.split("&")) for row in rows))


def _flatten(text: str) -> str:
    """Without what only groups the whole: `{…}`, a `\\text{…}` round a formula."""
    for opening in ("{", r"\text{"):
        while text.startswith(opening) and text.endswith("}") and balanced(text[len(opening) : -1]):
            text = text[len(opening) : -1].strip()
    return text


def _option(text: str) -> Option | None:
    """`(A)`, `A.`, `B) 12`, `\\text{(C)}`; a letter alone is read as an option too."""
    found = _OPTION.fullmatch(text)
    if found is None:
        return None
    content = found["content"].strip().removesuffix("}" if found["content"].count("{") < found["content"].count("}") else "")
    return (
        None
        if content[:1] in tuple(",=^_+-*/<>('") or content.startswith(("or", "and"))
        else Option(found["enclosed"] or found["bare"], content)
    )


def _is_words(text: str) -> bool:
    """Return whether a text is words and not a formula: letters only, and more than a product of two variables."""
    plain = words(text)
    if "\\" in text.replace(r"\text{", "") or not _LETTERS.fullmatch(plain):
        return False
    longest = max(map(len, re.split("[ '-]", plain)))
    return (
        longest > 2
        or plain.lower() in ("no", "ja", "da", "sí", "si", "ne", "да", "ні")
        or text.startswith(r"\text{")
        or (longest == 2 and plain.isupper())
        or all("\u3040" <= char <= "\u9fff" for char in plain)
    )


def _text(form: Form) -> str:
    return form.text if isinstance(form, Expression) else ""
