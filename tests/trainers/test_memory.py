"""Settings that save memory: 8-bit moments, layers that are computed again, and adapters of reward models."""

import importlib.util
import json
from functools import partial

import pytest
import torch
from training_runs import assert_bit_for_bit, assert_same_weights, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env_trainers.model.batching import checkpoint_layers
from r1env_trainers.model.load import NAMED, load_model
from r1env_trainers.model.logprobs import completion_logprobs
from r1env_trainers.model.lora import with_adapters
from r1env_trainers.model.session import make_optimizer
from r1env_trainers.reward_model.model import load_reward_model, rewards_of, start_reward_model
from r1env_trainers.settings import BUILT_IN_MODELS, LoRA
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.loop import make_batch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def sft(tmp_path, **settings):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}"}) + "\n" for i in range(16)))
    small = {"model": "tiny", "optim.lr": 1e-3, "optim.batch_size": 8, "optim.warmup_steps": 0, "steps": 5}
    return plan_training("sft", overrides={**small, "data": str(data), "checkpoint.every": 2, **settings})


# 8-bit moments.


def test_without_bitsandbytes_8_bit_moments_are_refused_before_the_run_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package bitsandbytes: pip install"):
        check_plan(sft(tmp_path, **{"optim.name": "adamw8bit"}))


@pytest.fixture
def bitsandbytes():
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")


@pytest.mark.usefixtures("bitsandbytes")
def test_moments_of_matrices_take_8_bits_and_those_of_embeddings_and_norms_32():
    loaded = load_model("tiny")
    optimizer = make_optimizer(loaded, SFTConfig(model="tiny", data="rows.jsonl", optim={"name": "adamw8bit"}))
    completion_logprobs(loaded.model, make_batch([([5, 6], [7, 1])], loaded.pad, loaded.device)).sum().backward()
    optimizer.step()
    kinds = {name: optimizer.state[weight]["state1"].dtype for name, weight in loaded.model.named_parameters()}
    assert kinds["model.layers.0.mlp.up_proj.weight"] is torch.uint8
    assert kinds["model.embed_tokens.weight"] is torch.float32
    assert kinds["model.norm.weight"] is torch.float32


@pytest.mark.slow
@pytest.mark.usefixtures("bitsandbytes")
def test_a_run_with_8_bit_moments_learns_what_the_plain_one_does_and_resumes_bit_for_bit(tmp_path):
    plan = sft(tmp_path, **{"optim.name": "adamw8bit"})
    whole, plain = trained(plan, tmp_path / "whole"), trained(sft(tmp_path), tmp_path / "plain")
    losses, expected = ([row["loss"] for row in run.metrics()] for run in (whole, plain))
    assert losses == pytest.approx(expected, rel=0.05)
    assert losses[-1] < 0.9 * losses[0]
    assert losses != expected
    resumed = interrupted(plan, tmp_path / "broken", at_step(3))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "sft")


# Layers that are computed again.


def loss_of_language_model(loaded):
    return -completion_logprobs(
        loaded.model, make_batch([([5, 6, 7], [8, 9, 1]), ([5, 4], [3])], loaded.pad, loaded.device)
    ).sum()


def loss_of_reward_model(loaded):
    return rewards_of(loaded, [[5, 6, 7, 8], [9, 1]]).sum()


def adapted(name):
    loaded = with_adapters(load_model(name), LoRA(rank=2), name, seed=0)
    for key, weight in loaded.model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    return loaded


def noted(kept, saved):
    kept.append(saved.nbytes)
    return saved


MODELS = {
    "packed": (lambda: load_model("tiny"), loss_of_language_model),
    "padded": (lambda: load_model("tiny-gpt2"), loss_of_language_model),
    "adapters": (lambda: adapted("tiny"), loss_of_language_model),
    "adapters-padded": (lambda: adapted("tiny-gpt2"), loss_of_language_model),
    "reward-model": (lambda: start_reward_model("tiny", device="cpu", seed=0), loss_of_reward_model),
}


@pytest.mark.parametrize("kind", MODELS)
def test_layers_that_are_computed_again_give_the_same_gradients_and_keep_far_less(kind):
    if "adapters" in kind:
        pytest.importorskip("peft")
    make, loss_of = MODELS[kind]
    found = []
    for again in (False, True):
        loaded, kept = make(), []
        if again:
            checkpoint_layers(loaded.model)
        with torch.autograd.graph.saved_tensors_hooks(partial(noted, kept), lambda saved: saved):
            loss = loss_of(loaded)
        loss.backward()
        gradients = {name: weight.grad for name, weight in loaded.model.named_parameters() if weight.grad is not None}
        found.append((loss.detach(), gradients, sum(kept)))
    (plain_loss, plain, kept), (loss, again, kept_less) = found
    torch.testing.assert_close(loss, plain_loss)
    assert again.keys() == plain.keys()
    if "adapters" in kind:
        assert all("lora" in name for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-5, rtol=1e-4)
    assert kept_less < kept / 2


@pytest.mark.parametrize("settings", [{}, {"lora.rank": 2}])
def test_a_run_that_computes_layers_again_is_the_run_that_does_not(tmp_path, settings):
    if settings:
        pytest.importorskip("peft")
    plain = trained(sft(tmp_path, steps=2, **settings), tmp_path / "plain")
    again = trained(sft(tmp_path, steps=2, gradient_checkpointing=True, **settings), tmp_path / "again")
    assert [row["loss"] for row in again.metrics()] == pytest.approx([row["loss"] for row in plain.metrics()], rel=1e-5)
    ours, theirs = (load_model(str(run.model_dir("sft"))).model.state_dict() for run in (again, plain))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, atol=1e-5, rtol=1e-4)


# Adapters of a reward model.


def preferences(tmp_path, **settings):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}?", "chosen": f"{i}z", "rejected": f"{i}a"}) + "\n" for i in range(24)))
    small = {"model": "tiny", "optim.lr": 1e-2, "optim.batch_size": 8, "optim.warmup_steps": 0, "steps": 6, "eval.share": 0.0}
    return plan_training(
        "reward_model", overrides={**small, "data": str(data), "checkpoint.every": 2, "lora.rank": 2, **settings}
    )


@pytest.mark.slow
def test_a_reward_model_learns_by_adapters_and_its_head_and_resumes_bit_for_bit(tmp_path):
    pytest.importorskip("peft")
    plan = preferences(tmp_path)
    whole = trained(plan, tmp_path / "whole")
    losses = [row["loss"] for row in whole.metrics()]
    assert losses[-1] < losses[0]
    start = start_reward_model("tiny", device="cpu", seed=0).model.state_dict()
    end = load_reward_model(whole.model_dir("reward_model")).loaded.model.state_dict()
    assert start.keys() == end.keys()
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert changed == {name for name in start if "proj" in name or name == "score.weight"}
    resumed = interrupted(plan, tmp_path / "broken", at_step(3))
    execute(plan, resumed)
    again = load_reward_model(resumed.model_dir("reward_model")).loaded.model.state_dict()
    assert_same_weights(again, end)


def test_adapters_of_a_reward_model_cannot_be_left_apart(tmp_path):
    with pytest.raises(UsageError, match=r"leave out lora\.merge=false"):
        check_plan(preferences(tmp_path, **{"lora.merge": False}))


# A folder without a separator in its name.


def test_the_name_of_a_folder_becomes_its_absolute_path_and_a_built_in_name_stays(tmp_path, monkeypatch):
    assert set(BUILT_IN_MODELS) == set(NAMED)
    monkeypatch.chdir(tmp_path)
    for folder in ("mine", "tiny"):
        (tmp_path / folder).mkdir()
    assert SFTConfig(model="mine", data="rows.jsonl").model == str(tmp_path / "mine")
    assert SFTConfig(model="tiny", data="rows.jsonl").model == "tiny"
    assert SFTConfig(model="owner/name", data="rows.jsonl").model == "owner/name"
