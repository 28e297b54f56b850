"""What we ask of vLLM and what we make of its answers. A stand-in answers with our own sampler, in vLLM's types."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from sharp_model import sharp_tiny

from r1env.engines import SamplingParams
from r1env.errors import EngineError, UsageError
from r1env_trainers.generate.choose import check_engine, training_engine
from r1env_trainers.generate.engine import LocalEngine, Sampler, decode_samples
from r1env_trainers.generate.options import VLLMOptions
from r1env_trainers.generate.vllm import VLLMSampler, make_vllm, sampler_beside
from r1env_trainers.model.load import end_tokens, load_model

PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]


class StandIn:
    """A `vllm.LLM` of the model whose weights were loaded into it last. Notes what it was told."""

    def __init__(self, loaded):
        self.loaded = loaded
        self.told = []
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=120))

    def generate(self, prompts, params, use_tqdm):
        self.told.append("generate")
        self.params = params
        return [self._answer(prompt["prompt_token_ids"], wanted) for prompt, wanted in zip(prompts, params, strict=True)]

    def _answer(self, prompt, wanted):
        if len(prompt) > 100:
            raise ValueError("The decoder prompt is longer than the maximum model length")
        samples = Sampler(self.loaded).sample(
            [prompt],
            SamplingParams(
                n=wanted.n,
                max_new_tokens=wanted.max_tokens,
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                top_k=wanted.top_k,
                min_p=wanted.min_p,
                repetition_penalty=wanted.repetition_penalty,
                ignore_eos=not wanted.stop_token_ids,
                stop=tuple(wanted.stop or ()),
                seed=wanted.seed,
            ),
        )
        rows = []
        for k, length in enumerate(samples.mask.sum(dim=1).long().tolist()):
            flat = SimpleNamespace(logprobs=samples.logprobs[k, :length].tolist(), start_indices=list(range(length)))
            finish = "stop" if samples.finished[k] else "length"
            rows.append(
                SimpleNamespace(index=k, token_ids=samples.ids[k, :length].tolist(), logprobs=flat, finish_reason=finish)
            )
        return SimpleNamespace(outputs=rows[::-1])  # vLLM does not promise an order

    def apply_model(self, function):
        self.told.append("weights")
        function(SimpleNamespace(load_weights=lambda named: self.loaded.model.load_state_dict(dict(named), strict=False)))

    def reset_prefix_cache(self):
        self.told.append("reset")

    def sleep(self, level):
        self.told.append(f"sleep {level}")

    def wake_up(self, tags):
        self.told.append(f"wake {tags[0]}")


@pytest.fixture(autouse=True)
def vllm(monkeypatch):
    """A module `vllm` that has what we import of it."""
    torch.set_num_threads(1)
    module = SimpleNamespace(SamplingParams=SimpleNamespace, __spec__=object())
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


@pytest.fixture
def loaded():
    return sharp_tiny()


def sampler_of(loaded, source=None, *, sleep=False):
    llm = StandIn(load_model("tiny", seed=1))
    ends = end_tokens(loaded.tokenizer, None)
    return VLLMSampler(llm, loaded.tokenizer, ends, torch.device("cpu"), source, sleep=sleep), llm


def test_greedy_samples_are_those_of_our_own_sampler(loaded):
    sampler, _ = sampler_of(loaded, loaded.model)
    theirs = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=20, temperature=0))
    ours = Sampler(loaded).sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=20, temperature=0))
    assert torch.equal(theirs.ids, ours.ids)
    assert torch.equal(theirs.mask, ours.mask)
    assert torch.equal(theirs.finished, ours.finished)
    assert torch.allclose(theirs.logprobs, ours.logprobs, atol=1e-5)
    assert decode_samples(loaded.tokenizer, theirs) == decode_samples(loaded.tokenizer, ours)


def test_every_batch_is_drawn_with_the_weights_of_the_moment_and_no_cached_prompt(loaded):
    sampler, llm = sampler_of(loaded, loaded.model)
    before = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=12, temperature=0)).logprobs
    with torch.no_grad():
        loaded.model.model.layers[0].mlp.down_proj.weight.mul_(-1)
    after = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=12, temperature=0)).logprobs
    assert before.shape != after.shape or not torch.equal(before, after)
    assert llm.told == ["weights", "reset", "generate"] * 2


def test_a_model_that_never_changes_is_never_pushed(loaded):
    sampler, llm = sampler_of(loaded)
    sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=4, temperature=1.0))
    assert llm.told == ["generate"]


def test_between_batches_a_sleeper_holds_no_memory(loaded):
    sampler, llm = sampler_of(loaded, loaded.model, sleep=True)
    sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=4, temperature=1.0))
    assert llm.told == ["sleep 2", "wake weights", "weights", "wake kv_cache", "reset", "generate", "sleep 2"]


def test_rows_have_seeds_of_their_own_that_follow_from_one(loaded):
    sampler, llm = sampler_of(loaded, loaded.model)
    sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=4, max_new_tokens=4, temperature=1.0, seed=2**63 - 1))
    seeds = [wanted.seed + k for wanted in llm.params for k in range(wanted.n)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_vllm_is_asked_for_all_that_the_parameters_say(loaded):
    sampler, llm = sampler_of(loaded, loaded.model)
    params = SamplingParams(top_k=20, top_p=0.9, repetition_penalty=1.2, ignore_eos=True, max_new_tokens=4)
    sampler.sample(PROMPTS, params)
    assert all((asked.top_k, asked.top_p, asked.min_p, asked.repetition_penalty) == (20, 0.9, 0.0, 1.2) for asked in llm.params)
    assert all(asked.stop_token_ids == [] for asked in llm.params)
    assert all(asked.logit_bias == {loaded.pad: -100.0} for asked in llm.params)
    sampler.sample(PROMPTS, SamplingParams(top_p=1.0, min_p=0.1, max_new_tokens=4))
    assert all(asked.min_p == 0.1 and asked.stop_token_ids == loaded.ends for asked in llm.params)
    with pytest.raises(UsageError, match="applies min_p before top_p"):
        sampler.sample(PROMPTS, SamplingParams(top_p=0.9, min_p=0.1))


def test_texts_are_only_made_by_vllm_where_a_stop_text_must_be_found(loaded):
    sampler, llm = sampler_of(loaded, loaded.model)
    sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=4, temperature=1.0))
    assert not any(wanted.detokenize for wanted in llm.params)
    sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=4, temperature=1.0, stop=("12",)))
    assert all(wanted.detokenize and wanted.include_stop_str_in_output for wanted in llm.params)


def test_a_prompt_that_vllm_refuses_is_an_error_of_the_engine(loaded):
    sampler, _ = sampler_of(loaded, loaded.model)
    with pytest.raises(EngineError, match="maximum model length"):
        sampler.sample([[5] * 101], SamplingParams(top_p=1.0, n=1, max_new_tokens=4, temperature=0))


def test_the_engine_gives_completions_in_the_order_of_the_prompts(loaded):
    sampler, _ = sampler_of(loaded, loaded.model)
    prompts = [({"role": "user", "content": text},) for text in ("12", "345")]
    completions = LocalEngine(sampler).generate(prompts, SamplingParams(n=3, temperature=0, max_new_tokens=6, chat=False))
    own = training_engine(loaded, "transformers", VLLMOptions(), seed=0)
    expected = own.generate(prompts, SamplingParams(n=3, temperature=0, max_new_tokens=6, chat=False))
    assert [[c.text for c in group] for group in completions] == [[c.text for c in group] for group in expected]


def test_vllm_starts_with_our_model_and_graphs_for_every_batch(loaded, vllm, monkeypatch):
    asked = {}

    def start(model, **arguments):
        asked.update(arguments, model=model)
        return StandIn(loaded)

    vllm.LLM = start
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    sampler_beside(loaded, VLLMOptions(max_num_seqs=100, further={"max_num_batched_tokens": 4096}), seed=0)
    assert asked["load_format"] == "dummy"
    assert asked["logprobs_mode"] == "processed_logprobs"
    assert asked["compilation_config"]["cudagraph_capture_sizes"][-1] >= 100
    assert asked["max_num_batched_tokens"] == 4096
    sampler_beside(loaded, VLLMOptions(enforce_eager=True), seed=0)
    assert asked["enforce_eager"] is True


def test_a_vllm_that_does_not_start_says_so_in_one_error(loaded, vllm):
    def start(model, **arguments):
        raise ValueError("No available memory for the cache blocks")

    vllm.LLM = start
    with pytest.raises(EngineError, match="cache blocks"):
        sampler_beside(loaded, VLLMOptions(), seed=0)


@pytest.mark.parametrize("options", [{"max_num_seqs": 0}, {"max_num_seq": 8}, {"sleep": True}])
def test_wrong_options_are_refused_before_anything_is_loaded(options):
    with pytest.raises(UsageError, match="vllm"):
        make_vllm("tiny", **options)


def test_without_vllm_the_remedy_is_named(loaded, monkeypatch):
    monkeypatch.delitem(sys.modules, "vllm")  # the stand-in
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    with pytest.raises(UsageError, match="pip install"):
        check_engine("vllm")
    with pytest.raises(UsageError, match="pip install"):
        sampler_beside(loaded, VLLMOptions(), seed=0)
    check_engine("transformers")
