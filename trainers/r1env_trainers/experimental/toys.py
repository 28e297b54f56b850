"""Toys on which the algorithms alone are under test: sums with a careless carry, and countdowns joined at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from r1env_trainers.experimental.mcts import Proposal, Steps
from r1env_trainers.experimental.process_reward_model import LabelledSteps

BASE = 3
"""Of the sums: few enough of them for a tiny model to learn in seconds."""

OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def careless_sum(numbers: Sequence[int], rng: np.random.Generator, careless: float) -> tuple[LabelledSteps, int]:
    """A sum of digits below `BASE`, step by step, dropping carries, and its last result.

    Args:
        careless: how often a sum with a carry goes wrong, always in the same way. Later steps go on from what was said.
    """
    steps, right, total = [], [], numbers[0]
    for number in numbers[1:]:
        wrong = total + number >= BASE and rng.random() < careless
        said = (total + number + wrong) % BASE
        steps.append(f"{total}+{number}={said}\n")
        right.append(not wrong)
        total = said
    return LabelledSteps(",".join(map(str, numbers)) + ":", tuple(steps), tuple(right)), total


@dataclass(frozen=True, slots=True)
class BlindCountdown:
    """A countdown as a `Problem`. Its policy joins any two numbers that are left; a partial solution is worth one random playout."""

    numbers: tuple[int, ...]
    target: int

    def left(self, steps: Steps) -> list[int]:
        """The numbers that are left after some steps, each of the form `3 + 7=10`."""
        numbers = list(self.numbers)
        for step in steps:
            expression, result = step.split("=")
            first, _, second = expression.split(" ")
            numbers.remove(int(first))
            numbers.remove(int(second))
            numbers.append(int(result))
        return numbers

    def reward(self, steps: Steps) -> float | None:
        left = self.left(steps)
        return float(left[0] == self.target) if len(left) == 1 else None

    def propose(self, steps: Steps, count: int, seed: int) -> list[Proposal]:
        ways = self._ways_on(steps)
        chosen = np.random.default_rng(seed).permutation(len(ways))[:count]
        return [Proposal(ways[place], 1.0) for place in chosen]

    def value(self, steps: Steps, seed: int) -> float:
        rng = np.random.default_rng(seed)
        while (reward := self.reward(steps)) is None:
            ways = self._ways_on(steps)
            steps = (*steps, ways[int(rng.integers(len(ways)))])
        return reward

    def _ways_on(self, steps: Steps) -> list[str]:
        numbers = self.left(steps)
        pairs = [(a, b) for i, a in enumerate(numbers) for j, b in enumerate(numbers) if i != j]
        return sorted({f"{a} {sign} {b}={join(a, b)}" for a, b in pairs for sign, join in OPERATIONS.items()})
