"""`kill -9` in the middle of a recipe, then `--resume`: every step is told once and the end is reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from r1env.runs.run import Run

R1ENV = [sys.executable, "-c", "from r1env.cli.main import main; main()"]
SETTINGS = [
    "base.steps=30",
    "base.checkpoint.every=10",
    "rl.steps=12",
    "rl.checkpoint.every=4",
    "rl.eval.every=6",
    "rl.eval.limit=16",
]


def wait_for(metrics: Path, stage: str, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if any(f'"stage": "{stage}", "step": {step},' in line for line in lines):
            return
        time.sleep(0.05)
    raise AssertionError(f"step {step} of stage {stage} was not reached; the log has {lines[-1:]}")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), [("base", 14), ("rl", 7)])
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, stage, step):
    folder = tmp_path / "run"
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    process = subprocess.Popen(
        [*R1ENV, "train", "r1-zero", "--preset", "tiny-cpu", *settings, "--output", str(folder), "--quiet"],
        stdout=subprocess.DEVNULL,
    )
    wait_for(folder / "metrics.jsonl", stage, step)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    subprocess.run([*R1ENV, "train", "--resume", str(folder), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    run = Run.open(folder)
    assert run.finished_stages() == ["base", "rl"]
    told = Counter((row["stage"], row["step"], "eval/accuracy" in row) for row in run.metrics())
    expected = {("base", s, False) for s in range(1, 31)} | {("rl", s, False) for s in range(1, 13)}
    assert set(told) == expected | {("rl", s, True) for s in (0, 6, 12)}
    assert set(told.values()) == {1}
    assert all(json.dumps(row) for row in run.rollouts())
    assert (folder / "report.html").exists()
