"""Monte Carlo tree search over reasoning steps (AlphaZero's form, arXiv 1712.01815), bounded in every direction.

A node is a partial solution: the steps so far. What a step is, where steps come from and what a partial solution is worth is the
`Problem`'s matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from r1env.engines import Engine, SamplingParams, derive_seed
from r1env.runs.files import replace_text
from r1env.types import Message
from r1env_trainers.experimental.process_rewards import LabelledSteps, split_steps

Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A step that could come next, and how probable the policy finds it (any positive scale)."""

    step: str
    prior: float


class Problem(Protocol):
    """What is searched. All three depend on their arguments alone."""

    def reward(self, steps: Steps) -> float | None:
        """Return the reward in [0, 1] of a finished solution; None for a partial one."""

    def propose(self, steps: Steps, count: int, seed: int) -> Sequence[Proposal]:
        """Return up to `count` next steps of a partial solution; none if there is no way on."""

    def value(self, steps: Steps, seed: int) -> float:
        """Return the expected reward in [0, 1] of a partial solution, by a model or by completing it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a search goes.

    Attributes:
        simulations: walks from the root, each of which adds the children of one node at most.
        max_children: the extension limit of a node (DeepSeek-R1 4.2.2 needed one, and blames local optima on it).
        max_depth: steps of a solution.
        exploration: c of PUCT; more tries what is little visited.
        enough: a solution with this reward ends the search.
    """

    simulations: int = 100
    max_children: int = 8
    max_depth: int = 16
    exploration: float = 1.25
    enough: float = 1.0

    def __post_init__(self) -> None:
        if min(self.simulations, self.max_children, self.max_depth) < 1:
            raise ValueError("simulations, max_children and max_depth must be 1 or more")


@dataclass(slots=True)
class Node:
    """A partial solution and what is known of it.

    Attributes:
        prior: of its last step, normalised over the siblings.
        visits, total: walks through it, and the sum of what they came to.
        reward: of a finished solution.
    """

    steps: Steps
    prior: float = 1.0
    visits: int = 0
    total: float = 0.0
    reward: float | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Q; 0 before the first visit."""
        return self.total / self.visits if self.visits else 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found.

    Attributes:
        root: of the tree; best: the finished solution with the highest reward, the first of equals; None where none was finished.
        simulations: how many were made.
    """

    root: Node
    best: Node | None
    simulations: int


def search(problem: Problem, limits: Limits, seed: int = 0) -> Result:
    """Search from the empty solution. The same problem, limits and seed give the same tree."""
    root, best, walks = Node(()), None, 0
    while walks < limits.simulations and not (best and best.reward is not None and best.reward >= limits.enough):
        path = _select(root, limits.exploration)
        leaf = path[-1]
        worth = _explore(leaf, problem, limits, derive_seed(seed, walks))
        for node in path:
            node.visits += 1
            node.total += worth
        if leaf.reward is not None and (best is None or best.reward is None or leaf.reward > best.reward):
            best = leaf
        walks += 1
    return Result(root, best, walks)


def puct(parent: Node, child: Node, exploration: float) -> float:
    """Q + c P sqrt(N_parent) / (1 + N_child)."""
    return child.mean + exploration * child.prior * math.sqrt(parent.visits) / (1 + child.visits)


def nodes(root: Node) -> Iterator[tuple[int, int | None, Node]]:
    """Return all nodes with their number and their parent's number, parents first."""
    waiting: list[tuple[int | None, Node]] = [(None, root)]
    for number, (parent, node) in enumerate(waiting):  # grows while it is read
        yield number, parent, node
        waiting += [(number, child) for child in node.children]


def write_trace(path: Path, result: Result) -> None:
    """The tree as JSON lines, a node a line: what a data set of steps and values would be made of.

    Raises:
        OSError: the file cannot be written.
    """
    rows: Iterator[dict[str, Any]] = (
        {
            "id": number,
            "parent": parent,
            "step": node.steps[-1] if node.steps else None,
            "depth": len(node.steps),
            "prior": node.prior,
            "visits": node.visits,
            "value": node.mean,
            "reward": node.reward,
        }
        for number, parent, node in nodes(result.root)
    )
    replace_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _select(root: Node, exploration: float) -> list[Node]:
    """Return the path from the root to a node without children, chosen by `puct` at each fork; the first of equals wins."""
    path = [root]
    while path[-1].children:
        parent = path[-1]
        path.append(max(parent.children, key=lambda child: puct(parent, child, exploration)))
    return path


def _explore(leaf: Node, problem: Problem, limits: Limits, seed: int) -> float:
    """Return the value of a leaf, and expand it if it is a partial solution. A dead end has the value 0."""
    if leaf.reward is None and leaf.visits == 0:
        leaf.reward = problem.reward(leaf.steps)
    if leaf.reward is not None:
        return leaf.reward
    if leaf.visits or len(leaf.steps) >= limits.max_depth:
        return 0.0
    proposals: dict[str, float] = {}
    for proposal in problem.propose(leaf.steps, limits.max_children, seed)[: limits.max_children]:
        proposals[proposal.step] = proposals.get(proposal.step, 0.0) + proposal.prior
    if not proposals:
        return 0.0
    total = math.fsum(proposals.values())
    leaf.children = [Node((*leaf.steps, step), prior / total) for step, prior in proposals.items()]
    return problem.value(leaf.steps, seed)


# The steps of a search from an engine: next steps are drawn from a model, and a partial solution is worth what it plays out to.


@dataclass(frozen=True, slots=True)
class EngineSteps:
    """A `Problem` of one prompt.

    Attributes:
        engine: continues a text; the prompt does not go through a chat template, for a template would close the turn.
        prompt: as the model reads it.
        judge: the reward in [0, 1] of a finished completion.
        is_finished: whether a text is a whole completion.
        sampling: of steps and playouts; its seed and n are the search's.
        playouts: completions that a value is the mean of.
    """

    engine: Engine
    prompt: str
    judge: Callable[[str], float]
    is_finished: Callable[[str], bool]
    sampling: SamplingParams
    playouts: int = 1
    delimiter: str = "\n"

    def reward(self, steps: Steps) -> float | None:
        text = "".join(steps)
        return self.judge(text) if self.is_finished(text) else None

    def propose(self, steps: Steps, count: int, seed: int) -> list[Proposal]:
        """Return drawn steps; one that is drawn twice counts twice, so the priors are the policy's own."""
        drawn = self._continue(steps, count, seed, stop=(*self.sampling.stop, self.delimiter))
        firsts = (split_steps(text, self.delimiter)[:1] for text in drawn)
        return [Proposal(first[0], 1.0) for first in firsts if first]

    def value(self, steps: Steps, seed: int) -> float:
        """Return the mean reward of completions; an unfinished one earns nothing."""
        texts = ("".join(steps) + text for text in self._continue(steps, self.playouts, seed, stop=self.sampling.stop))
        return sum(self.judge(text) if self.is_finished(text) else 0.0 for text in texts) / self.playouts

    def _continue(self, steps: Steps, n: int, seed: int, stop: tuple[str, ...]) -> list[str]:
        sampling = self.sampling.model_copy(update={"n": n, "seed": seed, "stop": stop, "chat": False})
        message: Message = {"role": "user", "content": self.prompt + "".join(steps)}
        return [completion.text for completion in self.engine.generate([(message,)], sampling)[0]]


# Toys on which the algorithms alone are under test: sums with a careless carry, and countdowns joined at random.

BASE = 3
"""Of the sums: few enough of them for a tiny model to learn in seconds."""

OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def careless_sum(numbers: Sequence[int], rng: np.random.Generator, careless: float) -> tuple[LabelledSteps, int]:
    """Return a sum of digits below `BASE`, step by step, dropping carries, and its last result.

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
