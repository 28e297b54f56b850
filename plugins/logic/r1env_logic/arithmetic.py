"""Additions of two numbers: of one length, or of a range of lengths, which needs a procedure rather than a table."""

from __future__ import annotations

import numpy as np

from r1env import Task, TaskKind
from r1env.data.sources import GeneratedSource, Split
from r1env.types import Conversation
from r1env_logic.options import check_count, check_style

MAX_DIGITS = 18  # still within NumPy's 64-bit integers


def addition_tasks(digits: int = 2, split: Split = "train", style: str = "chat") -> GeneratedSource:
    """Return sums of two numbers of exactly `digits` digits (0 to 9 for one digit).

    Args:
        split: `train`, `test` or `all`; train and test share no question.
        style: `chat` asks in words; `compact` is `12+34?`, for tiny models.

    Raises:
        UsageError: an option is out of range.
    """
    check_count("digits", digits, 1, MAX_DIGITS)
    check_style(style)
    pattern = "{}+{}?" if style == "compact" else "What is {} + {}? Write only the number inside <answer></answer>."

    def generate(rng: np.random.Generator) -> Task:
        return _addition(digits, pattern, rng)

    return GeneratedSource(generate, split)


def column_addition_tasks(fewest: int = 2, most: int = 4, split: Split = "train", style: str = "chat") -> GeneratedSource:
    """Return sums of two numbers of the same length, `fewest` to `most` digits, with room to work them out. Lengths are equally frequent.

    Args:
        split: `train`, `test` or `all`; train and test share no question.
        style: `chat` asks in words; `compact` is `12+34?`, for tiny models.

    Raises:
        UsageError: an option is out of range.
    """
    check_count("fewest", fewest, 1, MAX_DIGITS)
    check_count("most", most, fewest, MAX_DIGITS)
    check_style(style)
    pattern = "{}+{}?" if style == "compact" else "Add column by column, from the right: {} + {}"

    def generate(rng: np.random.Generator) -> Task:
        return _addition(int(rng.integers(fewest, most + 1)), pattern, rng)

    return GeneratedSource(generate, split)


def _addition(digits: int, pattern: str, rng: np.random.Generator) -> Task:
    lowest = 10 ** (digits - 1) if digits > 1 else 0
    a, b = (int(n) for n in rng.integers(lowest, 10**digits, size=2))
    prompt: Conversation = ({"role": "user", "content": pattern.format(a, b)},)
    return Task(id=f"add-{a}-{b}", prompt=prompt, answer=str(a + b), kind=TaskKind.MATH, metadata={"terms": [a, b]})
