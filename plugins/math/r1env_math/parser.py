"""Reads a normalised text as a form, without evaluating anything: the expressions in it stay text.

Linear in the text but for nesting, which `guards` bounds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

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
from r1env_math.numeric import value_of
from r1env_math.normalize import words
from r1env_math.units import quantity

_EMPTY_WORDS = frozenset(
    ("no solution", "no solutions", "no real solution", "no real solutions", "none", "empty set", "the empty set", "no such number",
     "no integer solutions", "no real roots", "does not exist", "dne", "impossible", "无解", "нет решений", "keine lösung")
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
    r"[A-Z]{2,4}|\|[A-Z]{2}\||\\(?:angle|triangle|overline|measuredangle|vec)[ {]?[A-Z]{1,4}\}?|m\\angle ?[A-Z]{1,3}"
    r"|\\text\{[^{}]*\}(?:_\{?[a-zA-Z0-9]+\}?)?|(?!\\)[^\W\d_]{2,}(?: [^\W\d_]+)*"
)
_IS_SUM_OF_NAMES = re.compile(rf"{_NAME}(?:\+{_NAME})+")
_MATRIX = re.compile(r"[(\[]?\\begin\{([pbB]?matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}[)\]]?", re.DOTALL)
_BASED = re.compile(r"\(?([0-9a-zA-Z]+)\)?_(?:([0-9])|\{(?:\\text\{)?([0-9]{1,2}|two|three|eight|ten|sixteen)\}?\})")
_OPTION = re.compile(
    r"(?:\\text\{)?\s?(?:[(\[](?P<enclosed>[A-J])[)\]]|(?P<bare>[A-J])(?:[).:](?=.)|(?=\}?$)))\}?\s?(?P<content>.*)", re.DOTALL
)
_TERM = r"(?:[^:a-zA-Z\\]|(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])|\\(?!text)[a-zA-Z]+|\\[^a-zA-Z]){1,40}"
_RATIO = re.compile(rf"{_TERM}(?::{_TERM}){{1,4}}")
_PROSE = re.compile(r"(?<![a-zA-Z\\])[^\W\d_]{3,}|\\text\{[^{}]*[^\W\d_]{2,}")
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")
_CASES = re.compile(r"\\begin\{cases\}(.*)\\end\{cases\}", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_ELLIPSIS = re.compile(r"\\ldots|\.\.\.")
_RELATIONS = {
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
def read(normalised: str) -> Form:
    """Take a normalised answer apart."""
    if _ELLIPSIS.search(normalised):
        return Words(normalised.replace(" ", ""))
    plain = words(normalised)
    if plain.lower() in _EMPTY_WORDS or normalised in (r"\emptyset", r"\{\}", r"\{\emptyset\}"):
        return EMPTY if normalised.startswith("\\") or plain.lower() in _EMPTY_SOLUTIONS else Words(plain)
    if option := _option(normalised):
        return option
    if _is_words(normalised):
        return Words(plain)
    return _read(_flatten(normalised))


def _read(text: str) -> Form:
    for separator in ("or", "and", ";", ","):
        parts, found = _split(text, separator)
        if len(parts) > 1:
            return _list(parts, found)
    return _single(text)


def _list(parts: list[str], separator: str) -> Form:
    items = [_read(part) for part in parts]
    if separator in ("and", "or") and not all(isinstance(item, Items) for item in items):  # `1, 2, 3 and 4` is one list
        items = [each for item in items for each in (item.items if isinstance(item, Items) and not item.opening else (item,))]
    regions = [item for item in items if isinstance(item, Region)]
    if len(regions) == len(items):
        merged = _joined(regions, separator)
        if merged is not None:
            return merged
    return Items("", "", tuple(each for item in items for each in _plus_minus(item)), separator)


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
    text = text.removeprefix(r"\approx").lstrip()  # "about 42" states 42; `x\approx y` is a relation
    members, relations = _relations(text)
    if relations:
        related = _related(members, relations)
        if isinstance(related, Equation):
            both = _plus_minus(related)
            return Items("", "", both, "or") if len(both) == 2 else related
        return related
    if union := _union(text):
        return union
    if enclosed := _enclosed(text):
        return enclosed
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix[2])
    if text in _SETS:
        return Region((Interval("-" + INFINITY, INFINITY, (False, False)),))
    if (based := _BASED.fullmatch(text)) and (based[1].isdecimal() or len(based[1]) > 1):
        return Based(based[1].lower(), based[2] or based[3])
    if ":" in text and _RATIO.fullmatch(text) and "\\{" not in text:
        return Ratio(tuple(text.split(":")))
    if cases := _CASES.fullmatch(text):
        return _list([part.strip(" ,;") for part in cases[1].split(r"\\") if part.strip()], ",")
    if _PROSE.search(quantity(text).core) and value_of(text) is None:
        return Words(words(text))
    values = _plus_minus(Expression(text))
    return Items("", "", values, "or") if len(values) == 2 else values[0]


def _related(members: list[str], relations: list[str]) -> Form:
    if set(relations) == {"="}:
        return _equation(members)
    if relations == [r"\in"]:
        inside = _single(members[1])
        if isinstance(inside, Items) and (region := as_region(inside)):
            inside = region
        if isinstance(inside, Region):
            return Region(inside.pieces, members[0])
        return Equation((Expression(members[0]), inside), (members[0],), *members)
    if set(relations) <= {"=", r"\approx"}:
        at = relations.index(r"\approx")
        exact = _equation(members[: at + 1]) if at else _single(members[0])
        if at == 0 and (names := _names(members[0])) and len(members) == 2:
            return Equation((Expression(members[0]), _single(members[1])), names, *members)
        return Approximate(exact, _single(members[-1]))
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
    """What is given a value: `x`, `f(x)`, `(x,y,z)`, `AB`, `m+n`, `\\text{Area}`; nothing for other expressions."""
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
                return Region((Interval(lower.low, upper.high, (lower.closed[0], upper.closed[1])),), *variables)
    return None


def _union(text: str) -> Region | None:
    """Intervals joined by `\\cup`, an interval without some points, `\\{x | x<3\\}`."""
    parts, _ = _split(text, r"\cup")
    if len(parts) > 1:
        regions = [_region_of(part) for part in parts]
        if all(region is not None for region in regions):
            return Region(tuple(piece for region in regions if region for piece in region.pieces))
        return None
    for sign in (r"\setminus", "-"):
        parts, _ = _split(text, sign)
        if len(parts) == 2 and all(parts) and parts[1].startswith(r"\{"):
            whole, points = _region_of(parts[0]), _enclosed(parts[1])
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


def _enclosed(text: str) -> Form | None:
    """What stands in one pair of brackets."""
    for opening, closing in ((r"\{", r"\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")")):
        if not (text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)):
            continue
        inside = text[len(opening) : -len(closing)]
        if not _balanced(inside):
            continue
        parts, separator = _split(inside, ",")
        if len(parts) == 1:
            parts, separator = _split(inside, ";")
        if len(parts) == 1 and opening != r"\{":
            return None  # `(x+1)` is an expression
        items = tuple(each for part in parts for each in _plus_minus(_single(part)))
        return Items(opening.strip("\\"), closing.strip("\\"), items, separator)
    return None


def _balanced(text: str) -> bool:
    depth = 0
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece in ("(", "[", "{", r"\{"):
            depth += 1
        elif piece in (")", "]", "}", r"\}"):
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


def _split(text: str, separator: str) -> tuple[list[str], str]:
    """The parts between a separator that stands outside all brackets; the text alone where there is none, or a part is empty."""
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
    """The members of a chain and the relations between them."""
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
    """Without what only groups the whole: `{…}`, a `\\text{…}` round a formula, commas in long numbers."""
    for opening in ("{", r"\text{"):
        while text.startswith(opening) and text.endswith("}") and _balanced(text[len(opening) : -1]):
            text = text[len(opening) : -1].strip()
    if any(bracket in text for bracket in ("(", "[", r"\{")):
        return text  # `(1,234)` is a pair
    return _GROUPED.sub(lambda number: number[0].replace(",", ""), text)


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
    """Whether a text is words and not a formula: letters only, and more than a product of two variables."""
    plain = words(text)
    if "\\" in text.replace(r"\text{", "") or not _LETTERS.fullmatch(plain):
        return False
    longest = max(map(len, re.split("[ '-]", plain)))
    return longest > 2 or text.startswith(r"\text{") or (longest == 2 and plain.isupper())


def _text(form: Form) -> str:
    return form.text if isinstance(form, Expression) else ""
