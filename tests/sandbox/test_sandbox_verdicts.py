"""How what a program did becomes a verdict."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from r1env_sandbox import Limits, TestResult, Verdict
from r1env_sandbox.judge import failure, overall
from r1env_sandbox.languages import find_language
from r1env_sandbox.worker import Report, run_command

COMMAND = run_command(find_language("python"), Limits(cpu_s=2, wall_s=5, memory_mb=256))
ENDED_WELL = Report(0, None, 100.0, 120.0, 9000, None, False, b"", b"", b"", b"")


@pytest.mark.parametrize(
    ("what_happened", "verdict"),
    [
        ({}, None),
        ({"exit_code": 1}, Verdict.RUNTIME_ERROR),
        ({"exit_code": None, "signal": signal.SIGSEGV}, Verdict.RUNTIME_ERROR),
        ({"exit_code": None, "signal": signal.SIGXCPU, "cpu_ms": 1999.0}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "cpu_ms": 1990.0}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "cpu_ms": 5.0}, Verdict.RUNTIME_ERROR),
        ({"cpu_ms": 2100.0}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "wall"}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "output"}, Verdict.OUTPUT_LIMIT),
        ({"exit_code": None, "signal": signal.SIGXFSZ}, Verdict.OUTPUT_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "memory"}, Verdict.MEMORY_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "oom": True}, Verdict.MEMORY_LIMIT),
        ({"max_rss_kb": 300 << 10}, Verdict.MEMORY_LIMIT),
        ({"exit_code": 1, "stderr": b"Traceback\nMemoryError\n"}, Verdict.MEMORY_LIMIT),
        ({"exit_code": None, "signal": signal.SIGABRT, "stderr": b"what():  std::bad_alloc"}, Verdict.MEMORY_LIMIT),
        (
            {"exit_code": 1, "stderr": b'  File "/judge/prog/main.py", line 1\n    (\n    ^\nSyntaxError: x'},
            Verdict.COMPILE_ERROR,
        ),
        ({"exit_code": 1, "stderr": b"Traceback (most recent call last):\nSyntaxError: x"}, Verdict.RUNTIME_ERROR),
        ({"exit_code": 0, "stderr": b"MemoryError"}, None),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "host"}, None),
    ],
)
def test_a_way_to_end(what_happened, verdict):
    failed = failure(replace(ENDED_WELL, **what_happened), COMMAND)
    assert (failed[0] if failed else None) is verdict
    assert failed is None or failed[1]


def results(*statuses):
    return [TestResult(status=Verdict(status)) for status in statuses]


@pytest.mark.parametrize(
    ("statuses", "tests", "status", "score"),
    [
        (["accepted", "accepted"], 2, "accepted", 1.0),
        (["accepted", "time_limit", "wrong_answer"], 4, "time_limit", 0.25),
        (["wrong_answer"], 3, "wrong_answer", 0.0),
        (["accepted", "judge_error"], 2, "judge_error", None),
        (["wrong_answer", "rejected_input"], 2, "rejected_input", None),
    ],
)
def test_tests_together(statuses, tests, status, score):
    assert overall(results(*statuses), tests) == (Verdict(status), score)
