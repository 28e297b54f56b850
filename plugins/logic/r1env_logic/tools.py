"""Environments with tools: `calculator`, an expression too long for mental arithmetic, and `price-list`, which takes a table and a calculator.

The tools are plain functions that compute the same thing for everybody, so an episode needs no container. `price-list` pays by turn as well: every call
that fails costs `FAILED_CALL`, in the part `environment`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from r1env import Message, Task, TaskKind
from r1env.data.sources import GeneratedSource, Split
from r1env.envs.conversation import StepResult, ToolEnv
from r1env_logic.countdown import evaluate
from r1env_logic.options import check_count, check_style

MAX_DIGITS = 60  # of a number in an expression: a result may be put into the next one
CALCULATOR_HINT = "Use the tool `calculator`. When you know the result, write only the number, without calling a tool."


def calculator(expression: str) -> str:
    """Return the value of an expression of whole numbers with + - * / and parentheses."""
    value = evaluate(expression, division=True, digits=MAX_DIGITS).value
    return f"{value} (about {float(value):.6g})" if isinstance(value, Fraction) else str(value)


# calculator


def calculator_tasks(terms: int = 4, digits: int = 4, split: Split = "train") -> GeneratedSource:
    """Return expressions of `terms` products and numbers, to be evaluated with a calculator.

    Args:
        digits: of the largest numbers.
        split: `train`, `test` or `all`; train and test share no expression.
    """
    check_count("terms", terms, 2, 8)
    check_count("digits", digits, 1, 9)

    def generate(rng: np.random.Generator) -> Task:
        expression = _term(rng, digits)
        for _ in range(terms - 1):
            expression += f" {'+-'[int(rng.integers(2))]} {_term(rng, digits)}"
        return Task(
            id=f"calculator-{expression.replace(' ', '')}",
            prompt=f"What is {expression}? {CALCULATOR_HINT}",
            answer=str(evaluate(expression).value),
            kind=TaskKind.MATH,
            metadata={"expression": expression},
        )

    return GeneratedSource(generate, split)


def _term(rng: np.random.Generator, digits: int) -> str:
    """A number, or a product of two in parentheses or not."""
    a, b, c = (int(number) for number in rng.integers(1, 10 ** min(digits, 6), size=3))
    return (f"{a}", f"{a} * {b}", f"({a} - {b}) * {c}")[int(rng.integers(3))]


class Calculator(ToolEnv):
    """Gives the model the tool `calculator`. The episode is over when it calls no tool."""

    def __init__(self) -> None:
        super().__init__([calculator])


# price-list

FRUIT = [
    "apple",
    "apricot",
    "banana",
    "cherry",
    "date",
    "elderberry",
    "fig",
    "gooseberry",
    "grape",
    "guava",
    "kiwi",
    "kumquat",
    "lemon",
    "lime",
    "lychee",
    "mango",
    "melon",
    "nectarine",
    "olive",
    "orange",
    "papaya",
    "peach",
    "pear",
    "plum",
    "pomegranate",
    "quince",
]
LETTERS = "abcdefgh"
FAILED_CALL = -0.05
"""What a turn is paid for each of its calls that fails: an item that is not in the list, an expression that is none, text that is no call."""


def price_tasks(style: str = "chat", split: Split = "train") -> GeneratedSource:
    """Return questions for the price of two things together. Prices are different in every task, and only the tool `price` knows them.

    Args:
        style: `chat` asks in words, for several of each; `compact` is `c+a?`, for tiny models, with 8 items and prices of one digit.
        split: `train`, `test` or `all`; train and test share no task.
    """
    check_style(style)
    items = LETTERS if style == "compact" else FRUIT

    def generate(rng: np.random.Generator) -> Task:
        low, high = (1, 9) if style == "compact" else (10, 99)
        prices = dict(zip(items, rng.integers(low, high + 1, size=len(items)).tolist(), strict=True))
        first, second = (items[int(place)] for place in rng.choice(len(items), size=2, replace=False))
        counts = (1, 1) if style == "compact" else tuple(int(count) for count in rng.integers(2, 10, size=2))
        question = (
            f"{first}+{second}?"
            if style == "compact"
            else f"What is the price of {counts[0]} of the item {first!r} and {counts[1]} of the item {second!r} together? The tool `price` "
            f"knows the price of one. {CALCULATOR_HINT}"
        )
        total = counts[0] * prices[first] + counts[1] * prices[second]
        return Task(
            id=f"prices-{counts[0]}-{first}-{prices[first]}-{counts[1]}-{second}-{prices[second]}",
            prompt=question,
            answer=str(total),
            kind=TaskKind.MATH,
            metadata={"style": style, "prices": prices, "basket": [first, second]},
        )

    return GeneratedSource(generate, split)


class PriceList(ToolEnv):
    """Gives the model the tools `price` and `calculator`; see `price_tasks`."""

    def __init__(self) -> None:
        super().__init__([self.price, calculator])
        self._prices: Mapping[str, int] = {}

    def reset(self, task: Task) -> Sequence[Message]:
        self._prices = task.metadata["prices"]
        if task.metadata["style"] == "compact":
            self._max_reply = COMPACT_REPLY
        return super().reset(task)

    async def step(self, message: Message) -> StepResult:
        result = await super().step(message)
        failed = len(result.info.get("tool_errors", ()))
        return replace(result, reward=FAILED_CALL * failed)

    def price(self, item: str) -> str:
        """Return the price of one piece of an item."""
        if item not in self._prices:
            raise LookupError(f"{item!r} is not in the price list")
        return str(self._prices[item])


COMPACT_REPLY = 16
"""Characters of a reply in the style `compact`: a tiny model has room for a number, and for the beginning of an error."""
