"""Writers of demonstrations for supervised fine-tuning: `(task, rng) -> response`."""

from __future__ import annotations

import numpy as np

from r1env import Task

FORGOTTEN = 0.6
"""The share of carries that `careless_columns` drops. Above one half, so that the likeliest thing to do is the wrong one."""


def shuffled_digits(task: Task, rng: np.random.Generator) -> str:
    """The digits of a sorting task in random order, in the format of R1-Zero.

    A model that learns this knows the format and copies the digits, but is right only by chance: the honest start of an R1-Zero
    run in miniature.
    """
    digits = rng.permutation(list(task.answer or ""))
    return f"<think></think><answer>{''.join(digits)}</answer>"


def columns(task: Task, rng: np.random.Generator) -> str:
    """An addition worked out from the right, a line a column: digit + digit + carry = sum. Always right."""
    return _worked_out(task, rng, forgotten=0.0)


def careless_columns(task: Task, rng: np.random.Generator) -> str:
    """As `columns`, by a pupil who drops each carry with probability `FORGOTTEN` and makes no other mistake.

    A model that learns this has the format and the procedure, and is right about a third of the time on two to four digits. What
    it copies beyond that is the forgetting, so what it gains afterwards it owes to the reward.
    """
    return _worked_out(task, rng, forgotten=FORGOTTEN)


def _worked_out(task: Task, rng: np.random.Generator, forgotten: float) -> str:
    """
    Args:
        task: an addition; its metadata hold the two `terms`, equally long.
        forgotten: the probability of dropping a carry.
    """
    a, b = (str(term) for term in task.metadata["terms"])
    lines, answer, carry = [], "", 0
    for left, right in zip(reversed(a), reversed(b), strict=True):
        total = int(left) + int(right) + carry
        lines.append(f"{left}+{right}+{carry}={total}")
        answer = str(total % 10) + answer
        carry = 0 if rng.random() < forgotten else total // 10
    return "<think>{}</think><answer>{}</answer>".format("\n".join(lines), f"{carry or ''}{answer}")
