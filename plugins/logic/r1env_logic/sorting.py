"""Sorting digits: the smallest task on which a model visibly discovers an algorithm."""

from __future__ import annotations

import numpy as np

from r1env import Task, TaskKind
from r1env.data.sources import GeneratedSource, Split
from r1env_logic.options import check_count, check_style


def sorting_tasks(digits: int = 4, split: Split = "train", style: str = "chat") -> GeneratedSource:
    """Return tasks with digits to put in ascending order, drawn independently from 0 to 9.

    Args:
        digits: number of digits.
        split: `train`, `test` or `all`; train and test share no question.
        style: `chat` asks in words; `compact` is `s4071?`, for tiny models.
    """
    check_count("digits", digits, 2, 50)
    check_style(style)

    def generate(rng: np.random.Generator) -> Task:
        text = "".join(map(str, rng.integers(10, size=digits)))
        return Task(
            id=f"sort-{text}",
            prompt=({"role": "user", "content": f"s{text}?" if style == "compact" else _question(text)},),
            answer="".join(sorted(text)),
            kind=TaskKind.LOGIC,
        )

    return GeneratedSource(generate, split)


def _question(text: str) -> str:
    return (
        f"Sort these digits in ascending order: {' '.join(text)}. "
        "Write them without spaces inside <answer></answer>, for example <answer>0123</answer>."
    )
