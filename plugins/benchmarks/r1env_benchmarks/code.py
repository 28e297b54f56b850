"""Programs judged by tests: one function a benchmark, each says where problem and tests stand in a row.

Tests are those of `r1env-sandbox judge`, as plain data; the reward `code` (r1env-code) hands them to the sandbox. What the prompt
shows are samples, kept in the metadata; the tests that decide are others, wherever a benchmark has enough of them.
"""

from __future__ import annotations

import ast
import base64
import binascii
import builtins
import io
import json
import pickle
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from r1env import Task, TaskKind, TaskSource, UsageError
from r1env.data.sources import tasks_from_rows
from r1env_benchmarks.rows import Data, Row, local_or_hub_rows, local_rows

Test = dict[str, Any]

PYTHON_IMPORTS = """
import bisect, collections, copy, functools, heapq, itertools, math, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
""".strip()
"""What sites that ask for a class `Solution` import for its author."""

CHECKER_ADAPTER = """
import contextlib, io, runpy, sys

given, output, answer = sys.argv[1:4]

def accepts(output):
    sys.argv = ["checker.py", given, answer, output]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        runpy.run_path(f"{sys.path[0]}/checker.py", run_name="__main__")
    return float(said.getvalue().split()[-1]) == 1.0

try:
    status = 0 if accepts(output) else 1
except Exception:  # an output that cannot be read is wrong, unless the checker cannot read the reference answer either
    try:
        status = 1 if accepts(answer) else 3
    except Exception:
        status = 3
sys.exit(status)
""".strip()
"""The dataset's checkers take input, reference answer and output, and print a score. The sandbox's take input, output and reference
answer; they accept by status 0, refuse by 1, and any other status is a fault of the checker."""

MAX_TEXT_BYTES = 256 << 20
"""Of the tests of one LiveCodeBench row, unpacked; the largest there are have about 100 MB."""


def humaneval(data: Data = "openai/openai_humaneval", split: str | None = None) -> TaskSource:
    """HumanEval: complete a function of which signature and doc string are given; `check(candidate)` tests it.

    The prompt's own imports and helper functions are put before the model's program, and before the tests, which use some.

    Args:
        data: a JSON-lines file (it may be compressed, `.gz`), or the name of a dataset of the hub.
        split: None for a whole file, and for `test` of a dataset of the hub.
    """

    def make(_: int, row: Row) -> Task:
        prompt, function = _filled(row, "prompt"), _filled(row, "entry_point")
        start = prompt.rfind(f"def {function}(")
        if start < 0:
            raise ValueError(f"its prompt has no function {function!r}")
        preamble = prompt[:start]
        question = f"Complete this Python function.\n\n```python\n{prompt.strip()}\n```\n\n{_ASK_FOR_PYTHON}"
        test = {"kind": "assert", "function": function, "code": f"{preamble}\n{_filled(row, 'test')}"}
        return _task(str(row["task_id"]), question, [test], programming_language="python", preamble=preamble)

    return tasks_from_rows(local_or_hub_rows("humaneval", data, split, None), make, where=f"humaneval, {data}")


def mbpp(
    data: Data = "google-research-datasets/mbpp", split: str | None = None, subset: str = "full", samples: int = 1
) -> TaskSource:
    """MBPP: a sentence, and assertions about a function.

    Args:
        data: a JSON-lines file, or the name of a dataset of the hub.
        split: None for a whole file, and for `test` of a dataset of the hub.
        subset: of the dataset of the hub (`full` or `sanitized`).
        samples: assertions that the prompt shows, for the function's name and signature; the others decide. With all three, as
            the paper has it, the same ones decide.
    """

    def make(_: int, row: Row) -> Task:
        assertions = [*row["test_list"], *(row.get("challenge_test_list") or [])]
        if not assertions:
            raise ValueError("it has no tests")
        setup = "\n".join(row.get("test_imports") or []) or str(row.get("test_setup_code") or "")
        shown, hidden = assertions[:samples], assertions[samples:] or assertions
        function = called_function(assertions)
        question = f"{_filled(row, 'text' if 'text' in row else 'prompt')}\n\n{_shown_code('Your function must pass:', shown)}"
        tests = [_assertion(function, setup, assertion) for assertion in hidden]
        return _task(
            f"mbpp-{row['task_id']}",
            f"{question}\n\n{_ASK_FOR_PYTHON}",
            tests,
            programming_language="python",
            samples=[_assertion(function, setup, assertion) for assertion in shown],
        )

    return tasks_from_rows(local_or_hub_rows("mbpp", data, split, subset), make, where=f"mbpp, {data}")


def livecodebench(
    data: Data = "livecodebench/code_generation_lite",
    split: str | None = None,
    subset: str = "release_v6",
    since: str = "",
    until: str = "",
) -> TaskSource:
    """LiveCodeBench, code generation: contest problems by date, with public samples and hidden tests.

    Args:
        data: a JSON-lines file, or the name of a dataset of the hub; or one of them for each split.
        split: None for a whole file, and for `test` of a dataset of the hub.
        subset: of the dataset of the hub.
        since, until: dates (`2024-08-01`): problems from contests on or after the first and before the second.
    """

    def make(_: int, row: Row) -> Task:
        starter = str(row.get("starter_code") or "")
        function = json.loads(row.get("metadata") or "{}").get("func_name")
        samples = [_livecodebench_test(case, function) for case in json.loads(row["public_test_cases"])]
        hidden = [_livecodebench_test(case, function) for case in unpack_tests(row["private_test_cases"])]
        ask = _shown_code("Complete this class:", [starter]) + "\n\n" + _ASK_FOR_PYTHON if starter else _ASK_FOR_PYTHON_PROGRAM
        return _task(
            f"livecodebench-{row['question_id']}",
            f"{_filled(row, 'question_content')}\n\n{ask}",
            hidden or samples,
            programming_language="python",
            preamble=PYTHON_IMPORTS if function else "",
            samples=samples,
            limits={"cpu_s": 6.0, "wall_s": 20.0},  # the 6 s are the benchmark's own
            date=str(row.get("contest_date", ""))[:10],
            difficulty=row.get("difficulty"),
        )

    rows = [
        row
        for row in local_or_hub_rows("livecodebench", data, split, subset)
        if (not since or str(row.get("contest_date", "")) >= since) and (not until or str(row.get("contest_date", "")) < until)
    ]
    return tasks_from_rows(rows, make, where=f"livecodebench, {data}")


def codeforces(
    data: Data = "open-r1/codeforces",
    split: str | None = None,
    subset: str = "verifiable",
    programming_language: str = "cpp",
    time_factor: float = 1.0,
) -> TaskSource:
    """Contest problems of Codeforces: standard input and output, with the time and memory limits of the problem.

    Problems that talk to the program or use files are left out. Where several answers are right, the row's own checker decides.

    Args:
        data: a JSON-lines file, or the name of a dataset of the hub, with its fields.
        split: None for a whole file, and for `test` of a dataset of the hub.
        subset: of the dataset of the hub.
        programming_language: that the model is asked for.
        time_factor: multiplies the time limits, which are made for C++.
    """
    if not time_factor > 0:
        raise UsageError(f"environment 'codeforces': time_factor is {time_factor}; it must be above 0")

    def make(_: int, row: Row) -> Task:
        samples = [_stdio(case, row) for case in row.get("examples") or []]
        hidden = [_stdio(case, row) for case in row.get("official_tests") or []]
        seconds = float(row.get("time_limit") or 2.0) * time_factor
        return _task(
            f"codeforces-{row['id']}",
            _codeforces_question(row, programming_language),
            hidden or samples,
            programming_language=programming_language,
            samples=samples,
            limits={"cpu_s": seconds, "wall_s": 3 * seconds + 2, "memory_mb": int(row.get("memory_limit") or 256)},
        )

    rows = filter(_reads_and_prints, local_or_hub_rows("codeforces", data, split, subset))
    return tasks_from_rows(rows, make, where=f"codeforces, {data}")


def code_jsonl(data: Data | None = None, split: str | None = None) -> TaskSource:
    """Any JSON-lines file whose rows have a `prompt` and `tests` as `r1env-sandbox judge` reads them.

    They may also have `id`, `programming_language`, `limits`, `preamble`, `epilogue` and `samples`.
    """

    def make(number: int, row: Row) -> Task:
        fields = ("programming_language", "limits", "preamble", "epilogue", "samples")
        known = {name: row[name] for name in fields if row.get(name) is not None}
        return _task(str(row.get("id", f"code-{number}")), _filled(row, "prompt"), row["tests"], **known)

    return tasks_from_rows(local_rows("code-jsonl", data, split), make, where=f"code-jsonl, {data}")


def called_function(assertions: Sequence[str]) -> str:
    """The function that assertions are about: the first name they call that is neither Python's nor imported.

    Raises:
        ValueError: they call none, or are not Python.
    """
    try:
        trees = [ast.parse(assertion) for assertion in assertions]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"its tests are not Python ({error})") from error
    called = [
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in _NOT_TESTED
    ]
    if not called:
        raise ValueError("its tests call no function")
    return max(set(called), key=called.count)


def unpack_tests(text: str) -> list[Mapping[str, Any]]:
    """LiveCodeBench's hidden tests: JSON, or JSON pickled, compressed and in base 64.

    The pickle is read by an unpickler that knows no classes: it can only hold text.

    Raises:
        ValueError: it is neither.
    """
    try:
        return list(json.loads(text))
    except ValueError:
        pass
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(base64.b64decode(text), MAX_TEXT_BYTES)
        return list(json.loads(_TextUnpickler(io.BytesIO(packed)).load()))
    except (ValueError, TypeError, EOFError, zlib.error, binascii.Error, pickle.UnpicklingError) as error:
        raise ValueError(f"its hidden tests cannot be read ({error})") from error


class _TextUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and should hold text alone")


_ASK_FOR_PYTHON = "Give the whole function, with the imports it needs, in one ```python code block."
_ASK_FOR_PYTHON_PROGRAM = (
    "Write a Python program that reads standard input and writes standard output. Give it in one ```python code block."
)
_NOT_TESTED = frozenset((*dir(builtins), "isclose", "Counter"))
"""Functions that assertions call around the one they are about."""


def _task(task_id: str, question: str, tests: Sequence[Mapping[str, Any]], **metadata: Any) -> Task:
    """
    Raises:
        ValueError: there are no tests.
    """
    if not tests:
        raise ValueError("it has no tests")
    known = {name: value for name, value in metadata.items() if value not in (None, "")}
    return Task(id=task_id, prompt=question, tests=tuple(tests), kind=TaskKind.CODE, metadata=known)


def _filled(row: Row, field: str) -> str:
    text = row[field]
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"its field {field!r} is empty")
    return text


def _assertion(function: str, setup: str, assertion: str) -> Test:
    body = "\n".join(f"    {line}" for line in assertion.strip().splitlines())
    return {
        "kind": "assert",
        "function": function,
        "code": f"{setup}\n\n\ndef check(candidate):\n    {function} = candidate\n{body}\n",
    }


def _livecodebench_test(case: Mapping[str, Any], function: str | None) -> Test:
    if case.get("testtype") != "functional":
        return {"kind": "stdio", "stdin": case["input"], "expected": case["output"], "checker": "float", "tolerance": 0.0}
    arguments = [json.loads(line) for line in str(case["input"]).split("\n") if line.strip()]
    return {
        "kind": "call",
        "function": f"Solution.{function}",
        "args": arguments,
        "expected": json.loads(case["output"]),
        "checker": "json",
    }


def _reads_and_prints(row: Row) -> bool:
    return (row.get("input_mode") or "stdio") == "stdio" and not row.get("interaction_format")


def _stdio(case: Mapping[str, str], row: Row) -> Test:
    test: Test = {"kind": "stdio", "stdin": case["input"], "expected": case["output"], "checker": "token"}
    if checker := row.get("generated_checker"):
        program = {"language": "python", "source": CHECKER_ADAPTER, "files": {"checker.py": checker}}
        test |= {"checker": "special", "checker_program": program}
    return test


def _codeforces_question(row: Row, language: str) -> str:
    sections = [
        _filled(row, "description"),
        _section("Input", row.get("input_format")),
        _section("Output", row.get("output_format")),
        *(
            f"Example input:\n```\n{case['input'].strip()}\n```\nExample output:\n```\n{case['output'].strip()}\n```"
            for case in row.get("examples") or []
        ),
        _section("Note", row.get("note")),
        f"Time limit: {row.get('time_limit') or 2.0} s. Memory limit: {int(row.get('memory_limit') or 256)} MB.",
        f"Write a program that reads standard input and writes standard output. Give it in one ```{language} code block.",
    ]
    return "\n\n".join(filter(None, sections))


def _section(title: str, text: Any) -> str:
    return f"{title}:\n{str(text).strip()}" if text else ""


def _shown_code(words: str, lines: Sequence[str]) -> str:
    return f"{words}\n```python\n" + "\n".join(line.strip("\n") for line in lines) + "\n```"
