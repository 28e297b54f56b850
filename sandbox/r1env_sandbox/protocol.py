"""`Sandbox`: what a backend must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from r1env_sandbox.models import JudgeResult, Limits, Submission, TestCase


@runtime_checkable
class Sandbox(Protocol):
    """Runs a submission against tests, isolated from the machine and from what the tests expect."""

    def judge(self, submission: Submission, tests: Sequence[TestCase], limits: Limits | None = None) -> JudgeResult:
        """Compile once, run every test, and say what happened.

        Args:
            submission: the program.
            tests: at least one; the order of `JudgeResult.tests` is theirs.
            limits: for the compiler and for each test alone; None for the defaults of `Limits`.

        Returns:
            A verdict overall and for each test. Whatever the program does is in there: this method does not raise on its
            account. A fault of the sandbox itself is the verdict `judge_error`.

        Raises:
            SandboxUnavailable: no program can be run on this machine at all.
        """
