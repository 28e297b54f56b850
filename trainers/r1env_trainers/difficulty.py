"""Pass rates of tasks, measured beforehand, and the filter that keeps what is neither too easy nor too hard. Knows no trainer.

Measure with the model that will be trained: `r1env eval --model M --env E --n 16 --temperature 1 --output pass_rates.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from r1env.data.sources import read_jsonl
from r1env.errors import UsageError
from r1env.types import Task


def read_pass_rates(path: Path | str) -> dict[str, float]:
    """Task id → the share of its completions that were correct, in [0, 1]; tasks without a verdict are left out.

    Args:
        path: what `r1env eval --output` wrote: a row a completion with `task_id` and `correct` (true, false, or null: not scored).

    Raises:
        UsageError: the file cannot be read, or a row is none of an evaluation.
    """
    verdicts: dict[str, list[bool]] = {}
    for number, row in enumerate(read_jsonl(str(path)), start=1):
        task_id, correct = row.get("task_id"), row.get("correct")
        if not isinstance(task_id, str) or "correct" not in row or not isinstance(correct, bool | None):
            raise UsageError(f"{path}, row {number}: needs task_id and correct, as `r1env eval --output` writes them")
        if correct is not None:
            verdicts.setdefault(task_id, []).append(correct)
    if not verdicts:
        raise UsageError(f"{path} holds no verdict")
    return {task_id: sum(found) / len(found) for task_id, found in verdicts.items()}


def within(pass_rates: Mapping[str, float], low: float, high: float) -> Callable[[Task], bool]:
    """A filter that is False for tasks whose pass rate lies outside [low, high]; a task that was not measured passes."""

    def keep(task: Task) -> bool:
        rate = pass_rates.get(task.id)
        return rate is None or low <= rate <= high

    return keep
