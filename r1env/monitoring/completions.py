"""Numbers about the scored rollouts of one step that every trainer may log beside the reward. Pure functions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from r1env.monitoring.reflection import reflection_metrics
from r1env.rollouts import Rollout
from r1env.tasks import Task

LEVELS = ("difficulty", "level")
"""Keys of a task's metadata that may hold its difficulty, the first that is there: ours, and MATH's."""

MOST_STRATA = 12  # a chart with more lines tells nothing
RIGHT = 0.5  # an accuracy from here on counts as right: some rewards give part of the credit


def completion_metrics(rollouts: Sequence[Rollout], accuracies: Sequence[float], lengths: Sequence[float]) -> dict[str, float]:
    """Lengths of right and of wrong answers, accuracy by difficulty, reflective words.

    Args:
        accuracies: from 0 to 1, NaN where nobody says whether a rollout is right.
        lengths: of the completions, in tokens.
    """
    return (
        reflection_metrics([rollout.completion for rollout in rollouts])
        | lengths_by_verdict(lengths, accuracies)
        | accuracy_by_stratum([rollout.task for rollout in rollouts], accuracies)
    )


def lengths_by_verdict(lengths: Sequence[float], accuracies: Sequence[float]) -> dict[str, float]:
    """Mean length of right and of wrong answers; what nobody scored counts as neither, and a side without any is left out.

    Where wrong answers alone grow, the loss may be paying for length (Dr. GRPO, arXiv 2503.20783, section 3.1).
    """
    pairs = list(zip(lengths, accuracies, strict=True))
    right = [length for length, accuracy in pairs if accuracy >= RIGHT]
    wrong = [length for length, accuracy in pairs if accuracy < RIGHT]
    return {f"length/{name}": fmean(side) for name, side in (("right", right), ("wrong", wrong)) if side}


def accuracy_by_stratum(tasks: Sequence[Task], accuracies: Sequence[float]) -> dict[str, float]:
    """`difficulty/LEVEL` → mean accuracy, for tasks that say how hard they are; nothing where there are too many levels."""
    strata: dict[str, list[float]] = defaultdict(list)
    for task, accuracy in zip(tasks, accuracies, strict=True):
        level = stratum(task)
        if level is not None and math.isfinite(accuracy):
            strata[level].append(accuracy)
    if len(strata) > MOST_STRATA:
        return {}
    return {f"difficulty/{level}": fmean(strata[level]) for level in sorted(strata)}


def stratum(task: Task) -> str | None:
    """How hard a task is, by its own metadata, as a short name: `3`, `Level 5`, `hard`; a share such as a pass rate to a tenth."""
    for key in LEVELS:
        value = task.metadata.get(key)
        if isinstance(value, float):
            return f"{value:.1f}" if math.isfinite(value) else None
        if isinstance(value, str | int):
            return " ".join(str(value).replace("/", " ").split())[:20] or None
    return None
