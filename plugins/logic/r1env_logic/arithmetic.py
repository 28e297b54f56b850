"""Adding two numbers of a given length."""

from __future__ import annotations

import numpy as np

from r1env import Task, TaskKind
from r1env.sources import GeneratedSource, Split
from r1env.tasks import Conversation
from r1env_logic.options import check_count, check_style


def addition_tasks(digits: int = 2, split: Split = "train", style: str = "chat") -> GeneratedSource:
    """Sums of two numbers of exactly `digits` digits (of one digit: 0 to 9).

    Args:
        split: `train`, `test` or `all`; no question of one is in the other.
        style: `chat` asks in words; `compact` is `12+34?`, for tiny models.
    """
    check_count("digits", digits, 1, 18)  # 18: still within NumPy's 64-bit integers
    check_style(style)
    lowest = 10 ** (digits - 1) if digits > 1 else 0

    def generate(rng: np.random.Generator) -> Task:
        a, b = (int(n) for n in rng.integers(lowest, 10**digits, size=2))
        question = f"{a}+{b}?" if style == "compact" else f"What is {a} + {b}? Write only the number inside <answer></answer>."
        prompt: Conversation = ({"role": "user", "content": question},)
        return Task(id=f"add-{a}-{b}", prompt=prompt, answer=str(a + b), kind=TaskKind.MATH)

    return GeneratedSource(generate, split)
