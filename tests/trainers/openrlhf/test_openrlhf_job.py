"""A job's processes: whatever way it ends, none is left; and what it writes reaches the run, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1env.errors import TrainingStoppedError
from r1env.runs.run import Run
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.openrlhf import launch
from r1env_trainers.openrlhf.follow import Follower, forget_after, newest_checkpoint, read_positions
from r1env_trainers.openrlhf.job import Job, stopping_on_sigterm
from r1env_trainers.openrlhf.marked import MARK, marked, stop_marked
from r1env_trainers.openrlhf.spec import JobSpec
from r1env_trainers.openrlhf.worker import METRICS

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

# Stands in for an interpreter: starts a process in a session of its own that ignores SIGTERM, as a daemon would, says so, and waits.
FAMILY = """#!/bin/sh
setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
echo ready
cat >/dev/null
{end}
"""


@pytest.fixture
def job(tmp_path):
    def make(end: str = "exit 0") -> Job:
        interpreter = tmp_path / "interpreter"
        interpreter.write_text(FAMILY.format(end=end))
        interpreter.chmod(0o755)
        return Job(str(interpreter), JobSpec(module="m", arguments=("a",), environment={}), tmp_path)

    return make


def wait_for(found, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


def mark_of(folder: Path) -> str:
    return json.loads((folder / "job.json").read_text())["environment"][MARK]


@linux
@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, SystemExit])
def test_nothing_of_a_job_is_left_however_it_ends(job, tmp_path, ending, monkeypatch):
    monkeypatch.setattr("r1env_trainers.openrlhf.job.stop_marked", lambda mark: stop_marked(mark, patience=0.2))

    def run_it():
        with job():
            wait_for(lambda: len(marked(mark_of(tmp_path))) >= 3)
            if ending is not None:
                raise ending

    if ending is None:
        run_it()
    else:
        with pytest.raises(ending):
            run_it()
    assert marked(mark_of(tmp_path)) == []


@linux
def test_processes_of_others_are_left_alone():
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "another"})
    try:
        assert stop_marked("this-one") == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_sigterm_becomes_an_exception_so_that_the_job_is_taken_down():
    with pytest.raises(SystemExit) as ended, stopping_on_sigterm():  # noqa: PT012 - the signal arrives when it will
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert ended.value.code == 128 + signal.SIGTERM


@linux
def test_a_launcher_stops_when_whoever_started_it_is_gone(tmp_path):
    program = (
        "import threading, time, signal\n"
        "from r1env_trainers.openrlhf import launch\n"
        "signal.signal(signal.SIGTERM, launch._stop)\n"
        "threading.Thread(target=launch._stop_with_parent, daemon=True).start()\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    assert launch.__file__
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(30) == 128 + signal.SIGTERM
    process.stdout.close()


def test_the_reason_is_found_in_the_log(job, tmp_path):
    made = job()
    made.log.write_text(
        "loading\nFutureWarning: an Error that is none, warning\nRayTaskError(ValueError): no such thing\nbye\n"
    )
    assert made.complaint() == "RayTaskError(ValueError): no such thing"


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run", {"stages": []}, seed=0)
    run.start_stage("rl")
    return run


@pytest.fixture
def folder(run):
    folder = run.checkpoint_dir / "openrlhf"
    (folder / "samples").mkdir(parents=True)
    return folder


CONFIG = GRPOConfig(model="tiny", env="sort-4", checkpoint_every=2, samples_every=1)


def step_row(step: int, *, error: float = 0.0) -> dict:
    metrics = {
        "rollout/reward_mean": step / 10,
        "rollout/num_samples": 64.0,
        "error": error,
        "parts/exact": 0.25,
        "scored/parts/exact": 0.5,
    }
    return {"kind": "train", "step": step, "time": float(step), "metrics": metrics}


def write(path: Path, *rows: dict) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_steps_and_evaluations_reach_the_run_under_our_names(run, folder):
    follower = Follower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1), {"kind": "eval", "step": 1, "time": 1.5, "metrics": {"eval_sort-4_pass1": 0.75}})
    follower.read()
    follower.read()
    first, second = run.metrics("rl")
    assert (first["step"], first["reward"], first["parts/exact"], first["unscored"]) == (1, 0.1, 0.5, 0.0)
    assert second["eval/accuracy"] == 0.75


def test_half_a_line_waits_for_its_other_half(run, folder):
    follower = Follower(run, CONFIG, folder, 0)
    line = json.dumps(step_row(1)) + "\n"
    (folder / METRICS).write_text(line[:20])
    follower.read()
    assert run.metrics("rl") == []
    (folder / METRICS).write_text(line)
    follower.read()
    assert [row["step"] for row in run.metrics("rl")] == [1]


def test_rollouts_go_with_the_step_that_they_were_played_for(run, folder):
    follower = Follower(run, CONFIG, folder, 0)
    rows = [
        {"time": when, "kind": "train", "task_id": name, "prompt": "", "completion": "", "score": {}}
        for when, name in ((0.5, "a"), (1.5, "b"))
    ]
    write(folder / "samples" / "1.jsonl", *rows)
    write(folder / METRICS, step_row(1), step_row(2))
    follower.read()
    assert [(row["step"], row["task_id"]) for row in run.rollouts()] == [(1, "a"), (2, "b")]


def test_training_stops_when_scoring_fails_for_too_many(run, folder):
    follower = Follower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1, error=0.21))
    with pytest.raises(TrainingStoppedError, match="21% of the rollouts of step 1"):
        follower.read()


def test_a_resumed_job_tells_every_step_once(run, folder):
    """The first attempt had its newest checkpoint at step 4, reached step 5, and its last steps were never told to the run."""
    follower = Follower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1), step_row(2), step_row(3))
    follower.read()
    write(folder / METRICS, step_row(4), step_row(5))

    from r1env_trainers.openrlhf.backend import _rewind

    first = _rewind(run, folder, 4)
    assert first == 2
    again = Follower(run, CONFIG, folder, first)
    write(folder / METRICS, step_row(5), step_row(6))
    again.read()
    assert [row["step"] for row in run.metrics("rl")] == [1, 2, 3, 4, 5, 6]
    assert sorted(read_positions(folder)) == [0, 2, 4, 6]


def test_a_stage_without_a_checkpoint_begins_again(run, folder):
    follower = Follower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1))
    follower.read()

    from r1env_trainers.openrlhf.backend import _rewind

    assert _rewind(run, folder, newest_checkpoint(folder / "checkpoints")) == 0
    assert run.metrics("rl") == []
    assert (folder / METRICS).read_text() == ""


def test_the_newest_checkpoint_is_the_one_that_deepspeed_finished(tmp_path):
    assert newest_checkpoint(tmp_path) == 0
    (tmp_path / "_actor").mkdir()
    (tmp_path / "_actor" / "latest").write_text("global_step40")
    assert newest_checkpoint(tmp_path) == 40


def test_forgetting_leaves_what_the_checkpoint_knows(folder):
    write(folder / METRICS, step_row(1), step_row(2), step_row(3))
    forget_after(folder, 2)
    assert [json.loads(line)["step"] for line in (folder / METRICS).read_text().splitlines()] == [1, 2]
