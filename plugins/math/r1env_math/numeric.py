"""Reads a normalized expression as an exact value. Bounded whatever the text; None for what it does not know for certain.

What it knows: integers, decimals, repeating decimals, percentages, fractions, mixed numbers, factorials, powers, roots,
variables with subscripts, π, e, i, sums, products and quotients, and elementary functions of these.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, gcd, lcm

from r1env_math.exact import TooLargeError, Value, logarithm, number, opaque, square_root, unknown

MAX_LENGTH = 250
MAX_FACTORIAL = 400  # its argument
_TOKEN = re.compile(
    r"(?P<repeating>[0-9]*\.[0-9]*\\(?:overline|bar|dot)\{[0-9]+\})"
    r"|(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"|(?P<name>[a-zA-Z]'{0,3}(?:_(?:[0-9a-zA-Z]|\{[0-9a-zA-Z,+-]{1,8}\}))?)"
    r"|\\(?P<command>[a-zA-Z]+)(?P<below>_(?:[0-9a-zA-Z]|\{[0-9a-zA-Z,+-]{1,8}\}))?"
    r"|(?P<space> )|(?P<other>\\?.)",
    re.DOTALL,
)
_GREEK = frozenset(
    re.split(
        " ",
        "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi omega "
        "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell",
    )
)
_FUNCTIONS = frozenset(re.split(" ", "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp"))
_OF_INTEGERS = frozenset({"gcd", "lcm", "max", "min"})
_MAYBE_FUNCTIONS = frozenset("fghFGHPQRTp")  # `f(x)`: nobody can tell it from a product
_ACCENTS = frozenset({"vec", "overline", "bar", "hat", "tilde", "widehat", "overrightarrow"})
_CONSTANTS = {"e": "e", "i": "i"}

Token = tuple[str, str]


class UnknownError(ValueError):
    """The text is nothing that is known for certain."""


@lru_cache(maxsize=2048)  # the reference is the same for a whole group, and many answers are too
def value_of(normalized: str) -> Value | None:
    """Return the exact value of a normalized expression, or None."""
    if not normalized or len(normalized) > MAX_LENGTH:
        return None
    try:
        parser = _Parser(_tokens(normalized))
        value = parser.sum()
        parser.expect_end()
        value.key()
    except (UnknownError, TooLargeError, ZeroDivisionError, RecursionError):
        return None
    return value


def rational(normalized: str) -> Fraction | None:
    """Return the exact value of a text that is a rational number, or None."""
    value = value_of(normalized)
    return None if value is None else value.rational


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "below":
            found.append(("command", match["command"]))
            found[-1] = ("greek", match["command"] + match["below"]) if match["command"] in _GREEK else found[-1]
            if found[-1][0] == "command":
                found.append(("other", match["below"]))
        else:
            found.append((kind, match[kind]))
    return found


class _Parser:
    """Recursive descent, one method a level of precedence."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def _peek(self, ahead: int = 0) -> Token:
        place = self._next + ahead
        return self._tokens[place] if place < len(self._tokens) else ("end", "")

    def _skip_space(self) -> bool:
        found = False
        while self._peek()[0] == "space":
            self._next += 1
            found = True
        return found

    def _accept(self, *texts: str) -> str | None:
        self._skip_space()
        kind, text = self._peek()
        if kind in ("other", "command") and text in texts:
            self._next += 1
            return text
        return None

    def _expect(self, text: str) -> None:
        if self._accept(text) is None:
            raise UnknownError

    def expect_end(self) -> None:
        self._skip_space()
        if self._peek()[0] != "end":
            raise UnknownError

    def sum(self) -> Value:
        total = self._signed()
        while sign := self._accept("+", "-"):
            term = self._product()
            total = total + term if sign == "+" else total - term
        return total

    def _signed(self) -> Value:
        sign = self._accept("+", "-")
        if sign is None:
            return self._product()
        return -self._product() if sign == "-" else self._product()

    def _product(self) -> Value:
        result, divided = self._factor(), False
        while True:
            if self._accept("bmod"):
                result = _remainder(result, self._factor())
                continue
            operator = self._accept("*", "cdot", "times", "/")
            if operator:
                sign = self._accept("-", "+") if self._peek()[1] in ("-", "+") else None
                factor = self._factor()
                factor = -factor if sign == "-" else factor
                result = result / factor if operator == "/" else result * factor
                divided = divided or operator == "/"
                continue
            if not self._factor_follows():
                return result
            if divided:
                raise UnknownError  # `1/2x`: nobody can tell (1/2)x from 1/(2x)
            result = result * self._factor()

    def _factor_follows(self) -> bool:
        """Return whether something is multiplied by standing there."""
        self._skip_space()
        kind, text = self._peek()
        if kind in ("number", "repeating"):
            raise UnknownError  # `1 2`, `x2`: a slip, or a lost subscript
        if kind == "other":
            return text in ("(", "[", "{")
        return kind in ("name", "greek") or (kind == "command" and text not in ("cdot", "times", "bmod"))

    def _factor(self) -> Value:
        self._skip_space()
        base = self._atom()
        while True:
            kind, text = self._peek()
            if text == "!" and kind == "other":
                self._next += 1
                base = _factorial(base)
            elif text == "%" and kind == "other":
                self._next += 1
                base = base / number(100)
            elif text == "^" and kind == "other":
                self._next += 1
                base = _raise(base, self._exponent())
                if self._peek() == ("other", "^"):
                    raise UnknownError
            else:
                return base

    def _exponent(self) -> Value:
        self._skip_space()
        kind, text = self._peek()
        if (kind, text) == ("other", "{"):
            return self._group("{", "}")
        if (kind, text) == ("other", "("):
            return self._group("(", ")")
        if kind == "number" and len(text) == 1:
            self._next += 1
            return number(int(text))
        if kind in ("name", "greek", "command"):
            return self._atom()
        raise UnknownError

    def _group(self, opening: str, closing: str) -> Value:
        self._expect(opening)
        value = self.sum()
        self._expect(closing)
        return value

    def _atom(self) -> Value:
        kind, text = self._peek()
        if kind == "number":
            return self._number()
        if kind == "repeating":
            self._next += 1
            return number(_repeating(text))
        if kind == "name":
            return self._name()
        if kind == "greek":
            self._next += 1
            return unknown("\\" + text)
        if kind == "command":
            return self._command()
        if text == "(":
            return self._group("(", ")")
        if text == "[":
            return self._group("[", "]")
        if text == "{":
            return self._group("{", "}")
        raise UnknownError

    def _number(self) -> Value:
        text = self._peek()[1]
        self._next += 1
        whole = Fraction(text.removesuffix("."))
        if self._peek() == ("other", "_"):
            raise UnknownError  # a number in another base
        mixed = self._mixed_part() if text.isdecimal() else None
        return number(whole if mixed is None else whole + mixed)

    def _mixed_part(self) -> Fraction | None:
        """Return the fraction of `12\\frac{3}{5}` or `12 3/5`."""
        at = self._next
        spaced = self._skip_space()
        if self._peek() == ("command", "frac"):
            shape = [self._peek(ahead) for ahead in range(1, 7)]
            if [text for kind, text in shape if kind == "other"] == ["{", "}", "{", "}"] and shape[1][0] == shape[4][
                0
            ] == "number":
                self._next += 7
                return _proper(shape[1][1], shape[4][1])
        elif spaced and self._peek()[0] == self._peek(2)[0] == "number" and self._peek(1) == ("other", "/"):
            top, bottom = self._peek()[1], self._peek(2)[1]
            self._next += 3
            return _proper(top, bottom)
        self._next = at
        return None

    def _name(self) -> Value:
        text = self._peek()[1]
        self._next += 1
        if text in _MAYBE_FUNCTIONS and self._peek() == ("other", "("):
            raise UnknownError
        if self._peek() == ("other", "_"):
            raise UnknownError
        return unknown(_CONSTANTS.get(text, text.replace("{", "").replace("}", "")))

    def _command(self) -> Value:
        text = self._peek()[1]
        self._next += 1
        if text == "pi":
            return unknown("π")
        if text in _GREEK:
            return unknown("\\" + text)
        if text == "frac":
            return self._group("{", "}") / self._group("{", "}")
        if text == "binom":
            top, bottom = (_small(self._group("{", "}"), 1000) for _ in range(2))
            return number(comb(top, bottom))
        if text == "sqrt":
            if self._accept("["):
                index = self.sum()
                self._expect("]")
                return _root(self._group("{", "}"), index)
            return square_root(self._group("{", "}"))
        if text in _OF_INTEGERS:
            return self._of_integers(text)
        if text in _FUNCTIONS:
            return self._function(text)
        if text in _ACCENTS:
            return self._accented(text)
        raise UnknownError

    def _of_integers(self, name: str) -> Value:
        """`\\gcd(12,18)`, `\\max(2,3)`."""
        opening = "{" if self._peek() == ("other", "{") else "("
        self._expect(opening)
        values = [self.sum().rational]
        while self._accept(","):
            values.append(self.sum().rational)
        self._expect("}" if opening == "{" else ")")
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            raise UnknownError
        if name in ("max", "min"):
            return number(max(known) if name == "max" else min(known))
        if any(value.denominator != 1 for value in known):
            raise UnknownError
        return number((gcd if name == "gcd" else lcm)(*(value.numerator for value in known)))

    def _accented(self, accent: str) -> Value:
        """`\\vec{a}`, `\\overline{AB}`: a name of its own."""
        self._expect("{")
        name = ""
        while self._peek()[0] in ("name", "number"):
            name += self._peek()[1]
            self._next += 1
        self._expect("}")
        return unknown(f"\\{accent}{{{name}}}")

    def _function(self, name: str) -> Value:
        """`\\sin x`, `\\sin(x+1)`, `\\sin^2 x`, `\\log_2 8`; the argument without parentheses is one number, name or fraction."""
        if self._peek()[0] == "other" and self._peek()[1].startswith("_"):
            text = self._peek()[1]
            self._next += 1
            if text == "_":
                raise UnknownError
            name += text.replace("{", "").replace("}", "")
        exponent = None
        if self._peek() == ("other", "^"):
            self._next += 1
            exponent = self._exponent()
            if exponent.rational is None or exponent.rational < 0:
                raise UnknownError  # an inverse function
        self._skip_space()
        kind, text = self._peek()
        if text in ("(", "{", "["):
            argument = self._group(text, {"(": ")", "{": "}", "[": "]"}[text])
            if self._peek() in (("other", "^"), ("other", "!")):
                raise UnknownError
        elif kind in ("number", "name", "greek") or (kind == "command" and text not in _FUNCTIONS):
            argument = self._atom()
            if self._peek() in (("other", "^"), ("other", "!"), ("other", "(")):
                raise UnknownError
            while self._peek()[0] in ("name", "greek") or self._peek() == ("command", "pi"):
                argument = argument * self._atom()  # `\sin 2x`; a space ends the argument: `\sin b \cos a`
        else:
            raise UnknownError
        if name == "exp":
            return _raise(unknown("e"), argument)
        result = _logarithm(name, argument) if name[:2] == "lo" or name == "ln" else opaque(name, argument)
        return result if exponent is None else _raise(result, exponent)


def _logarithm(name: str, argument: Value) -> Value:
    """`\\ln`, `\\log`, and `\\log_2` as a quotient of natural logarithms."""
    base = name.partition("_")[2]
    if not base:
        return logarithm(name, argument)
    if base == "e":
        return logarithm("ln", argument)
    if base.isdecimal() and int(base) > 1:
        return logarithm("ln", argument) / logarithm("ln", number(int(base)))
    return opaque(name, argument)


def _remainder(value: Value, modulus: Value) -> Value:
    if value.rational is None or modulus.rational is None or modulus.rational <= 0:
        raise UnknownError
    return number(value.rational % modulus.rational)


def _proper(top: str, bottom: str) -> Fraction:
    if not (top.isdecimal() and bottom.isdecimal()) or not 0 < int(top) < int(bottom):
        raise UnknownError
    return Fraction(int(top), int(bottom))


def _repeating(text: str) -> Fraction:
    """`0.1\\overline{6}` is 1/6."""
    fixed, _, period = text.replace("}", "").replace("\\", "{", 1).partition("{")
    period = period.partition("{")[2]
    whole, _, decimals = fixed.partition(".")
    start = Fraction(f"{whole or 0}.{decimals or 0}")
    return start + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(decimals))


def _small(value: Value, limit: int) -> int:
    found = value.rational
    if found is None or found.denominator != 1 or not 0 <= found <= limit:
        raise UnknownError
    return int(found)


def _factorial(value: Value) -> Value:
    if value.rational is None:
        return opaque("factorial", value)
    return number(factorial(_small(value, MAX_FACTORIAL)))


def _root(value: Value, index: Value) -> Value:
    order = _small(index, 64)
    if order == 2:
        return square_root(value)
    if order < 2 or value.rational is None:
        return opaque(f"root{order}", value)
    return _rational_root(value.rational, order)


def _rational_root(value: Fraction, order: int) -> Value:
    """Return an exact root of a positive number, or something not looked into."""
    sign = -1 if value < 0 else 1
    if sign < 0 and order % 2 == 0:
        raise UnknownError
    top, bottom = (_integer_root(part, order) for part in (abs(value.numerator), value.denominator))
    if top is None or bottom is None:
        return number(sign) * opaque(f"root{order}", number(abs(value)))
    return number(sign * Fraction(top, bottom))


def _integer_root(value: int, order: int) -> int | None:
    if value.bit_length() > 900:
        raise TooLargeError
    guess = round(value ** (1 / order))
    return next((root for root in (guess - 1, guess, guess + 1) if root >= 0 and root**order == value), None)


def _raise(base: Value, exponent: Value) -> Value:
    power = exponent.rational
    if power is None:
        if base.rational == 1:
            raise UnknownError
        return opaque("power", base, exponent)
    if power.denominator == 1:
        if base.rational == 0 and power <= 0:
            raise UnknownError
        if abs(power) > 10_000:
            raise TooLargeError
        return base.power(int(power))
    if power.denominator == 2 and base.rational is not None and base.rational >= 0:
        if abs(power.numerator) > 10_000:
            raise TooLargeError
        return square_root(base).power(power.numerator)
    return opaque("power", base, exponent)
