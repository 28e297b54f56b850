"""Programs judged by tests: one function a benchmark.

Tests are those of `r1env-sandbox judge`, as plain data; the reward `code` (r1env-code) hands them to the sandbox. What the prompt
shows are samples, kept in the metadata; the tests that decide are others, wherever a benchmark has enough of them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from r1env import UsageError
from r1env.data import programs
from r1env.data.layouts import Computed, Layout, layout_named
from r1env.data.tasks import Data, FileTasks, file_tasks
from r1env.envs.suite import Member
from r1env.plugins import Plugins
from r1env_benchmarks.plugin import CODE_FIXTURES
from r1env_benchmarks.tasks import on_the_hub


def humaneval(
    data: Data = "openai/openai_humaneval", split: str | None = None, protocol: str = "r1env", **options: Any
) -> FileTasks:
    """HumanEval: complete a function of which signature and docstring are given; `check(candidate)` tests it.

    HumanEval+ has more tests in the same columns, or, in EvalPlus's own file, inputs for which the canonical solution says what is
    expected.

    Args:
        data: where the rows are, or the name of a data set of the hub.
        split: None for a whole file, and for `test` of a data set of the hub.
        protocol: `r1env`, or `official`, which asks in the words of simple-evals.
        options: see `r1env.data.tasks.file_tasks`.
    """
    tests = functools.partial(programs.humaneval, official=_official("humaneval", protocol))
    return _tasks("humaneval", replace(layout_named("HumanEval"), tests=tests), data, split, None, **options)


MBPP = "google-research-datasets/mbpp"


def mbpp(
    data: Data = MBPP,
    split: str | None = None,
    subset: str | None = None,
    samples: int = 1,
    protocol: str = "r1env",
    **options: Any,
) -> FileTasks:
    """MBPP: a sentence, and assertions about a function.

    Args:
        data: where the rows are, or the name of a data set of the hub.
        split: None for a whole file, and for `test` of a data set of the hub.
        subset: of the data set of the hub: `full` (the default) or `sanitized`; MBPP+ (`evalplus/mbppplus`) has none.
        samples: assertions that the prompt shows, for the function's name and signature; the others decide. With all three, as
            the paper has it, the same ones decide.
        protocol: `r1env`, or `official`, which asks in the paper's words, without its three examples, and shows every assertion.
        options: see `r1env.data.tasks.file_tasks`.
    """
    tests = functools.partial(programs.mbpp, samples=samples, official=_official("mbpp", protocol))
    layout = replace(layout_named("MBPP"), tests=tests, id=_named("mbpp", "task_id"))
    if data == MBPP:
        subset = subset or "full"
    return _tasks("mbpp", layout, data, split, subset, **options)


def livecodebench(
    data: Data = "livecodebench/code_generation_lite",
    split: str | None = None,
    subset: str = "release_v6",
    since: str = "",
    until: str = "",
    protocol: str = "r1env",
    **options: Any,
) -> FileTasks:
    """LiveCodeBench, code generation: contest problems by date, with public samples and hidden tests.

    Args:
        data: where the rows are, or the name of a data set of the hub; or one of them for each split.
        split: None for a whole file, and for `test` of a data set of the hub.
        subset: of the data set of the hub.
        since, until: dates (`2024-08-01`): problems from contests on or after the first and before the second.
        protocol: `r1env`; `official`, which asks in the benchmark's words and has the public samples decide as well; or `r1`, the same
            with the benchmark's words for DeepSeek-R1, without a system message. R1's paper takes problems since 2024-08-01 until
            2025-02-01.
        options: see `r1env.data.tasks.file_tasks`.
    """

    if protocol not in ("r1env", *programs.LIVECODEBENCH_QUESTION):
        raise UsageError(
            f"environment 'livecodebench': protocol is {protocol!r}; known: r1env, {', '.join(programs.LIVECODEBENCH_QUESTION)}"
        )

    def other_date(row: Mapping[str, Any]) -> str:
        date = str(row.get("contest_date", ""))
        return "the contest's date is another" if (since and date < since) or (until and date >= until) else ""

    layout = replace(
        layout_named("LiveCodeBench"),
        tests=functools.partial(programs.livecodebench, protocol=protocol),
        system=Computed("question_content", lambda _: programs.LIVECODEBENCH_SYSTEM) if protocol == "official" else "",
        id=_named("livecodebench", "question_id"),
        leave_out=other_date,
    )
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


IN_THE_IMAGE = ("numpy", "scipy", "pandas", "sympy", "sortedcontainers", "networkx", "more_itertools", "pytest")
"""Libraries of the sandbox's image beside Python's own."""


def bigcodebench(
    data: Data = "bigcode/bigcodebench",
    split: str | None = None,
    task: str = "instruct",
    libraries: str | Sequence[str] = IN_THE_IMAGE,
    **options: Any,
) -> FileTasks:
    """BigCodeBench: a function that uses libraries, judged by a class of unittest.

    Problems that need a library which the sandbox lacks are left out and counted. A number over the rest is not the benchmark's.

    Args:
        data: where the rows are, or the name of a data set of the hub.
        split: None for a whole file; the data set of the hub has one for each version, such as `v0.1.4`.
        task: `instruct`, a sentence, or `complete`, a docstring.
        libraries: those that the sandbox's image has beside Python's own, as a list or separated by commas.
        options: see `r1env.data.tasks.file_tasks`.
    """
    if task not in ("instruct", "complete"):
        raise UsageError(f"environment 'bigcodebench': task is {task!r}; known: instruct, complete")
    present = {*sys.stdlib_module_names, *(libraries.split(",") if isinstance(libraries, str) else libraries)}

    def lacking(row: Mapping[str, Any]) -> str:
        missing = sorted(set(programs.libraries_of(row)) - present)
        return f"the sandbox lacks {missing[0]}" if missing else ""

    layout = replace(
        layout_named("BigCodeBench"),
        tests=functools.partial(programs.bigcodebench, complete=task == "complete"),
        id="task_id",
        leave_out=lacking,
    )
    return _tasks(
        "bigcodebench", layout, data, split or ("v0.1.4" if data == "bigcode/bigcodebench" else None), None, **options
    )


def small_members(plugins: Plugins) -> list[Member]:  # noqa: ARG001 - the hook's signature
    """Return the members of the suite `smoke-code`: every code benchmark, on the rows of its fixture."""
    return [Member(path.stem, options={"data": str(path)}) for path in sorted(CODE_FIXTURES.glob("*.jsonl"))]


def missing_sandbox() -> str:
    """Return what is missing here to judge programs; empty where nothing is."""
    try:
        import r1env_code.reward  # noqa: F401 - only whether it is there
        from r1env_sandbox.errors import SandboxUnavailable
        from r1env_sandbox.sandbox import make_backend
    except ImportError:
        return "no sandbox: pip install 'r1env-benchmarks[code]'"
    try:
        make_backend("docker").close()
    except SandboxUnavailable as error:
        return f"no sandbox: {error.cause}"
    return ""


def _official(name: str, protocol: str) -> bool:
    """Return whether a benchmark is asked for in its own words.

    Raises:
        UsageError: there is no such protocol.
    """
    if protocol not in ("r1env", "official"):
        raise UsageError(f"environment {name!r}: protocol is {protocol!r}; known: r1env, official")
    return protocol == "official"


def _named(prefix: str, column: str) -> Computed:
    """Return the row's own name behind the benchmark's."""
    return Computed(column, lambda row: f"{prefix}-{row[column]}" if row.get(column) is not None else None)


def _tasks(name: str, layout: Layout, data: Data, split: str | None, subset: str | None, **options: Any) -> FileTasks:
    source, split = on_the_hub(data, split, subset)
    return file_tasks(source, split, layout=layout, name=name, **options)
