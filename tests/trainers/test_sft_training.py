"""SFT as a user runs it: mixtures, epochs, what is measured on the way, when it stops, and resuming. Small models, real training."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from training_runs import assert_bit_for_bit, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env_trainers.model.session import learning_rate
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import open_demonstrations, steps_of


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def write(path, letter, count):
    path.write_text("".join(json.dumps({"prompt": f"{letter}{i}?", "completion": f"{i}"}) + "\n" for i in range(count)))
    return str(path)


def train(path, **settings):
    plan = plan_training("sft", overrides={"model": "tiny", "optim.lr": 1e-3, "checkpoint.every": 0, **settings})
    check_plan(plan)
    return trained(plan, path)


def letters(config, count):
    demonstrations = open_demonstrations(config)
    return Counter(demonstrations.at(i).prompt[0]["content"][0] for i in range(count))


def test_files_with_weights_are_mixed_by_them_whatever_their_sizes(tmp_path):
    a, b = write(tmp_path / "a.jsonl", "a", 3), write(tmp_path / "b.jsonl", "b", 50)
    config = SFTConfig(model="tiny", data=[{"data": a, "weight": 3}, {"data": b, "weight": 1}])
    found = letters(config, 400)
    assert found["a"] == pytest.approx(300, abs=2)


def test_files_without_weights_are_one_file(tmp_path):
    a, b = write(tmp_path / "a.jsonl", "a", 3), write(tmp_path / "b.jsonl", "b", 5)
    assert letters(SFTConfig(model="tiny", data=[a, b]), 8) == {"a": 3, "b": 5}


def test_epochs_are_turned_into_steps(tmp_path):
    data = write(tmp_path / "a.jsonl", "a", 10)
    config = SFTConfig(model="tiny", data=data, epochs=2, optim={"batch_size": 4})
    assert steps_of(config, open_demonstrations(config)) == 5
    run = train(tmp_path / "run", data=data, epochs=2, optim={"batch_size": 4, "warmup_steps": 0})
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4, 5]
    assert run.metrics()[-1]["lr"] == pytest.approx(
        learning_rate(4, peak=1e-3, warmup=0, total=5, schedule="cosine", floor=0.1)
    )


def test_the_loss_on_held_out_demonstrations_is_measured_and_falls(tmp_path):
    data, held_out = write(tmp_path / "a.jsonl", "a", 40), write(tmp_path / "h.jsonl", "a", 10)
    run = train(tmp_path / "run", data=data, eval={"data": held_out, "every": 10}, steps=20, optim={"batch_size": 16})
    losses = {row["step"]: row["eval/loss"] for row in run.metrics() if "eval/loss" in row}
    assert list(losses) == [0, 10, 20]
    assert losses[20] < losses[10] < losses[0]


SORTING = {"preset": "tiny-cpu", "eval.every": 5, "eval.limit": 8, "eval.max_new_tokens": 12, "optim.batch_size": 8}


def test_a_cold_start_stops_at_the_accuracy_it_was_given(tmp_path, monkeypatch):
    reached = iter([0.0, 0.1, 0.3, 0.5])
    monkeypatch.setattr("r1env_trainers.sft.loop.log_accuracy", lambda *_, **__: next(reached))
    run = train(tmp_path / "run", **SORTING, eval={"stop_accuracy": 0.3})
    assert [row["step"] for row in run.metrics()][-1] == 10
    assert run.model_dir("sft").is_dir()


def test_the_accuracy_of_an_environment_is_measured_by_sampling(tmp_path):
    run = train(tmp_path / "run", **SORTING, steps=5, eval={"env_options": {"split": "test"}})
    measured = [row for row in run.metrics() if "eval/accuracy" in row]
    assert [row["step"] for row in measured] == [0, 5]
    assert all(0 <= row["eval/accuracy"] <= 1 for row in measured)
    assert sum(row["kind"] == "eval" for row in run.rollouts()) == 8


def test_a_run_with_a_token_budget_resumes_bit_for_bit(tmp_path):
    data = write(tmp_path / "a.jsonl", "a", 20)
    settings = {"data": data, "eval.data": data, "eval.every": 3, "optim.batch_size": 8, "optim.micro_batch_tokens": 40}
    plan = plan_training("sft", overrides={"model": "tiny-gpt2", "steps": 6, "checkpoint.every": 2, **settings})
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", at_step(5))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "sft")


def test_a_stage_s_data_need_not_be_there_when_the_plan_is_checked():
    plan = plan_training("sft", overrides={"model": "tiny", "data": "stage:samples/data.jsonl"})
    with pytest.raises(UsageError, match="refers to 'stage:samples"):
        check_plan(plan)  # no such stage: but it was not the file that was looked for


@pytest.mark.parametrize(
    ("size", "lr"), [("1.5b", 1e-4), ("7b", 8e-5), ("8b", 5e-5), ("14b", 7e-5), ("32b", 6e-5), ("70b", 2e-5)]
)
def test_the_presets_of_distillation_have_the_published_numbers(size, lr):
    (stage,) = plan_training("sft", preset=f"distill-{size}", overrides={"data": "d.jsonl"}).stages
    config = SFTConfig(**stage.config)
    assert (config.optim.lr, config.optim.lr_schedule, config.optim.min_lr_ratio) == (lr, "cosine", 0.1)
    assert (config.optim.batch_size, config.max_length) == (64, 32_768)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "d", "env": "sort-4"}, "give either data"),
        ({"env": "sort-4", "demonstrator": "a:b", "epochs": 1}, "epochs are of data files"),
        ({"data": "d", "eval.every": 5}, "needs something to measure"),
        ({"data": "d", "eval.data": "h"}, "eval.data needs eval.every"),
        ({"data": "d", "eval.data": "h", "eval.every": 5, "eval.stop_accuracy": 0.3}, "eval.stop_accuracy needs eval.env"),
        ({"data": "d", "eval.env": "sort-4", "eval.stop_accuracy": 0.3}, "eval.stop_accuracy needs eval.every"),
        ({"data": "d", "optim.micro_batch_size": 4, "optim.micro_batch_tokens": 40}, "not both"),
        ({"data": []}, "the list of data files is empty"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SFTConfig(model="tiny", **settings)
