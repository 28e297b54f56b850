"""Math-Verify behind two functions of ours. Call them in a worker that can be killed: SymPy may run for ever.

Answers go to Math-Verify's LaTeX grammar only, never to its reader of plain expressions, which passes them to Python's
`eval`; and neither its time limits are used (they need `signal.alarm`, and depend on the machine's load) nor its extraction.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import Any

from r1env_math import certified

_DECIMAL = re.compile(r"(?<![0-9.])([0-9]*)\.([0-9]+)(?![0-9.])")
_ADJACENT = re.compile(r"\)(?=\()|(?<![_^0-9a-zA-Z\\.{])[0-9]+(?=\()")  # the grammar takes `2(3)` for a mixed number
_IMAGINARY = re.compile(r"(?<![a-zA-Z\\_{])i(?![a-zA-Z])|(?<=[0-9}])i|(?<=\{)i(?=[\\}])")
_LOSES_MEANING = re.compile(
    r"'|[0-9]_|\\(?:bar|overline|underline|equiv|pmod|bmod|ldots|square|boxed|color|href|input)(?![a-zA-Z])|&|#"
)
_PROSE = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z]{2,} [a-zA-Z]{2,}|(?<![a-zA-Z\\])[a-zA-Z]{5,}|\\text\{[^{}]* [^{}]*\}")
_EXERCISES = (
    (r"\frac{x+1}{2}\sin(x)", r"\frac{1}{2}(x\sin x+\sin x)"),
    (r"2^{n+1}-\sqrt{3}\ln 2", r"2\cdot 2^{n}-\ln(2)\sqrt{3}"),
    (r"\log_2 8+|x|", r"\frac{\ln 8}{\ln 2}+|-x|"),
    (r"e^{x}\cos^2 x", r"e^x(1-\sin^2 x)"),
    (r"\sqrt[3]{x}+\tan 1", r"x^{1/3}+\tan 1"),
    (r"f(x)+\lfloor x\rfloor", r"f(x)+\lfloor x \rfloor"),
    (r"n!\pi+a^{m+n}", r"n\cdot(n-1)!\pi+a^m a^n"),
)
_PERCENT = re.compile(r"%")


def read(normalized: str, *, complex_numbers: bool) -> Any | None:
    """Return a normalized expression as a SymPy object, or None where the grammar does not know it or would lose something of it.

    Args:
        complex_numbers: the letter i is the imaginary unit, and variables need not be real.
    """
    if _LOSES_MEANING.search(normalized) or _PROSE.search(normalized) or not normalized.isascii():
        return None
    written = _ADJACENT.sub(lambda found: f"{found[0]}\\cdot ", _DECIMAL.sub(_fraction, normalized))
    return _parse(_PERCENT.sub("/100", written), complex_numbers)


def mentions_i(normalized: str) -> bool:
    """Return whether the letter i stands in an expression as a factor of its own."""
    return bool(_IMAGINARY.search(normalized))


def equal(reference: Any, answer: Any) -> bool:
    """Return whether two SymPy objects mean the same.

    Numbers are different where their values differ to enough digits, and equal only where that is proved; see `certified`.
    Functions are equal where they are at points drawn from their own texts, to more digits than any number in them needs.
    What has no values is left to Math-Verify.
    """
    if _is_expression(reference) and _is_expression(answer):
        try:
            agree = certified.agree(reference, answer)
        except RecursionError:  # SymPy gives numbers of thousands of digits up like this; nothing was proved
            return False
        if agree is not None:
            return agree
    if _has_numbers_only(reference) and _has_numbers_only(answer):
        return False  # Math-Verify would compare them to fifteen digits
    verify = load_library().verify
    return bool(verify([reference], [answer], allow_set_relation_comp=True, timeout_seconds=None))


def _has_numbers_only(parsed: Any) -> bool:
    return _is_expression(parsed) and not parsed.free_symbols


@functools.cache
def load_library() -> Any:
    """Return the module `math_verify`, imported on the first call: it brings SymPy, which takes most of a second."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its time limits are off; ours are on
    return math_verify


def warm_up() -> None:
    """Load the library and let its parser build its tables, so that no answer pays for them."""
    for reference, answer in _EXERCISES:
        equal(read(reference, complex_numbers=False), read(answer, complex_numbers=False))


@functools.lru_cache(maxsize=512)  # the reference answer is the same for a whole group of rollouts
def _parse(latex: str, complex_numbers: bool) -> Any | None:
    load_library()
    from latex2sympy2_extended import latex2sympy

    try:
        parsed = latex2sympy(latex, is_real=not complex_numbers, convert_degrees=False, normalization_config=None)
        if complex_numbers:
            parsed = _with_imaginary_unit(parsed, latex2sympy)
    except RecursionError:
        return None
    except Exception:  # noqa: BLE001 - the grammar and SymPy raise what they like on text that they cannot read
        return None
    return parsed


def _with_imaginary_unit(parsed: Any, latex2sympy: Any) -> Any:
    unit = latex2sympy(r"\sqrt{-1}", is_real=False, normalization_config=None).doit()
    return parsed.subs({symbol: unit for symbol in parsed.free_symbols if str(symbol) == "i"})


def _fraction(decimal: re.Match[str]) -> str:
    """Return a decimal as a fraction: the grammar would make it a float of fifteen digits."""
    digits = len(decimal[2])
    return rf"\frac{{{int(decimal[1] + decimal[2])}}}{{{10**digits}}}"


def _is_expression(parsed: Any) -> bool:
    return hasattr(parsed, "as_real_imag") and not hasattr(parsed, "shape") and hasattr(parsed, "free_symbols")
