"""Writers of demonstrations for supervised fine-tuning, each a function `(task, rng) -> response`, or the model's turns where there are several."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from r1env import Task
from r1env_logic.countdown import OPERATIONS, evaluate

FORGOTTEN = 0.6
"""Share of carries that `careless_columns` drops. It is above one half, so that the most likely step is the wrong one."""


def shuffled_digits(task: Task, rng: np.random.Generator) -> str:
    """Return the digits of a sorting task in random order, in the format of R1-Zero.

    A model that learns this knows the format and copies the digits, but is right only by chance. It is a fair start for a small
    R1-Zero run.
    """
    digits = rng.permutation(list(task.answer or ""))
    return f"<think></think><answer>{''.join(digits)}</answer>"


def columns(task: Task, rng: np.random.Generator) -> str:
    """Return an addition worked out from the right, one line a column: digit + digit + carry = sum. It is always right."""
    return _worked_out(task, rng, forgotten=0.0)


def careless_columns(task: Task, rng: np.random.Generator) -> str:
    """Return an addition as `columns` does, but drop each carry with probability `FORGOTTEN`; there are no other mistakes.

    A model that learns this knows the format and the procedure, and is right about a third of the time on two to four digits. It
    has learnt to forget carries, so whatever it gains afterwards is due to the reward.
    """
    return _worked_out(task, rng, forgotten=FORGOTTEN)


def _worked_out(task: Task, rng: np.random.Generator, forgotten: float) -> str:
    """Return a worked addition.

    Args:
        task: an addition; its metadata hold the two `terms`, which have the same length.
        forgotten: probability of dropping a carry.
    """
    a, b = (str(term) for term in task.metadata["terms"])
    lines, answer, carry = [], "", 0
    for left, right in zip(reversed(a), reversed(b), strict=True):
        total = int(left) + int(right) + carry
        lines.append(f"{left}+{right}+{carry}={total}")
        answer = str(total % 10) + answer
        carry = 0 if rng.random() < forgotten else total // 10
    return "<think>{}</think><answer>{}</answer>".format("\n".join(lines), f"{carry or ''}{answer}")


def worked(task: Task, rng: np.random.Generator) -> str:  # noqa: ARG001 - a demonstrator takes both; this one has no choice
    """Return the worked solution of a task of a procedural family (`r1env_logic.families`). It is always right."""
    return f"<think>{task.metadata['trace']}</think><answer>{task.answer}</answer>"


# Countdown: a search that is written down.

TRIES = 8
"""Largest number of lines. With three numbers, blind tries find the target in a little under half of the puzzles."""


def tried_expressions(task: Task, rng: np.random.Generator) -> str:
    """Return random expressions, one a line with its value, until one makes the target or `TRIES` are used; the last is the answer.

    A model that learns this computes, compares and continues after a failure (Stream of Search, arXiv 2404.03683, without its
    heuristics). Which expressions to try, and for how long, is for the reward to teach.

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
    """Yield different expressions of the form `(a o b) o c` or `a o (b o c)`, and longer ones likewise."""
    seen: set[str] = set()
    for _ in range(100 * TRIES):  # two equal numbers leave few different expressions
        expression = _joined([str(n) for n in rng.permutation(numbers)], rng)
        if expression not in seen:
            seen.add(expression)
            yield expression


def _joined(parts: list[str], rng: np.random.Generator) -> str:
    """Join neighbours by a random operation, at a random place, until one part is left."""
    while len(parts) > 1:
        place = int(rng.integers(len(parts) - 1))
        left, right = parts[place : place + 2]
        joined = f"{left} {OPERATIONS[int(rng.integers(len(OPERATIONS)))]} {right}"
        parts[place : place + 2] = [joined if len(parts) == 2 else f"({joined})"]
    return parts[0]


# price-list: several turns, with tools.

GUESSED = 0.4
"""Share of the steps in which `guessing_shopper` makes a number up instead of asking a tool."""


def guessing_shopper(task: Task, rng: np.random.Generator) -> list[str]:
    """Return the turns of an episode of `price-list` in the style `compact`: calls of `price`, a call of `calculator`, and the answer.

    Each of the three calls is left out with probability `GUESSED`, and a number made up instead, so that 22 of 100 episodes ask for everything. A model that
    learns this can write calls and copy their results. That it pays to ask is for the reward to teach.

    Args:
        task: its metadata hold the `basket` and the `prices`.
    """
    turns, terms = [], []
    for item in task.metadata["basket"]:
        if rng.random() < GUESSED:
            terms.append(int(rng.integers(1, 10)))
        else:
            turns.append(_call("price", item=item))
            terms.append(task.metadata["prices"][item])
    if rng.random() < GUESSED:
        return [*turns, str(rng.integers(2, 19))]
    return [*turns, _call("calculator", expression="+".join(map(str, terms))), str(sum(terms))]


def _call(name: str, **arguments: str) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"
