"""The input and output of a sandbox: `Submission`, `TestCase` and `Limits`; `Verdict`, `TestResult` and `JudgeResult`.

The JSON lines that `r1env-sandbox judge` reads and writes have the same field names. The name of a number includes its unit.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    model_validator,
)

from r1env_sandbox.harness import plain, testcode

_FROZEN = ConfigDict(frozen=True, extra="forbid")

MAX_TEXT_BYTES = 64 << 20  # of one source, file or input; above it, something is wrong with the data
MAX_FILES = 256
MAX_NOTE = 2000  # characters
MAX_SUBMISSION_BYTES = 32 << 20  # source and files together: they have to fit a worker's memory twice


def _plain_value(value: Any) -> Any:
    try:
        return plain.decode(plain.encode(value, tagged=True))
    except plain.NotPlainData as error:
        raise ValueError(str(error)) from error


def _returned_value(value: Any, info: ValidationInfo) -> Any:
    """Return what a function returned has been decoded already: a dict of it that looks like a tag is no tag."""
    if info.mode != "json":
        return value
    try:
        return plain.decode(value)
    except plain.NotPlainData as error:
        raise ValueError(str(error)) from error


def _text(value: str) -> str:
    if len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise ValueError(f"longer than {MAX_TEXT_BYTES >> 20} MB")
    return value


def _file_name(value: str) -> str:
    path = PurePosixPath(value)
    parts = value.split("/")
    if path.is_absolute() or any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise ValueError(f"{value[:60]!r} is not the relative path of a file")
    if len(parts) > 16 or not value.isprintable():
        raise ValueError(f"{value[:60]!r} cannot be a file name here")
    return value


PlainValue = Annotated[Any, BeforeValidator(_plain_value), PlainSerializer(lambda value: plain.encode(value))]
"""None, bool, int, float, str, bytes, and lists, tuples, sets, frozensets and dicts of them; also the standard library's numbers,
dates and containers. In JSON, what JSON has no word for is an object with one key: `{"__tuple__": […]}`, `{"__set__": […]}`,
`{"__frozenset__": […]}`, `{"__bytes__": "hex"}`, `{"__dict__": [[key, value], …]}`, `{"__float__": "inf"}`,
`{"__complex__": [real, imaginary]}`, `{"__fraction__": [3, 4]}`, `{"__decimal__": "0.1"}`, and those of `harness.plain.KINDS`."""

ReturnedValue = Annotated[Any, BeforeValidator(_returned_value), PlainSerializer(lambda value: plain.encode(value))]
"""A value that a submission returned. In JSON, as `PlainValue`."""

Text = Annotated[str, AfterValidator(_text)]
FileName = Annotated[str, AfterValidator(_file_name)]
Files = Annotated[Mapping[FileName, Text], Field(max_length=MAX_FILES)]


class Submission(BaseModel):
    """A program to judge.

    Attributes:
        language: a name or alias of a language in `r1env_sandbox.languages`.
        source: the content of the main file.
        files: other files, in the folder where the program runs and, for imports and includes, next to its source.
        collect: files that the program writes in the last test and that `JudgeResult.collected` then holds.
    """

    model_config = _FROZEN

    language: str
    source: Text
    files: Files = Field(default_factory=dict)
    collect: tuple[FileName, ...] = Field(default=(), max_length=MAX_FILES)

    @model_validator(mode="after")
    def _fits(self) -> Submission:
        _check_files({**self.files, "": self.source})
        return self


class TestKind(StrEnum):
    """How a test runs the program."""

    STDIO = "stdio"  # text on standard input, text on standard output
    CALL = "call"  # arguments to a function, its return value (Python)
    ASSERT = "assert"  # Python code with assertions about a function (Python)
    PYTEST = "pytest"  # files for pytest, which import the submission (Python)

    __test__ = False  # not a test class, whatever pytest thinks of the name


class Checker(StrEnum):
    """How the result is compared with the expected one. See `r1env_sandbox.checkers`."""

    EXACT = "exact"  # equal texts, but for white space at the ends of lines; equal values of equal types
    TOKEN = "token"  # equal when split at white space
    FLOAT = "float"  # as `token`, numbers within `tolerance`; for values, equal but for numbers within `tolerance`
    UNORDERED = "unordered"  # equal lines, or items of a list, in any order
    JSON = "json"  # values only: equal as data that went through JSON: a tuple is a list, 1.0 is 1; floats within `tolerance`
    SPECIAL = "special"  # text only: `checker_program` decides


class TestCase(BaseModel):
    """One test. Create it with `TestCase.stdio`, `.call`, `.assertion` or `.pytest`, or from a JSON object.

    Attributes:
        kind: see `TestKind`.
        stdin: the standard input of the program (`stdio`).
        function: the function to call (`call`), or to hand to the test code as `candidate` (`assert`). `Solution.add` is a method.
        args, kwargs: the arguments of the function (`call`).
        expected: the string that must be printed (`stdio`) or the value that must be returned (`call`). It never enters the submission's
            container.
        checker: see `Checker`.
        tolerance: absolute or relative, whichever is met (`float`, `json`). 0 compares numbers as they are printed, see `checkers`.
        checker_program: decides in a container of its own (`special`). It is run with the names of three files, the input, the output
            and the expected output, as testlib's checkers are: exit status 0 accepts, 1 and 2 refuse, another is its own fault.
        code: defines `check(candidate)`, or holds the assertions themselves (`assert`).
        files: test files, and what they need (`pytest`). They import the submission as `solution` or `main`.
        modules: files of the submission, as modules, that are under test beside `solution` (`pytest`). What a test imports from
            other files of the submission, it must compare with something of its own.

    Raises:
        ValidationError: the fields do not fit the kind, or no verdict of the test could be trusted ("this test cannot be judged: …").
    """

    __test__: ClassVar[bool] = False  # not a test class, whatever pytest thinks of the name
    model_config = _FROZEN

    kind: TestKind
    stdin: Text = ""
    expected: PlainValue = None
    checker: Checker = Checker.EXACT
    tolerance: float = Field(default=1e-6, ge=0, allow_inf_nan=False)
    checker_program: Submission | None = None
    function: str | None = None
    args: tuple[PlainValue, ...] = ()
    kwargs: Mapping[str, PlainValue] = Field(default_factory=dict)
    code: Text = ""
    files: Files = Field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @classmethod
    def stdio(
        cls, stdin: str, expected: str, checker: Checker | str = Checker.EXACT, *, checker_program: Submission | None = None
    ) -> TestCase:
        """Return a test in which the program reads `stdin` and must print `expected`."""
        return cls(
            kind=TestKind.STDIO, stdin=stdin, expected=expected, checker=Checker(checker), checker_program=checker_program
        )

    @classmethod
    def call(
        cls,
        function: str,
        args: Sequence[Any],
        expected: Any,
        checker: Checker | str = Checker.EXACT,
        *,
        kwargs: Mapping[str, Any] | None = None,
    ) -> TestCase:
        """Return a test in which `function(*args, **kwargs)` must return `expected`."""
        return cls(
            kind=TestKind.CALL,
            function=function,
            args=tuple(args),
            kwargs=kwargs or {},
            expected=expected,
            checker=Checker(checker),
        )

    @classmethod
    def assertion(cls, function: str, code: str) -> TestCase:
        """Return a test in which `code` must run to its end, with the submission's `function` as `candidate`."""
        return cls(kind=TestKind.ASSERT, function=function, code=code)

    @classmethod
    def pytest(cls, files: Mapping[str, str], *, modules: Sequence[str] = ()) -> TestCase:
        """Return a test in which all pytest tests in `files` must pass, with the submission as the module `solution`."""
        return cls(kind=TestKind.PYTEST, files=files, modules=tuple(modules))

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> TestCase:
        for name in self.model_fields_set - {"kind"} - _FIELDS[self.kind]:
            if getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True):
                raise ValueError(f"a {self.kind} test has no {name}; its fields are {', '.join(sorted(_FIELDS[self.kind]))}")
        if self.checker not in _CHECKERS[self.kind]:
            raise ValueError(f"a {self.kind} test has no checker {self.checker.value!r}")
        if (self.checker is Checker.SPECIAL) != (self.checker_program is not None):
            raise ValueError("the checker 'special' and checker_program come together")
        if self.kind is TestKind.STDIO and not isinstance(self.expected, str):
            raise ValueError(f"a stdio test expects text, not a {type(self.expected).__name__}")
        if self.kind is TestKind.CALL and "expected" not in self.model_fields_set:
            raise ValueError("a call test needs what is expected; null where the function returns None")
        if self.kind is TestKind.CALL and isinstance(self.expected, float) and math.isnan(self.expected):
            raise ValueError("nan is not a finite number, and nothing is equal to it: no program could pass")
        if self.kind in (TestKind.CALL, TestKind.ASSERT) and not _is_function_name(self.function):
            raise ValueError(f"a {self.kind} test needs the name of a function")
        if self.kind is TestKind.ASSERT:
            _check_python("code", self.code, self.function)
        if self.kind is TestKind.PYTEST:
            _check_files(self.files)
            for name, text in self.files.items():
                if name.endswith(".py"):
                    _check_python(name, text, tested=plain.is_pytest_file(name))
            if not any(plain.is_pytest_file(name) for name in self.files):
                raise ValueError("a pytest test needs a file test_*.py or *_test.py")
        return self


_FIELDS = {
    TestKind.STDIO: {"stdin", "expected", "checker", "tolerance", "checker_program"},
    TestKind.CALL: {"function", "args", "kwargs", "expected", "checker", "tolerance"},
    TestKind.ASSERT: {"function", "code"},
    TestKind.PYTEST: {"files", "modules"},
}
_CHECKERS = {
    TestKind.STDIO: set(Checker) - {Checker.JSON},
    TestKind.CALL: {Checker.EXACT, Checker.FLOAT, Checker.UNORDERED, Checker.JSON},
    TestKind.ASSERT: {Checker.EXACT},
    TestKind.PYTEST: {Checker.EXACT},
}


def _check_files(files: Mapping[str, str]) -> None:
    """
    Raises:
        ValueError: too much together, or a name that is a file's and a folder's at once.
    """
    if sum(len(text) for text in files.values()) > MAX_SUBMISSION_BYTES:
        raise ValueError(f"the source and the files are longer than {MAX_SUBMISSION_BYTES >> 20} MB together")
    for name in files:
        if clash := next((str(parent) for parent in PurePosixPath(name).parents if str(parent) in files and name), None):
            raise ValueError(f"{clash!r} is a file, so {name!r} cannot be in it")


def _is_function_name(name: str | None) -> bool:
    return bool(name) and len(parts := str(name).split(".")) <= 2 and all(part.isidentifier() for part in parts)


def _check_python(name: str, text: str, function: str | None = None, *, tested: bool = True) -> None:
    """Tests come from the task's author; what is wrong with one is found here, not at reward time.

    Raises:
        ValueError: it is not Python, or no verdict of it could be trusted.
    """
    try:
        ast.parse(text)
        found = testcode.faults(text, function) if tested else []
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name} is not Python: {plain.clean(str(error))}") from error
    if found:
        raise ValueError(f"this test cannot be judged: {name}: {found[0]}")


class Limits(BaseModel):
    """Resource limits. The run limits apply to each test separately; the compiler has its own limits, because it needs more.

    Attributes:
        cpu_s: CPU time of the program and its children.
        wall_s: wall time. It is higher than `cpu_s`, so that load on the machine does not change a verdict.
        memory_mb: memory of all its processes, including the files they write, which are kept in memory.
        output_kb: length of stdout and stderr together.
        file_mb: size of the longest file that it may write.
        processes: number of processes and threads at once.
    """

    model_config = _FROZEN

    cpu_s: float = Field(default=5.0, gt=0, le=3600, allow_inf_nan=False)
    wall_s: float = Field(default=15.0, gt=0, le=7200, allow_inf_nan=False)
    memory_mb: int = Field(default=512, gt=0, le=1 << 20)
    output_kb: int = Field(default=1024, gt=0, le=64 << 10)
    file_mb: int = Field(default=32, gt=0, le=1 << 10)
    processes: int = Field(default=32, gt=0, le=1024)
    compile_cpu_s: float = Field(default=20.0, gt=0, le=3600, allow_inf_nan=False)
    compile_wall_s: float = Field(default=60.0, gt=0, le=7200, allow_inf_nan=False)
    compile_memory_mb: int = Field(default=1024, gt=0, le=1 << 20)


class Verdict(StrEnum):
    """The verdict on a test or a whole submission."""

    ACCEPTED = "accepted"  # it gave what was expected, within the limits
    WRONG_ANSWER = "wrong_answer"  # it ended well and gave something else
    COMPILE_ERROR = "compile_error"  # the compiler refused it, or hit its own limits
    RUNTIME_ERROR = "runtime_error"  # it raised, crashed, ended early, or ended with another status than 0
    TIME_LIMIT = "time_limit"  # it used up its CPU or wall time
    MEMORY_LIMIT = "memory_limit"  # it used up its memory
    OUTPUT_LIMIT = "output_limit"  # it wrote more than it may
    REJECTED_INPUT = "rejected_input"  # the request cannot be judged (unknown language, a test that fails by itself): no score
    JUDGE_ERROR = "judge_error"  # the sandbox failed: this says nothing about the program, and earns no reward at all

    @property
    def scored(self) -> bool:
        """Whether the verdict depends on the program, and not on a fault of the task or the sandbox."""
        return self not in (Verdict.REJECTED_INPUT, Verdict.JUDGE_ERROR)


class TestResult(BaseModel):
    """The result of one test.

    Attributes:
        cpu_ms, wall_ms: time used by the program and all its children.
        max_rss_kb: the largest resident memory of any of its processes.
        exit_code: the exit status; None if a signal ended the program.
        signal: the signal that ended the program. Limits also end a program with signal 9.
        stdout_head, stderr_head: the beginning of the output, for people to read.
        value: the value that the function returned (`call`), as JSON with the tags of `PlainValue`.
        note: one line that says why the test was not accepted.
    """

    __test__: ClassVar[bool] = False  # not a test class, whatever pytest thinks of the name
    model_config = _FROZEN

    status: Verdict
    cpu_ms: float = Field(default=0.0, ge=0)
    wall_ms: float = Field(default=0.0, ge=0)
    max_rss_kb: int = Field(default=0, ge=0)
    exit_code: int | None = None
    signal: int | None = None
    stdout_head: str = ""
    stderr_head: str = ""
    value: ReturnedValue = None
    note: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as JSON: `value` may be of a type that cannot be pickled (`dict_keys`, a named tuple)."""
        return type(self).model_validate_json, (self.model_dump_json(),)


class CompileResult(BaseModel):
    """The result of compiling. If `cached` is True, the compiler did not run, because the same source was compiled before."""

    model_config = _FROZEN

    log: str = ""
    cached: bool = False
    cpu_ms: float = Field(default=0.0, ge=0)
    wall_ms: float = Field(default=0.0, ge=0)
    max_rss_kb: int = Field(default=0, ge=0)


class SandboxInfo(BaseModel):
    """Information about the sandbox. A verdict can only be reproduced with the same image.

    Attributes:
        queue_ms: how long the submission waited for a worker.
        attempts: 2 if the sandbox failed once and the submission was judged again.
    """

    model_config = _FROZEN

    backend: str = ""
    image: str = ""
    runtime: str = ""
    mode: str = ""
    worker: str = ""
    queue_ms: float = 0.0
    attempts: int = 1
    note: str = ""


class RunResult(BaseModel):
    """The result of running a program once, without comparing its output.

    Attributes:
        status: `accepted` if the program ended successfully; otherwise as in a test.
        stdout, stderr: the output, within the limit on its length. Bytes that are not UTF-8 are replaced.
        test: the resources that it used.
        collected: as in `JudgeResult`.
    """

    model_config = _FROZEN

    status: Verdict
    stdout: str = ""
    stderr: str = ""
    test: TestResult | None = None
    compile: CompileResult = CompileResult()
    collected: Mapping[str, str] = Field(default_factory=dict)
    info: SandboxInfo = SandboxInfo()


class JudgeResult(BaseModel):
    """The verdict on a submission, and on every test that ran.

    `accepted` needs positive evidence: at least one test, and every one of them accepted. Otherwise the status is that of the first
    test that was not.

    Attributes:
        score: the share of the tests that were accepted, 0 to 1; None if the status does not depend on the program.
        tests: the results in the order of the tests. There are fewer results than tests if judging stopped early.
        collected: the files named by `Submission.collect` that exist after the last test.
    """

    model_config = _FROZEN

    status: Verdict
    score: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    tests: tuple[TestResult, ...] = ()
    compile: CompileResult = CompileResult()
    collected: Mapping[str, str] = Field(default_factory=dict)
    info: SandboxInfo = SandboxInfo()

    @model_validator(mode="after")
    def _accepted_is_earned(self) -> JudgeResult:
        if self.status is Verdict.ACCEPTED and (
            not self.tests or any(test.status is not Verdict.ACCEPTED for test in self.tests) or self.score != 1.0
        ):
            raise ValueError("a submission is accepted only when there is a test, every test is accepted, and the score is 1")
        if self.status.scored != (self.score is not None):
            raise ValueError(f"a result with the status {self.status} and the score {self.score}")
        return self

    @property
    def passed(self) -> int:
        """The number of accepted tests."""
        return sum(test.status is Verdict.ACCEPTED for test in self.tests)

    @classmethod
    def without_score(cls, status: Verdict, note: str, **fields: Any) -> JudgeResult:
        """Return a result without a score, `rejected_input` or `judge_error`, with the reason."""
        info = fields.pop("info", SandboxInfo())
        return cls(status=status, info=info.model_copy(update={"note": plain.clean(note, MAX_NOTE)}), **fields)
