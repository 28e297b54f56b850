"""Tests of programs in the layouts of public data sets, as the plain data that `r1env-sandbox judge` reads.

Nothing here is executed, and what could be, is not read: pickles may hold text alone, and compressed text has a bound.
"""

from __future__ import annotations

import ast
import base64
import binascii
import builtins
import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from r1env.data.rows import MISSING, read_literal

Test = dict[str, Any]
Row = Mapping[str, Any]

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

MAX_TESTS_BYTES = 256 << 20
"""Of the tests of one LiveCodeBench row, unpacked; the largest there are have about 100 MB."""

MAX_RATIO = 200
"""Of unpacked to packed size. JSON of tests packs 3 to 30 times; a text of zeros a thousand times."""

ASK_FOR_FUNCTION = "Give the whole function, with the imports it needs, in one ```python code block."
ASK_FOR_PROGRAM = (
    "Write a Python program that reads standard input and writes standard output. Give it in one ```python code block."
)


# The words of the benchmarks' own evaluators, since published numbers rest on them. White space at the end of a question is not kept.

HUMANEVAL_OFFICIAL = (
    "Read the following function signature and docstring, and fully implement the function described. Your response should only contain "
    "the code for this function.\n"
)
MBPP_OFFICIAL = "You are an expert Python programmer, and here is your task: {question} Your code should pass these tests:\n\n{assertions}\n"
LIVECODEBENCH_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a correct Python program "
    "that matches the specification and passes all tests."
)
LIVECODEBENCH_QUESTION = {
    "official": "### Question:\n{question}\n\n### Format: {form}### Answer: (use the provided format with backticks)\n\n",
    "r1": "You will be given a question (problem specification) and will generate a correct Python program that matches the specification "
    "and passes all tests.\n\nQuestion: {question}\n\n{form}",
}
LIVECODEBENCH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within delimiters."
)
LIVECODEBENCH_STDIN = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample inputs). Enclose "
    "your code within delimiters as follows. Ensure that when the python program runs, it reads the inputs, runs the algorithm and writes "
    "output to STDOUT."
)


class TestsError(ValueError):
    """A row whose tests cannot be used.

    Attributes:
        column: where the fault is; empty where it is the whole row's.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, message: str, column: str = "") -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Program:
    """The tests of one task.

    Attributes:
        tests: what decides.
        columns: of the row, that became tests; they are not kept in the metadata.
        question: what the model is asked, where that is more than the row's question.
        ask: how the program is to be given, put behind a question that does not say so.
        metadata: what the reward `code` reads: `programming_language`, `preamble`, `limits`; and `samples`, the tests that the prompt shows.
    """

    tests: tuple[Test, ...]
    columns: tuple[str, ...] = ()
    question: str = ""
    ask: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def humaneval(row: Row, official: bool = False) -> Program:
    """HumanEval: complete a function of which signature and docstring are given; `check(candidate)` tests it.

    The prompt's own imports and helper functions are put before the model's program, and before the tests, which use some.

    Args:
        official: ask in the words of OpenAI's simple-evals.
    """
    prompt, function = _filled(row, "prompt"), _filled(row, "entry_point")
    start = prompt.rfind(f"def {function}(")
    if start < 0:
        raise TestsError(f"it has no function {function!r}, which 'entry_point' names", "prompt")
    preamble = prompt[:start]
    code = f"{preamble}\n{_filled(row, 'test')}" if "test" in row else _evalplus_code(row, prompt, function)
    return Program(
        ({"kind": "assert", "function": function, "code": code},),
        ("test", "base_input", "plus_input"),
        f"{HUMANEVAL_OFFICIAL}{prompt}"
        if official
        else f"Complete this Python function.\n\n```python\n{prompt.strip()}\n```\n\n{ASK_FOR_FUNCTION}",
        metadata=_known(programming_language="python", preamble=preamble),
    )


def _evalplus_code(row: Row, prompt: str, function: str) -> str:
    """EvalPlus has inputs alone: what is expected is what the canonical solution returns."""
    inputs = [*(row.get("base_input") or []), *(row.get("plus_input") or [])]
    if not inputs:
        raise TestsError("there are no inputs", "base_input")
    tolerance = float(row.get("atol") or 0)
    if function == "find_zero" and "def poly(" in prompt:  # any zero is right, and a polynomial may have several
        return (
            f"import copy\n\n{prompt}    pass\n\n\ndef check(candidate):\n    for arguments in {inputs!r}:\n"
            f"        assert abs(poly(*arguments, candidate(*copy.deepcopy(arguments)))) <= {max(tolerance, 1e-4)}\n"
        )
    return (
        f"import copy\n\n{prompt}{_filled(row, 'canonical_solution')}\n\n_reference = {function}\n\n\n"
        "def _same(one, other):\n"
        "    if isinstance(one, float) and isinstance(other, (int, float)):\n"
        f"        return one == other or abs(one - other) <= {max(tolerance, 1e-6)} + 1e-7 * abs(other)\n"
        "    if isinstance(one, (list, tuple)) and type(one) is type(other):\n"
        "        return len(one) == len(other) and all(map(_same, one, other))\n"
        "    return one == other\n\n\n"
        f"def check(candidate):\n    for arguments in {inputs!r}:\n"
        "        assert _same(candidate(*copy.deepcopy(arguments)), _reference(*copy.deepcopy(arguments)))\n"
    )


def mbpp(row: Row, samples: int = 1, official: bool = False) -> Program:
    """MBPP: a sentence, and assertions about a function. The first `samples` are shown, the others decide; with all, the same ones do.

    MBPP+ has one program of tests more, which then decides.

    Args:
        official: ask in the words of the paper, without its examples, and show all of `test_list`, which also decides.
    """
    assertions = [*(row.get("test_list") or []), *(row.get("challenge_test_list") or [])]
    if not assertions:
        raise TestsError("there are no assertions", "test_list")
    setup = "\n".join(row.get("test_imports") or []) or str(row.get("test_setup_code") or "")
    if official:
        samples = len(row.get("test_list") or assertions)
    shown, hidden = assertions[:samples], assertions[samples:] or assertions
    if official:
        hidden = shown
    function = called_function(assertions)
    tests = [_assertion(function, setup, assertion) for assertion in hidden]
    if isinstance(row.get("test"), str) and row["test"].strip():
        tests = [{"kind": "assert", "function": function, "code": row["test"]}]
    question = _filled(row, "text" if row.get("text") else "prompt")
    return Program(
        tuple(tests),
        ("test_list", "challenge_test_list", "test"),
        MBPP_OFFICIAL.format(question=question, assertions="\n".join(shown))
        if official
        else f"{question}\n\n{_shown_code('Your function must pass:', shown)}\n\n{ASK_FOR_FUNCTION}",
        metadata=_known(programming_language="python", samples=[_assertion(function, setup, assertion) for assertion in shown]),
    )


def livecodebench(row: Row, protocol: str = "r1env") -> Program:
    """LiveCodeBench: public samples and hidden tests, of programs or of methods of a class `Solution`.

    Args:
        protocol: `r1env`, where the hidden tests alone decide; `official`, the words of the benchmark, whose public tests decide as well;
            or `r1`, that with the benchmark's words for DeepSeek-R1.
    """
    starter = str(row.get("starter_code") or "")
    if not isinstance(row.get("metadata"), str):
        raise TestsError('there is none: write JSON text such as {"func_name": "…"}, or {}', "metadata")
    about = _json(row, "metadata") or {}
    function = about.get("func_name") if isinstance(about, Mapping) else None
    if not re.match(r"\d{4}-\d\d-\d\d", str(row.get("contest_date") or "")):
        raise TestsError(f"{row.get('contest_date')!r} is no date: write one such as 2024-11-03", "contest_date")
    public = [_livecodebench_test(case, function, "public_test_cases") for case in _json(row, "public_test_cases") or []]
    hidden = [
        _livecodebench_test(case, function, "private_test_cases") for case in unpack_tests(_filled(row, "private_test_cases"))
    ]
    if not (public or hidden):
        raise TestsError("there are no tests, neither public nor private", "private_test_cases")
    ask = f"{_shown_code('Complete this class:', [starter])}\n\n{ASK_FOR_FUNCTION}" if starter else ASK_FOR_PROGRAM
    question = f"{_filled(row, 'question_content')}\n\n{ask}"
    if protocol != "r1env":
        form = (
            f"{LIVECODEBENCH_STARTER if starter else LIVECODEBENCH_STDIN}\n```python\n{starter or '# YOUR CODE HERE'}\n```\n\n"
        )
        question = LIVECODEBENCH_QUESTION[protocol].format(question=row["question_content"], form=form)
    return Program(
        tuple(hidden or public) if protocol == "r1env" else (*public, *hidden),
        ("public_test_cases", "private_test_cases"),
        question,
        metadata=_known(
            programming_language="python",
            preamble=PYTHON_IMPORTS if function else "",
            samples=public,
            limits={"cpu_s": 6.0, "wall_s": 20.0},  # the 6 s are the benchmark's own
            date=str(row["contest_date"])[:10],
        ),
    )


def _livecodebench_test(case: Any, function: str | None, column: str) -> Test:
    if not isinstance(case, Mapping) or not {"input", "output"} <= case.keys():
        raise TestsError("a test has no input or no output", column)
    if case.get("testtype") != "functional":
        return _stdio(case["input"], case["output"])
    if not function:
        raise TestsError("the tests call a function, and 'metadata' has no func_name", column)
    return _call(f"Solution.{function}", case["input"], case["output"], column)


def codeforces(row: Row, language: str = "cpp", time_factor: float = 1.0) -> Program:
    """Problems of Codeforces, with their limits; where several answers are right, the row's own checker decides.

    Args:
        language: that the model is asked for.
        time_factor: multiplies the time limits, which are made for C++.
    """
    public = [_codeforces_test(case, row) for case in row.get("examples") or []]
    hidden = [_codeforces_test(case, row) for case in row.get("official_tests") or []]
    if not (public or hidden):
        raise TestsError("there are no tests", "official_tests")
    seconds = float(row.get("time_limit") or 2.0) * time_factor
    return Program(
        tuple(hidden or public),
        ("official_tests", "examples"),
        _codeforces_question(row, language),
        metadata=_known(
            programming_language=language,
            samples=public,
            limits={"cpu_s": seconds, "wall_s": 3 * seconds + 2, "memory_mb": int(row.get("memory_limit") or 256)},
        ),
    )


def reads_and_prints(row: Row) -> bool:
    """Return whether a problem of Codeforces uses standard input and output alone: it talks to no other program and uses no files."""
    return (row.get("input_mode") or "stdio") == "stdio" and not row.get("interaction_format")


def _codeforces_test(case: Mapping[str, str], row: Row) -> Test:
    test = {**_stdio(case["input"], case["output"]), "checker": "token"}
    del test["tolerance"]
    if checker := row.get("generated_checker"):
        program = {"language": "python", "source": CHECKER_ADAPTER, "files": {"checker.py": checker}}
        test |= {"checker": "special", "checker_program": program}
    return test


def _codeforces_question(row: Row, language: str) -> str:
    def section(title: str, text: Any) -> str:
        return f"{title}:\n{str(text).strip()}" if text else ""

    sections = [
        _filled(row, "description"),
        section("Input", row.get("input_format")),
        section("Output", row.get("output_format")),
        *(
            f"Example input:\n```\n{case['input'].strip()}\n```\nExample output:\n```\n{case['output'].strip()}\n```"
            for case in row.get("examples") or []
        ),
        section("Note", row.get("note")),
        f"Time limit: {row.get('time_limit') or 2.0} s. Memory limit: {int(row.get('memory_limit') or 256)} MB.",
        f"Write a program that reads standard input and writes standard output. Give it in one ```{language} code block.",
    ]
    return "\n\n".join(filter(None, sections))


def code_contests(row: Row) -> Program:
    """CodeContests: three lists of inputs and outputs; the private and generated tests decide where there are any."""
    groups = {name: _pairs(row.get(name) or {}, name) for name in ("public_tests", "private_tests", "generated_tests")}
    hidden = [*groups["private_tests"], *groups["generated_tests"]] or groups["public_tests"]
    if not hidden:
        raise TestsError("there are no tests", "public_tests")
    limits: dict[str, Any] = {}
    if isinstance(given := row.get("time_limit"), Mapping):
        seconds = float(given.get("seconds") or 0) + float(given.get("nanos") or 0) / 1e9
        limits = {"cpu_s": seconds, "wall_s": 3 * seconds + 2} if seconds else {}
    if row.get("memory_limit_bytes"):
        limits["memory_mb"] = max(1, int(row["memory_limit_bytes"]) // 1_000_000)
    return Program(
        tuple(hidden), tuple(groups), ask=ASK_FOR_PROGRAM, metadata=_known(samples=groups["public_tests"], limits=limits)
    )


def kodcode(row: Row) -> Program:
    """KodCode: tests for pytest, which import the module `solution`."""
    test = {"kind": "pytest", "files": {"test_solution.py": _filled(row, "test")}}
    question = _filled(row, "question")
    if row.get("style") == "complete":
        question = f"Complete this Python function.\n\n```python\n{question.strip()}\n```\n\n{ASK_FOR_FUNCTION}"
    return Program((test,), ("test",), question, ASK_FOR_FUNCTION, _known(programming_language="python"))


def bigcodebench(row: Row, complete: bool = False) -> Program:
    """BigCodeBench: a class of unittest about the function that `entry_point` names.

    What `code_prompt` imports is put before the program, as in the benchmark's calibrated evaluation.

    Args:
        complete: ask with the docstring, the benchmark's task `complete`, instead of a sentence, its task `instruct`.
    """
    function = _filled(row, "entry_point")
    test = f"from solution import {function}\n\n{_filled(row, 'test')}"
    question = ""
    if complete:
        question = (
            f"Complete this Python function.\n\n```python\n{_filled(row, 'complete_prompt').strip()}\n```\n\n{ASK_FOR_FUNCTION}"
        )
    return Program(
        ({"kind": "pytest", "files": {"test_solution.py": test}},),
        ("test",),
        question,
        ask=ASK_FOR_FUNCTION,
        metadata=_known(programming_language="python", preamble=f"{row.get('code_prompt') or ''}\n    pass\n"),
    )


def libraries_of(row: Row) -> list[str]:
    """Return the libraries that a row of BigCodeBench names in `libs`, a list or the text of one."""
    found = row.get("libs") or []
    found = read_literal(found) if isinstance(found, str) else found
    if not isinstance(found, Sequence):
        raise TestsError("it is no list of libraries", "libs")
    return [str(name) for name in found]


def of_column(row: Row, column: str, starter: str = "starter_code") -> Program:
    """Tests in one column, in any of the shapes that `of_tests` reads, as data or as text."""
    value: Any = row
    for name in column.split("."):
        value = read_literal(value) if isinstance(value, str) else value
        value = value.get(name) if isinstance(value, Mapping) else None
    program = of_tests(value, str(row.get(starter) or ""), column)
    top = column.split(".")[0]
    return replace(program, columns=(top,) if program.tests and top != "reward_model" else ())


def of_tests(value: Any, starter: str = "", column: str = "tests") -> Program:
    """Return the tests that a column holds:

    `[{"kind": …}]` as the sandbox has them; `[{"input", "output", "type"?, "fn_name"?}]`; `{"inputs": […], "outputs": […], "fn_name"?}`;
    `{"test_cases": […]}`; `{"functional": "def check(candidate): …"}`; `{"test_code", "entry_point", "import_prefix"?}`;
    `{"assert_case": ["assert …"]}`; a list of assertions; or JSON or a Python literal of one of these.

    Args:
        starter: code that the author was given; says whether functions are methods of a class `Solution`.

    Raises:
        TestsError: it is none of these, or empty.
    """
    if isinstance(value, str):
        value = read_literal(value)
        if value is MISSING:
            raise TestsError("it is neither JSON nor a Python literal; write the tests as a list", column)
    if not value:
        raise TestsError("there are no tests", column)
    if isinstance(value, Mapping):
        return _of_mapping({key: item for key, item in value.items() if item is not None}, starter, column)
    if isinstance(value, Sequence):
        if all(isinstance(item, str) for item in value):
            return _of_assertions([str(item) for item in value], column)
        if all(isinstance(item, Mapping) and "kind" in item for item in value):
            return Program(tuple(dict(item) for item in value))
        if all(isinstance(item, Mapping) and {"input", "output"} <= item.keys() for item in value):
            return _of_cases(value, starter, column)
    raise TestsError('its tests have no known shape; write [{"input": …, "output": …}] or those that the sandbox reads', column)


def _of_mapping(value: Mapping[str, Any], starter: str, column: str) -> Program:
    if "test_cases" in value:
        program = of_tests(value["test_cases"], starter, column)
        return replace(program, metadata={**program.metadata, **_known(programming_language=value.get("language"))})
    if "unit_tests" in value:
        return of_tests(value["unit_tests"], starter, column)
    if "inputs" in value:
        return _of_lists(value, starter, column)
    if "functional" in value:
        found = re.search(r"\n\s*check\((.+)\)\s*$", str(value["functional"]))
        if not found:
            raise TestsError("its functional test does not end in check(…)", column)
        return _of_check(str(value["functional"])[: found.start()] + "\n", found[1], "")
    if "test_code" in value:
        return _of_check(str(value["test_code"]), str(value.get("entry_point") or ""), str(value.get("import_prefix") or ""))
    if "assert_case" in value:
        return _of_assertions([str(item) for item in value["assert_case"]], column)
    raise TestsError(f"its tests have no known shape ({', '.join(map(str, value))[:100]})", column)


def _of_lists(value: Mapping[str, Any], starter: str, column: str) -> Program:
    inputs, outputs = value.get("inputs"), value.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs) or not inputs:
        raise TestsError("inputs and outputs should be two lists of the same length, not empty", column)
    function = value.get("fn_name")
    if not function:
        return Program(
            tuple(_stdio(_joined(given), _joined(wanted)) for given, wanted in zip(inputs, outputs, strict=True)),
            ask=ASK_FOR_PROGRAM,
            metadata=_known(programming_language="python"),
        )
    if all(isinstance(wanted, list) and len(wanted) == 1 for wanted in outputs):
        outputs = [wanted[0] for wanted in outputs]  # APPS and TACO wrap what a function returns
    name = _function_name(str(function), starter)
    tests = tuple(_call(name, given, wanted, column) for given, wanted in zip(inputs, outputs, strict=True))
    return _of_calls(tests, name)


def _of_cases(cases: Sequence[Mapping[str, Any]], starter: str, column: str) -> Program:
    function = next((case["fn_name"] for case in cases if case.get("fn_name")), None)
    if not function:
        return Program(
            tuple(_stdio(_joined(case["input"]), _joined(case["output"])) for case in cases),
            ask=ASK_FOR_PROGRAM,
            metadata=_known(programming_language="python"),
        )
    name = _function_name(str(function), starter)
    return _of_calls(tuple(_call(name, case["input"], case["output"], column) for case in cases), name)


def _of_calls(tests: tuple[Test, ...], name: str) -> Program:
    preamble = PYTHON_IMPORTS if name.startswith("Solution.") else ""
    return Program(tests, ask=ASK_FOR_FUNCTION, metadata=_known(programming_language="python", preamble=preamble))


def _of_check(code: str, entry: str, preamble: str) -> Program:
    function = re.sub(r"^Solution\(\)\.", "Solution.", entry.strip())
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", function):
        raise TestsError(f"{entry!r} names no function", "")
    test = {"kind": "assert", "function": function, "code": code}
    if function.startswith("Solution."):
        preamble = f"{PYTHON_IMPORTS}\n{preamble}".strip()
    return Program((test,), ask=ASK_FOR_FUNCTION, metadata=_known(programming_language="python", preamble=preamble))


def _of_assertions(assertions: list[str], column: str) -> Program:
    function = called_function(assertions, column)
    tests = tuple(_assertion(function, "", assertion) for assertion in assertions)
    return Program(tests, ask=ASK_FOR_FUNCTION, metadata=_known(programming_language="python"))


def _pairs(value: Mapping[str, Any], column: str) -> list[Test]:
    inputs, outputs = value.get("input") or [], value.get("output") or []
    if len(inputs) != len(outputs):
        raise TestsError(f"it has {len(inputs)} inputs and {len(outputs)} outputs", column)
    return [_stdio(given, wanted) for given, wanted in zip(inputs, outputs, strict=True)]


def _stdio(given: str, wanted: str) -> Test:
    return {"kind": "stdio", "stdin": given, "expected": wanted, "checker": "float", "tolerance": 0.0}


def _joined(value: Any) -> str:
    """Return lines, where a set has them as a list."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _call(function: str, given: Any, wanted: Any, column: str) -> Test:
    """Return a call with arguments as a list, or as text with a JSON value a line."""
    try:
        arguments = [json.loads(line) for line in given.split("\n") if line.strip()] if isinstance(given, str) else list(given)
        expected = json.loads(wanted) if isinstance(wanted, str) and isinstance(given, str) else wanted
    except (ValueError, TypeError, RecursionError) as error:
        raise TestsError(
            f"a test of {function} cannot be read: the arguments are no list and not JSON ({error})", column
        ) from error
    return {"kind": "call", "function": function, "args": arguments, "expected": expected, "checker": "json"}


def _function_name(function: str, starter: str) -> str:
    return f"Solution.{function}" if re.search(r"^\s*class Solution\b", starter, re.MULTILINE) else function


def called_function(assertions: Sequence[str], column: str = "test_list") -> str:
    """Return the function that assertions are about: the one they call most that is neither Python's nor imported.

    Raises:
        TestsError: they call none, or are not Python.
    """
    try:
        trees = [ast.parse(assertion) for assertion in assertions]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TestsError(f"its tests are not Python ({error})", column) from error
    called = [
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in _NOT_TESTED
    ]
    if not called:
        raise TestsError("its tests call no function", column)
    return max(set(called), key=called.count)


_NOT_TESTED = frozenset((*dir(builtins), "isclose", "Counter"))
"""Functions that assertions call around the one they are about."""


def _assertion(function: str, setup: str, assertion: str) -> Test:
    body = "\n".join(f"    {line}" for line in assertion.strip().splitlines())
    return {
        "kind": "assert",
        "function": function,
        "code": f"{setup}\n\n\ndef check(candidate):\n    {function} = candidate\n{body}\n",
    }


def unpack_tests(text: str, column: str = "private_test_cases") -> list[Any]:
    """LiveCodeBench's hidden tests: JSON, or JSON pickled, compressed and in base 64.

    The pickle is read by an unpickler that knows no classes: it can only hold text.

    Raises:
        TestsError: it is neither, asks for code, or is out of proportion when unpacked.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise TestsError("it is nested too deeply", column) from error
    except ValueError:
        found = _unpickled(text, column)
    if not isinstance(found, list):
        raise TestsError(f"it should be a list of tests, and is a {type(found).__name__}", column)
    return found


def _unpickled(text: str, column: str) -> Any:
    try:
        packed = base64.b64decode(text, validate=True)
        bound = min(MAX_TESTS_BYTES, max(1 << 20, MAX_RATIO * len(packed)))
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, bound)
        if not unpacker.eof:
            raise TestsError(f"unpacked it is larger than {bound >> 20} MB, or cut off", column)
        return json.loads(_TextUnpickler(io.BytesIO(data)).load())
    except TestsError:
        raise
    except _UNREADABLE as error:
        raise TestsError(f"it is neither JSON nor JSON packed as LiveCodeBench does it ({_why(error)})", column) from error


_UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, EOFError, RecursionError, OverflowError, MemoryError),
    *(zlib.error, binascii.Error, pickle.UnpicklingError),
)
"""What base 64, zlib, pickle and JSON raise for bytes that are none of theirs."""


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


class _TextUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, and should hold text alone")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("the pickle asks for an object of elsewhere, and should hold text alone")


def _json(row: Row, column: str) -> Any:
    value = row.get(column)
    if not isinstance(value, str):
        return value
    found = read_literal(value) if value.strip() else None
    if found is MISSING:
        raise TestsError("it is not JSON", column)
    return found


def _filled(row: Row, column: str) -> str:
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        raise TestsError("it is empty" if column in row else "there is none", column)
    return text


def _known(**metadata: Any) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if value not in (None, "", [], {})}


def _shown_code(words: str, lines: Sequence[str]) -> str:
    return f"{words}\n```python\n" + "\n".join(line.strip("\n") for line in lines) + "\n```"
