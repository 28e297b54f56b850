"""Splits a unit off a quantity: `5\\text{ cm}^2`, `\\$1,250.50`, `44°`, `15th Day`, `12 apples`, `4000千克`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

DEGREE = "°"

_SPELLINGS = """
mm: millimeter millimetre; cm: centimeter centimetre cms; m: meter metre mtr; km: kilometer kilometre kms
in: inch inches; ft: foot feet; yd: yard; mi: mile
g: gram gm; kg: kilogram kilo kgs 千克 公斤; mg: milligram; lb: pound lbs; oz: ounce
ml: milliliter millilitre mL; l: liter litre L 升; gal: gallon
s: second sec secs 秒; min: minute mins 分钟; h: hour hr hrs 小时; day: 天 日; week: wk; month: 个月; year: yr 年 岁
mph: miles-per-hour; kmh: kmph km/h km/hr; m/s: mps
$: dollar USD usd 美元; €: euro EUR; £: GBP; ¥: yuan yen RMB 元; ₹: rupee Rs Rs. INR; ¢: cent
°: degree deg; rad: radian; unit: unit; sq: square-unit sq-unit
N: newton; J: joule; W: watt; V: volt; A: ampere amp; Hz: hertz; K: kelvin; mol: mole; Pa: pascal; °C: celsius; °F: fahrenheit
"""
_CANONICAL: Mapping[str, str] = {
    spelling: name.strip()
    for entry in re.split(r"[;\n]", _SPELLINGS.strip())
    for name, _, others in [entry.partition(":")]
    for spelling in (name.strip(), *others.split())
}
_SHORT = frozenset(  # what is a unit also without `\text` and without a space before it
    re.split(" ", "mm cm km ft kg mg lb lbs oz ml mL mph kmh kmph km/h m/s cm/s mi/h hr hrs min sec Hz Pa mol USD inches in")
)
_MULTIPLES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_NO_UNITS = frozenset(  # words that change what is said
    re.split(
        " ",
        "or and more less than not least most minus plus about negative positive approximately squared cubed factorial mod "
        "modulo base over times divided by maybe perhaps possibly if when but either between exactly half third quarter "
        "fourths thirds halves infinity infinite undefined remainder r is are was be isnt wrong incorrect false unknown to from at no none nor only ago before after true false root power fourth fifth fifths sixth sixths "
        "seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths quarters cent percent",
    )
)
_CURRENCY_BEFORE = re.compile(r"^(-?)(?:\\\$|\\text\{\s?([€£¥₹])\s?\}|([€£¥₹]))")
_TAIL = re.compile(
    r"(?P<core>.*[0-9a-zA-Z)}\]!]) ?(?P<unit>"
    r"\\text\{(?P<roman>[^{}]*)\}(?P<more>[a-zA-Z ]*)|°[CF]?|\\\$|[€£¥₹¢]"
    r"|(?<=[0-9]) ?(?P<words>[a-zA-Z][a-zA-Z/]+(?: [a-zA-Z]+)*)"
    r"|(?<=[0-9}]) ?(?P<foreign>[^\W\d_a-zA-Z]{1,6})"
    r")(?P<power>\^(?:[23]|\{-?[23]\})|(?<=[a-zA-Z])[23])?$",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression and its unit, in one spelling; None where there is none."""

    core: str
    unit: str | None = None


def quantity(normalised: str) -> Quantity:
    """Split a unit off. Letters that may be variables stay: `5m` is 5·m, `5\\text{m}` and `5 cm` are lengths."""
    if currency := _CURRENCY_BEFORE.match(normalised):
        sign = currency[2] or currency[3] or "$"
        rest = quantity(currency[1] + normalised[currency.end() :])
        return Quantity(rest.core, sign if rest.unit in (None, sign) else f"{sign} {rest.unit}")  # as "dollars per day" is
    tail = _TAIL.fullmatch(normalised) if len(normalised) <= 200 else None
    if tail is None:
        return Quantity(normalised)
    unit = _unit(tail)
    if unit is None:
        return Quantity(normalised)
    core = tail["core"].strip()
    name, factor = unit
    if factor is not None:
        inner = quantity(core) if name else Quantity(core)
        core = f"({inner.core})*{factor}"
        return Quantity(core, name or inner.unit)
    power = (tail["power"] or "").strip("^{}")
    return Quantity(core, name + power if name else None)


def _unit(tail: re.Match[str]) -> tuple[str, int | None] | None:
    """The unit's name (empty: it says nothing, as `th`) and a factor where it is `million`; None if it is none."""
    if tail["words"] is not None:
        words = tail["words"].split()
        if len(words) == 1 and len(words[0]) < 3 and words[0] not in _SHORT:
            return None
        return _name(words)
    if tail["foreign"] is not None:
        return _CANONICAL.get(tail["foreign"], tail["foreign"]), None
    if tail["roman"] is not None:
        return _name([*tail["roman"].split(), *tail["more"].split()])
    symbol = tail["unit"].strip()
    return ("$" if symbol == r"\$" else symbol), None


def _name(words: list[str]) -> tuple[str, int | None] | None:
    words = [word for word in words if word not in ("th", "st", "nd", "rd", ".")]
    if any(
        word.lower() in _NO_UNITS or not word.replace("/", "").replace(".", "").replace("-", "").isalpha() for word in words
    ):
        return None
    if not words:
        return "", None
    if words[0].lower() in _MULTIPLES:
        rest = _name(words[1:])
        return None if rest is None or rest[1] is not None else (rest[0], _MULTIPLES[words[0].lower()])
    return " ".join(_canonical(word) for word in words if word.lower() not in ("of", "per", "the", "a")), None


def _canonical(word: str) -> str:
    for spelling in (word, word.rstrip("."), word.lower(), word.lower().removesuffix("es"), word.lower().removesuffix("s")):
        if spelling in _CANONICAL:
            return _CANONICAL[spelling]
    return word.lower().removesuffix("s")


def in_radians(degrees: Fraction) -> str:
    """The expression in π for an angle in degrees."""
    turn = degrees / 180
    return rf"\frac{{{turn.numerator}}}{{{turn.denominator}}}\pi"
