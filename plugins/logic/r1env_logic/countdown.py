"""Countdown: reach a target with given numbers, each used exactly once. The task, its reward, and a parser of expressions.

A model's expression is read by a small recursive-descent parser that is bounded in length and depth. Nothing is evaluated as
Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from r1env import Score, Status, Task, TaskKind, parse_response, reward
from r1env.data.sources import GeneratedSource, Split
from r1env_logic.options import check_count

LARGEST_NUMBER = 20
MAX_LENGTH = 200  # characters of an expression; one with six numbers needs about 30
MAX_DEPTH = 20  # nested parentheses
OPERATIONS = "+-*"
MAX_DIGITS = 6  # of a number, unless a caller of `evaluate` says otherwise
_TOKEN = re.compile(r"\s*([0-9]+|[-+*/()])")


def countdown_tasks(count: int = 3, split: Split = "train") -> GeneratedSource:
    """Return puzzles with `count` numbers from 1 to 20 and a positive target that can be reached with + - *.

    Args:
        split: `train`, `test` or `all`; train and test share no puzzle.
    """
    check_count("count", count, 2, 6)

    def generate(rng: np.random.Generator) -> Task:
        while True:
            numbers = [int(n) for n in rng.integers(1, LARGEST_NUMBER + 1, size=count)]
            solution = _random_expression(numbers, rng)
            target = int(evaluate(solution).value)
            if target > 0:
                return _task(sorted(numbers), target, solution)

    return GeneratedSource(generate, split)


def _task(numbers: list[int], target: int, solution: str) -> Task:
    question = (
        f"Use each of the numbers {', '.join(map(str, numbers))} exactly once, with + - * and parentheses, to make {target}. "
        "Write only the expression inside <answer></answer>, for example <answer>(1 + 2) * 3</answer>."
    )
    return Task(
        id=f"countdown-{'-'.join(map(str, numbers))}-to-{target}",
        prompt=({"role": "user", "content": question},),
        answer=solution,
        kind=TaskKind.LOGIC,
        metadata={"numbers": numbers, "target": target},
    )


def _random_expression(numbers: list[int], rng: np.random.Generator) -> str:
    """Join two random parts by a random operation until one part is left."""
    parts = [str(n) for n in numbers]
    while len(parts) > 1:
        left = parts.pop(int(rng.integers(len(parts))))
        right = parts.pop(int(rng.integers(len(parts))))
        parts.append(f"({left} {OPERATIONS[int(rng.integers(len(OPERATIONS)))]} {right})")
    return parts[0].removeprefix("(").removesuffix(")") if len(numbers) > 1 else parts[0]


@reward(name="countdown", isolation="inline")
def countdown(completion: str, task: Task) -> Score:
    """Return 1 if the expression in the only `<answer>` block uses every given number once and makes the target.

    Division is allowed where the task's metadata say so: `operations` is then `+-*/`, as in the puzzles of TinyZero.
    """
    puzzle = _puzzle(task.metadata)
    if puzzle is None:
        return Score(value=None, status=Status.UNPARSEABLE, reason="the task's metadata lack `numbers` and `target`")
    numbers, target = puzzle
    given = parse_response(completion).answer
    if not given:
        return Score(value=0.0, status=Status.NO_ANSWER, reason="there is not exactly one filled <answer> block")
    try:
        result = evaluate(given, division="/" in str(task.metadata.get("operations", "")))
    except ExpressionError as error:
        return Score(value=0.0, status=Status.UNPARSEABLE, reason=str(error))
    if sorted(result.numbers) != sorted(numbers):
        return Score(value=0.0, status=Status.WRONG, reason=f"uses {result.numbers} instead of {list(numbers)}")
    if result.value != target:
        return Score(value=0.0, status=Status.WRONG, reason=f"makes {result.value} instead of {target}")
    return Score(value=1.0)


def _puzzle(metadata: Mapping[str, Any]) -> tuple[list[int], int] | None:
    numbers, target = metadata.get("numbers"), metadata.get("target")
    if isinstance(numbers, list | tuple) and all(isinstance(n, int) for n in numbers) and isinstance(target, int):
        return list(numbers), target
    return None


class ExpressionError(ValueError):
    """A text is not an arithmetic expression, or is too long or nested too deeply."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The value of an expression, and the numbers it uses, in order."""

    value: int | Fraction
    numbers: list[int]


def evaluate(text: str, *, division: bool = False, digits: int = MAX_DIGITS) -> Expression:
    """Evaluate an expression of whole numbers, `+ - *` and parentheses, with the usual precedence.

    Args:
        division: allow `/`, which is exact: `1 / 3 * 3` is 1.
        digits: the most that a number may have.

    Raises:
        ExpressionError: the text is not an expression, is longer than `MAX_LENGTH`, or is nested deeper than `MAX_DEPTH`.

    Example:
        >>> evaluate("(1 + 2) * 3")
        Expression(value=9, numbers=[1, 2, 3])
    """
    tokens = _tokens(text)
    if any(len(token) > digits for token in tokens):
        raise ExpressionError(f"a number has more than {digits} digits")
    if "/" in tokens and not division:
        raise ExpressionError("'/' is no part of an expression")
    parser = _Parser(tokens)
    value = parser.sum(depth=0)
    if parser.peek():
        raise ExpressionError(f"unexpected {parser.peek()!r} after the expression")
    return Expression(value, parser.numbers)


def _tokens(text: str) -> list[str]:
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"{text[position]!r} is no part of an expression")
        tokens.append(match[1])
        position = match.end()
    return tokens


@dataclass(slots=True)
class _Parser:
    """sum = product (+|- product)*; product = atom (*|/ atom)*; atom = number | ( sum )."""

    tokens: list[str]
    position: int = 0
    numbers: list[int] = field(default_factory=list)

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def sum(self, depth: int) -> int | Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            value = value + self.product(depth) if self.take() == "+" else value - self.product(depth)
        return value

    def product(self, depth: int) -> int | Fraction:
        value = self.atom(depth)
        while self.peek() in ("*", "/"):
            if self.take() == "*":
                value *= self.atom(depth)
                continue
            divisor = self.atom(depth)
            if divisor == 0:
                raise ExpressionError("division by zero")
            value = Fraction(value) / divisor
            value = value.numerator if value.denominator == 1 else value
        return value

    def atom(self, depth: int) -> int | Fraction:
        token = self.take()
        if token.isdigit():
            self.numbers.append(int(token))
            return self.numbers[-1]
        if token != "(":
            raise ExpressionError(f"a number is missing before {token!r}" if token else "the expression ends too early")
        if depth == MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        value = self.sum(depth + 1)
        if self.take() != ")":
            raise ExpressionError("a parenthesis is not closed")
        return value
