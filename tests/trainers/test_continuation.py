"""Runs that are interrupted, asked for a checkpoint, resumed twice, extended, or resumed with other settings. Small models."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from training_runs import assert_bit_for_bit, trained

import r1env
from r1env.api import create_run
from r1env.errors import RunError, TrainingStoppedError, UsageError
from r1env.recipes import continuation, execute, plan_training
from r1env.runs.owner import locked
from r1env.runs.run import Run
from r1env_trainers.model.checkpoint import list_checkpoints


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def sft(data, **settings):
    small = {"optim.lr": 1e-3, "optim.batch_size": 4, "optim.lr_schedule": "constant", "steps": 6, "checkpoint.every": 3}
    return plan_training("sft", overrides={"model": "tiny", "data": data, **small, **settings})


GRPO = {
    "preset": "tiny-cpu",
    "steps": 4,
    "eval.every": 2,
    "eval.limit": 4,
    "algo.advantage": "reinforce_pp",
    "algo.kl_coef": 0.1,
    "algo.ref_model_sync_steps": 2,
    "optim.mini_batches": 2,
    "checkpoint.every": 100,
    "sampling.prompts_per_step": 2,
    "sampling.group_size": 2,
    "sampling.max_new_tokens": 4,
}


# Interruption within a process: by signals that listeners send themselves.


def interrupted_by(plan, path, number, at_step, expected=KeyboardInterrupt) -> Run:
    run = create_run(plan, path, [])
    run.subscribe(lambda event: os.kill(os.getpid(), number) if event.step == at_step and "loss" in event.metrics else None)
    with pytest.raises(expected):
        execute(plan, run)
    return Run.open(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("trainer", ["sft", "grpo"])
def test_an_interrupted_run_is_checkpointed_and_resumes_bit_for_bit(trainer, number, data, tmp_path):
    plan = sft(data, **{"checkpoint.every": 0}) if trainer == "sft" else plan_training("grpo", overrides=GRPO)
    whole = trained(plan, tmp_path / "whole")
    run = interrupted_by(plan, tmp_path / "broken", number, at_step=3)
    assert [path.name for path in list_checkpoints(run.path / "checkpoints" / trainer)] == ["step-000003"]
    assert [row["step"] for row in run.metrics() if "loss" in row] == [1, 2, 3]
    execute(plan, run)
    assert_bit_for_bit(run, whole, trainer)


def test_an_interruption_during_sampling_keeps_the_last_finished_step(tmp_path, monkeypatch):
    import r1env_trainers.rl.loop as loop

    plan = plan_training("grpo", overrides=GRPO)
    whole = trained(plan, tmp_path / "whole")
    collect, steps = loop.collect, []

    def interrupted(*args, **kwargs):
        steps.append(args[4])
        if steps == [0, 1, 2]:
            os.kill(os.getpid(), signal.SIGTERM)
        return collect(*args, **kwargs)

    monkeypatch.setattr(loop, "collect", interrupted)
    run = create_run(plan, tmp_path / "broken", [])
    with pytest.raises(KeyboardInterrupt):
        execute(plan, run)
    # The evaluation at step 2 was logged before sampling began: it is taken back, and made again.
    assert [path.name for path in list_checkpoints(run.path / "checkpoints" / "grpo")] == ["step-000002"]
    execute(plan, Run.open(run.path))
    assert_bit_for_bit(Run.open(run.path), whole, "grpo")


def test_an_interruption_before_the_first_step_leaves_no_checkpoint(data, tmp_path, monkeypatch):
    import r1env_trainers.sft.loop as loop

    monkeypatch.setattr(loop, "_update", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    run = create_run(sft(data), tmp_path / "run", [])
    with pytest.raises(KeyboardInterrupt):
        execute(sft(data), run)
    assert list_checkpoints(run.path / "checkpoints" / "sft") == []


def test_a_checkpoint_is_written_on_demand_and_training_goes_on(data, tmp_path):
    plan = sft(data, **{"checkpoint.every": 0})
    run = create_run(plan, tmp_path / "run", [])
    run.subscribe(lambda event: os.kill(os.getpid(), signal.SIGUSR1) if event.step == 2 else None)
    execute(plan, run)
    assert [path.name for path in list_checkpoints(run.path / "checkpoints" / "sft")] == ["step-000002"]
    assert run.finished_stages() == ["sft"]


# The command line.


def program(*words, cwd):
    command = [sys.executable, "-m", "r1env", "train", *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
def test_a_signal_ends_the_command_with_a_checkpoint_and_its_exit_code(number, code, said, data, tmp_path):
    words = [
        "sft",
        "--model",
        "tiny",
        "--set",
        f"data={data}",
        "--steps",
        "5000",
        "--set",
        "checkpoint.every=0",
        "--output",
        "run",
    ]
    process = program(*words, cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < 5:
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"{said}; go on with: " in stderr
    (checkpoint,) = list_checkpoints(tmp_path / "run" / "checkpoints" / "sft")
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert checkpoint.name == f"step-{len(steps):06d}"
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_the_second_of_two_resumes_is_refused_and_every_step_is_told_once(data, tmp_path):
    run = interrupted_by(sft(data, steps=400), tmp_path / "run", signal.SIGTERM, at_step=3)
    first = program("--resume", "run", "--quiet", cwd=tmp_path)
    while not (run.path / "lock.json").read_text():
        time.sleep(0.02)
        assert first.poll() is None
    second = program("--resume", "run", "--quiet", cwd=tmp_path)
    _, stderr = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"being written by process {first.pid} on" in stderr
    assert first.wait(120) == 0
    assert [row["step"] for row in run.metrics()] == list(range(1, 401))


# Extension, and changed settings.


@pytest.mark.parametrize("trainer", ["sft", "grpo"])
def test_an_extended_run_is_bit_for_bit_the_one_that_was_longer_from_the_start(trainer, data, tmp_path):
    def plan(steps):
        if trainer == "sft":
            return sft(data, steps=steps)
        return plan_training("grpo", overrides={**GRPO, "checkpoint.every": 2, "steps": steps})

    whole = trained(plan(8), tmp_path / "whole")
    create_run(plan(4), tmp_path / "run", [])
    execute(plan(4), Run.open(tmp_path / "run"))
    run = r1env.train(resume=tmp_path / "run", steps=8)
    assert_bit_for_bit(run, whole, trainer)
    assert run.plan["stages"][0]["config"]["steps"] == 8


def test_a_run_without_a_checkpoint_cannot_be_extended_and_the_message_says_what_can_be_done(data, tmp_path):
    trained(sft(data, **{"checkpoint.every": 0}), tmp_path / "run")
    with pytest.raises(UsageError, match=r"its optimizer is gone; start a new run with --model .*checkpoints/sft/model"):
        continuation(Run.open(tmp_path / "run"), common={"steps": 9})
    with pytest.raises(UsageError, match="goes on only with more steps"):
        continuation(Run.open(tmp_path / "run"), common={"steps": 2})


def test_changes_on_resume_are_listed_and_allowed_or_refused_by_name(data, tmp_path):
    run = interrupted_by(sft(data), tmp_path / "run", signal.SIGTERM, at_step=3)
    allowed = continuation(run, overrides={"optim.lr": 1e-4, "checkpoint.every": 1}, common={"steps": 9})
    assert allowed.changes == ("sft.checkpoint.every: 3 → 1", "sft.optim.lr: 0.001 → 0.0001", "sft.steps: 6 → 9")
    for refused in ({"seed": 1}, {"optim.batch_size": 8}, {"data": "other.jsonl"}, {"optim.weight_decay": 0.1}):
        with pytest.raises(UsageError, match=f"cannot go on with another {next(iter(refused))}"):
            continuation(run, overrides=refused)


def test_an_edited_config_is_noticed(data, tmp_path):
    run = trained(sft(data), tmp_path / "run")
    edited = yaml.safe_load((run.path / "config.yaml").read_text())
    edited["stages"][0]["config"]["steps"] = 8
    (run.path / "config.yaml").write_text(yaml.safe_dump(edited))
    found = continuation(Run.open(run.path))
    assert (found.changes, found.again) == (("sft.steps: 6 → 8",), ("sft",))
    edited["stages"][0]["config"]["seed"] = 8
    (run.path / "config.yaml").write_text(yaml.safe_dump(edited))
    with pytest.raises(UsageError, match="another seed"):
        continuation(Run.open(run.path))


def test_a_run_goes_on_in_another_folder_than_it_began_in(tmp_path, data, monkeypatch):
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    elsewhere.mkdir()
    Path(data).rename(there / "rows.jsonl")
    (there / "mine.py").write_text("def mine(completion):\n    return float(len(completion))\n")
    monkeypatch.chdir(there)
    run = create_run(sft("rows.jsonl"), "run", [])
    assert run.plan["stages"][0]["config"]["data"] == str(there / "rows.jsonl")
    rubric = {"name": "mine", "rewards": [{"reward": "mine.py:mine"}]}
    stored = create_run(plan_training("grpo", overrides={**GRPO, "rubric": rubric}), "grpo", []).plan["stages"][0]["config"]
    assert stored["rubric"]["rewards"][0]["reward"] == f"{there / 'mine.py'}:mine"
    assert (stored["model"], stored["env"]) == ("tiny", "sort-4")
    monkeypatch.chdir(elsewhere)
    assert r1env.train(resume=there / "run").finished_stages() == ["sft"]


def test_a_locked_run_is_not_resumed(data, tmp_path):
    run = interrupted_by(sft(data), tmp_path / "run", signal.SIGTERM, at_step=3)
    with locked(run.path), pytest.raises(RunError, match="being written by this process"):
        r1env.train(resume=run.path)


# A GPU that fails: simulated by the exception that torch makes of it.


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_a_device_that_fails_is_named_with_the_last_checkpoint_and_the_run_goes_on_from_it(data, tmp_path, monkeypatch, error):
    from r1env_trainers.sft import loop

    plan, clean, calls = sft(data), loop.completion_logprobs, []

    def fails_in_the_fifth_step(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise error
        return clean(*arguments)

    whole = trained(plan, tmp_path / "whole")
    monkeypatch.setattr(loop, "completion_logprobs", fails_in_the_fifth_step)
    run = create_run(plan, tmp_path / "run", [])
    with pytest.raises(
        TrainingStoppedError, match=r"failed after step 4: CUDA error: .*; the last good checkpoint is .*3; once"
    ):
        execute(plan, run)
    again = Run.open(run.path)
    execute(plan, again)
    assert_bit_for_bit(again, whole, "sft")
