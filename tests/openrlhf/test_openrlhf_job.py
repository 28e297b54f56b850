"""A job's processes: whatever way it ends, none is left; and what it writes reaches the run, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from r1env.errors import TrainingStoppedError
from r1env.runs.run import Run
from r1env_openrlhf.config import JobSpec
from r1env_openrlhf.follow import RolloutFollower, TuningFollower, forget_after, newest_checkpoint, read_positions
from r1env_openrlhf.hooks import METRICS
from r1env_openrlhf.job import MARK, Interruption, Job, marked, stop_marked
from r1env_openrlhf.stage import follow, rewind
from r1env_trainers.rl.config import GRPOConfig

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

# These stand in for an interpreter. The first starts a process in a session of its own that ignores SIGTERM, as a daemon would, says so, and
# ends with its standard input.
FAMILY = """#!/bin/sh
setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
echo ready
cat >/dev/null
"""
DEAF = """#!/bin/sh
trap "" TERM INT
exec sleep 600
"""
LATE = """#!/bin/sh
trap "" TERM INT
sleep 0.5
exec sleep 600
"""
# Its environment is gone from /proc, as in Ray's workers, which give themselves a title.
UNMARKED = """#!/bin/sh
env -i sh -c 'trap "" TERM; while :; do sleep 1; done' &
exec env -i cat
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr("r1env_openrlhf.job.STOP_SECONDS", 0.5)
    monkeypatch.setattr("r1env_openrlhf.job.stop_marked", lambda mark, session: stop_marked(mark, session, patience=0.2))

    def make(interpreter: str = FAMILY) -> Job:
        path = tmp_path / "interpreter"
        path.write_text(interpreter)
        path.chmod(0o755)
        return Job(str(path), JobSpec(module="m", arguments=("a",), environment={}), tmp_path)

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
def test_nothing_of_a_job_is_left_however_it_ends(job, tmp_path, ending):
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


def in_session(session: int) -> list[int]:
    return marked("no mark at all", session)


@linux
def test_processes_that_have_lost_their_mark_are_found_by_their_session(job, tmp_path):
    with job(UNMARKED) as running:
        session = running._process.pid
        wait_for(lambda: len(in_session(session)) >= 2 and not marked(mark_of(tmp_path)))
    assert in_session(session) == []


@linux
@pytest.mark.parametrize("interpreter", [DEAF, LATE])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_deaf_to_signals_is_ended_by_force(job, interpreter, number):
    with pytest.raises((SystemExit, KeyboardInterrupt)), job(interpreter) as running:  # noqa: PT012 - the signal arrives when it will
        session = running._process.pid
        os.kill(os.getpid(), number)
        follow(running, NothingToFollow(), start_seconds=60)
    assert in_session(session) == []


class NothingToFollow:
    step = 0

    def read(self) -> None: ...


@linux
def test_processes_of_others_are_left_alone():
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "another"})
    try:
        assert stop_marked("this-one") == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@linux
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_between_the_start_of_a_job_and_its_bookkeeping_still_takes_it_down(job, number, raised, monkeypatch):
    started = []

    class SignalledPopen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self.pid)
            os.kill(os.getpid(), number)

    monkeypatch.setattr("r1env_openrlhf.job.subprocess.Popen", SignalledPopen)
    with pytest.raises(raised), job(DEAF) as running:
        follow(running, NothingToFollow(), start_seconds=60)
    assert in_session(started[0]) == []


class SignallingLock:
    """A lock, in whose hold a signal arrives."""

    def __init__(self, number: int) -> None:
        self._lock, self._number = threading.Lock(), number

    def acquire(self, blocking: bool = True) -> bool:
        taken = self._lock.acquire(blocking)
        number, self._number = self._number, 0
        os.kill(os.getpid(), number)  # 0 is no signal
        return taken

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@linux
def test_a_signal_while_pythons_lock_on_the_job_is_held_does_not_hang_the_way_out(job):
    """An exception there would leave the lock for ever, and with it everybody who waits for the job."""
    with pytest.raises(SystemExit), job(DEAF) as running:  # noqa: PT012 - the lock must be in place before the first look
        session = running._process.pid
        running._process._waitpid_lock = SignallingLock(signal.SIGTERM)
        follow(running, NothingToFollow(), start_seconds=60)
    assert in_session(session) == []


@linux
def test_a_ctrl_c_while_a_job_is_taken_down_does_not_cut_that_short(job):
    with pytest.raises(ZeroDivisionError), job(DEAF) as running:  # noqa: PT012 - what goes wrong must do so inside the job
        session = running._process.pid
        for delay in (0.2, 0.4):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        raise ZeroDivisionError
    assert in_session(session) == []


def test_a_signal_that_came_after_the_last_look_takes_effect_when_nothing_is_left(job):
    with pytest.raises(SystemExit) as ended, job(FAMILY):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM


def test_a_second_signal_does_not_wait():
    interruption = Interruption()
    with interruption:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        interruption.hold_off()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.raise_if_any()


def test_handlers_of_others_are_put_back(job):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with job():
        pass
    with (
        pytest.raises(FileNotFoundError),
        Job("/no/such/interpreter", JobSpec(module="m", arguments=(), environment={}), job().log.parent),
    ):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@linux
@pytest.mark.parametrize("swallows", [False, True])
def test_a_launcher_stops_when_whoever_started_it_is_gone_even_if_the_way_out_hangs(swallows):
    program = (
        "import threading, time, signal\n"
        "from r1env_openrlhf import launch\n"
        "launch.LEAVE_SECONDS = 1.0\n"
        "launch.stop_on_signals()\n"
        "threading.Thread(target=launch._stop_with_parent, args=('a-mark',), daemon=True).start()\n"
        "print('ready', flush=True)\n"
        + ("try:\n    time.sleep(60)\nexcept SystemExit:\n    time.sleep(60)\n" if swallows else "time.sleep(60)\n")
    )
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


CONFIG = GRPOConfig(model="tiny", env="sort-4", checkpoint={"every": 2}, log={"samples_every": 1})


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
    follower = RolloutFollower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1), {"kind": "eval", "step": 1, "time": 1.5, "metrics": {"eval_sort-4_pass1": 0.75}})
    follower.read()
    follower.read()
    first, second = run.metrics("rl")
    assert (first["step"], first["reward"], first["parts/exact"], first["unscored"]) == (1, 0.1, 0.5, 0.0)
    assert second["eval/accuracy"] == 0.75


def test_half_a_line_waits_for_its_other_half(run, folder):
    follower = RolloutFollower(run, CONFIG, folder, 0)
    line = json.dumps(step_row(1)) + "\n"
    (folder / METRICS).write_text(line[:20])
    follower.read()
    assert run.metrics("rl") == []
    (folder / METRICS).write_text(line)
    follower.read()
    assert [row["step"] for row in run.metrics("rl")] == [1]


def test_rollouts_go_with_the_step_that_they_were_played_for(run, folder):
    follower = RolloutFollower(run, CONFIG, folder, 0)
    rows = [
        {"time": when, "kind": "train", "task_id": name, "prompt": "", "completion": ""}
        for when, name in ((0.5, "a"), (1.5, "b"))
    ]
    write(folder / "samples" / "1.jsonl", *rows)
    write(folder / METRICS, step_row(1), step_row(2))
    follower.read()
    assert [(row["step"], row["task_id"]) for row in run.rollouts()] == [(1, "a"), (2, "b")]


def test_steps_of_sft_reach_the_run_under_our_names(run, folder):
    follower = TuningFollower(run, 2, folder, 0)
    values = {"gpt_loss": 9.0, "loss_mean": 1.5, "lr": 1e-4, "grad_norm": 2.0, "seconds": 0.5}
    write(folder / METRICS, *({"kind": "train", "step": step, "time": 0.0, "metrics": values} for step in (1, 2)))
    follower.read()
    assert [(row["step"], row["loss"], row["seconds/update"]) for row in run.metrics("rl")] == [(1, 1.5, 0.5), (2, 1.5, 0.5)]
    assert sorted(read_positions(folder)) == [0, 2]


def test_training_stops_when_scoring_fails_for_too_many(run, folder):
    follower = RolloutFollower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1, error=0.21))
    with pytest.raises(TrainingStoppedError, match="21% of the rollouts of step 1"):
        follower.read()


@pytest.mark.parametrize("broken", [{"loss_mean": None}, {"grad_norm": None}])
def test_a_job_whose_loss_is_not_finite_is_stopped_after_three_steps_in_a_row(run, folder, broken):
    follower = TuningFollower(run, 2, folder, 0)
    good = {"loss_mean": 1.5, "lr": 1e-4, "grad_norm": 2.0, "seconds": 0.5}
    values = {step: good | (broken if step in (2, 3, 5, 6, 7) else {}) for step in range(1, 9)}
    write(folder / METRICS, *({"kind": "train", "step": step, "time": 0.0, "metrics": values[step]} for step in values))
    with pytest.raises(TrainingStoppedError, match=r"step 7: .* not finite for 3 steps in a row"):
        follower.read()
    assert [row["step"] for row in run.metrics("rl")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_gradient_far_above_the_usual_is_reported_though_the_job_has_taken_the_step(run, folder, caplog):
    follower = TuningFollower(run, 2, folder, 0)
    norms = [2.0] * 12 + [3e5, 2.0]
    rows = [{"loss_mean": 1.5, "lr": 1e-4, "grad_norm": norm, "seconds": 0.5} for norm in norms]
    write(folder / METRICS, *({"kind": "train", "step": i, "time": 0.0, "metrics": row} for i, row in enumerate(rows, 1)))
    follower.read()
    assert "step 13: the gradient norm 3e+05 is far above those of earlier steps" in caplog.text
    assert [(event["step"], event["kind"]) for event in run.events()] == [(13, "spike")]


def test_a_resumed_job_tells_every_step_once(run, folder):
    """The first attempt had its newest checkpoint at step 4, reached step 5, and its last steps were never told to the run."""
    follower = RolloutFollower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1), step_row(2), step_row(3))
    follower.read()
    write(folder / METRICS, step_row(4), step_row(5))

    first = rewind(run, folder, 4)
    assert first == 2
    again = RolloutFollower(run, CONFIG, folder, first)
    write(folder / METRICS, step_row(5), step_row(6))
    again.read()
    assert [row["step"] for row in run.metrics("rl")] == [1, 2, 3, 4, 5, 6]
    assert sorted(read_positions(folder)) == [0, 2, 4, 6]


def test_a_stage_without_a_checkpoint_begins_again(run, folder):
    follower = RolloutFollower(run, CONFIG, folder, 0)
    write(folder / METRICS, step_row(1))
    follower.read()

    assert rewind(run, folder, newest_checkpoint(folder / "checkpoints")) == 0
    assert run.metrics("rl") == []
    assert (folder / METRICS).read_text() == ""


def test_the_newest_checkpoint_is_the_one_that_deepspeed_finished(tmp_path):
    assert newest_checkpoint(tmp_path) == 0
    (tmp_path / "latest").write_text("global_step40")
    assert newest_checkpoint(tmp_path) == 40


def test_forgetting_leaves_what_the_checkpoint_knows(folder):
    write(folder / METRICS, step_row(1), step_row(2), step_row(3))
    forget_after(folder, 2)
    assert [json.loads(line)["step"] for line in (folder / METRICS).read_text().splitlines()] == [1, 2]
