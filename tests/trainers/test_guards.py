"""A NaN at any stage of training: it never reaches the weights, is counted and shown, and ends a run that cannot go on."""

import json
import logging
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import assert_same_weights, trained

from r1env.errors import RunError, TrainingStoppedError, UsageError
from r1env.monitoring import Curves
from r1env.monitoring.rules import not_finite
from r1env.recipes import execute, plan_training
from r1env.runs.run import Run
from r1env_trainers.model import guards
from r1env_trainers.model.checkpoint import list_checkpoints, save_checkpoint, save_model
from r1env_trainers.model.load import load_model
from r1env_trainers.model.session import make_optimizer, optimizer_step
from r1env_trainers.sft.config import SFTConfig


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


SFT = {"model": "tiny", "optim.lr": 1e-3, "optim.batch_size": 4, "optim.warmup_steps": 0, "steps": 8, "checkpoint.every": 2}
GRPO = {
    "preset": "tiny-cpu",
    "sampling.prompts_per_step": 2,
    "sampling.group_size": 4,
    "sampling.max_new_tokens": 4,
    "algo.track_kl": False,
    "rubric": {"name": "length", "rewards": [{"reward": "repetition"}, {"reward": "accuracy", "weight": 0}]},
    "eval.every": 0,
    "steps": 6,
    "checkpoint.every": 2,
}


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}"}) + "\n" for i in range(32)))
    return str(path)


def stopped(plan, path) -> tuple[Run, str]:
    """A run that ended by itself, and what it said."""
    with pytest.raises(TrainingStoppedError) as raised:
        trained(plan, path)
    return Run.open(path), str(raised.value)


def finite(folder) -> bool:
    return all(bool(weight.isfinite().all()) for weight in load_model(str(folder)).model.state_dict().values())


def poisoned(function, when):
    """The log-probs of a forward pass, NaN in the rows of which `when` holds (given the ids of their completion)."""

    def compute(model, batch, temperature=1.0):
        logprobs = function(model, batch, temperature)
        bad = torch.tensor([when(row.tolist()) for row in batch.completion_ids])
        return logprobs.masked_fill(bad[:, None], math.nan)

    return compute


# The optimizer step.


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_leaves_weights_and_moments_as_they_were(where):
    loaded = load_model("tiny")
    config = SFTConfig(model="tiny", data="d", optim={"lr": 1e-3})
    optimizer = make_optimizer(loaded, config)
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    ids = torch.arange(6)[None]
    loaded.model(input_ids=ids, labels=ids).loss.backward()
    if where == "gradient":
        loaded.model.model.norm.weight.grad[3] = math.nan
    taken = optimizer_step(loaded, optimizer, config, 0, 10, loss=math.inf if where == "loss" else 1.0)
    assert taken[guards.SKIPPED] == 1
    assert_same_weights(loaded.model.state_dict(), before)
    assert not optimizer.state
    assert all(weight.grad is None for weight in loaded.model.parameters())
    loaded.model(input_ids=ids, labels=ids).loss.backward()
    assert optimizer_step(loaded, optimizer, config, 1, 10, loss=1.0)[guards.SKIPPED] == 0
    assert not torch.equal(loaded.model.model.norm.weight, before["model.norm.weight"])


# SFT.


def test_a_diverged_run_stops_with_the_step_and_sets_its_last_checkpoint_aside(data, tmp_path):
    settings = SFT | {"data": data, "optim.lr": 1e30, "checkpoint.every": 1}
    run, said = stopped(plan_training("sft", overrides=settings), tmp_path / "run")
    # The first step leaves weights that are finite, so it is saved, and with which every loss is NaN.
    assert said.startswith("step 4: no finite loss and gradient for 3 steps in a row; there is no checkpoint yet")
    assert "lower optim.lr" in said
    assert [path.name for path in (run.path / "checkpoints" / "sft").iterdir()] == [".diverged-step-000001"]
    assert [row["skipped_updates"] for row in run.metrics("sft")] == [0, 1, 1, 1]


def test_three_bad_steps_in_a_row_stop_the_run_and_two_do_not(data, tmp_path, monkeypatch, caplog):
    from r1env_trainers.sft import loop

    calls = iter(range(10_000))
    bad_steps = {2, 4, 5, 6}  # from 0
    original = loop._update

    def update(session, pairs, config, step, hold):
        if step in bad_steps:
            monkeypatch.setattr(loop, "completion_logprobs", poisoned(clean, lambda ids: next(calls) is not None))
        try:
            return original(session, pairs, config, step, hold)
        finally:
            monkeypatch.setattr(loop, "completion_logprobs", clean)

    clean = loop.completion_logprobs
    monkeypatch.setattr(loop, "_update", update)
    with caplog.at_level(logging.WARNING):
        run, said = stopped(plan_training("sft", overrides=SFT | {"data": data}), tmp_path / "run")
    assert said.startswith("step 7: no finite loss and gradient for 3 steps in a row")
    assert "last good checkpoint is" in said
    assert "step-000002" in said  # that of step 4 holds the weights that failed three times
    rows = run.metrics("sft")
    assert [row["step"] for row in rows if row["skipped_updates"]] == [3, 5, 6, 7]
    assert [row["step"] for row in rows if row["loss"] is None] == [3, 5, 6, 7]
    assert finite(list_checkpoints(run.path / "checkpoints" / "sft")[-1])
    assert "step 3: 1 of 1 optimizer steps skipped" in caplog.text


def test_the_rows_that_caused_a_skipped_step_are_named(data, tmp_path, monkeypatch):
    from r1env_trainers.sft import loop

    loaded = load_model("tiny")
    (seventeen,) = loaded.tokenizer(["17"], add_special_tokens=False)["input_ids"]
    is_seventeen = lambda ids: ids[:2] == seventeen  # noqa: E731
    monkeypatch.setattr(loop, "completion_logprobs", poisoned(loop.completion_logprobs, is_seventeen))
    run = trained(plan_training("sft", overrides=SFT | {"data": data}), tmp_path / "run")
    (event,) = run.events("sft")
    assert event["kind"] == "skipped"
    assert (event["loss"], event["rows_at_fault"]) == (None, 1)
    assert [(row["prompt"], row["completion"]) for row in event["rows"]] == [("17?", "17<eos>")]
    assert finite(run.model_dir("sft"))


# RL.


def test_a_grpo_run_whose_sampler_computes_nan_stops_and_keeps_its_checkpoint(tmp_path):
    plan = plan_training("grpo", overrides=GRPO)

    def break_weights(model):
        with torch.no_grad():
            model.model.norm.weight[0] = math.nan

    run = Run.create(tmp_path / "run", plan.model_dump(mode="json"), seed=0)
    models = []
    import r1env_trainers.rl.loop as loop

    original = loop.begin

    def begin(*args, **kwargs):
        session = original(*args, **kwargs)
        models.append(session.loaded.model)
        return session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "begin", begin)
        run.subscribe(lambda event: break_weights(models[0]) if event.step == 2 else None)
        with pytest.raises(TrainingStoppedError) as raised:
            execute(plan, run)
    # The checkpoint of step 2 is refused at once; nothing was sampled from the broken model.
    assert "weights are not finite, first in model.norm.weight" in str(raised.value)
    assert [row["step"] for row in run.metrics("grpo")] == [1, 2]


def test_a_sampler_that_reports_nan_is_a_skipped_step(tmp_path, monkeypatch):
    from dataclasses import replace

    import r1env_trainers.rl.loop as loop

    original = loop.collect

    def collect(*args, **kwargs):
        experience = original(*args, **kwargs)
        broken = experience.sampled_logprobs.clone()
        broken[3, 0] = math.nan
        return replace(experience, sampled_logprobs=broken)

    monkeypatch.setattr(loop, "collect", collect)
    run, said = stopped(plan_training("grpo", overrides=GRPO | {"checkpoint.every": 0}), tmp_path / "run")
    assert said.startswith("step 3: no finite loss")
    assert [event["rows"][0]["row"] for event in run.events("grpo")] == [3, 3, 3]
    assert all("task_id" in event["rows"][0] for event in run.events("grpo"))


@pytest.mark.parametrize("trainer", ["grpo", "ppo"])
def test_one_bad_mini_batch_costs_only_itself(trainer, tmp_path, monkeypatch):
    from r1env_trainers.rl import update as updates

    original, passes = updates.micro_batch_losses, iter(range(1000))

    def losses(*args):
        loss, critic_loss = original(*args)
        return (loss * math.nan if next(passes) == 1 else loss), critic_loss

    monkeypatch.setattr(updates, "micro_batch_losses", losses)
    settings = GRPO | {"optim.mini_batches": 4, "steps": 2, "algo.loss_aggregation": "token-mean"}
    if trainer == "ppo":
        settings.pop("algo.track_kl")
    else:
        settings["algo.advantage"] = "reinforce_pp"  # learns from every row, so that the number of mini-batches is known
    run = trained(plan_training(trainer, overrides=settings), tmp_path / "run")
    first, second = run.metrics(trainer)
    assert (first["updates"], first["skipped_updates"]) == (3, 1)
    assert (second["updates"], second["skipped_updates"]) == (4, 0)
    assert math.isfinite(first["loss"])
    assert finite(run.model_dir(trainer))


# Models and checkpoints.


def test_a_model_with_nan_is_refused_when_it_is_loaded(tmp_path):
    loaded = load_model("tiny")
    with torch.no_grad():
        loaded.model.model.layers[1].mlp.up_proj.weight[0, 0] = math.nan
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"not finite, first in model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(str(tmp_path))


def test_a_model_with_nan_does_not_replace_a_good_one(tmp_path):
    loaded = load_model("tiny")
    save_model(tmp_path / "model", loaded)
    with torch.no_grad():
        loaded.model.model.norm.weight[0] = math.inf
    with pytest.raises(TrainingStoppedError, match=r"model\.norm\.weight"):
        save_model(tmp_path / "model", loaded)
    assert finite(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: tensors.pop("model.layers.1.mlp.down_proj.weight"),
            r"1 of its weights .*down_proj\.weight is missing",
        ),
        (lambda tensors: tensors.update({"model.norm.weight": torch.ones(7)}), r"model\.norm\.weight.*7.*128.*by config\.json"),
        (
            lambda tensors: [tensors.update({f"wrapped.{name}": tensors.pop(name)}) for name in list(tensors)],
            "2[01] of its weights",
        ),
    ],
    ids=["missing", "another shape", "other names"],
)
def test_a_model_whose_weights_are_not_all_in_its_folder_is_refused(change, message, tmp_path):
    save_model(tmp_path / "model", load_model("tiny"))
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(UsageError, match=f"cannot load the model .*{message}"):
        load_model(str(tmp_path / "model"))


def test_a_torn_file_of_weights_is_refused_in_one_line(tmp_path):
    save_model(tmp_path / "model", load_model("tiny"))
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError, match="cannot load the model"):
        load_model(str(tmp_path / "model"))


def test_a_format_that_cannot_hold_a_weight_does_not_replace_a_good_model(tmp_path):
    loaded = load_model("tiny")
    save_model(tmp_path / "model", loaded)
    with torch.no_grad():
        loaded.model.model.norm.weight[0] = 1e5  # beyond the largest number in float16
    with pytest.raises(
        RunError, match=r"model\.norm\.weight has values that torch\.float16 cannot hold; set checkpoint\.dtype"
    ):
        save_model(tmp_path / "model", loaded, "float16")
    assert finite(tmp_path / "model")
    assert loaded.model.model.norm.weight[0] == 1e5  # the weights in memory are as they were


def test_a_run_that_ends_before_the_limit_of_bad_steps_without_having_learned_does_not_end_well(data, tmp_path, monkeypatch):
    from r1env_trainers.sft import loop

    monkeypatch.setattr(loop, "completion_logprobs", poisoned(loop.completion_logprobs, lambda _: True))
    run, said = stopped(plan_training("sft", overrides=SFT | {"data": data, "steps": 2}), tmp_path / "run")
    assert said.startswith("no finite loss and gradient in any of the 2 steps")
    assert not run.model_dir("sft").exists()


def test_a_run_of_flat_groups_alone_says_that_it_learned_nothing(tmp_path, caplog):
    settings = GRPO | {
        "rubric": "accuracy",
        "sampling.max_new_tokens": 1,
        "steps": 2,
        "checkpoint.every": 0,
    }  # too short to be right
    trained(plan_training("grpo", overrides=settings), tmp_path / "run")
    assert "no optimizer step was taken in any of the 2 steps" in caplog.text


def test_an_optimizer_state_with_nan_is_neither_saved_nor_resumed(data, tmp_path):
    loaded = load_model("tiny")
    config = SFTConfig(model="tiny", data="d")
    optimizer = make_optimizer(loaded, config)
    ids = torch.arange(6)[None]
    loaded.model(input_ids=ids, labels=ids).loss.backward()
    optimizer_step(loaded, optimizer, config, 0, 10, loss=1.0)
    next(iter(optimizer.state.values()))["exp_avg"].view(-1)[0] = math.nan
    with pytest.raises(TrainingStoppedError, match=r"optimizer's state is not finite \(exp_avg\)"):
        save_checkpoint(tmp_path, 2, loaded, optimizer, {})
    next(iter(optimizer.state.values()))["exp_avg"].view(-1)[0] = 0.0
    critic = {"critic": {"weights": {"score": torch.tensor([math.nan])}}}
    with pytest.raises(TrainingStoppedError, match=r"trainer's state is not finite \(critic\.weights\.score\)"):
        save_checkpoint(tmp_path, 2, loaded, optimizer, {}, extra=critic)
    assert not list_checkpoints(tmp_path)
    plan = plan_training("sft", overrides=SFT | {"data": data, "steps": 3})
    run = trained(plan, tmp_path / "run")
    checkpoint = list_checkpoints(run.path / "checkpoints" / "sft")[-1]
    state = torch.load(checkpoint / "trainer.pt", weights_only=True)
    state["optimizer"]["state"][0]["exp_avg_sq"].view(-1)[0] = math.inf
    torch.save(state, checkpoint / "trainer.pt")
    resumed = Run.open(run.path)
    (run.path / "state.json").write_text((run.path / "state.json").read_text().replace('"sft"\n  ]', "]"))
    assert resumed.finished_stages() == []
    with pytest.raises(RunError, match=r"checkpoint of step 3 has an optimizer state that is not finite \(exp_avg_sq\)"):
        execute(plan, resumed)


# The monitor.


@pytest.mark.parametrize("metric", ["loss", "grad_norm", "value/loss"])
def test_the_monitor_names_a_loss_that_is_not_finite(metric):
    curves = Curves()
    curves.add(1, {"loss": 1.0, "grad_norm": 0.5, "skipped_updates": 0.0})
    assert not_finite(curves) is None
    curves.add(2, {"loss": 1.0, metric: math.nan})
    alert = not_finite(curves)
    assert alert is not None
    assert alert.metric == metric
    assert "step 2" in alert.seen


def test_the_monitor_reads_a_stored_run_the_same_way():
    rows = [{"stage": "sft", "step": 1, "time": 0.0, "loss": 1.0}, {"stage": "sft", "step": 2, "time": 0.0, "loss": None}]
    assert not_finite(Curves(rows)) is not None
