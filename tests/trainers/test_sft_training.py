"""SFT as a user runs it: mixtures, epochs, what is measured on the way, when it stops, and resuming. Small models, real training."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from chat_templates import CHATML, LLAMA3, tokenizer_of
from training_runs import assert_bit_for_bit, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.preflight import PreflightError
from r1env.recipes import check_plan, execute, plan_training
from r1env.runs.run import Run
from r1env_trainers.model.checkpoint import list_checkpoints
from r1env_trainers.model.load import LoadedModel, load_model
from r1env_trainers.model.session import learning_rate
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import open_demonstrations, prepare, steps_of
from r1env_trainers.sft.loop import learn_to_stop


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
    assert [(row["kind"], row["step"]) for row in run.rollouts(["kind", "step"])] == [("eval", 0)] * 8 + [("eval", 5)] * 8


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


# Pre-flight: no fault of a row waits for the step that draws it.


def with_row(path, row, count=40):
    """A file with a faulty row among good ones."""
    write(path, "a", count)
    lines = path.read_text().splitlines()
    lines.insert(count // 2, json.dumps(row))
    path.write_text("\n".join(lines))
    return str(path)


LONG = {"prompt": "a?", "completion": "1" * 300}


def test_a_long_row_stops_the_run_before_its_first_step_with_its_number(tmp_path):
    data = with_row(tmp_path / "a.jsonl", LONG)
    with pytest.raises(
        PreflightError, match=r"a\.jsonl: 1 of 41 are too long, the first: .*a\.jsonl, line 21: 303 tokens, max_length 128"
    ):
        train(tmp_path / "run", data=data, max_length=128, epochs=1, optim={"batch_size": 8})
    run = Run.open(tmp_path / "run")
    assert run.metrics() == []
    assert list_checkpoints(run.path / "checkpoints" / "sft") == []


@pytest.mark.parametrize(("too_long", "rows"), [("skip", 40), ("truncate", 41)])
def test_long_rows_are_left_out_or_cut_where_the_settings_say_so_and_counted(tmp_path, caplog, too_long, rows):
    data = with_row(tmp_path / "a.jsonl", LONG)
    config = SFTConfig(model="tiny", data=data, max_length=128, too_long=too_long)
    kept = prepare(open_demonstrations(config), build_tokenizer(), config)
    assert kept.size == rows
    assert "1 of 41 are too long" in caplog.text
    run = train(tmp_path / "run", data=data, max_length=128, too_long=too_long, epochs=1, optim={"batch_size": 41})
    assert [row["step"] for row in run.metrics()] == [1]


def test_the_context_of_the_model_is_a_limit_too(tmp_path):
    data = with_row(tmp_path / "a.jsonl", LONG)
    with pytest.raises(PreflightError, match="line 21: 303 tokens, max_length 256"):
        train(tmp_path / "run", data=data, steps=2)


def test_an_empty_answer_is_named(tmp_path):
    data = with_row(tmp_path / "a.jsonl", {"prompt": "a?", "completion": " "})
    with pytest.raises(PreflightError, match=r"1 of 41 have an empty answer, the first: .*line 21; they teach to say nothing"):
        train(tmp_path / "run", data=data, steps=2)
    train(tmp_path / "reported", data=data, steps=2, preflight={"mode": "report"})


def test_a_row_that_the_template_cannot_show_is_named_or_left_out(tmp_path, caplog):
    refusing = tokenizer_of(
        LLAMA3.replace("not in ('system', 'user', 'assistant')", "== 'user' and m.content == 'bad'").replace(
            "roles are system, user and assistant", "no"
        )
    )
    data = with_row(tmp_path / "a.jsonl", {"prompt": "bad", "completion": "1"})
    config = SFTConfig(model="tiny", data=data)
    with pytest.raises(PreflightError, match=r"line 21: .*TemplateError: no"):
        prepare(open_demonstrations(config), refusing, config)
    reporting = config.updated({"preflight.mode": "report"})
    assert prepare(open_demonstrations(reporting), refusing, reporting).size == 40
    assert "1 rows are left out" in caplog.text


def test_the_rules_that_were_needed_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    answer = {"role": "assistant", "content": "1", "reasoning_content": "b"}
    config = SFTConfig(model="tiny", data=with_row(tmp_path / "a.jsonl", {"prompt": "a", "completion": [answer]}))
    prepare(open_demonstrations(config), tokenizer_of(LLAMA3), config)
    assert "thinking put into the content, between <think> tags: 1 rows" in caplog.text


def test_a_mixture_and_held_out_rows_are_checked_too(tmp_path):
    good, bad = write(tmp_path / "a.jsonl", "a", 10), with_row(tmp_path / "b.jsonl", LONG, 2)
    with pytest.raises(PreflightError, match=r"b\.jsonl, line 2: "):
        train(tmp_path / "mixed", data=[{"data": good, "weight": 99}, {"data": bad, "weight": 1}], steps=2, max_length=128)
    with pytest.raises(PreflightError, match=r"eval\.data: .*b\.jsonl, line 2: "):
        train(tmp_path / "held-out", data=good, eval={"data": bad, "every": 5}, steps=2, max_length=128)


def test_without_pre_flight_a_long_row_is_met_at_its_step_and_named_all_the_same(tmp_path):
    data = with_row(tmp_path / "a.jsonl", LONG)
    settings = {"max_length": 128, "epochs": 1, "preflight": {"mode": "off"}}
    with pytest.raises(UsageError, match=r"a\.jsonl, line 21 has 303 tokens, more than max_length 128"):
        train(tmp_path / "run", data=data, **settings)


def test_a_prompt_that_fills_max_length_is_left_out_where_rows_are_cut(tmp_path, caplog):
    data = with_row(tmp_path / "a.jsonl", {"prompt": "1" * 200, "completion": "1"})
    config = SFTConfig(model="tiny", data=data, max_length=128, too_long="truncate")
    assert prepare(open_demonstrations(config), build_tokenizer(), config).size == 40
    assert "1 of 41 have a prompt that leaves no room for an answer: they are left out; raise max_length" in caplog.text


def test_a_model_stops_at_the_tokenizer_s_end_too_and_its_settings_can_be_saved(tmp_path, caplog):
    loaded = load_model("tiny")
    settings = loaded.model.generation_config
    settings.eos_token_id, settings.temperature, settings.do_sample = 5, 0.6, False
    learn_to_stop(loaded)  # transformers would refuse to save what it only warns about while nothing has changed
    assert settings.eos_token_id == sorted({5, loaded.tokenizer.eos_token_id})
    assert "it is saved with do_sample=true" in caplog.text
    loaded.model.save_pretrained(tmp_path)


def test_a_model_that_learns_the_template_s_end_of_turn_stops_at_it():
    loaded = load_model("tiny")
    before = loaded.model.generation_config.eos_token_id
    learn_to_stop(loaded)  # its template ends no turn
    assert loaded.model.generation_config.eos_token_id == before
    other = LoadedModel(loaded.model, tokenizer_of(CHATML))
    learn_to_stop(other)
    assert other.tokenizer.convert_tokens_to_ids("<|im_end|>") in loaded.model.generation_config.eos_token_id
