"""Exact values without a computer algebra system: quotients of polynomials over the rationals.

The unknowns of the polynomials are variables, π, e, i (with i² = -1), square roots of primes (with √p² = p), and what is
not looked into (`\\sin x`, `2^{n}`, `\\sqrt{x+1}`): equal only to what is written the same. Equal values are equal numbers;
different values are different numbers unless something was not looked into (`opaque`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from math import isqrt

Monomial = tuple[tuple[str, int], ...]
"""Unknowns with their exponents, sorted by name."""

Polynomial = dict[Monomial, Fraction]
"""Coefficients by monomial; none is 0."""

MAX_TERMS = 60  # of a polynomial; (x+1)^{40} has 41
MAX_PRODUCTS = 400  # of terms in one multiplication
MAX_DESCRIPTION = 1_000  # characters that tell apart what is not looked into
MAX_BITS = 8_000  # of one coefficient; 10^2000 has 6,644
MAX_RADICAND = 10**12
_TRIAL_DIVISORS = 10_000  # what is left after them, below `MAX_RADICAND`, is a prime, a square of one, or too large
IMAGINARY, ROOT, OPAQUE = "i", "√", "?"


class TooLargeError(ValueError):
    """The value would take more terms or digits than this module computes with."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The quotient of two polynomials. The denominator is not 0."""

    numerator: Polynomial
    denominator: Polynomial

    @property
    def rational(self) -> Fraction | None:
        """The value, where it is a rational number."""
        top, bottom = _constant(self.numerator), _constant(self.denominator)
        return None if top is None or bottom is None else top / bottom

    @property
    def opaque(self) -> bool:
        """True when something in it was not looked into, so that another writing may mean the same."""
        return any(name.startswith(OPAQUE) for part in (self.numerator, self.denominator) for mono in part for name, _ in mono)

    @property
    def names(self) -> frozenset[str]:
        """The unknowns that occur."""
        return frozenset(name for part in (self.numerator, self.denominator) for mono in part for name, _ in mono)

    def same(self, other: Value) -> bool:
        """Return whether both are one number (or one function).

        Raises:
            TooLargeError: they are too large to tell.
        """
        return _times(self.numerator, other.denominator) == _times(other.numerator, self.denominator)

    def __add__(self, other: Value) -> Value:
        if self.denominator == other.denominator:
            return Value(_plus(self.numerator, other.numerator), self.denominator)
        top = _plus(_times(self.numerator, other.denominator), _times(other.numerator, self.denominator))
        return Value(top, _times(self.denominator, other.denominator))

    def __neg__(self) -> Value:
        return Value({monomial: -coefficient for monomial, coefficient in self.numerator.items()}, self.denominator)

    def __sub__(self, other: Value) -> Value:
        return self + -other

    def __mul__(self, other: Value) -> Value:
        return Value(_times(self.numerator, other.numerator), _times(self.denominator, other.denominator))

    def __truediv__(self, other: Value) -> Value:
        if not other.numerator:
            raise ZeroDivisionError
        return Value(_times(self.numerator, other.denominator), _times(self.denominator, other.numerator))

    def power(self, exponent: int) -> Value:
        """Return the value to an integer power.

        Raises:
            TooLargeError, ZeroDivisionError
        """
        if exponent < 0:
            return number(1) / self.power(-exponent)
        base = self.rational
        if base is not None:
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if bits > 1 and bits * exponent > MAX_BITS:
                raise TooLargeError
            return number(base**exponent) if bits > 1 else number(base ** (exponent % 2 + 2 * (exponent > 0)))
        many = len(self.numerator) + len(self.denominator) > 2
        if exponent > MAX_TERMS and many and not all(name[0] == ROOT or name == IMAGINARY for name in self.names):
            raise TooLargeError  # powers of surds have no more terms than surds
        if exponent > 10_000:
            raise TooLargeError
        result, square = number(1), self
        while exponent:
            if exponent & 1:
                result = result * square
            exponent >>= 1
            if exponent:
                square = square * square
        return result

    def over_one(self) -> Value:
        """Return the numerator alone."""
        return Value(self.numerator, {(): Fraction(1)})

    def key(self) -> str:
        """Return a text that equal values share in most cases, and different ones never."""
        scaled = self._reduced()
        return "/".join(
            "+".join(f"{c}{''.join(f'[{n}^{e}]' for n, e in m)}" for m, c in sorted(part.items()))
            for part in (scaled.numerator, scaled.denominator)
        )

    def _reduced(self) -> Value:
        """Return the same value with the leading coefficient of the denominator 1, divided through where the denominator is one term."""
        if len(self.denominator) == 1:
            ((monomial, coefficient),) = self.denominator.items()
            if not monomial:
                return Value({m: c / coefficient for m, c in self.numerator.items()}, {(): Fraction(1)})
        leading = self.denominator[max(self.denominator)]
        return Value(*({m: c / leading for m, c in part.items()} for part in (self.numerator, self.denominator)))


def number(value: int | Fraction) -> Value:
    """Return a rational number as a value."""
    return Value({(): Fraction(value)} if value else {}, {(): Fraction(1)})


def unknown(name: str) -> Value:
    """Return a variable or a constant, by its name."""
    return Value({((name, 1),): Fraction(1)}, {(): Fraction(1)})


def opaque(description: str, *arguments: Value) -> Value:
    """Something not looked into, told apart by its description and the values in it.

    Raises:
        TooLargeError: that takes too long a text.
    """
    name = f"{OPAQUE}{description}({';'.join(argument.key() for argument in arguments)})"
    if len(name) > MAX_DESCRIPTION:
        raise TooLargeError
    return unknown(name)


def logarithm(name: str, value: Value) -> Value:
    """Return a logarithm as a sum over the primes of its argument: ln 12 is 2 ln 2 + ln 3. `name` is `ln` or `log`.

    The argument may have powers of e and square roots as factors; other arguments are not looked into.
    """
    if len(value.numerator) != 1 or len(value.denominator) != 1:
        return opaque(name, value)
    ((top, above),), ((bottom, below),) = value.numerator.items(), value.denominator.items()
    coefficient = above / below
    total = number(0)
    for monomial, sign in ((top, 1), (bottom, -1)):
        for factor, exponent in monomial:
            if factor == "e" and name == "ln":
                total = total + number(sign * exponent)
            elif factor[0] == ROOT:
                total = total + number(Fraction(sign * exponent, 2)) * opaque(name, number(int(factor[1:])))
            else:
                return opaque(name, value)
    if coefficient <= 0:
        return opaque(name, value)
    for part, sign in ((coefficient.numerator, 1), (coefficient.denominator, -1)):
        for prime, exponent in _factors(part):
            total = total + number(sign * exponent) * opaque(name, number(prime))
    return total


def _factors(value: int) -> list[tuple[int, int]]:
    """Return the prime factors with their exponents; what trial division leaves is one factor, prime or not."""
    found, divisor = [], 2
    while divisor <= 1000 and divisor * divisor <= value:
        exponent = 0
        while value % divisor == 0:
            value //= divisor
            exponent += 1
        if exponent:
            found.append((divisor, exponent))
        divisor += 1
    return [*found, (value, 1)] if value > 1 else found


def square_root(value: Value) -> Value:
    """Return the root of a rational number exactly, that of anything else as something not looked into."""
    rational = value.rational
    if rational is None:
        return opaque("root", value)
    radicand = abs(rational.numerator) * rational.denominator  # √(a/b) = √(ab)/b
    outside, primes = _square_free(radicand)
    result = number(Fraction(outside, rational.denominator)) if rational else number(0)
    for prime in primes:
        result = result * unknown(f"{ROOT}{prime}")
    return result * unknown(IMAGINARY) if rational < 0 else result


def _square_free(radicand: int) -> tuple[int, list[int]]:
    """`(a, primes)` with radicand = a² · product of the primes."""
    if radicand == 0:
        return 0, []
    root = isqrt(radicand)
    if root * root == radicand:
        return root, []
    if radicand > MAX_RADICAND:
        raise TooLargeError
    outside, primes, divisor = 1, [], 2
    while divisor <= _TRIAL_DIVISORS and divisor * divisor <= radicand:
        while radicand % (divisor * divisor) == 0:
            radicand //= divisor * divisor
            outside *= divisor
        if radicand % divisor == 0:
            radicand //= divisor
            primes.append(divisor)
        divisor += 1
    root = isqrt(radicand)
    if root * root == radicand:
        return outside * root, primes
    if divisor * divisor <= radicand:  # it may have two large prime factors
        raise TooLargeError
    return outside, [*primes, radicand]


def _constant(polynomial: Polynomial) -> Fraction | None:
    if not polynomial:
        return Fraction(0)
    return polynomial.get(()) if len(polynomial) == 1 else None


def _plus(left: Polynomial, right: Polynomial) -> Polynomial:
    total = dict(left)
    for monomial, coefficient in right.items():
        _add_term(total, monomial, coefficient)
    return total


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    if len(left) * len(right) > MAX_PRODUCTS:
        raise TooLargeError
    product: Polynomial = {}
    for monomial, coefficient in left.items():
        for other, factor in right.items():
            merged, scale = _merge(monomial, other)
            _add_term(product, merged, coefficient * factor * scale)
    if len(product) > MAX_TERMS:
        raise TooLargeError
    return product


def _add_term(polynomial: Polynomial, monomial: Monomial, coefficient: Fraction) -> None:
    total = polynomial.get(monomial, 0) + coefficient
    if max(total.numerator.bit_length(), total.denominator.bit_length()) > 2 * MAX_BITS:
        raise TooLargeError
    if total:
        polynomial[monomial] = Fraction(total)
    else:
        polynomial.pop(monomial, None)


def _merge(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """Return the product of two monomials, with i² = -1 and √p² = p taken out as a factor."""
    if not left or not right:
        return left or right, 1
    exponents = dict(left)
    factor = 1
    for name, exponent in right:
        exponents[name] = exponents.get(name, 0) + exponent
    for name in [name for name, exponent in exponents.items() if exponent > 1 and (name == IMAGINARY or name[0] == ROOT)]:
        halves, rest = divmod(exponents.pop(name), 2)
        square = -1 if name == IMAGINARY else int(name[1:])
        factor *= square**halves
        if rest:
            exponents[name] = rest
    return tuple(sorted(exponents.items())), factor


def ratio(left: Value, right: Value) -> Fraction | None:
    """Return the rational number by which `left` is a multiple of `right`, when there is one and neither is a number itself.

    With any ratio, `left = 0` and `right = 0` are one equation; with a positive one, `left > 0` and `right > 0` one inequality.
    """
    if not left.numerator or not right.numerator or left.rational is not None or right.rational is not None:
        return None
    first, second = _times(left.numerator, right.denominator), _times(right.numerator, left.denominator)
    if first.keys() != second.keys():
        return None
    ratios = {first[monomial] / second[monomial] for monomial in first}
    return ratios.pop() if len(ratios) == 1 else None


def approximation(value: Value) -> Decimal | None:
    """Return about 25 digits of a real value of surds, π, e and natural logarithms; None for what has anything else in it."""
    with localcontext(prec=60):
        parts = []
        for polynomial in (value.numerator, value.denominator):
            total = Decimal(0)
            for monomial, coefficient in polynomial.items():
                term = Decimal(coefficient.numerator) / Decimal(coefficient.denominator)
                for name, exponent in monomial:
                    factor = _decimal(name)
                    if factor is None or exponent > 99 or abs(term.adjusted()) > 99:
                        return None
                    term *= factor**exponent
                total += term
            parts.append(total)
        if abs(parts[1]) < Decimal("1e-20") or abs(parts[0]) < Decimal("1e-20"):
            return None  # what cancels has too few digits left
        return parts[0] / parts[1]


def _decimal(name: str) -> Decimal | None:
    if name == "π":
        return Decimal("3.14159265358979323846264338327950288419716939937511")
    if name == "e":
        return Decimal(1).exp()
    if name[0] == ROOT:
        return Decimal(name[1:]).sqrt()
    natural = re.fullmatch(r"\?ln\(([0-9]+)/1\)", name)
    return Decimal(natural[1]).ln() if natural else None


def has_finite_decimal(value: Fraction) -> bool:
    """Return whether a fraction can be written as a decimal number."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1
