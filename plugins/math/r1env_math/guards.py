"""Refuses answers that would cost a computer algebra system more than any honest answer does. Linear in their length.

They stop the common bombs before a parser sees them. What slips through is stopped by the worker's own limits.
"""

from __future__ import annotations

import re
from math import lgamma, log, log10

from r1env_math.normalize import normalize

MAX_LENGTH = 1000  # characters; the longest reference answers of MATH have about 150
MAX_NESTING = 24  # the parser is recursive, and slow on parentheses in each other
MAX_DIGITS = 400  # of one number; 2^1000 has 302
MAX_DIGITS_TOGETHER = 800
MAX_ITEMS = 200  # of a list, of a matrix
MAX_LOG10 = 4000  # decimal digits that a power or a factorial may come to
MAX_EXPONENT = 10_000
MAX_SCRIPTS = 3  # exponents or subscripts in each other
MAX_INDEX = 64  # of a root

_NUMBER = r"\s*[{(]*\s*[-+]?\s*([0-9][0-9.,]{0,40})"
_POWER = re.compile(r"([0-9][0-9.,]{0,40})?\s*[)}]?\s*(?:\^|(?<=[0-9a-zA-Z)}\]])\*\*)" + _NUMBER)
_TOWER = re.compile(
    r"(?:\^|(?<=[0-9a-zA-Z)}\]])\*\*)\s*(?:[{(]+\s*(?P<inner>[^a-zA-Z\\{}()^*]{1,40})|(?P<base>[0-9]+))\s*(?:\^|\*\*)"
    r"\s*[{(]*\s*(?P<exponent>[0-9]+)(?P<more>\s*[)}]*\s*(?:\^|\*\*|!))?"
)
_POWER_OF_POWER = re.compile(r"\^\s*\{?\s*([0-9]+)[^()]{0,60}\)\s*\}?\s*\^\s*\{?\s*([0-9]+)")
_FACTORIAL = re.compile(r"([0-9]+)\s*[})]{0,3}\s*!")
_HIGH_FACTORIAL = re.compile(
    r"!\s*[})]{0,3}\s*(?:!|\^|\*\*)|(?:\^|\*\*)\s*[{(]?[^{}()]{1,40}[})]?\s*!|binom\s*\{[^{}]{1,40}\}\s*\{[^{}]{1,40}\}\s*!"
)
_BINOMIAL = re.compile(
    r"\\[dt]?binom\s*\{?\s*(?:[0-9]{5,}|[0-9]+\s*[\^!])|\\(?:Gamma|zeta|psi)\s*[({]\s*(?:[0-9]{4,}|[0-9]+\s*[\^!])"
)
_ROOT = re.compile(r"\\sqrt\s*\[\s*([0-9]+)")
_BOUND = re.compile(r"\\(?:sum|prod|bigcup|bigcap)(?![a-zA-Z])[^&]{0,60}?(?:[0-9]{3,}|\^\s*\{?\s*[0-9]+\s*[\^!])")
_LIMIT_COMMAND = re.compile(r"\\(?:int|iint|iiint|oint|lim|limsup|liminf|sum|prod)(?![a-zA-Z])")
_OPERATOR = re.compile(r"\\(int|iint|iiint|oint|sum|prod|lim|det)(?![a-zA-Z])")
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")
_SCIENTIFIC = re.compile(r"[0-9]\s*[eE]\s*[+-]?([0-9]{4,})")


def excess(answer: str) -> str | None:
    """Return what is too much about an answer, in a few words, or None."""
    if len(answer) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    answer = " ".join(answer.split())  # the patterns below take time where white space is long
    if _nesting(answer) > MAX_NESTING:
        return f"nested deeper than {MAX_NESTING}"
    if _LONG_NUMBER.search(answer) or sum(map(str.isdigit, answer)) > MAX_DIGITS_TOGETHER:
        return f"a number of more than {MAX_DIGITS} digits, or {MAX_DIGITS_TOGETHER} digits together"
    if answer.count(",") + answer.count("&") + answer.count(";") > MAX_ITEMS:
        return f"a list of more than {MAX_ITEMS} items"
    powers = ((_POWER, _too_large_a_power), (_TOWER, _too_large_a_tower), (_POWER_OF_POWER, _too_large_a_product))
    if _SCIENTIFIC.search(answer) or any(too_large(found) for form, too_large in powers for found in form.finditer(answer)):
        return "a power too large to compute"
    if _script_depth(answer) > MAX_SCRIPTS:
        return f"more than {MAX_SCRIPTS} exponents or subscripts in each other"
    if "!" in answer and (_HIGH_FACTORIAL.search(answer) or any(map(_too_large_a_factorial, _FACTORIAL.finditer(answer)))):
        return "a factorial too large to compute"
    if "\\" in answer:
        return _costly_command(answer)
    return None


def unevaluated(reference: str, answer: str) -> str | None:
    """Return an integral, sum, product or limit in an answer whose reference has none: it says what was asked, not what comes out."""
    operators = set(_OPERATOR.findall(answer)) - set(_OPERATOR.findall(reference))
    return f"an unevaluated \\{min(operators)}" if operators else None


def repeats_question(reference: str, answer: str, question: str) -> bool:
    """Return whether an answer equal to the reference copies what the question asks to be worked out, or written otherwise.

    `17+25` answers "What is 17 + 25?" no more than `0.5` answers "Write 0.5 as a fraction." Where the reference stands in the
    question as well, one of several things that it shows is asked for.

    Args:
        reference, answer: normalized; they are not the same text.
        question: as it was written.
    """
    finished = _FINISHED.fullmatch(answer) is not None
    if len(answer) < 2 or len(answer) > 200 or len(question) > 4000:
        return False
    if finished and (not _OTHER_FORM.search(question) or _notation(reference) == _notation(answer)):
        return False
    if not finished and (not _OPERATES.search(answer) or any(sign in answer for sign in "=<>,")):
        return False
    asked = normalize(re.sub(r"[?？]", " ? ", question))
    return _stands_in(answer, asked) and not _stands_in(reference, asked)


_FINISHED = re.compile(
    r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)%?|-?[0-9]+ ?\\frac\{[0-9]+\}\{[0-9]+\}|-?(?:\\frac\{-?[0-9]+\}\{[0-9]+\}|[0-9]+/[0-9]+)"
)
_OPERATES = re.compile(r"(?<=.)[-+*/^!]|\\(?:cdot|times|frac|sqrt|binom|sin|cos|tan|ln|log|gcd|lcm)(?![a-zA-Z])")
_OTHER_FORM = re.compile(
    r"\b(?:as|into|to) (?:a |an )?(?:[a-z]+ ){0,3}(?:fraction|decimal|percent|percentage|mixed number|ratio)\b|in scientific notation",
    re.IGNORECASE,
)


def _notation(text: str) -> str:
    return "%" if "%" in text else "." if "." in text else "/" if "/" in text or r"\frac" in text else ""


def _stands_in(piece: str, text: str) -> bool:
    """Return whether an expression stands in a text as a whole, and not as a part of a larger one."""
    spaced = " ?".join(map(re.escape, piece.replace(" ", "")))
    letters = "a-zA-Z" if piece[0].isalnum() else ""
    return re.search(rf"(?<![0-9{letters})}}\]^*/.\-+(\[{{\\_]){spaced}(?![0-9(\[{{)\]}}^*/!+\-_%]|\.[0-9])", text) is not None


def _too_large_a_power(power: re.Match[str]) -> bool:
    """Return whether base^exponent may have more than `MAX_LOG10` digits; a base that is not read counts as 10."""
    digits = re.sub(r"[, ]", "", power[2]).rstrip(".")
    exponent = float(digits) if digits.count(".") < 2 else float(MAX_LOG10 + 1)
    base = (power[1] or "").replace(",", "").strip(".")
    size = abs(log10(float(base))) if base and base.count(".") < 2 and float(base) > 0 else 1.0
    return exponent * max(size, 0.01) > MAX_LOG10 or exponent > MAX_EXPONENT


def _too_large_a_tower(tower: re.Match[str]) -> bool:
    """Return whether the exponent of a^(b^c) may be above `MAX_LOG10`; b^c^d always is."""
    base, exponent = (tower["base"] or tower["inner"]).strip(), tower["exponent"]
    if tower["more"] or not base.isdecimal() or max(len(base), len(exponent)) > 5:
        return True
    return int(exponent) * log10(max(int(base), 1)) > log10(MAX_LOG10)


def _too_large_a_product(power: re.Match[str]) -> bool:
    """Return whether the exponents of (a^b)^c make one above `MAX_LOG10`."""
    return max(map(len, power.groups())) > 5 or int(power[1]) * int(power[2]) > MAX_LOG10


def _too_large_a_factorial(factorial: re.Match[str]) -> bool:
    return len(factorial[1]) > 5 or lgamma(int(factorial[1]) + 1) / log(10) > MAX_LOG10


def _costly_command(answer: str) -> str | None:
    if _BINOMIAL.search(answer):
        return "a binomial coefficient too large to compute"
    if any(int(found[1]) > MAX_INDEX for found in _ROOT.finditer(answer)):
        return "a root of too high an order"
    if _BOUND.search(answer) or len(_LIMIT_COMMAND.findall(answer)) > 2:
        return "a sum, product, integral or limit too long to compute"
    return None


def _nesting(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "})]":
            depth -= 1
    return deepest


def _script_depth(text: str) -> int:
    """Return how deep exponents and subscripts stand in each other."""
    deepest, open_braces, depth, opens = 0, [], 0, False
    for char in text:
        if char == "{":
            open_braces.append(opens)
            depth += opens
        elif char == "}" and open_braces:
            depth -= open_braces.pop()
        deepest = max(deepest, depth)
        if not char.isspace():
            opens = char in "^_"
    return deepest
