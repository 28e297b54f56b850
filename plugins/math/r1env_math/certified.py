"""Tells whether two SymPy expressions are one number, or one function, without taking what is near for equal.

Numbers: values that differ beyond the error of their evaluation are different. Values that do not differ are equal only where
that is proved: for algebraic numbers by the separation bound of Burnikel, Funke, Mehlhorn, Schirra and Schmitt (2001), below
which only 0 lies; for others by rewriting. Everything else counts as different.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import lcm, log2
from typing import Any

FIRST_DIGITS = 40  # different numbers nearly always differ here
GUARD_DIGITS = 15  # lost to rounding in one evaluation
MAX_MAGNITUDE = 5_000  # |log10| of anything in an expression; more is not evaluated
MAX_BOUND_BITS = 60_000  # of a separation bound; more takes too long
POINTS = 5  # at which functions are compared
MAX_NODES = 400


class _NoValueError(ValueError):
    """Something in an expression has no value here, or none that is known how to compute."""


class _Evaluator:
    """Computes values with mpmath, and the largest |log10| of anything on the way."""

    def __init__(self, digits: int, point: Mapping[Any, Fraction]) -> None:
        import mpmath
        import sympy

        self._mp, self._sympy = mpmath, sympy
        self._context = mpmath.mp.clone()
        self._context.dps = digits
        self.ten = self._context.mpf(10)
        self._point = point
        self.magnitude = 0.0
        self._nodes = 0

    def value(self, expression: Any) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _NoValueError
        found = self._value(expression)
        size = abs(found)
        if not self._context.isfinite(size):
            raise _NoValueError
        if size:
            self.magnitude = max(self.magnitude, abs(float(self._context.log10(size))))
            if self.magnitude > MAX_MAGNITUDE:
                raise _NoValueError
        return found

    def _value(self, expression: Any) -> Any:
        sympy, mp = self._sympy, self._context
        if expression.is_Rational:
            return mp.mpf(int(expression.p)) / int(expression.q)
        if expression.is_Float:
            return mp.mpf(str(expression))
        if expression is sympy.pi:
            return +mp.pi
        if expression is sympy.E:
            return +mp.e
        if expression is sympy.I:
            return mp.mpc(0, 1)
        if expression.is_Symbol:
            if expression not in self._point:
                raise _NoValueError
            at = self._point[expression]
            return mp.mpf(at.numerator) / at.denominator
        arguments = [self.value(argument) for argument in expression.args]
        if expression.is_Add:
            return mp.fsum(arguments)
        if expression.is_Mul:
            return mp.fprod(arguments)
        if expression.is_Pow:
            return self._power(*arguments)
        function = _functions(mp).get(type(expression).__name__)
        if function is None:
            raise _NoValueError
        try:
            return function(*arguments)
        except (ValueError, ZeroDivisionError, TypeError, OverflowError) as error:
            raise _NoValueError from error

    def _power(self, base: Any, exponent: Any) -> Any:
        mp = self._context
        if base == 0:
            if mp.re(exponent) <= 0:
                raise _NoValueError
            return mp.mpf(0)
        expected = abs(float(mp.re(exponent)) * float(mp.log10(abs(base)))) + abs(float(mp.im(exponent)) * 7)
        if expected > MAX_MAGNITUDE:
            raise _NoValueError
        return mp.power(base, exponent)


def _functions(mp: Any) -> dict[str, Callable[..., Any]]:
    return {
        "exp": mp.exp, "log": mp.log, "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "cot": mp.cot, "sec": mp.sec, "csc": mp.csc,
        "asin": mp.asin, "acos": mp.acos, "atan": mp.atan, "acot": mp.acot, "asec": mp.asec, "acsc": mp.acsc, "sinh": mp.sinh,
        "cosh": mp.cosh, "tanh": mp.tanh, "asinh": mp.asinh, "acosh": mp.acosh, "atanh": mp.atanh, "Abs": abs, "re": mp.re, "im": mp.im,
        "factorial": mp.factorial, "gamma": mp.gamma, "binomial": mp.binomial, "floor": mp.floor, "ceiling": mp.ceil,
        "Max": max, "Min": min, "conjugate": mp.conj, "arg": mp.arg, "erf": mp.erf, "zeta": mp.zeta,
    }  # fmt: skip


def agree(reference: Any, answer: Any) -> bool | None:
    """Return whether two SymPy expressions are one number or one function; None where they have too few values to say."""
    if reference == answer:
        return True
    first, second = (_with_real_roots(_evaluated(each)) for each in (reference, answer))
    if first == second:
        return True
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    if symbols:
        return _agree_at_points(first, second, symbols)
    try:
        if _differ(first, second, {}, FIRST_DIGITS):
            return False
        digits = _enough_digits(first, second, {})
        if digits > FIRST_DIGITS and _differ(first, second, {}, digits):
            return False
    except _NoValueError:
        return (
            None if not (first.is_number and second.is_number and _is_elementary(first) and _is_elementary(second)) else False
        )
    return _is_proved(first, second)


def _evaluated(expression: Any) -> Any:
    try:
        return expression.doit()
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - SymPy raises what it likes on what it cannot work out
        return expression


def _is_elementary(expression: Any) -> bool:
    import mpmath

    known = _functions(mpmath.mp)
    return all(
        part.is_Atom or part.is_Add or part.is_Mul or part.is_Pow or type(part).__name__ in known for part in _parts(expression)
    )


def _parts(expression: Any) -> list[Any]:
    found: list[Any] = []
    waiting = [expression]
    while waiting and len(found) < MAX_NODES:
        found.append(waiting.pop())
        waiting += found[-1].args
    return found


def _with_real_roots(expression: Any) -> Any:
    """Return an expression with the real root where an odd root is taken of a negative number."""
    import sympy

    if not expression.args or expression.has(sympy.I):
        return expression
    arguments = [_with_real_roots(argument) for argument in expression.args]
    if (
        expression.is_Pow
        and arguments[1].is_Rational
        and arguments[1].q % 2
        and arguments[1].q > 1
        and not arguments[0].free_symbols
    ):
        base = arguments[0]
        if base.is_negative:
            return (-base) ** arguments[1] * (-1) ** int(arguments[1].p)
    return expression.func(*arguments) if arguments != list(expression.args) else expression


def _differ(first: Any, second: Any, point: Mapping[Any, Fraction], digits: int) -> bool:
    """Return whether two values differ by more than the error of their evaluation."""
    rough = _Evaluator(30, point)
    rough.value(first), rough.value(second)  # how large anything in them gets
    evaluator = _Evaluator(digits + 2 * int(rough.magnitude) + 2 * GUARD_DIGITS, point)
    difference = abs(evaluator.value(first) - evaluator.value(second))
    return bool(difference > evaluator.ten ** (-digits - int(rough.magnitude)))


def _enough_digits(first: Any, second: Any, point: Mapping[Any, Fraction]) -> int:
    """More digits than what is meant to be different could need: four times the largest magnitude."""
    rough = _Evaluator(30, point)
    rough.value(first), rough.value(second)
    return FIRST_DIGITS + 60 + 4 * int(rough.magnitude)


def _agree_at_points(first: Any, second: Any, symbols: list[Any]) -> bool | None:
    """Return whether two functions have the same values at points that depend on both, so that no answer can be made to fit them."""
    compared = 0
    real = not any(str(part) == "I" for each in (first, second) for part in _parts(each))
    for point in _points(f"{first}|{second}", symbols):
        try:
            if real and not (_is_real(first, point) and _is_real(second, point)):
                continue  # outside the domain of one: ln(xy) and ln x + ln y
            if _differ(first, second, point, FIRST_DIGITS):
                return False
            digits = _enough_digits(first, second, point)
            if _differ(first, second, point, digits):
                return False
        except _NoValueError:
            continue
        compared += 1
    return True if compared >= 3 else None


def _is_real(expression: Any, point: Mapping[Any, Fraction]) -> bool:
    found = _Evaluator(30, point).value(expression)
    return bool(abs(found.imag) <= abs(found) * 1e-20) if hasattr(found, "imag") else True


def _points(text: str, symbols: list[Any]) -> list[dict[Any, Fraction]]:
    """Points of both signs, with coordinates of absolute value below 4."""
    found = []
    for number in range(2 * POINTS):
        point = {}
        for symbol in symbols:
            digest = hashlib.sha256(f"{number}|{symbol}|{text}".encode()).digest()
            size = Fraction(int.from_bytes(digest[:4]) % 3_000_000 + 100_000, 1_000_003)
            point[symbol] = size if number % 2 == 0 or symbol.is_positive or symbol.is_integer else -size
        found.append(point)
    return found


def _is_proved(first: Any, second: Any) -> bool:
    """Return whether two numbers that do not seem to differ are proved to be equal."""
    import sympy

    difference = first - second
    if difference == 0:
        return True
    bound = _Bound()
    try:
        bits = bound.of(difference)
        if bits <= MAX_BOUND_BITS:
            return not _differ(first, second, {}, int(bits * 0.30103) + 2)
        return False
    except (_NoValueError, ValueError, OverflowError):
        pass  # no algebraic number
    for rewrite in (
        lambda each: sympy.expand_log(sympy.expand(each), force=True, factor=True),
        lambda each: sympy.simplify(sympy.expand_log(each, force=True, factor=True)),
        sympy.simplify,
        lambda each: sympy.simplify(each.rewrite(sympy.exp)),
        lambda each: sympy.logcombine(each, force=True),
    ):
        try:
            if rewrite(difference) == 0:
                return True
        except RecursionError:
            return False
        except Exception:  # noqa: BLE001 - SymPy raises what it likes; another rewriting may do
            continue
    return _are_arctangents(difference)


class _Bound:
    """The separation bound of an algebraic number that is built of rationals, roots, i, and sines and cosines of parts of π."""

    def __init__(self) -> None:
        self._radicals: dict[Any, int] = {}
        self._order = 1  # of the roots of unity

    def of(self, expression: Any) -> float:
        """Return b such that the number is 0 or above 2^-b in absolute value.

        Raises:
            ValueError: it is not known to be algebraic.
        """
        upper, lower = self._sizes(expression)
        degree = 1.0
        for order in self._radicals.values():
            degree *= order
        if self._order > 1:
            degree *= _totient(self._order)
        return (degree - 1) * max(upper, 0.0) + max(lower, 0.0) + degree

    def _sizes(self, expression: Any) -> tuple[float, float]:
        """log2 of u and l in the bound's recursion: all conjugates of l·E are algebraic integers below u."""
        import sympy

        if expression.is_Rational:
            return log2(max(abs(int(expression.p)), 1)), log2(int(expression.q))
        if expression is sympy.I:
            self._order = lcm(self._order, 4)
            return 0.0, 0.0
        if expression.is_Add:
            sizes = [self._sizes(argument) for argument in expression.args]
            lower = sum(each[1] for each in sizes)
            largest = max(upper - own + lower for upper, own in sizes)
            return largest + log2(len(sizes)), lower
        if expression.is_Mul:
            sizes = [self._sizes(argument) for argument in expression.args]
            return sum(each[0] for each in sizes), sum(each[1] for each in sizes)
        if expression.is_Pow and expression.exp.is_Rational:
            return self._power(expression)
        if type(expression).__name__ in ("sin", "cos"):
            return self._circle(expression.args[0])
        if type(expression).__name__ == "exp":
            self._circle(expression.args[0] / sympy.I)
            return 0.0, 0.0
        if type(expression).__name__ == "tan":
            self._circle(expression.args[0])
            return 2.0, 2.0  # a quotient of two of them
        raise ValueError(type(expression).__name__)

    def _circle(self, angle: Any) -> tuple[float, float]:
        import sympy

        turn = angle / (2 * sympy.pi)
        if not turn.is_Rational:
            raise ValueError("no part of a turn")
        self._order = lcm(self._order, int(turn.q), 4)
        if self._order > 2000:
            raise ValueError("too fine a part of a turn")
        return 1.0, 1.0

    def _power(self, expression: Any) -> tuple[float, float]:
        upper, lower = self._sizes(expression.base)
        top, order = int(expression.exp.p), int(expression.exp.q)
        if abs(top) > 100_000:
            raise ValueError("too high a power")
        if order > 1:
            self._radicals[expression.base, order] = order
            if len(self._radicals) > 12:
                raise ValueError("too many roots")
            upper, lower = (
                ((upper + (order - 1) * lower) / order, lower)
                if upper >= lower
                else (upper, ((order - 1) * upper + lower) / order)
            )
        if top < 0:
            upper, lower, top = lower, upper, -top
        return upper * top, lower * top


def _totient(number: int) -> int:
    found, rest, divisor = number, number, 2
    while divisor * divisor <= rest:
        if rest % divisor == 0:
            found -= found // divisor
            while rest % divisor == 0:
                rest //= divisor
        divisor += 1
    return found - found // rest if rest > 1 else found


def _are_arctangents(difference: Any) -> bool:
    """Return whether a sum of multiples of arctangents of rationals and of π is 0, by multiplying Gaussian rationals."""
    import sympy

    product, turns = (Fraction(1), Fraction(0)), Fraction(0)
    for term in sympy.Add.make_args(difference):
        coefficient, rest = term.as_coeff_Mul()
        if not coefficient.is_Rational:
            return False
        factor = Fraction(int(coefficient.p), int(coefficient.q))
        if rest is sympy.pi:
            turns += factor
            continue
        if type(rest).__name__ != "atan" or not rest.args[0].is_Rational or factor.denominator != 1 or abs(factor) > 200:
            return False
        slope = Fraction(int(rest.args[0].p), int(rest.args[0].q))
        for _ in range(abs(int(factor))):
            product = _times(product, (Fraction(1), slope if factor > 0 else -slope))
    # The angle of the product is -π·turns, up to whole turns; that it is near was seen before.
    if (4 * turns).denominator != 1:
        return False
    for _ in range(int(4 * turns) % 8):
        product = _times(product, (Fraction(1), Fraction(1)))
    return product[1] == 0 and product[0] > 0


def _times(first: tuple[Fraction, Fraction], second: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    return first[0] * second[0] - first[1] * second[1], first[0] * second[1] + first[1] * second[0]
