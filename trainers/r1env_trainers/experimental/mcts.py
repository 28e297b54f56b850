"""Monte Carlo tree search over reasoning steps (AlphaZero's form, arXiv 1712.01815), bounded in every direction.

A node is a partial solution: the steps so far. What a step is, where steps come from and what a partial solution is worth is the
`Problem`'s matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from r1env.engines import derive_seed
from r1env.runs.files import replace_text

Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A step that could come next, and how probable the policy finds it (any positive scale)."""

    step: str
    prior: float


class Problem(Protocol):
    """What is searched. All three depend on their arguments alone."""

    def reward(self, steps: Steps) -> float | None:
        """In [0, 1] for a finished solution; None for a partial one."""

    def propose(self, steps: Steps, count: int, seed: int) -> Sequence[Proposal]:
        """Up to `count` next steps of a partial solution; none where there is no way on."""

    def value(self, steps: Steps, seed: int) -> float:
        """In [0, 1], what a partial solution will probably earn: by a model, or by playing it to its end."""


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
    """All nodes with their number and their parent's, parents first."""
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
    """From the root to a node without children, at each fork by `puct`, the first of equals."""
    path = [root]
    while path[-1].children:
        parent = path[-1]
        path.append(max(parent.children, key=lambda child: puct(parent, child, exploration)))
    return path


def _explore(leaf: Node, problem: Problem, limits: Limits, seed: int) -> float:
    """What a leaf is worth; a partial solution gets its children here. A dead end is worth nothing."""
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
