"""What goes into a sandbox and what comes out: `Submission`, `TestCase`, `Limits`; `Verdict`, `TestResult`, `JudgeResult`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Submission(BaseModel):
    """A program to judge.

    Attributes:
        language: its language, as the backend names it (`python`, `cpp`).
        source: the text of its only file.
    """

    model_config = _FROZEN

    language: str
    source: str


class TestKind(StrEnum):
    """How a test feeds the program."""

    STDIO = "stdio"  # text on standard input, text on standard output
    CALL = "call"  # arguments to a function, its return value

    __test__ = False  # not a test class, whatever pytest thinks of the name


class Comparison(StrEnum):
    """How what came out is compared with what was expected."""

    EXACT = "exact"  # equal texts, but for white space at the end; equal values of equal types
    TOKENS = "tokens"  # equal when split at white space
    FLOAT = "float"  # as tokens, numbers within `tolerance` of each other


class TestCase(BaseModel):
    """One test. Made by `TestCase.stdio` or `TestCase.call`.

    Attributes:
        kind: see `TestKind`.
        stdin: what the program reads (`stdio`).
        function: the function to call (`call`).
        arguments: its positional arguments, plain data only (`call`).
        expected: what must be printed (`stdio`, a string) or returned (`call`, plain data). Never enters the sandbox.
        comparison: see `Comparison`.
        tolerance: absolute or relative, whichever is met (`float`).
    """

    __test__: ClassVar[bool] = False  # not a test class, whatever pytest thinks of the name
    model_config = _FROZEN

    kind: TestKind
    expected: JsonValue
    stdin: str = ""
    function: str | None = None
    arguments: tuple[JsonValue, ...] = ()
    comparison: Comparison = Comparison.EXACT
    tolerance: float = Field(default=1e-6, ge=0, allow_inf_nan=False)

    @classmethod
    def stdio(cls, stdin: str, expected: str, comparison: Comparison = Comparison.EXACT) -> TestCase:
        """The program reads `stdin` and must print `expected`."""
        return cls(kind=TestKind.STDIO, stdin=stdin, expected=expected, comparison=comparison)

    @classmethod
    def call(
        cls, function: str, arguments: Sequence[JsonValue], expected: JsonValue, comparison: Comparison = Comparison.EXACT
    ) -> TestCase:
        """`function(*arguments)` must return `expected`."""
        return cls(kind=TestKind.CALL, function=function, arguments=tuple(arguments), expected=expected, comparison=comparison)

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> TestCase:
        if self.kind is TestKind.STDIO:
            if self.function is not None or self.arguments:
                raise ValueError("a stdio test has no function and no arguments; use kind='call'")
            if not isinstance(self.expected, str):
                raise ValueError(f"a stdio test expects text, not a {type(self.expected).__name__}")
        else:
            if not self.function:
                raise ValueError("a call test needs the name of a function")
            if self.stdin:
                raise ValueError("a call test has no stdin; use kind='stdio'")
        return self


class Limits(BaseModel):
    """What a program may use. Each test has the run limits for itself; the compiler has its own, as it needs more."""

    model_config = _FROZEN

    cpu_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    wall_seconds: float = Field(default=15.0, gt=0, allow_inf_nan=False)
    memory_mb: int = Field(default=512, gt=0)
    output_kb: int = Field(default=1024, gt=0)
    processes: int = Field(default=32, gt=0)
    compile_cpu_seconds: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    compile_memory_mb: int = Field(default=1024, gt=0)


class Verdict(StrEnum):
    """How a test, or a whole submission, came out."""

    ACCEPTED = "accepted"  # it gave what was expected, within the limits
    WRONG_ANSWER = "wrong_answer"  # it ended well and gave something else
    COMPILE_ERROR = "compile_error"  # the compiler refused it, or hit its own limits
    RUNTIME_ERROR = "runtime_error"  # it raised, crashed, or ended with another status than 0
    TIME_LIMIT = "time_limit"  # it used up its CPU or wall time
    MEMORY_LIMIT = "memory_limit"  # it used up its memory
    OUTPUT_LIMIT = "output_limit"  # it wrote more than it may
    JUDGE_ERROR = "judge_error"  # the sandbox failed: this says nothing about the program, and earns no reward at all


class TestResult(BaseModel):
    """What happened in one test.

    Attributes:
        cpu_ms, wall_ms, peak_memory_kb: what the program and all its children used.
        exit_code: of the program; None when it did not end by itself. A negative number is a signal.
        stdout, stderr: the beginning of what it wrote, for a person to read.
        note: one line on why the verdict is not `accepted`.
    """

    __test__: ClassVar[bool] = False  # not a test class, whatever pytest thinks of the name
    model_config = _FROZEN

    verdict: Verdict
    cpu_ms: float = Field(default=0.0, ge=0)
    wall_ms: float = Field(default=0.0, ge=0)
    peak_memory_kb: int = Field(default=0, ge=0)
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    note: str = ""


class JudgeResult(BaseModel):
    """The verdict on a submission, and that of every test that ran.

    `accepted` needs positive evidence: at least one test, and every one of them accepted.
    """

    model_config = _FROZEN

    verdict: Verdict
    tests: tuple[TestResult, ...] = ()
    compiler_output: str = ""

    @model_validator(mode="after")
    def _accepted_is_earned(self) -> JudgeResult:
        if self.verdict is Verdict.ACCEPTED and (
            not self.tests or any(test.verdict is not Verdict.ACCEPTED for test in self.tests)
        ):
            raise ValueError("a submission is accepted only when there is a test and every test is accepted")
        return self

    @property
    def passed(self) -> int:
        """How many tests were accepted."""
        return sum(test.verdict is Verdict.ACCEPTED for test in self.tests)
