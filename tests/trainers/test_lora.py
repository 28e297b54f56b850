"""Low-rank adapters: only they learn, a resumed run has them again, and they are merged or kept apart at the end."""

import functools
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import assert_bit_for_bit, at_step, interrupted, trained
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config

from r1env.engines import SamplingParams
from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env.rewards import reward
from r1env_trainers.generate.batches import Lockstep, TransformersBatch
from r1env_trainers.generate.engine import Sampler
from r1env_trainers.model.checkpoint import list_checkpoints, save_pretrained
from r1env_trainers.model.llama import all_weights, is_llama, obstacle, refresh
from r1env_trainers.model.load import LoadedModel, load_model
from r1env_trainers.model.logprobs import completion_logprobs, packed_logprobs, padded_logprobs
from r1env_trainers.model.lora import merged_parameters, read_adapters, with_adapters, without_adapters
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.update import Reference
from r1env_trainers.settings import LoRA
from r1env_trainers.sft.loop import make_batch

pytest.importorskip("peft")
from peft import LoraConfig, get_peft_model  # only where it is installed


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


# The light forward pass, which reads adapters as matrices.

LIGHT = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,  # biases of queries, keys and values
    "qwen3": Qwen3Config,
    "gemma3": Gemma3TextConfig,
}
SMALL = {
    "vocab_size": 60,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
WINDOWED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 5}


def adapted(name="llama", *, shaken=True, dtype=torch.float32, **settings):
    """A small random model with adapters that have random weights."""
    torch.manual_seed(0)
    config = LIGHT[name](**SMALL, **(WINDOWED if name == "gemma3" else {}))
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    wrapper = get_peft_model(
        model, LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings})
    ).eval()
    for name, weight in model.named_parameters():
        if shaken and "lora_B" in name:
            weight.data.normal_(std=0.3)
    return LoadedModel(model, load_model("tiny").tokenizer, adapter=wrapper)


def token_batch():
    return make_batch([([5, 6, 7, 8, 9, 10, 11], [8, 9, 1, 4, 3, 2, 5]), ([5, 4], [3])], 0, torch.device("cpu"))


def gradients_of(logprobs, model, mask):
    model.zero_grad()
    (logprobs * mask * torch.linspace(1, 2, mask.shape[1])).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


SELECTIONS = {
    "all layers": {},
    "some layers": {"target_modules": ["q_proj", "v_proj", "up_proj"]},
    "one layer alone": {"target_modules": r".*layers\.1\.mlp\.down_proj"},
    "ranks by pattern": {"rank_pattern": {"q_proj": 2, "down_proj": 7}, "alpha_pattern": {"k_proj": 3}},
    "rank-stabilized": {"use_rslora": True},
}


@pytest.mark.parametrize("name", LIGHT)
def test_the_light_forward_pass_has_the_log_probs_and_gradients_of_peft(name, caplog):
    assert_computes_as_peft(adapted(name))
    assert not caplog.records


@pytest.mark.parametrize("settings", SELECTIONS.values(), ids=SELECTIONS)
def test_wherever_the_adapters_are_the_light_forward_pass_has_them(settings):
    assert_computes_as_peft(adapted(**settings))


def test_layers_with_adapters_that_are_computed_again_have_the_same_gradients(monkeypatch):
    monkeypatch.setattr("r1env_trainers.model.llama.recomputes", lambda model, tokens: True)
    assert_computes_as_peft(adapted("gemma3"))


def test_several_active_adapters_add_up():
    loaded = adapted()
    loaded.adapter.add_adapter("second", LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"]))
    for name, weight in loaded.model.named_parameters():
        if "lora_B.second" in name:
            weight.data.normal_(std=0.3)
    loaded.adapter.base_model.set_adapter(["default", "second"])
    assert_computes_as_peft(loaded)


def assert_computes_as_peft(loaded):
    model, batch = loaded.model, token_batch()
    assert is_llama(model), obstacle(model)
    ours, theirs = (forward(model, batch, 0.7) for forward in (packed_logprobs, padded_logprobs))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    expected, found = (gradients_of(one, model, batch.completion_mask) for one in (theirs, ours))
    assert found.keys() == expected.keys() == {name for name, weight in model.named_parameters() if "lora" in name}
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-4 * (gradient.norm() + 1), name


@pytest.mark.parametrize("name", LIGHT)
def test_completions_are_drawn_with_the_adapters_and_follow_their_updates(name):
    loaded, prompts = adapted(name), [[5, 6, 7], [9, 4]]
    params = SamplingParams(n=2, max_new_tokens=6, seed=3, ignore_eos=True, temperature=20.0, top_p=1.0)
    for _ in range(2):
        ours = Sampler(loaded).sample(prompts, params)
        in_step = functools.partial(TransformersBatch, loaded.model, loaded.pad, forbidden=loaded.never_drawn)
        theirs = Sampler(loaded)
        theirs._start = functools.partial(Lockstep, in_step)
        expected = theirs.sample(prompts, params)
        assert torch.equal(ours.ids, expected.ids)
        torch.testing.assert_close(ours.logprobs, expected.logprobs, atol=1e-4, rtol=1e-4)
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight.data.mul_(-1.1)
    with loaded.adapter.disable_adapter():
        assert not torch.equal(Sampler(loaded).sample(prompts, params).ids, expected.ids)


def test_weights_kept_for_decoding_are_refreshed_with_the_adapters():
    loaded = adapted()
    kept = all_weights(loaded.model, torch.float32)
    assert kept.layers[0].qkv_lora is None
    pointers = [layer.qkv.data_ptr() for layer in kept.layers]
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    refresh(kept, loaded.model)
    merged_model = loaded.adapter.merge_and_unload()
    for layer, module in zip(kept.layers, merged_model.model.layers, strict=True):
        torch.testing.assert_close(layer.down, module.mlp.down_proj.weight)
        torch.testing.assert_close(layer.qkv[:64], module.self_attn.q_proj.weight)
    assert [layer.qkv.data_ptr() for layer in kept.layers] == pointers


def test_an_engine_that_is_given_weights_gets_those_of_the_merged_model():
    loaded = adapted("qwen2")
    given = {name: value.clone() for name, value in merged_parameters(loaded.model)}
    merged_model = loaded.adapter.merge_and_unload()
    expected = dict(merged_model.named_parameters())
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(given[name], value.data)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "variant of LoRA"),
        ({"lora_bias": True}, "has a bias"),
        ({"lora_dropout": 0.1}, "has dropout"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head has adapters"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens has adapters"),
        ({"target_modules": ["q_proj"], "modules_to_save": ["norm"]}, "norm has adapters or another wrapper"),
    ],
    ids=str,
)
def test_adapters_that_compute_more_than_a_product_are_left_to_peft(settings, reason):
    loaded = adapted(**settings)
    assert reason in obstacle(loaded.model)
    assert not is_llama(loaded.model)
    batch = token_batch()
    with torch.no_grad():
        ours, theirs = completion_logprobs(loaded.model, batch), padded_logprobs(loaded.model, batch, 1.0)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_merged_adapters_are_left_to_peft():
    loaded = adapted()
    loaded.adapter.merge_adapter()
    assert "merged" in obstacle(loaded.model)


def test_a_forward_pass_without_the_adapters_would_be_noticed(monkeypatch, caplog):
    loaded = adapted(shaken=False)
    before = {name: weight.clone() for name, weight in loaded.model.named_parameters()}
    monkeypatch.setattr("r1env_trainers.model.llama.stacked_low_rank", lambda layers: None)
    assert not is_llama(loaded.model)
    assert "own forward pass is off by" in caplog.text
    assert all(torch.equal(before[name], weight) for name, weight in loaded.model.named_parameters())


@pytest.mark.parametrize("name", LIGHT)
def test_a_model_that_is_stored_in_bfloat16_is_tried_in_float32(name):
    loaded = adapted(name, dtype=torch.bfloat16)
    layers = loaded.model.model.layers
    assert is_llama(loaded.model)
    assert loaded.model.model.layers is layers
    assert {weight.dtype for name, weight in loaded.model.named_parameters() if "lora" not in name} == {torch.bfloat16}
