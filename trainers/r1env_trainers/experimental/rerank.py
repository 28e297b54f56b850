"""Chooses one of several completions of a prompt: by vote, or by what a reward model says of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

OfSteps = Literal["min", "product", "last", "mean"]


def majority_vote(answers: Sequence[str | None]) -> int | None:
    """The place of the first completion with the commonest answer (self-consistency, arXiv 2203.11171); None without any answer.

    None stands for a completion without an answer. Among equally common answers the earliest wins.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return answers.index(counts.most_common(1)[0][0]) if counts else None


def best_of_n(scores: Sequence[float]) -> int | None:
    """The place of the highest score, the earliest of equals; NaN (not scored) never wins."""
    scored = [place for place, score in enumerate(scores) if not math.isnan(score)]
    return max(scored, key=lambda place: scores[place]) if scored else None


def weighted_vote(answers: Sequence[str | None], scores: Sequence[float]) -> int | None:
    """The place of the best completion with the answer whose scores sum to most (arXiv 2206.02336); scores are not negative."""
    weights: dict[str, float] = {}
    for answer, score in zip(answers, scores, strict=True):
        if answer is not None and not math.isnan(score):
            weights[answer] = weights.get(answer, 0.0) + score
    if not weights:
        return None
    winner = max(weights, key=lambda answer: weights[answer])
    return best_of_n([score if answer == winner else math.nan for answer, score in zip(answers, scores, strict=True)])


def of_steps(scores: Sequence[float], how: OfSteps = "min") -> float:
    """One score of a solution from those of its steps: a chain is as good as its weakest link (arXiv 2305.20050 has `product`).

    NaN for a solution without steps.
    """
    if not scores:
        return math.nan
    match how:
        case "min":
            return min(scores)
        case "product":
            return math.prod(scores)
        case "last":
            return scores[-1]
        case "mean":
            return sum(scores) / len(scores)
