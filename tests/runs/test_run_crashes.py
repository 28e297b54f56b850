"""What a run folder promises when the process is killed or the disk is full: shown with real processes."""

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from r1env.errors import RunError
from r1env.runs.run import Run

PLAN: dict[str, object] = {"name": "demo", "preset": None, "stages": []}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", PLAN, seed=0)
    run.start_stage("rl")
    return run


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_kill_at_any_moment_leaves_whole_steps_and_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    writer = start(
        """
        import sys
        from pathlib import Path
        from r1env.runs.run import Run

        run = Run.create(Path(sys.argv[1]), {"name": "demo", "stages": []}, seed=0)
        run.start_stage("rl")
        print("writing", flush=True)
        for step in range(10**9):
            run.log(step, {"value": step, "padding": 0.123456789})
            run.log_rollouts(step, [{"completion": "x" * 5000, "sample": n} for n in range(3)])
            run.finish_stage("rl")
            run.start_stage("rl")
        """,
        folder,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    deadline = time.monotonic() + 20
    while not (folder / "rollouts").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()

    run = Run.open(folder)
    json.loads((folder / "state.json").read_text())
    assert all({"stage", "step", "value"} <= row.keys() for row in run.metrics())
    (folder / "checkpoints" / "rl" / "step-1").mkdir(parents=True)
    run.start_stage("rl")
    run.log(-1, {"value": -1})
    run.log_rollouts(-1, [{"completion": "after"}])
    assert run.metrics()[-1]["step"] == -1
    assert list(run.rollouts())[-1]["completion"] == "after"


@pytest.mark.parametrize("lost", [1, 9, 20])
def test_a_torn_append_loses_only_its_own_rollouts(run: Run, lost: int) -> None:
    for step in range(3):
        run.log_rollouts(step, [{"completion": f"text {step}"}])
    path = run.path / "rollouts" / "_open.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-lost])
    resumed = Run.open(run.path)
    assert [row["step"] for row in resumed.rollouts()] == [0, 1]
    (resumed.path / "checkpoints" / "rl" / "step-1").mkdir(parents=True)
    resumed.start_stage("rl")
    resumed.log_rollouts(7, [{"completion": "after"}])
    assert [row["step"] for row in resumed.rollouts()] == [0, 1, 7]
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 3


def test_a_tail_of_zeros_after_a_power_cut_is_read_up_to(run: Run) -> None:
    run.log_rollouts(0, [{"completion": "whole"}])
    with (run.path / "rollouts" / "_open.jsonl.gz").open("ab") as file:
        file.write(bytes(500))
    assert [row["completion"] for row in run.rollouts()] == ["whole"]


def test_a_torn_metrics_line_is_not_read_and_is_gone_after_resuming(run: Run) -> None:
    run.log(1, {"a": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "rl", "step": 2, "a"')
    resumed = Run.open(run.path)
    assert [row["step"] for row in resumed.metrics()] == [1]
    (resumed.path / "checkpoints" / "rl" / "step-1").mkdir(parents=True)
    resumed.start_stage("rl")
    resumed.log(2, {"a": 2})
    assert [row["a"] for row in resumed.metrics()] == [1, 2]


def test_a_damaged_line_in_the_middle_is_told_with_its_number(run: Run) -> None:
    run.log(1, {"a": 1})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(bytes(20) + b"\n")
    with pytest.raises(RunError, match="line 2 is damaged"):
        run.metrics()


def test_reading_a_run_that_is_going_on_changes_nothing(run: Run) -> None:
    run.log(1, {"a": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"half')
    before = (run.path / "metrics.jsonl").read_bytes()
    Run.open(run.path).metrics()
    assert (run.path / "metrics.jsonl").read_bytes() == before


def test_a_full_disk_is_one_line_and_leaves_the_logs_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: both fail in the middle of a write."""
    script = """
    import resource, sys
    from pathlib import Path
    from r1env.errors import RunError
    from r1env.runs.run import Run

    run = Run.create(Path(sys.argv[1]), {"name": "demo", "stages": []}, seed=0)
    run.start_stage("rl")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        for step in range(10_000):
            run.log(step, {"value": step})
    except RunError as error:
        print(error)
    try:
        run.log_rollouts(0, [{"completion": "%032x" % (n * 7919 ** 9)} for n in range(5000)])
    except RunError as error:
        print(error)
    """
    pytest.importorskip("resource", reason="file size limits are a Unix thing")
    writer = start(script, tmp_path / "run")
    out, errors = writer.communicate(timeout=30)
    assert writer.returncode == 0, errors
    lines = out.splitlines()
    assert len(lines) == 2
    assert all("whole" in line and "--resume" in line for line in lines)
    run = Run.open(tmp_path / "run")
    steps = [row["step"] for row in run.metrics()]
    assert steps == list(range(len(steps)))
    assert len(steps) > 100
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes().endswith(b"}\n")
    assert list(run.rollouts()) == []
