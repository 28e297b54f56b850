"""OpenRLHF's unmodified trainers with Ray, vLLM and DeepSpeed, run for real on a CPU by `r1env train`.

R1ENV_OPENRLHF_PYTHON is the interpreter of the environment that `tools/openrlhf-cpu-env.sh` makes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from r1env.envs.suite import make_suite
from r1env.runs.run import Run
from r1env_openrlhf.job import MARK, marked
from r1env_trainers.model.load import load_model

INTERPRETER = os.environ.get("R1ENV_OPENRLHF_PYTHON")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.xdist_group("machine"),
    pytest.mark.skipif(not INTERPRETER, reason="R1ENV_OPENRLHF_PYTHON is not set: `make openrlhf-cpu` makes the environment"),
]

PATIENCE = 900.0
"""Seconds for a job, most of them for seven processes that import torch on two cores."""

COMMON = {
    **{
        "model": "tiny",
        "backend": "openrlhf",
        "device": "cpu",
        "optim.lr": 1e-3,
        "optim.warmup_steps": 0,
        "algo.advantage": "grpo",
    },
    **{"sampling.prompts_per_step": 8, "sampling.group_size": 8, "log.samples_every": 1},
}


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`r1env train`, with the rewards of this folder within its reach and its jobs'."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", "from r1env.cli.main import main; main()", "train", *map(str, arguments)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, process_group=0)
    try:
        yield process
    finally:
        process.kill()


def new_run(trainer: str, folder: Path, **settings) -> list[str | Path]:
    settings = {**settings, "openrlhf.python": INTERPRETER, "openrlhf.start_seconds": PATIENCE}
    return [trainer, "--output", folder, *(f"--set={name}={json.dumps(value)}" for name, value in settings.items())]


def wait_for_step(process: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(row["step"] >= step for row in steps_of(folder)):
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.2)


def steps_of(folder: Path) -> list[dict]:
    return [row for row in Run.open(folder).metrics() if "loss" in row] if (folder / "state.json").exists() else []


def mark_of(folder: Path) -> str:
    (path,) = folder.glob("checkpoints/*/openrlhf/job.json")
    return json.loads(path.read_text())["environment"][MARK]


def left_of(folder: Path) -> list[int]:
    return marked(mark_of(folder))


def stop(process: subprocess.Popen[bytes], folder: Path, number: signal.Signals, status: int) -> None:
    """Send a signal as a terminal or an operator would; nothing of the job is left."""
    running = left_of(folder)
    assert running
    sessions = {os.getsid(each) for each in running}  # Ray's workers are known by theirs alone
    assert os.getsid(0) not in sessions
    os.killpg(process.pid, number)
    assert process.wait(120) == status
    assert [left for session in sessions for left in marked(mark_of(folder), session)] == []


def train_until(step: int, number: signal.Signals, status: int, folder: Path, trainer: str, **settings) -> None:
    """Begin a run, and end it with a signal once it has done a step."""
    with started(*new_run(trainer, folder, **settings)) as process:
        wait_for_step(process, folder, step)
        stop(process, folder, number, status)


def resume(folder: Path, steps: int) -> list[dict]:
    """Go on to the last step; every step is there once, and nothing of the job is left."""
    with started("--resume", folder) as process:
        assert process.wait(PATIENCE) == 0
    assert left_of(folder) == []
    rows = steps_of(folder)
    assert [row["step"] for row in rows] == [*range(1, steps + 1)]
    return rows


def mean(rows: list[dict], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def treacherous_seed(steps: int) -> int:
    """A seed under which the tasks of a run bring out every fault of the reward `treacherous`."""
    from openrlhf_faults import FAULTS

    suite = make_suite("sort-4", style="compact")
    count = steps * COMMON["sampling.prompts_per_step"]
    return next(
        seed for seed in range(1000) if set(FAULTS) <= {(suite.at(place, seed)[1].answer or "")[-1] for place in range(count)}
    )


def test_the_reward_rises_through_faulty_rewards_a_sigterm_and_a_resume(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    folder, steps = tmp_path / "run", 24
    rubric = {
        "name": "r",
        "rewards": [
            {"reward": f"openrlhf_faults:{name}", "weight": weight} for name, weight in (("digits", 1.0), ("treacherous", 0.1))
        ],
    }
    settings = {
        **{
            "env": "sort-4",
            "env_options": {"style": "compact"},
            "rubric": rubric,
            "steps": steps,
            "sampling.max_new_tokens": 8,
        },
        **{"seed": treacherous_seed(steps), "checkpoint.every": 6, "max_failed": 0.9, "eval.every": 12, "eval.limit": 8},
    }
    train_until(8, signal.SIGTERM, 143, folder, "grpo", **COMMON, **settings)
    rows = resume(folder, steps)
    assert mean(rows[-4:], "parts/digits") > mean(rows[:4], "parts/digits") + 0.15
    assert sum(row["unscored"] for row in rows) >= 3 * COMMON["sampling.group_size"]  # each fault, for a whole group
    assert all(row["parts/treacherous"] == 1.0 for row in rows)  # the mean over those that have a score

    run = Run.open(folder)
    evaluations = [row["step"] for row in run.metrics() if "eval/accuracy" in row]
    assert evaluations == [12, 24]
    assert {row["kind"] for row in run.rollouts()} == {"train", "eval"}
    assert load_model(str(run.model_dir("grpo"))).parameters == load_model("tiny").parameters


def test_a_model_learns_in_several_turns_until_ctrl_c(tmp_path):
    folder = tmp_path / "run"
    settings = {
        **{"env": "guess-number", "env_options": {"style": "compact", "highest": 9}, "steps": 1000},
        **{"sampling.max_new_tokens": 2, "checkpoint.every": 0, "openrlhf.reply_tokens": 2},
        "rubric": {"name": "r", "rewards": [{"reward": "openrlhf_faults:digits"}, {"reward": "accuracy", "weight": 0.1}]},
    }
    train_until(24, signal.SIGINT, 130, folder, "grpo", **COMMON, **settings)
    rows = steps_of(folder)[:24]
    assert mean(rows[-4:], "reward") > mean(rows[:4], "reward") + 0.1
    assert 1 < rows[0]["turns"] <= 7
    assert mean(rows, "unscored") == 0


def test_two_processes_learn_demonstrations_through_ctrl_c_and_a_resume(tmp_path):
    folder, steps = tmp_path / "run", 30
    settings = {
        **{"preset": "tiny-cpu", "backend": "openrlhf", "device": "cpu", "openrlhf.gpus": 2},
        **{"steps": steps, "optim.batch_size": 16, "optim.micro_batch_size": 4, "optim.warmup_steps": 0, "checkpoint.every": 5},
    }
    train_until(7, signal.SIGINT, 130, folder, "sft", **settings)
    rows = resume(folder, steps)
    assert mean(rows[-4:], "loss") < 0.6 * mean(rows[:4], "loss")
    assert load_model(str(Run.open(folder).model_dir("sft"))).parameters == load_model("tiny").parameters
