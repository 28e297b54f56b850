"""Splits what stands behind (or, for a currency, before) a number off it: units, scale words, counted things.

`5\\text{ cm}^2`, `\\$1,250.50`, `15th day`, `3.5万元`, `8.31\\frac{\\text{J}}{\\text{mol}\\cdot\\text{K}}`. What the words mean is in
`vocabulary`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from r1env_math.vocabulary import (
    CHANGES,
    FILLERS,
    FRACTIONS,
    MEASURES,
    NOUNS,
    SCALES,
    SHORT,
    UNCLEAR,
    scale_of,
    unit_of,
)

DEGREE = "°"
MAX_LENGTH = 200  # of a text with a unit

_CURRENCY_BEFORE = re.compile(
    r"^(-?)(\\\$|\\text\{\s?(?:[€£¥₹₩]|Rs\.?|USD|EUR)\s?\}|[€£¥₹₩₽₫฿]|US\\\$|\\text\{\s?US\s?\}\\\$|(?:USD|EUR|GBP|Rs\.?|RMB|INR)(?=[ 0-9]))\s?(-?)"
)
_TOKEN = re.compile(
    r"\\text\{(?P<roman>(?:[^{}]|\{[^{}]*\})*)\}|(?P<power>\^(?:\{-?[0-9]\}|[0-9]))|(?P<symbol>°[CF]?|℃|℉|\\\$|[€£¥₹¢₽₩฿₫]|\\(?:mu|Omega|AA)(?![a-zA-Z]))"
    r"|(?P<word>(?:[^\W\d_]|[\u0300-\u036f\u0610-\u061a\u064b-\u0652\u0900-\u0963\u0980-\u09e3\u0b80-\u0be5\u0c00-\u0c65\u0e00-\u0e4e])+(?:[-'’][^\W\d_]+)*\.?)|(?P<fraction>\\frac)|(?P<times>\\cdot|\\times|[*·])|(?P<over>/)|(?P<bracket>[{}()])|(?P<space>[ ,~])"
)
_BOUNDARY = re.compile(
    r"(?<=[0-9)}\]!]) ?(?=\\text|\\frac\{\\text|\\mu\s?\\text|\\Omega|°|℃|℉|\\\$|[€£¥₹¢₽₩฿₫(]|[^\W\d_])|(?<=[0-9)}\]]) ?(?=\\(?:cdot|times) ?\\text)|(?<=[a-zA-Z]) ?(?=\\text|°|\\\$)|(?<=[a-zA-Z]) (?=[a-zA-Z]{2})"
)
_COUNT_SUFFIX = frozenset({"st", "nd", "rd", "th"})
_BELOW_ZERO = re.compile(r"(?:degrees?|°[CF]?|deg)?(?: ?c| ?f| celsius| fahrenheit)? ?below (?:zero|freezing)", re.IGNORECASE)
_MONEY_SCALES = {"M": 10**6, "m": 10**6, "K": 1000, "k": 1000, "B": 10**9, "b": 10**9, "T": 10**12}
_SCALE_ASKED = re.compile(
    r"(?:how many(?: \w+)?|number of|amount in|answer in|in|多少|几|몇|いくつの|何|сколько|wie viele|combien de|cuántos|cuántas|quantos) ?("
    + "|".join(sorted(map(re.escape, SCALES), key=len, reverse=True))
    + ")"
)
_HAS_WORD = re.compile(r"[^\W\d_]|\\|[€£¥₹¢₽₩฿₫°℃℉]")


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression and what stood beside it.

    Attributes:
        core: the expression, with scale words multiplied in.
        unit: the unit in one spelling, or None.
        measure: factor and dimensions, where the unit converts into others.
        changed: a word makes another statement of the number; nothing equals it.
        unknown: a word that is neither unit nor scale word, or empty.
    """

    core: str
    unit: str | None = None
    measure: tuple[Fraction, tuple[tuple[str, int], ...]] | None = None
    changed: bool = False
    unknown: str = ""


@dataclass
class _Tail:
    """What a tail was read as."""

    factor: Fraction = Fraction(1)
    units: list[tuple[str, int]] = None  # type: ignore[assignment]  # set in __post_init__
    nouns: bool = False
    negative: bool = False
    changed: bool = False
    unknown: str = ""

    def __post_init__(self) -> None:
        self.units = []


@lru_cache(maxsize=4096)
def quantity(normalized: str, asked: frozenset[str] = frozenset()) -> Quantity:
    """Split a unit off. Letters that may be variables stay: `5m` is 5·m, `5\\text{m}` and `5 cm` are lengths.

    Args:
        asked: words of the question, lower case: what is asked for is a counted thing, and `万元` is the unit where the
            question says so.
    """
    if len(normalized) > MAX_LENGTH or not has_words(normalized):
        return Quantity(normalized)
    if currency := _CURRENCY_BEFORE.match(normalized):
        return _money(normalized, currency, asked)
    fallback: tuple[str, _Tail] | None = None
    for boundary in _BOUNDARY.finditer(normalized):
        core, rest = normalized[: boundary.start()], normalized[boundary.end() :]
        if not _balanced(core) or core.endswith(("^", "_", "\\")):
            continue
        tail = _read_tail(rest, asked, apart=" " in boundary[0], after_group=core.endswith(("}", ")")))
        if tail is None or (tail.unknown and boundary[0] == "" and rest[:1].isalpha() and rest[:1].isascii()):
            continue  # `5xyz` is a product
        if tail.unknown and not tail.changed:
            fallback = fallback or (core, tail)
            continue
        return _made(core, tail)
    return _made(*fallback) if fallback else Quantity(normalized)


def has_words(normalized: str) -> bool:
    """Return whether a text has anything that may be a word or a unit."""
    return _HAS_WORD.search(normalized) is not None


def _money(text: str, currency: re.Match[str], asked: frozenset[str]) -> Quantity:
    sign = re.sub(r"\\text|[{}\s\\]", "", currency[2])
    sign = "$" if sign in ("US", "US$") else sign
    name = unit_of(sign) or sign
    rest_text = currency[1] + currency[3] + text[currency.end() :]
    if (letter := re.fullmatch(r"(-?[0-9][0-9.]*) ?(?:\\text\{ ?)?([MmKkBbT])(?:n|N)?\}?", rest_text)) is not None:
        rest = Quantity(f"({letter[1]})*{_MONEY_SCALES[letter[2]]}")
    else:
        rest = quantity(rest_text, asked)
    if rest.unit is None or rest.unit == name:
        measure = MEASURES.get(name)
        return Quantity(
            rest.core, name, (measure[0], tuple(measure[1].items())) if measure else None, rest.changed, rest.unknown
        )
    return Quantity(rest.core, f"{name} {rest.unit}", None, rest.changed, rest.unknown)  # as "dollars per day" is


def _made(core: str, tail: _Tail) -> Quantity:
    core = core.strip()
    if tail.factor != 1:
        core = (
            f"({core})*\\frac{{{tail.factor.numerator}}}{{{tail.factor.denominator}}}"
            if tail.factor.denominator > 1
            else f"({core})*{tail.factor}"
        )
    if tail.negative:
        core = f"-({core})"
    powers: dict[str, int] = {}
    for name, power in tail.units:
        powers[name] = powers.get(name, 0) + power
    powers = {name: power for name, power in powers.items() if power}
    unit = " ".join(name if power == 1 else f"{name}{power}" for name, power in sorted(powers.items())) or None
    return Quantity(core, unit, _measure(powers), tail.changed, tail.unknown)


def _measure(powers: dict[str, int]) -> tuple[Fraction, tuple[tuple[str, int], ...]] | None:
    factor, total = Fraction(1), dict[str, int]()
    for name, power in powers.items():
        if name not in MEASURES or abs(power) > 9:
            return None
        base, dimensions = MEASURES[name]
        factor *= base**power
        for dimension, exponent in dimensions.items():
            total[dimension] = total.get(dimension, 0) + exponent * power
    return (factor, tuple(sorted((name, power) for name, power in total.items() if power))) if powers else None


def _balanced(core: str) -> bool:
    return core.count("{") == core.count("}") and core.count("(") == core.count(")")


def _read_tail(rest: str, asked: frozenset[str], *, apart: bool = False, after_group: bool = False) -> _Tail | None:
    """Return what follows a number, or None where it is not words and units only."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(rest):
        found = _TOKEN.match(rest, at)
        if found is None:
            return None
        kind = found.lastgroup or ""
        if kind == "roman":
            inside = found["roman"]
            if re.search(r"[0-9=<>]", re.sub(r"\^\{?-?[0-9]\}?|(?<=[a-zA-Z])[23](?![0-9])|-[12](?![0-9])", "", inside)):
                return None
            tokens += (
                [("roman", "")]
                + [
                    (piece.lastgroup or "", piece[0])
                    for piece in _TOKEN.finditer(re.sub(r"(?<=[a-zA-Z])(-[12]|[23])(?![0-9])", r"^{\1}", inside))
                ]
                + [("end", "")]
            )
        else:
            tokens.append((kind, found[0]))
        at = found.end()
    if not any(kind in ("word", "symbol") for kind, _ in tokens):
        return None
    kinds, texts = [kind for kind, _ in tokens], [text for _, text in tokens]
    speed = kinds[:3] == ["word", "over", "word"] and unit_of(texts[0]) and unit_of(texts[2])  # `5 m/s^2`
    area = kinds[:2] == ["word", "power"] and texts[0] == "m" and apart  # `5 m^2`
    if (speed and (apart or after_group)) or area:
        tokens = [("roman", ""), *tokens, ("end", "")]
    return _interpret(tokens, asked)


def _interpret(tokens: list[tuple[str, str]], asked: frozenset[str]) -> _Tail | None:
    tail, sign, in_roman, in_fraction = _Tail(), 1, False, 0
    plain = " ".join(text for kind, text in tokens if kind in ("word", "symbol")).lower()
    if _BELOW_ZERO.fullmatch(plain):
        tail.negative = True
        if not plain.startswith(("degree", "°", "deg")):
            tail.unknown = plain
        return tail
    for phrase in SCALES.keys() | FRACTIONS.keys() if " " in plain else ():
        if " " in phrase and (plain == phrase or plain.startswith(phrase + " ")):
            tail.factor = SCALES.get(phrase) or FRACTIONS[phrase]
            skip = phrase.count(" ") + 1
            kept = []
            for token in tokens:
                if skip and token[0] == "word":
                    skip -= 1
                    continue
                kept.append(token)
            tokens = kept
            break
    last_power: int | None = None
    for place, (kind, text) in enumerate(tokens):
        if kind == "roman":
            in_roman = True
        elif kind == "end":
            in_roman = False
        elif kind == "fraction":
            in_fraction = 1
        elif kind == "bracket":
            if in_fraction and text == "}" and in_fraction == 1:
                in_fraction, sign = 2, -1
        elif kind == "over":
            sign = -1
        elif kind == "power":
            power = int(text.strip("^{}"))
            if last_power is None or not tail.units:
                return None
            name, old = tail.units[-1]
            tail.units[-1] = (name, old * power)
            last_power = None
        elif kind in ("word", "symbol"):
            if joined := _joined(tokens, place):
                tokens[place + 1 :] = [
                    (each[0], joined) if at == 0 else each for at, each in enumerate(_words_after(tokens, place))
                ]
                continue
            if text.lower() == "in" and any(each[0] == "word" for each in tokens[place + 1 :]):
                continue  # "5 in total"
            if (
                text.lower() in ("of", "for", "with", "on")
                and (tail.units or tail.nouns)
                and not any(each[1].lower().rstrip(".") in CHANGES | UNCLEAR for each in tokens[place:])
            ):
                break  # "5 cups of sugar": whatever it is of
            if text.lower() in ("per", "pro", "je", "par", "por", "al", "в") and tail.units:
                sign = -1
                continue
            if not _word(tail, text, asked, sign, alone=not in_roman and kind == "word"):
                return None
            last_power = sign
    squared = next(
        (
            2 if text.lower().rstrip(".") in ("square", "sq", "平方") else 3
            for kind, text in tokens
            if kind == "word" and text.lower().rstrip(".") in ("square", "sq", "cubic")
        ),
        0,
    )
    if squared and tail.units and tail.units[0][1] == 1:
        tail.units[0] = (tail.units[0][0], squared)
    return tail


def _words_after(tokens: list[tuple[str, str]], place: int) -> list[tuple[str, str]]:
    """Return the tokens behind a place without the brackets of `\\text` in front."""
    rest = tokens[place + 1 :]
    while rest and rest[0][0] in ("roman", "space"):
        rest = rest[1:]
    return rest


def _joined(tokens: list[tuple[str, str]], place: int) -> str | None:
    """`\\mu\\text{m}` and `°\\text{C}` as one unit."""
    rest = _words_after(tokens, place)
    if not rest or rest[0][0] != "word":
        return None
    if tokens[place][1] == r"\mu":
        return "μ" + rest[0][1]
    return "°" + rest[0][1] if tokens[place][1] == "°" and rest[0][1] in ("C", "F") else None


def _word(tail: _Tail, word: str, asked: frozenset[str], sign: int, *, alone: bool) -> bool:
    """Add one word to the tail; False where it may be variables instead (`5ab`)."""
    low = word.lower().rstrip(".")
    if alone and word.isascii() and not tail.units and not tail.nouns:
        short = (
            len(word.rstrip(".")) < 3 and low not in ("or", "of", "to", "an", "in") and not (low in CHANGES and len(low) > 1)
        )
        if short and word.rstrip(".") not in SHORT:
            return False
    if low in _COUNT_SUFFIX:
        return True
    if not word.isascii() and (found := _cut_scale(word)) is not None and not tail.units:
        factor, rest = found
        if f"={word[: len(word) - len(rest)]}" not in asked:  # "多少万元" asks for a number of 万元
            tail.factor *= factor
        tail.nouns = True
        return not rest or _word(tail, rest, asked, sign, alone=False)
    scale = scale_of(word)
    if scale is not None and low not in ("second", "seconds", "min", "quarters"):
        if f"={low}" in asked:
            tail.nouns = True  # "how many dozen": the unit that is asked for
        else:
            tail.factor *= scale
        return True
    unit = _unit(word)
    if unit is not None and low not in CHANGES - {"in", "min", "m", "l"}:
        tail.units += [(name, power * sign) for name, power in unit]
        return True
    if low in ("squared", "cubed") and tail.units:  # "per second squared"
        name, power = tail.units[-1]
        tail.units[-1] = (name, power * (2 if low == "squared" else 3))
        return True
    if low in CHANGES:
        tail.changed = True
        return True
    if low in UNCLEAR:
        tail.unknown = tail.unknown or word
        return True
    if low in asked or low.rstrip("s") in asked or low + "s" in asked or low in NOUNS or low in FILLERS or low + "s" in NOUNS:
        tail.nouns = True
        return True
    if not word.isascii() and _all_known(word):
        tail.nouns = True
        return True
    if not word.isascii() and any(mark in word for mark in CHANGES if not mark.isascii() and len(mark) < len(word)):
        tail.changed = True
        return True
    tail.unknown = tail.unknown or word
    return True


def asked_for(question: str) -> frozenset[str]:
    """Return the words of a question, and the scale words (as `=万`) in which it wants its answer."""
    question = question[-4000:].lower()
    words = set(re.findall(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*", question))
    for run in re.findall(r"[^\W\d_a-z]{2,}", question):  # Chinese and Japanese put no spaces between words
        words.update(run[at : at + size] for at in range(len(run)) for size in (1, 2, 3, 4))
    for found in _SCALE_ASKED.findall(question):
        words.update((f"={found}", f"={found}s", f"={found.removesuffix('s')}"))
    return frozenset(words)


def _unit(word: str) -> list[tuple[str, int]] | None:
    """`m`, `mu`, `平方厘米`, `cm2`, as canonical units with exponents."""
    symbols = {"\\$": "$", "\\Omega": "Ω", "\\mu": "μ", "\\AA": "Å"}
    word = symbols.get(word, word)
    if word == "μ":
        return [("μ", 1)]
    for prefix, power in (("平方", 2), ("立方", 3), ("квадратных ", 2), ("제곱", 2)):
        if word.startswith(prefix) and (inner := unit_of(word.removeprefix(prefix))):
            return [(inner, power)]
    found = unit_of(word)
    return None if found is None else [(found, 1)]


def _cut_scale(word: str) -> tuple[Fraction, str] | None:
    """Return the scale characters that a word begins with: `万元` is 10000 and `元`."""
    for length in (2, 1):
        if len(word) >= length and word[:length] in SCALES and not word[:length].isascii():
            rest = word[length:]
            if word[:length] in ("打", "백", "천", "조", "百", "千") and rest and unit_of(word):
                return None  # 千米, 千克
            factor = SCALES[word[:length]]
            further = _cut_scale(rest)
            return (factor * further[0], further[1]) if further else (factor, rest)
    return None


def _all_known(word: str) -> bool:
    """Return whether a run of characters without spaces is counters, units and things that are known: `个苹果`."""
    if len(word) > 12:
        return False
    reach = {0}
    for end in range(1, len(word) + 1):
        for start in tuple(reach):
            piece = word[start:end]
            if piece in NOUNS or piece in FILLERS or unit_of(piece):
                reach.add(end)
                break
    return len(word) in reach


def in_radians(degrees: Fraction) -> str:
    """Return the expression in π for an angle in degrees."""
    turn = degrees / 180
    return rf"\frac{{{turn.numerator}}}{{{turn.denominator}}}\pi"
