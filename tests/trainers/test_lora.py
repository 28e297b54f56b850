"""Low-rank adapters: only they learn, a resumed run has them again, and they are merged or kept apart at the end."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import assert_bit_for_bit, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env.rewards import reward
from r1env_trainers.model.checkpoint import list_checkpoints, save_pretrained
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import completion_logprobs
from r1env_trainers.model.lora import read_adapters, with_adapters, without_adapters
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.update import Reference
from r1env_trainers.settings import LoRA
from r1env_trainers.sft.loop import make_batch

pytest.importorskip("peft")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def sft(tmp_path, **settings):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}"}) + "\n" for i in range(16)))
    small = {"model": "tiny", "optim.lr": 1e-2, "optim.batch_size": 8, "optim.warmup_steps": 0, "steps": 6}
    return plan_training("sft", overrides={**small, "data": str(data), "checkpoint.every": 2, "lora.rank": 4, **settings})


GRPO = {
    "preset": "tiny-cpu",
    "steps": 4,
    "eval.every": 2,
    "eval.limit": 4,
    "algo.advantage": "reinforce_pp",
    "algo.kl_coef": 0.1,
    "optim.lr": 1e-2,
    "checkpoint.every": 2,
    "lora.rank": 2,
    "rubric": {"name": "digits", "rewards": [{"reward": f"{__name__}:digits"}]},
    "sampling.prompts_per_step": 2,
    "sampling.group_size": 2,
    "sampling.max_new_tokens": 4,
}


@reward(name="digits")
def digits(completion):
    return sum(character.isdigit() for character in completion) / 4


def weights_of(folder):
    return load_model(str(folder)).model.state_dict()


def test_adapters_learn_and_are_merged_into_a_plain_model(tmp_path):
    run = trained(sft(tmp_path), tmp_path / "run")
    losses = [row["loss"] for row in run.metrics()]
    assert losses[-1] < losses[0]
    assert not (run.model_dir("sft") / "adapter_config.json").exists()
    start, end = load_model("tiny").model.state_dict(), weights_of(run.model_dir("sft"))
    assert start.keys() == end.keys()
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert changed == {name for name in start if "proj" in name}
    for name in changed:
        assert torch.linalg.matrix_rank(end[name] - start[name], rtol=1e-3) <= 4


def test_checkpoints_hold_the_adapters_alone_and_a_resumed_run_has_them_again(tmp_path):
    plan = sft(tmp_path)
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", at_step(5))
    newest = list_checkpoints(resumed.path / "checkpoints" / "sft")[-1]
    assert (newest / "adapter_model.safetensors").is_file()
    assert not (newest / "model.safetensors").exists()
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "sft")


def test_an_adapter_folder_is_a_model_to_start_from(tmp_path):
    apart = trained(sft(tmp_path, **{"lora.merge": False}), tmp_path / "apart")
    together = trained(sft(tmp_path), tmp_path / "together")
    folder = apart.model_dir("sft")
    assert (folder / "adapter_config.json").is_file()
    assert not (folder / "model.safetensors").exists()
    ours, theirs = weights_of(folder), weights_of(together.model_dir("sft"))
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    further = trained(sft(tmp_path, model=str(folder), **{"lora.rank": 0, "steps": 2}), tmp_path / "further")
    assert all(math.isfinite(row["loss"]) for row in further.metrics())


def test_the_reference_of_rl_is_the_policy_with_its_adapters_off():
    base, policy = load_model("tiny"), with_adapters(load_model("tiny"), LoRA(rank=4), "tiny", seed=0)
    batch = make_batch([([5, 6, 7], [8, 9, 1]), ([5, 4], [3])], base.pad, base.device)
    reference = Reference.start("tiny", policy, 0, {}).loaded
    with torch.no_grad():
        expected = completion_logprobs(base.model, batch)
        torch.testing.assert_close(completion_logprobs(policy.model, batch), expected)  # untrained ones change nothing
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
        assert not torch.allclose(completion_logprobs(policy.model, batch), expected, atol=1e-2)
        with without_adapters(reference):
            torch.testing.assert_close(completion_logprobs(policy.model, batch), expected)
        assert not torch.allclose(completion_logprobs(policy.model, batch), expected, atol=1e-2)


def test_grpo_trains_adapters_samples_with_them_and_resumes_bit_for_bit(tmp_path):
    plan = plan_training("grpo", overrides=GRPO)
    whole = trained(plan, tmp_path / "whole")
    rows = [row for row in whole.metrics() if "kl" in row]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[-1]["kl"] > 1e-6
    assert all(row["logprob_gap"] < 1e-4 for row in rows)
    resumed = interrupted(plan, tmp_path / "broken", at_step(3))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "grpo")


def test_what_adapters_cannot_do_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the model under the adapters"):
        GRPOConfig(model="tiny", env="sort-4", lora={"rank": 2}, algo={"kl_coef": 0.1, "ref_model_sync_steps": 2})
    with pytest.raises(UsageError, match=r"lora\.target_modules='nowhere'"):
        with_adapters(load_model("tiny"), LoRA(rank=2, target_modules="nowhere"), "tiny", 0)


@pytest.mark.parametrize("table", ["lm_head", "embed_tokens"])
def test_an_adapter_on_one_of_two_layers_that_share_their_weights_is_refused(table):
    with pytest.raises(UsageError, match=rf"{table}.*\(tied\), so that the merged model would be another one"):
        with_adapters(load_model("tiny"), LoRA(rank=2, target_modules=(table,)), "tiny", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: {name: weight * math.nan for name, weight in weights.items()},
            "are not finite, first in",
        ),
        (
            lambda weights: {name.replace("layers", "blocks"): weight for name, weight in weights.items()},
            "does not fit the model: 56",
        ),
        (lambda weights: dict(list(weights.items())[:4]), "24 of its weights would be left out, first: .* is missing"),
        (lambda weights: weights | {"base_model.model.model.layers.9.lora_A.weight": torch.ones(1)}, "layers.9.* no layer"),
    ],
    ids=["NaN", "other names", "missing", "more"],
)
def test_an_adapter_that_does_not_fit_its_model_is_refused(change, message, tmp_path):
    loaded = with_adapters(load_model("tiny"), LoRA(rank=2), "tiny", 0)
    save_pretrained(tmp_path, loaded)
    file = tmp_path / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    with pytest.raises(UsageError, match=message):
        load_model(str(tmp_path))
    with pytest.raises(UsageError, match=message):
        read_adapters(loaded, tmp_path)


def test_without_peft_the_run_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="need the package peft"):
        check_plan(sft(tmp_path))
