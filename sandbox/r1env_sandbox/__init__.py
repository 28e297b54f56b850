"""Judging programs that a model wrote: the types, and the protocol that a sandbox backend implements.

The rule behind them: what is expected never enters the sandbox. A backend returns what a program did, and the comparison
happens outside, so a program can neither read the answer nor forge the verdict.
"""

from r1env_sandbox.errors import SandboxUnavailable
from r1env_sandbox.models import (
    Comparison,
    JudgeResult,
    Limits,
    Submission,
    TestCase,
    TestKind,
    TestResult,
    Verdict,
)
from r1env_sandbox.protocol import Sandbox
from r1env_sandbox.version import __version__

__all__ = [
    "Comparison",
    "JudgeResult",
    "Limits",
    "Sandbox",
    "SandboxUnavailable",
    "Submission",
    "TestCase",
    "TestKind",
    "TestResult",
    "Verdict",
    "__version__",
]
