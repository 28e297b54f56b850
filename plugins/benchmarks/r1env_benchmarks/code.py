"""Programs judged by tests: one function a benchmark.

Tests are those of `r1env-sandbox judge`, as plain data; the reward `code` (r1env-code) hands them to the sandbox. What the prompt
shows are samples, kept in the metadata; the tests that decide are others, wherever a benchmark has enough of them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from r1env import UsageError
from r1env.data import programs
from r1env.data.layouts import Computed, Layout, layout_named
from r1env.data.tasks import Data, FileTasks, file_tasks
from r1env_benchmarks.tasks import on_the_hub


def humaneval(data: Data = "openai/openai_humaneval", split: str | None = None, **options: Any) -> FileTasks:
    """HumanEval: complete a function of which signature and docstring are given; `check(candidate)` tests it.

    Args:
        data: where the rows are, or the name of a data set of the hub.
        split: None for a whole file, and for `test` of a data set of the hub.
        options: see `r1env.data.tasks.file_tasks`.
    """
    return _tasks("humaneval", layout_named("HumanEval"), data, split, None, **options)


def mbpp(
    data: Data = "google-research-datasets/mbpp",
    split: str | None = None,
    subset: str = "full",
    samples: int = 1,
    **options: Any,
) -> FileTasks:
    """MBPP: a sentence, and assertions about a function.

    Args:
        data: where the rows are, or the name of a data set of the hub.
        split: None for a whole file, and for `test` of a data set of the hub.
        subset: of the data set of the hub (`full` or `sanitized`).
        samples: assertions that the prompt shows, for the function's name and signature; the others decide. With all three, as
            the paper has it, the same ones decide.
        options: see `r1env.data.tasks.file_tasks`.
    """
    layout = replace(
        layout_named("MBPP"), tests=functools.partial(programs.mbpp, samples=samples), id=_named("mbpp", "task_id")
    )
    return _tasks("mbpp", layout, data, split, subset, **options)


def livecodebench(
    data: Data = "livecodebench/code_generation_lite",
    split: str | None = None,
    subset: str = "release_v6",
    since: str = "",
    until: str = "",
    **options: Any,
) -> FileTasks:
    """LiveCodeBench, code generation: contest problems by date, with public samples and hidden tests.

    Args:
        data: where the rows are, or the name of a data set of the hub; or one of them for each split.
        split: None for a whole file, and for `test` of a data set of the hub.
        subset: of the data set of the hub.
        since, until: dates (`2024-08-01`): problems from contests on or after the first and before the second.
        options: see `r1env.data.tasks.file_tasks`.
    """

    def other_date(row: Mapping[str, Any]) -> str:
        date = str(row.get("contest_date", ""))
        return "the contest's date is another" if (since and date < since) or (until and date >= until) else ""

    layout = replace(layout_named("LiveCodeBench"), id=_named("livecodebench", "question_id"), leave_out=other_date)
    return _tasks("livecodebench", layout, data, split, subset, **options)


def codeforces(
    data: Data = "open-r1/codeforces",
    split: str | None = None,
    subset: str = "verifiable",
    programming_language: str = "cpp",
    time_factor: float = 1.0,
    **options: Any,
) -> FileTasks:
    """Contest problems of Codeforces: standard input and output, with the time and memory limits of the problem.

    Problems that talk to the program or use files are left out. Where several answers are right, the row's own checker decides.

    Args:
        data: where the rows are, or the name of a data set of the hub, with its columns.
        split: None for a whole file, and for `test` of a data set of the hub.
        subset: of the data set of the hub.
        programming_language: that the model is asked for.
        time_factor: multiplies the time limits, which are made for C++.
        options: see `r1env.data.tasks.file_tasks`.
    """
    if not time_factor > 0:
        raise UsageError(f"environment 'codeforces': time_factor is {time_factor}; it must be above 0")
    tests = functools.partial(programs.codeforces, language=programming_language, time_factor=time_factor)
    layout = replace(layout_named("Codeforces (open-r1)"), tests=tests, id=_named("codeforces", "id"))
    return _tasks("codeforces", layout, data, split, subset, **options)


def _named(prefix: str, column: str) -> Computed:
    """Return the row's own name behind the benchmark's."""
    return Computed(column, lambda row: f"{prefix}-{row[column]}" if row.get(column) is not None else None)


def _tasks(name: str, layout: Layout, data: Data, split: str | None, subset: str | None, **options: Any) -> FileTasks:
    source, split = on_the_hub(data, split, subset)
    return file_tasks(source, split, layout=layout, name=name, **options)
