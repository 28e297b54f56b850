"""Writers of demonstrations for supervised fine-tuning: `(task, rng) -> response`."""

from __future__ import annotations

import numpy as np

from r1env import Task


def shuffled_digits(task: Task, rng: np.random.Generator) -> str:
    """The digits of a sorting task in random order, in the format of R1-Zero.

    A model that learns this knows the format and copies the digits, but is right only by chance: the honest start of an R1-Zero
    run in miniature.
    """
    digits = rng.permutation(list(task.answer or ""))
    return f"<think></think><answer>{''.join(digits)}</answer>"
