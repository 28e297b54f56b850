"""Majority voting over a task's completions (self-consistency, Wang et al. 2022, arXiv 2203.11171): cons@k of the DeepSeek-R1 paper.

Answers are one vote where the reward holds them equal, not where their texts are: `1/2` and `0.5` vote together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from r1env.prompts import ANSWER_CLOSE, ANSWER_OPEN
from r1env.rewards import Reward
from r1env.scoring import score
from r1env.types import Rollout, Task


@dataclass
class _Ballot:
    """The distinct answers of one task.

    Attributes:
        answers: of each completion; None where it gives none.
        open: answers that belong to no class yet, in the order of their first appearance.
        classes: answer → number of its class.
        reference: first answer of the newest class.
    """

    task: Task
    answers: list[str | None]
    open: list[str] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)
    reference: str = ""


def votes(groups: Sequence[tuple[Task, Sequence[str]]], reward: Reward) -> list[list[int | None]]:
    """Return the class of each completion's answer within its task, numbered in the order of first appearance; None without an answer.

    The first answer of each class is taken as a reference, and the reward scores the others against it. So a task with c classes takes c
    rounds, and all tasks go through a round together.

    Args:
        groups: tasks with the completions of each.
        reward: the environment's checker, with scope `rollout`.

    Example:
        >>> votes([(task, ["so 0.5", "<answer>1/2</answer>", "2"])], math)  # doctest: +SKIP
        [[0, 0, 1]]
    """
    ballots: list[_Ballot] = []
    for task, completions in groups:
        answers = [reward.read_answer(completion, task) for completion in completions]
        distinct = list(dict.fromkeys(answer for answer in answers if answer is not None))
        ballots.append(_Ballot(task, answers, distinct))
    number = 0
    while remaining := [ballot for ballot in ballots if ballot.open]:
        asked: list[tuple[_Ballot, str]] = []
        for ballot in remaining:
            ballot.reference, *ballot.open = ballot.open
            ballot.classes[ballot.reference] = number
            asked += [(ballot, other) for other in ballot.open]
        rollouts = [
            Rollout(
                task=ballot.task.model_copy(update={"answer": ballot.reference}),
                completion=f"{ANSWER_OPEN}{other}{ANSWER_CLOSE}",
            )
            for ballot, other in asked
        ]
        for (ballot, other), found in zip(asked, score(rollouts, reward) if rollouts else [], strict=True):
            if found.value is not None and found.value >= 1.0:
                ballot.classes[other] = number
                ballot.open.remove(other)
        number += 1
    return [[None if answer is None else ballot.classes[answer] for answer in ballot.answers] for ballot in ballots]


def majority_is_correct(classes: Sequence[int | None], correct: Sequence[bool | None]) -> float | None:
    """Return the probability that the largest class is a correct one; None where no completion has an answer that was scored.

    Of several largest classes each is drawn alike. A class is correct where most of its scored completions are.

    >>> majority_is_correct([0, 0, 1], [True, True, False])
    1.0
    >>> majority_is_correct([0, 1], [True, False])
    0.5
    """
    sizes = Counter(found for found, verdict in zip(classes, correct, strict=True) if found is not None and verdict is not None)
    if not sizes:
        return None
    largest = [found for found, size in sizes.items() if size == max(sizes.values())]
    right = [
        2 * sum(verdict is True for found, verdict in zip(classes, correct, strict=True) if found == one) > sizes[one]
        for one in largest
    ]
    return sum(right) / len(right)
