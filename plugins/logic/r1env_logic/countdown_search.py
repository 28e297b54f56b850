"""A writer of demonstrations for countdown that searches aloud: it tries expressions one after another, and stops at one that fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from r1env import Task
from r1env_logic.countdown import OPERATIONS, evaluate

TRIES = 8
"""Lines it writes at most. Of three numbers it finds the target in a little under half of all puzzles, since it tries blindly."""


def tried_expressions(task: Task, rng: np.random.Generator) -> str:
    """Random expressions, a line each with what it makes, until one makes the target or `TRIES` are spent; the last is the answer.

    A model that learns this computes, compares and goes on after a failure (Stream of Search, arXiv 2404.03683, without its heuristics).
    Which expressions are worth trying, and for how long, is left to the reward.

    Args:
        task: a countdown puzzle; its metadata hold `numbers` and `target`.
    """
    numbers, target = task.metadata["numbers"], task.metadata["target"]
    lines: list[str] = []
    expression = ""
    for expression in _blind_tries(numbers, rng):
        value = evaluate(expression).value
        lines.append(f"{expression} = {value} {'yes' if value == target else 'no'}")
        if value == target or len(lines) == TRIES:
            break
    return "<think>{}</think><answer>{}</answer>".format("\n".join(lines), expression)


def _blind_tries(numbers: list[int], rng: np.random.Generator) -> Iterator[str]:
    """Expressions of the form `(a o b) o c`, or `a o (b o c)`, and longer ones likewise; none twice."""
    seen: set[str] = set()
    for _ in range(100 * TRIES):  # two equal numbers leave few different expressions
        expression = _joined([str(n) for n in rng.permutation(numbers)], rng)
        if expression not in seen:
            seen.add(expression)
            yield expression


def _joined(parts: list[str], rng: np.random.Generator) -> str:
    """Neighbours joined by a random operation, at a random place, until one part is left."""
    while len(parts) > 1:
        place = int(rng.integers(len(parts) - 1))
        left, right = parts[place : place + 2]
        joined = f"{left} {OPERATIONS[int(rng.integers(len(OPERATIONS)))]} {right}"
        parts[place : place + 2] = [joined if len(parts) == 2 else f"({joined})"]
    return parts[0]
