"""The official extraction and equality rules of public evaluators, each under its own name, and the reward `benchmark` that applies one.

A rule reproduces what its evaluator decides, its oddities included, because a published number rests on them. Two things differ on purpose
and in every rule: the thinking is cut off first, so that an answer that is only considered there counts for nothing, and an answer that is
not found scores 0, where MMLU-Pro's script draws a random letter.

    >>> simple_evals_choice("Answer: B")
    'B'
    >>> hendrycks_equal(r"\\frac12", r"\\frac{1}{2}")
    True
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import r1env
from r1env import Score, Status, Task, UsageError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule makes of one response.

    Attributes:
        answer: the answer that it reads; None where it reads none.
        value: the score, from 0 to 1; None where it cannot be said.
        parts: further metrics of the evaluator, by name.
    """

    answer: str | None
    value: float | None
    parts: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """An official rule.

    Attributes:
        apply: of a response, without its thinking, and the task.
        source: the evaluator and the function that it reproduces.
        algebra: it computes with formulas, and so belongs in a worker.
    """

    apply: Callable[[str, Task], Outcome]
    source: str
    algebra: bool = False


@r1env.reward(
    name="benchmark",
    isolation="process",
    parts=("em", "f1"),
    limits=r1env.Limits(cpu_seconds=5, wall_seconds=25, memory_mb=512),
)
class BenchmarkRule:
    """Score a completion by the rule of a benchmark, one of `RULES`.

    A rule that has no metrics beside its score reports the score as `em` and as `f1`.

    Args:
        rule: the name of the rule.
        prefilled: the prompt ended with `<think>`.

    Raises:
        UsageError: there is no such rule.

    Example:
        >>> task = Task(id="t", prompt="Which?", answer="B")
        >>> BenchmarkRule("simple-evals-choice")("Answer: B", task).value
        1.0
    """

    def __init__(self, rule: str, prefilled: bool = False) -> None:
        if rule not in RULES:
            raise UsageError(f"reward 'benchmark': rule is {rule!r}; known: {', '.join(RULES)}")
        self._rule, self._prefilled = RULES[rule], prefilled

    @staticmethod
    def read_reference(text: str) -> str | None:
        """Return the final answer of a worked solution that marks it by `####` or a box, and any other text as it is."""
        from r1env_math.reference import final_answer

        return final_answer(text) if "####" in text or r"\boxed" in text else text.strip() or None

    def read_answer(self, completion: str, task: Task) -> str | None:
        """Return the text of the answer that the rule reads."""
        return self._rule.apply(self._response(completion), task).answer

    def settle(self, completion: str, task: Task) -> Score | None:
        """Return the score of a rule that compares texts; None where formulas are compared."""
        return None if self._rule.algebra else self(completion, task)

    def __call__(self, completion: str, task: Task) -> Score:
        if task.answer is None:
            return Score.failure(Status.UNPARSEABLE, "the task has no reference answer", parts=("em", "f1"))
        response = self._response(completion)
        if not response.strip():
            return Score(
                value=0.0,
                parts={"em": 0.0, "f1": 0.0},
                status=Status.NO_ANSWER,
                reason="there is no response after the thinking",
            )
        outcome = self._rule.apply(response, task)
        if outcome.value is None:
            return Score.failure(Status.UNPARSEABLE, "the answer and the reference cannot be compared", parts=("em", "f1"))
        parts = outcome.parts or {"em": outcome.value, "f1": outcome.value}
        status = Status.NO_ANSWER if outcome.answer is None else Status.OK if outcome.value > 0 else Status.WRONG
        return Score(value=outcome.value, parts=dict(parts), status=status, reason=(outcome.answer or "")[:200])

    def _response(self, completion: str) -> str:
        return r1env.parse_response(completion, prefilled=self._prefilled).response


# Multiple choice.

_SIMPLE_EVALS_LETTER = re.compile(r"Answer[ \t]*:[ \t]*\$?([A-D])", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"Answer\s*:\s*([^\n]+)", re.IGNORECASE)
_ANSWER_IS = re.compile(r"answer is \(?([A-J])")
_ANSWER_COLON = re.compile(r"[aA]nswer:(?=\s*([A-J]))")  # labels may overlap: "Answer: Answer: C"
_LONE_LETTER = re.compile(r"\b[A-J]\b")


def simple_evals_choice(response: str) -> str | None:
    """Return the letter of the first "Answer: X" (simple-evals: GPQA, MMLU), or None. "Answer: Because" gives its B."""
    found = _SIMPLE_EVALS_LETTER.search(response)
    return found[1] if found else None


def simple_evals_answer(response: str) -> str | None:
    """Return what follows the first "Answer:" up to the end of the line (simple-evals: MATH, DROP), or None."""
    found = _ANSWER_LINE.search(response)
    return found[1] if found else None


def mmlu_pro_choice(response: str) -> str | None:
    """Return the letter that MMLU-Pro's script reads, or None where it would draw one at random.

    The first "answer is (X)" counts; without one, "Answer: X"; without that, the last capital from A to J that stands alone.
    """
    if found := _ANSWER_IS.search(response):
        return found[1]
    labels = _ANSWER_COLON.finditer(response)
    if (chosen := next(labels, None)) is not None:
        # The script's greedy `.*` takes the last label of the first line that has one.
        end_of_line = response.find("\n", chosen.start())
        for label in labels:
            if 0 <= end_of_line < label.start():
                break
            chosen = label
        return chosen[1]
    alone = _LONE_LETTER.findall(response)
    return alone[-1] if alone else None


def lm_eval_mmlu_pro_choice(response: str) -> str | None:
    """Return the letter of the first "answer is (X)" (lm-evaluation-harness: MMLU-Pro), or None."""
    found = _ANSWER_IS.search(response)
    return found[1] if found else None


def opencompass_choice(response: str) -> str | None:
    """Return the first capital letter of a response (OpenCompass: C-Eval, CMMLU, CLUEWSC), or None."""
    return next((character for character in response if character.isupper()), None)


# Mathematics.

VERL_TAIL = 300  # characters at the end of a response in which verl looks for an answer
_HASHES = re.compile(r"#### (-?[0-9.,]+)")
_NUMBERS = re.compile(r"-?[0-9.,]+")


def verl_gsm8k_answer(response: str) -> str | None:
    """Return the number after the last "#### " in the last 300 characters (verl, GSM8K, `strict`), without commas; or None."""
    found = _HASHES.findall(response[-VERL_TAIL:])
    return found[-1].replace(",", "").replace("$", "") if found else None


def verl_gsm8k_flexible_answer(response: str) -> str | None:
    """Return the last number in the last 300 characters as it is written (verl, GSM8K, `flexible`), or None."""
    found = _NUMBERS.findall(response[-VERL_TAIL:])
    return next((number for number in reversed(found) if number not in ("", ".")), found[0] if found else None)


def verl_dapo_answer(response: str) -> str | None:
    """Return the last "Answer: …" in the last 300 characters in Minerva's normal form (verl, `math_dapo`), or None."""
    found = _ANSWER_LINE.findall(response[-VERL_TAIL:])
    return minerva_form(found[-1]) if found else None


_MINERVA_REPLACED = (
    ("an ", ""), ("a ", ""), (".$", "$"), (r"\$", ""), (r"\ ", ""), (" ", ""), ("mbox", "text"), (r",\text{and}", ","),
    (r"\text{and}", ","), (r"\text{m}", r"\text{}"),
)  # fmt: skip
_MINERVA_REMOVED = (
    "square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units", r"\ldots", "sue", "points", "feet", "minutes",
    "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students", "childrentickets", "multiples",
    r"\text{s}", r"\text{.}", "\\text{\ns}", r"\text{}^2", r"\text{}^3", "\\text{\n}", r"\text{}", r"\mathrm{th}", r"^\circ",
    r"^{\circ}", r"\;", r",\!", "{,}", '"', r"\dots",
)  # fmt: skip
_MINERVA_REWRITTEN = (
    (re.compile(r"(.*?)(\$)(.*?)(\$)(.*)"), r"$\3$"),
    (re.compile(r"\\text\{(.*?)\}"), r"\1"),
    (re.compile(r"\\textbf\{(.*?)\}"), r"\1"),
    (re.compile(r"\\overline\{(.*?)\}"), r"\1"),
    (re.compile(r"\\boxed\{(.*)\}"), r"\1"),
    (re.compile(r"frac([^{])(.)"), r"frac{\1}{\2}"),
    (re.compile(r"sqrt([^{])"), r"sqrt{\1}"),
)


def minerva_form(answer: str) -> str:
    """Return the normal form of an answer in Lewkowycz et al. (2022, arXiv 2206.14858), appendix D, as verl has it."""
    answer = answer.split("=")[-1]
    for old, new in _MINERVA_REPLACED:
        answer = answer.replace(old, new)
    for unit in _MINERVA_REMOVED:
        answer = answer.replace(unit, "")
    for pattern, replacement in _MINERVA_REWRITTEN:
        answer = pattern.sub(replacement, answer)
    answer = answer.replace("$", "")
    digits = answer.replace(",", "")
    return (digits if digits.isdigit() else answer).strip()


def hendrycks_answer(response: str) -> str:
    """Return what stands between the first and the last dollar sign, or the whole response (lm-evaluation-harness: hendrycks_math)."""
    first, last = response.find("$"), response.rfind("$")
    return response[first + 1 : last] if first < last else response


def hendrycks_equal(first: str, second: str) -> bool:
    """Return whether two answers have the same normal form (Hendrycks et al., 2021, arXiv 2103.03874, `is_equiv`).

    An answer that has no normal form, such as `x/y`, equals only its own text.
    """
    try:
        return hendrycks_form(first) == hendrycks_form(second)
    except ValueError:
        return first == second


def hendrycks_form(answer: str) -> str:
    """Return the normal form of an answer.

    Raises:
        ValueError: it has none: the original function raises there, and `is_equiv` then compares the texts.
    """
    for old, new in (
        ("\n", ""), (r"\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), (r"\left", ""), (r"\right", ""),
        (r"^{\circ}", ""), (r"^\circ", ""), (r"\$", ""),
    ):  # fmt: skip
        answer = answer.replace(old, new)
    before_unit, *after = answer.split(r"\text{ ")
    if len(after) > 1:
        raise ValueError("two units")
    answer = before_unit.replace(r"\%", "").replace(r"\%", "").replace(" .", " 0.").replace("{.", "{0.")  # twice, as there
    if not answer:
        return answer
    if answer[0] == ".":
        answer = f"0{answer}"
    sides = answer.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        answer = sides[1]
    answer = _braced_fractions(_braced_roots(answer).replace(" ", ""))
    if answer == "0.5":
        answer = r"\frac{1}{2}"
    return _slash_as_fraction(answer)


def _braced_roots(answer: str) -> str:
    """Return the text with `\\sqrt3` written `\\sqrt{3}`.

    Raises:
        ValueError: a `\\sqrt` has nothing after it.
    """
    first, *roots = answer.split(r"\sqrt")
    if not all(roots):
        raise ValueError("an empty root")
    return first + "".join(rf"\sqrt{root}" if root[0] == "{" else rf"\sqrt{{{root[0]}}}{root[1:]}" for root in roots)


def _braced_fractions(answer: str) -> str:
    """Return the text with `\\frac12` and `\\frac1{2}` written `\\frac{1}{2}`.

    Raises:
        ValueError: a `\\frac` has nothing after it.
    """
    first, *fractions = answer.split(r"\frac")
    parts = [first]
    for fraction in fractions:
        if not fraction:
            raise ValueError("an empty fraction")
        if fraction[0] == "{":
            parts.append(rf"\frac{fraction}")
        elif len(fraction) < 2:
            return answer
        elif fraction[1] == "{":
            parts.append(rf"\frac{{{fraction[0]}}}{fraction[1:]}")
        else:
            parts.append(rf"\frac{{{fraction[0]}}}{{{fraction[1]}}}{fraction[2:]}")
    return "".join(parts)


def _slash_as_fraction(answer: str) -> str:
    """Return `a/b` of two integers as a fraction, and any other text as it is.

    Raises:
        ValueError: there is one slash, and what stands beside it is no integer.
    """
    sides = answer.split("/")
    if len(sides) != 2:
        return answer
    above, below = int(sides[0]), int(sides[1])
    return rf"\frac{{{above}}}{{{below}}}" if answer == f"{above}/{below}" else answer


# OlympiadBench.

_SYMBOLS = (
    (r"\left", ""), (r"\right", ""), ("∶", ":"), ("，", ","), ("$", ""), (r"\approx", "="), (r"\simeq", "="), (r"\sim", "="),
    (r"^\prime", "'"), (r"^{\prime}", "'"), (r"^\circ", ""), ("%", ""),
)  # fmt: skip
_ROMAN_OR_BOLD = re.compile(r"\\(?:mathrm|mathbf)\{~?([^}]*)\}")
_ENDS = "".join(sorted(set("\n$,.:;^_=+`!@#%&*~，。")))  # taken off both ends of an answer
_CJK = re.compile(r"[\u4e00-\u9fff]+")
DEFAULT_PRECISION = 1e-8
MAX_EXPONENT = 1000  # of a power that the judge computes


class TolerancesError(ValueError):
    """A row has several tolerances, and too few for its answers."""


def olympiadbench_equal(reference: str, response: str, precision: float | Sequence[float] = DEFAULT_PRECISION) -> bool:
    """Return whether OlympiadBench's judge takes a response for the reference (He et al., 2024, arXiv 2402.14008).

    All boxes together are the answer, or else the formulas of the last line, or else the whole text. It is split at commas outside of
    parentheses and brackets, `\\pm` is two answers, and every answer of one side needs a partner on the other: an interval with equal ends,
    a number within the tolerance (also a hundred times as large or as small), an equal expression, or a proportional equation.

    Args:
        precision: largest difference of numbers, one for all answers or one for each. Those that no answer needs are ignored.

    Raises:
        TolerancesError: there are several tolerances, and too few for the answers that are compared.
    """
    try:
        first, second = _olympiad_answer(reference), _olympiad_answer(response)
    except ValueError:
        return False
    if first == second:
        return True
    wanted = _plus_and_minus(_split_at_commas(_CJK.sub("", first)))
    given = _plus_and_minus(_split_at_commas(_CJK.sub("", second)))
    tolerances = list(precision) if isinstance(precision, Sequence) else [precision]
    if len(tolerances) == 1:
        tolerances *= len(wanted)
    if len(wanted) != len(given):
        return False
    if len(tolerances) < len(wanted):
        raise TolerancesError(f"{len(tolerances)} tolerances for {len(wanted)} answers")
    place = -1
    while wanted:
        place = (place + 1) % len(wanted)
        answer, tolerance = wanted[place], tolerances[place]
        partner = next((one for one in given if _olympiad_item_equal(answer, one, tolerance)), None)
        if partner is None:
            return False
        # As in the original, the first equal entry goes, which need not be the one at `place`.
        wanted.remove(answer)
        tolerances.remove(tolerance)
        given.remove(partner)
    return True


def _olympiad_answer(text: str) -> str:
    """Return the answer of a text, with symbols in one form.

    Raises:
        ValueError: a box is not closed.
    """
    boxes = list(_boxes(text))
    if not boxes:
        boxes = re.findall(r"\$([^$\n]*)\$", text.strip().rpartition("\n")[2])
    answer = "".join(f"{box}," for box in boxes) if boxes else text
    if "\\in " in answer:
        answer = answer.split("\\in ")[1]
    for symbol, replacement in _SYMBOLS:
        answer = answer.replace(symbol, replacement)
    return _ROMAN_OR_BOLD.sub(r"\1", answer.strip(_ENDS))


def _boxes(text: str) -> Iterable[str]:
    """Yield the content of every `\\boxed{}`, those inside others too.

    Raises:
        ValueError: one is not closed.
    """
    opened: list[tuple[int, int]] = []  # where the content of a box begins, and the braces open around it
    found: list[tuple[int, str]] = []
    depth = 0
    for place, character in enumerate(text):
        if character == "{":
            if text.endswith(r"\boxed", 0, place):
                opened.append((place + 1, depth))
            depth += 1
        elif character == "}":
            depth -= 1
            if opened and opened[-1][1] == depth:
                start, _ = opened.pop()
                found.append((start, text[start:place]))
    if opened:
        raise ValueError("a box is not closed")
    return [content for _, content in sorted(found)]


def _split_at_commas(text: str) -> list[str]:
    depth, start, parts = 0, 0, []
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()] if start < len(text) else parts


def _plus_and_minus(answers: Sequence[str]) -> list[str]:
    return [
        one for answer in answers for one in ([answer.replace(r"\pm", sign) for sign in "+-"] if r"\pm" in answer else [answer])
    ]


def _olympiad_item_equal(reference: str, answer: str, precision: float) -> bool:
    from r1env_math.guards import excess

    if reference == answer and reference:
        return True
    if excess(reference) or excess(answer):
        return False  # the original would compute it, whatever that costs
    if all(one[:1] in ("(", "[") and one[-1:] in (")", "]") for one in (reference, answer)):
        same_ends = _attempted(_same_intervals, reference, answer, precision)
        if same_ends is not False:
            return bool(same_ends)
    if _attempted(_same_numbers, reference, answer, precision):
        return True
    if not ("=" in reference and "=" in answer) and _attempted(_same_expressions, reference, answer, precision):
        return True
    return bool(_attempted(_same_equations, reference, answer))


def _attempted(compare: Callable[..., bool], *arguments: Any) -> bool | None:
    """Return what a comparison says; None where the texts are not what it compares, for which sympy's parser raises many types."""
    try:
        return compare(*arguments)
    except (ArithmeticError, AttributeError, IndexError, KeyError, NotImplementedError, RecursionError, TypeError, ValueError):
        return None


def _same_numbers(reference: str, answer: str, precision: float) -> bool:
    wanted, given = float(reference), float(answer)
    return any(abs(one - given) <= precision * 1.01 for one in (wanted / 100, wanted, wanted * 100))


def _same_intervals(reference: str, answer: str, precision: float) -> bool:
    pieces, others = reference.split(r"\cup"), answer.split(r"\cup")
    return len(pieces) == len(others) and all(_same_interval(*both, precision) for both in zip(pieces, others, strict=True))


def _same_interval(reference: str, answer: str, precision: float) -> bool:
    if reference[0] != answer[0] or reference[-1] != answer[-1]:
        return False
    ends, others = reference.strip("[]()").split(","), answer.strip("[]()").split(",")
    # As in the original: where one side has more entries, the others are not compared. The reward `math` compares all of them.
    return all(_same_expressions(*both, precision) for both in zip(ends, others, strict=False))


def _same_expressions(reference: str, answer: str, precision: float) -> bool:
    import sympy

    first, second = (_parsed((one.split("=")[1] if "=" in one else one).strip()) for one in (reference, answer))
    if first == second:
        return True
    first, second = (one.subs(_parsed(r"\pi"), math.pi) for one in (first, second))
    with_symbols = [one.has(sympy.Symbol) for one in (first, second)]
    if any(with_symbols):
        return all(with_symbols) and bool(abs(sympy.simplify(first - second).evalf()) < 1e-3)
    if any(isinstance(one, sympy.Pow) and abs(one.exp.evalf()) > MAX_EXPONENT for one in (first, second)):
        return False
    return bool(abs(first.evalf() - second.evalf()) <= precision * 1.01)


def _same_equations(reference: str, answer: str) -> bool:
    import sympy

    differences = []
    for equation in (reference, answer):
        left, right = equation.split("=")
        differences.append(sympy.simplify(_parsed(left) - _parsed(right)))
    ratios = [sympy.simplify(one / other) for one, other in (differences, reversed(differences))]
    return any(ratio.is_Integer and ratio != 0 for ratio in ratios)


def _parsed(latex: str) -> Any:
    """Return a formula as sympy reads it.

    Raises:
        ValueError: it cannot read it.
    """
    import sympy
    from sympy.parsing.latex import LaTeXParsingError, parse_latex

    try:
        found = parse_latex(latex)
    except LaTeXParsingError as error:
        raise ValueError("no formula") from error
    if not isinstance(found, sympy.Basic):
        raise ValueError("no formula")
    return found


# DROP.

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
MAX_SPANS = 100
"""Most spans of an answer that are compared. A question of DROP has a dozen at most."""


def drop_metrics(prediction: str | Sequence[str], reference: str | Sequence[str]) -> tuple[float, float]:
    """Return exact match and F1 of an answer, in [0, 1] (Dua et al., 2019, arXiv 1903.00161; F1 to two decimals).

    Spans are compared as bags of words, each with the one that makes the sum of F1 largest; a span with a number has F1 0 with one that
    lacks it. A text is one span.
    """
    given, wanted = ([one] if isinstance(one, str) else list(one)[:MAX_SPANS] for one in (prediction, reference))
    given_spans, wanted_spans = [_drop_form(one) for one in given], [_drop_form(one) for one in wanted]
    exact = len(given_spans) == len(wanted_spans) and set(given_spans) == set(wanted_spans)
    scores = [[_bag_f1(set(one.split()), set(other.split())) for one in given_spans] for other in wanted_spans]
    if not given_spans or not wanted_spans:
        return float(exact), 0.0
    paired = _best_pairs(scores)
    # numpy rounds 0.225 to 0.22, as the original does, and Python to 0.23.
    f1 = np.mean([*paired, *[0.0] * (max(len(given_spans), len(wanted_spans)) - len(paired))])
    return float(exact), float(np.round(f1, 2))


def drop_contained(prediction: str, reference: str) -> bool:
    """Return whether one text contains the other, case, punctuation and articles aside (simple-evals: DROP)."""
    first, second = (
        " ".join(_ARTICLES.sub(" ", one.lower().translate(_PUNCTUATION)).split()) for one in (prediction, reference)
    )
    return first == second if not first or not second else first in second or second in first


def _drop_form(text: str) -> str:
    """Return a span in lower case without punctuation and articles, and its numbers as floats."""
    words = []
    for token in re.split("[ -]", text.lower()):
        bare = token if _is_number(token) else token.translate(_PUNCTUATION)
        bare = str(float(bare)) if _is_number(bare) else bare
        words += _ARTICLES.sub(" ", bare).split()
    return " ".join(words)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bag_f1(given: set[str], wanted: set[str]) -> float:
    numbers = {word for word in wanted if _is_number(word)}
    if numbers and not numbers & given:
        return 0.0
    common = len(given & wanted)
    precision = common / len(given) if given else 1.0
    recall = common / len(wanted) if wanted else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _best_pairs(scores: Sequence[Sequence[float]]) -> list[float]:
    """Return the entry of each row, or 0, where no two share a column and the sum is largest: the assignment problem.

    The shortest augmenting path algorithm with potentials (Jonker and Volgenant, 1987), cubic in the size.
    """
    if is_tall := len(scores) > len(scores[0]):
        scores = list(zip(*scores, strict=True))
    rows, columns = len(scores), len(scores[0])
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of = [0] * (columns + 1)  # of each column, from 1; 0 where it has none, and column 0 has the row to be placed
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        distance, before, done = [math.inf] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
        while row_of[column]:
            done[column] = True
            at = row_of[column]
            for other in range(1, columns + 1):
                reduced = -scores[at - 1][other - 1] - row_potential[at] - column_potential[other]
                if not done[other] and reduced < distance[other]:
                    distance[other], before[other] = reduced, column
            nearest = min((other for other in range(1, columns + 1) if not done[other]), key=distance.__getitem__)
            step = distance[nearest]
            for other in range(columns + 1):
                if done[other]:
                    row_potential[row_of[other]] += step
                    column_potential[other] -= step
                else:
                    distance[other] -= step
            column = nearest
        while column:
            row_of[column], column = row_of[before[column]], before[column]
    found = [0.0] * (columns if is_tall else rows)
    for column in range(1, columns + 1):
        if row := row_of[column]:
            found[(column if is_tall else row) - 1] = scores[row - 1][column - 1]
    return found


# The rules by name.


def _choice(read: Callable[[str], str | None]) -> Callable[[str, Task], Outcome]:
    """Return a rule that compares the letter that `read` finds with the reference."""

    def apply(response: str, task: Task) -> Outcome:
        letter = read(response)
        return Outcome(letter, float(letter == task.answer))

    return apply


def _simple_evals_math(response: str, task: Task) -> Outcome:
    from r1env_math import verify

    answer = simple_evals_answer(response)
    if answer is None:
        return Outcome(None, 0.0)
    # The original asks a model whether the two are equal.
    verdict = verify(task.answer or "", rf"\boxed{{{answer.strip().strip('$')}}}", task=task)
    return Outcome(answer, None if verdict.correct is None else float(verdict.correct))


def _hendrycks(response: str, task: Task) -> Outcome:
    answer = hendrycks_answer(response)
    return Outcome(answer, float(hendrycks_equal(answer, task.answer or "")))


def _olympiadbench(response: str, task: Task) -> Outcome:
    value = olympiadbench_equal(task.answer or "", response, task.metadata.get("tolerances") or DEFAULT_PRECISION)
    try:
        answer = _olympiad_answer(response)
    except ValueError:
        return Outcome(None, 0.0)
    return Outcome(answer, float(value))


def _gsm8k(read: Callable[[str], str | None]) -> Callable[[str, Task], Outcome]:
    def apply(response: str, task: Task) -> Outcome:
        answer = read(response)
        return Outcome(answer, float(answer == (task.answer or "").replace(",", "")))

    return apply


def _dapo(response: str, task: Task) -> Outcome:
    answer = verl_dapo_answer(response)
    return Outcome(answer, float(answer == minerva_form(task.answer or "")))


def references_of_drop(task: Task) -> list[list[str]]:
    """Return the references of a task of DROP, each a list of spans: from the metadata `spans`, or else answers of one span."""
    spans = task.metadata.get("spans")
    if isinstance(spans, list) and spans:
        return [[str(span) for span in reference] for reference in spans]
    return [[answer] for answer in (task.answer, *task.metadata.get("answers", ())) if answer and answer.strip()]


def best_drop_metrics(prediction: str | Sequence[str], task: Task) -> tuple[float, float]:
    """Return the largest exact match and the largest F1 over the references of a task of DROP."""
    metrics = [drop_metrics(prediction, reference) for reference in references_of_drop(task)] or [(0.0, 0.0)]
    return max(exact for exact, _ in metrics), max(f1 for _, f1 in metrics)


def _lm_eval_drop(response: str, task: Task) -> Outcome:
    exact, f1 = best_drop_metrics(response, task)
    return Outcome(response, f1, {"em": exact, "f1": f1})


def _simple_evals_drop(response: str, task: Task) -> Outcome:
    answer = simple_evals_answer(response)
    given = response if answer is None else answer
    references = [", ".join(reference) for reference in references_of_drop(task)]
    metrics = [drop_metrics(given, reference) for reference in references] or [(0.0, 0.0)]
    parts = {"em": max(exact for exact, _ in metrics), "f1": max(f1 for _, f1 in metrics)}
    return Outcome(given, float(any(drop_contained(given, reference) for reference in references)), parts)


# Our own rules, for the two benchmarks that no general reward fits.


def _olympiadbench_exactly(response: str, task: Task) -> Outcome:
    """Compare as the reward `math` does, and numbers within the tolerance of the row."""
    from r1env_math import AnswerPolicy, verify

    reference = task.answer or ""
    tolerances = task.metadata.get("tolerances") or []
    relative = 0.0
    if len(tolerances) == 1 and _is_number(reference.strip("$ ")) and float(reference.strip("$ ")) != 0:
        relative = min(tolerances[0] / abs(float(reference.strip("$ "))), 0.999)
    verdict = verify(reference, response, task=task, policy=AnswerPolicy(tolerance=relative))
    return Outcome(verdict.extracted, None if verdict.correct is None else float(verdict.correct))


_BETWEEN_SPANS = re.compile(r"\s*(?:,\s*and|,|;|\band\b)\s+")


def _drop(response: str, task: Task) -> Outcome:
    """Read the answer as the reward `short_answer` does. Where a reference has several spans, the answer is split at commas and at "and"."""
    from r1env_logic.answers import short_answers

    readings = short_answers(response)
    if not readings:
        return Outcome(None, 0.0, {"em": 0.0, "f1": 0.0})
    metrics = [
        drop_metrics([span for span in _BETWEEN_SPANS.split(reading) if span] if len(reference) > 1 else reading, reference)
        for reading in readings
        for reference in references_of_drop(task)
    ] or [(0.0, 0.0)]
    parts = {"em": max(exact for exact, _ in metrics), "f1": max(f1 for _, f1 in metrics)}
    return Outcome(readings[0], parts["f1"], parts)


RULES: Mapping[str, Rule] = {
    "simple-evals-choice": Rule(_choice(simple_evals_choice), "simple-evals, ANSWER_PATTERN_MULTICHOICE"),
    "mmlu-pro": Rule(_choice(mmlu_pro_choice), "MMLU-Pro, extract_answer"),
    "lm-eval-mmlu-pro": Rule(_choice(lm_eval_mmlu_pro_choice), "lm-evaluation-harness, mmlu_pro, custom-extract"),
    "opencompass-choice": Rule(_choice(opencompass_choice), "OpenCompass, first_capital_postprocess"),
    "simple-evals-math": Rule(_simple_evals_math, "simple-evals, ANSWER_PATTERN; equality by the reward `math`", True),
    "lm-eval-math": Rule(_hendrycks, "lm-evaluation-harness, hendrycks_math, is_equiv"),
    "olympiadbench": Rule(_olympiadbench, "OlympiadBench, AutoScoringJudge", True),
    "verl-gsm8k": Rule(_gsm8k(verl_gsm8k_answer), "verl, reward_score/gsm8k, strict"),
    "verl-gsm8k-flexible": Rule(_gsm8k(verl_gsm8k_flexible_answer), "verl, reward_score/gsm8k, flexible"),
    "verl-dapo": Rule(_dapo, "verl, reward_score/math_dapo"),
    "lm-eval-drop": Rule(_lm_eval_drop, "lm-evaluation-harness, drop, get_metrics"),
    "simple-evals-drop": Rule(_simple_evals_drop, "simple-evals, drop_eval"),
    "drop": Rule(_drop, "r1env; the metrics of DROP"),
    "olympiadbench-exact": Rule(_olympiadbench_exactly, "r1env; the reward `math`, and the tolerance of the row", True),
}
"""Rule by name."""
