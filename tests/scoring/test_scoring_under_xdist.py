"""Scoring under `pytest -n 2`, where the caller is itself a process that another one started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
import r1env
from r1env.scoring import score

@r1env.reward(name="length", isolation="process")
def length(completion: str) -> float:
    if completion == "die":
        import os
        os._exit(3)
    return float(len(completion))

@pytest.mark.parametrize("n", range(6))
def test_scores(n):
    task = r1env.Task(id="t", prompt="q")
    found = score([r1env.Rollout(task=task, completion=text) for text in ("a" * n, "die", "bb")], length)
    assert [s.value for s in found] == [float(n), None, 2.0]
"""


@pytest.mark.slow
def test_rewards_are_scored_under_pytest_with_two_processes(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
