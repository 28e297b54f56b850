"""Run and judge programs that a model wrote, isolated in containers.

Expected values never enter the sandbox. A worker returns what a program did, and the comparison happens outside, so a program can
neither read the answer nor forge the verdict.

    from r1env_sandbox import Sandbox, Submission, TestCase

    with Sandbox() as sandbox:
        result = sandbox.judge(Submission(language="python", source="print(int(input()) + 1)"), [TestCase.stdio("41", "42")])

Where to look: `models` (what goes in and out), `sandbox` (the object above), `judge` (the way of one submission, and what a
verdict is made of), `checkers` (what counts as the expected answer), `harness` (programs that run in the containers), `pool` and
`worker` (containers, as seen from here), `session` (one for a whole episode), `harbor` (task folders in sessions), `backends` (where they come from), `runner` (what runs
in them), `cluster` (a sandbox on every node of a Ray cluster), `open` (which of these a name stands for).
"""

from r1env_sandbox.errors import SandboxBusy, SandboxUnavailable, SessionLost
from r1env_sandbox.models import (
    Checker,
    CompileResult,
    JudgeResult,
    Limits,
    RunResult,
    SandboxInfo,
    Submission,
    TestCase,
    TestKind,
    TestResult,
    Verdict,
)
from r1env_sandbox.open import open_sandbox
from r1env_sandbox.sandbox import Judge, Sandbox, judge
from r1env_sandbox.session import CallResult, ExecResult, Interpreter, Session

__version__ = "0.1.0"

__all__ = [
    "CallResult",
    "Checker",
    "CompileResult",
    "ExecResult",
    "Interpreter",
    "Judge",
    "JudgeResult",
    "Limits",
    "RunResult",
    "Sandbox",
    "SandboxBusy",
    "SandboxInfo",
    "SandboxUnavailable",
    "Session",
    "SessionLost",
    "Submission",
    "TestCase",
    "TestKind",
    "TestResult",
    "Verdict",
    "__version__",
    "judge",
    "open_sandbox",
]
