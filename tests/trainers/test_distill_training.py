"""Distillation as a user runs it: the student gets nearer to its teacher, either way, and resumes bit by bit."""

from __future__ import annotations

import json

import pytest
import torch
from training_runs import assert_bit_for_bit, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env_trainers.distill.config import DistillConfig
from r1env_trainers.model.checkpoint import list_checkpoints
from r1env_trainers.model.load import load_model

SMALL = {"steps": 6, "optim.batch_size": 16, "checkpoint.every": 2, "eval.every": 3, "eval.limit": 8}
METHODS = {
    "sft": {
        "sampling.prompts": 24,
        "sampling.n": 4,
        "sampling.prompts_per_batch": 8,
        "keep": {"threshold": 0, "per_prompt": 4},
    },
    "exact": {"method": "on_policy", "sampling.n": 4},
    "sampled": {"method": "on_policy", "sampling.n": 4, "divergence": "sampled"},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def plan_distillation(method, **settings):
    return plan_training("distill", preset="tiny-cpu", overrides={**SMALL, **METHODS[method], **settings})


def samples_told(number):
    """True at the `number`-th batch of the teacher's samples."""
    told = []

    def when(event):
        told.extend([event] if "samples/kept" in event.metrics else [])
        return len(told) == number and "samples/kept" in event.metrics

    return when


MOMENTS = {
    "while the teacher answers": ("sft", lambda: samples_told(2)),
    "before the first checkpoint": ("sft", lambda: at_step(1)),
    "after a checkpoint": ("sft", lambda: at_step(5)),
    "on-policy": ("exact", lambda: at_step(5)),
}


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=[] if moment == "on-policy" else pytest.mark.slow) for moment in MOMENTS]
)
def test_a_run_that_was_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_one(tmp_path, moment):
    method, when = MOMENTS[moment]
    plan = plan_distillation(method)
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", when())
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "distill")
    assert list_checkpoints(whole.path / "checkpoints" / "distill")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_on_policy_distillation_brings_the_student_nearer_to_its_teacher(tmp_path, method):
    """The teacher is untrained, but it is somebody else: its distribution can be learnt."""
    plan = plan_distillation(method, steps=15, eval={"every": 0}, optim={"batch_size": 32, "lr": 3e-3})
    run = trained(plan, tmp_path / "run")
    kl = [row["kl"] for row in run.metrics()]
    assert sum(kl[-3:]) < 0.7 * sum(kl[:3])


def test_the_teachers_samples_are_kept_with_the_run_and_told_apart_from_the_students_steps(tmp_path):
    plan = plan_distillation("sft")
    run = trained(plan, tmp_path / "run")
    rows = [json.loads(line) for line in run.stage_file("data.jsonl", "distill").read_text().splitlines()]
    (samples,) = run.manifest["stages"]["distill"]["samples"]
    assert samples["kept"] == len(rows)
    assert {row["step"] for row in run.metrics() if "samples/kept" in row} == {0}
    assert [row["step"] for row in run.metrics() if "loss" in row] == list(range(1, 7))
    student = load_model(str(run.model_dir("distill")))
    assert student.model.config.model_type == "gpt2"  # the teacher is a Llama


def test_a_teacher_with_another_tokenizer_is_refused_on_policy_and_welcome_otherwise(tmp_path):
    with pytest.raises(UsageError, match="their tokenizers differ"):
        trained(plan_distillation("exact", teacher="tiny"), tmp_path / "refused")
    run = trained(plan_distillation("sft", teacher="tiny", steps=1, preflight={"mode": "report"}), tmp_path / "run")
    assert run.finished_stages() == ["distill"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": None, "env_options": {}}, "give env"),
        ({"method": "on_policy", "sampling.n": 3}, r"optim.batch_size=16 does not divide into groups of sampling.n=3"),
        ({"method": "on_policy", "sampling.n": 4, "epochs": 2}, "epochs belongs to method 'sft'"),
        ({"method": "on_policy", "sampling.n": 4, "engine.name": "vllm"}, "needs the teacher's probabilities"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    base = {"model": "tiny-gpt2", "teacher": "tiny-2m", "env": "sort-4", "optim.batch_size": 16}
    with pytest.raises(ValueError, match=message):
        DistillConfig(**{**base, **settings})


def test_distill_vs_rl_gives_both_ways_one_start_and_as_many_steps():
    plan = plan_training("distill-vs-rl")
    check_plan(plan)
    stages = {stage.name: stage.config for stage in plan.stages}
    ways = [stages[name] for name in ("rl", "distilled", "distilled-on-policy")]
    assert {way["model"] for way in ways} == {"stage:start"}
    assert len({way["steps"] for way in ways}) == 1
    assert (
        stages["rl"]["sampling"]["prompts_per_step"] * stages["rl"]["sampling"]["group_size"]
        == stages["distilled"]["optim"]["batch_size"]
    )
    assert stages["table"]["env_options"]["split"] == "test"
    assert set(stages["table"]["costs"]) < set(stages["table"]["models"])


@pytest.mark.nightly
def test_distill_vs_rl_runs_to_its_table_and_the_teacher_pays_off(tmp_path):
    plan = plan_training("distill-vs-rl")
    run = trained(plan, tmp_path / "run")
    table = json.loads(run.stage_file("table.json", "table").read_text())
    rows = {row["model"]: row for row in table["data"]}
    accuracy = {name: row["environments"]["sort-4"]["accuracy"] for name, row in rows.items()}
    assert accuracy["student at the start"] < 0.2
    assert accuracy["distilled from samples"] > accuracy["student at the start"] + 0.3
    assert accuracy["distilled on-policy"] > accuracy["student at the start"] + 0.3
    assert all(
        rows[name]["updates"] == 40 for name in ("reinforcement learning", "distilled from samples", "distilled on-policy")
    )
    assert all(rows[name]["sampled_tokens"] > 0 for name in ("reinforcement learning", "distilled from samples"))
