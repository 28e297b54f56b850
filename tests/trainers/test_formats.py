"""Number formats: a model is saved in the one it was loaded in, and trained in float32 in between."""

import json

import pytest
import torch
from tiny_architectures import build
from training_runs import assert_bit_for_bit, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.recipes import execute, plan_training
from r1env_trainers.model.checkpoint import list_checkpoints, save_model
from r1env_trainers.model.load import LoadedModel, load_model
from r1env_trainers.model.tiny import build_tokenizer


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(params=["llama", "gemma3_text"])
def half(request, tmp_path):
    """A tied model's folder in bfloat16."""
    folder = tmp_path / "half"
    build(request.param, tie_word_embeddings=True).bfloat16().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def sft(model, tmp_path, **settings):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}"}) + "\n" for i in range(16)))
    small = {"optim.lr": 1e-3, "optim.batch_size": 4, "steps": 4, "checkpoint.every": 2}
    return plan_training("sft", overrides={"model": str(model), "data": str(data), **small, **settings})


def test_a_model_in_bfloat16_is_trained_in_float32_and_saved_as_it_was(half, tmp_path):
    run = trained(sft(half, tmp_path), tmp_path / "run")
    assert json.loads((run.model_dir("sft") / "config.json").read_text())["dtype"] == "bfloat16"
    assert size(run.model_dir("sft")) == size(half)
    (newest,) = list_checkpoints(run.path / "checkpoints" / "sft")[-1:]
    assert size(newest) > 1.8 * size(half)  # float32: resuming loses nothing
    assert load_model(str(run.model_dir("sft"))).dtype is torch.bfloat16


def test_a_resumed_run_saves_in_the_same_format_and_the_same_weights(half, tmp_path):
    plan = sft(half, tmp_path)
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", at_step(3))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "sft")
    assert size(resumed.model_dir("sft")) == size(half)


def test_another_format_can_be_asked_for(half, tmp_path):
    run = trained(sft(half, tmp_path, **{"checkpoint.dtype": "float32"}), tmp_path / "run")
    assert size(run.model_dir("sft")) > 1.8 * size(half)
    assert load_model(str(run.model_dir("sft"))).dtype is torch.float32


def test_saving_in_another_format_leaves_the_weights_as_they_are(tmp_path):
    loaded = load_model("tiny")
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    save_model(tmp_path / "model", loaded, "bfloat16")
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.model.state_dict().items())
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    saved = load_model(str(tmp_path / "model")).model.state_dict()
    assert all(torch.equal(saved[name], weight.bfloat16().float()) for name, weight in before.items())


def test_a_tokenizer_without_an_end_is_refused_with_what_to_do(tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.eos_token = tokenizer.pad_token = None
    LoadedModel(build("llama"), tokenizer).model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="neither an end-of-sequence nor a pad token"):
        load_model(str(tmp_path))
