"""From what a program did (`Report`) to a verdict. Pure functions; comparing its answer is for `checkers`."""

from __future__ import annotations

import signal
from typing import Any

from r1env_sandbox.models import TestResult, Verdict
from r1env_sandbox.worker import Command, Report

HEAD_CHARACTERS = 2000  # of stdout and stderr, for a person to read

_OUT_OF_MEMORY = (b"MemoryError", b"std::bad_alloc", b"OutOfMemoryError", b"heap out of memory", b"memory allocation of")
"""What languages write when they cannot have more memory. A program that writes it itself only gets another failing verdict."""

_PYTHON_REFUSED = (b"SyntaxError:", b"IndentationError:", b"TabError:")
_CPU_SLACK = 0.9  # what a program is charged for and what ends it are counted in different ways


def failure(report: Report, command: Command) -> tuple[Verdict, str] | None:
    """How a program broke its limits or failed by itself, with a line that says so; None when it ended well."""
    if report.stopped == "output":
        return Verdict.OUTPUT_LIMIT, f"wrote more than {command.output_kb} KB"
    if report.oom or report.stopped == "memory" or report.max_rss_kb > command.memory_mb << 10:
        return Verdict.MEMORY_LIMIT, f"used more than {command.memory_mb} MB"
    limit_ms = 1000 * command.cpu_s
    killed_near_limit = report.stopped is None and report.signal == signal.SIGKILL and report.cpu_ms >= _CPU_SLACK * limit_ms
    if report.cpu_ms > limit_ms or report.signal == signal.SIGXCPU or killed_near_limit:
        return Verdict.TIME_LIMIT, f"used more than {command.cpu_s:g} s of CPU time"
    if report.stopped == "wall":
        return Verdict.TIME_LIMIT, f"did not end in {command.wall_s:g} s"
    if report.signal == signal.SIGXFSZ:
        return Verdict.OUTPUT_LIMIT, f"wrote a file of more than {command.file_mb} MB"
    if report.stopped == "host" or report.exit_code == 0:
        return None
    tail = report.stderr[-4000:]
    if any(words in tail for words in _OUT_OF_MEMORY):
        return Verdict.MEMORY_LIMIT, f"could not have more than {command.memory_mb} MB"
    if report.signal is not None:
        return Verdict.RUNTIME_ERROR, f"ended by {_signal_name(report.signal)}"
    if _python_refused(report.stderr):
        return Verdict.COMPILE_ERROR, _last_line(tail)
    return Verdict.RUNTIME_ERROR, _last_line(tail) or f"ended with the exit status {report.exit_code}"


def result_of(report: Report, status: Verdict, note: str = "", value: Any = None) -> TestResult:
    """What happened in a test, with what it used."""
    return TestResult(
        status=status,
        cpu_ms=round(report.cpu_ms, 3),
        wall_ms=round(report.wall_ms, 3),
        max_rss_kb=report.max_rss_kb,
        exit_code=report.exit_code,
        signal=None if report.stopped == "host" else report.signal,
        stdout_head=head(report.stdout),
        stderr_head=head(report.stderr),
        value=value,
        note=note,
    )


def head(data: bytes, characters: int = HEAD_CHARACTERS) -> str:
    """The beginning of a text, with what is not UTF-8 replaced."""
    return data[: 4 * characters].decode("utf-8", "replace")[:characters]


def _python_refused(stderr: bytes) -> bool:
    """Whether the interpreter could not even parse the program: then it reports without a traceback."""
    return stderr.startswith(b'  File "/judge/prog/') and _last_line(stderr).encode().startswith(_PYTHON_REFUSED)


def _last_line(data: bytes) -> str:
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
