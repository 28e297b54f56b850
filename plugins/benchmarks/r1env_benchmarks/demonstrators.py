"""Writers of demonstrations for benchmarks whose rows hold a worked solution, each a function `(task, rng) -> response`."""

from __future__ import annotations

import re

import numpy as np

from r1env import Task
from r1env.errors import UsageError

_CALCULATION = re.compile(r"<<[^<>]*>>")  # GSM8K marks what a calculator would fill in
_FINAL = re.compile(r"\n?####[^\n]*\s*\Z")


def worked_solution(task: Task, rng: np.random.Generator) -> str:  # noqa: ARG001 - a demonstrator takes both
    """Return GSM8K's own solution of a task in the format of R1-Zero: the work inside `<think>`, the number inside `<answer>`.

    Calculator marks such as `<<48/2=24>>` are left out.

    Args:
        task: its metadata hold the column `answer` of GSM8K.

    Raises:
        UsageError: the task has no worked solution.

    Example:
        >>> task = Task(id="1", prompt="What is 6 * 7?", answer="42", metadata={"answer": "6*7 = <<6*7=42>>42\\n#### 42"})
        >>> worked_solution(task, np.random.default_rng(0))
        ' <think> 6*7 = 42 </think> <answer> 42 </answer>'
    """
    solution = task.metadata.get("answer")
    if not isinstance(solution, str) or not _FINAL.search(solution):
        raise UsageError(f"task {task.id!r} has no worked solution that ends in `#### ANSWER` in its column `answer`")
    work = _CALCULATION.sub("", _FINAL.sub("", solution)).strip()
    return f" <think> {work} </think> <answer> {task.answer} </answer>"
