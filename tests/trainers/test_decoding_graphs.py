"""The CUDA graph decoder: its bookkeeping anywhere Triton is, without graphs; the graphs themselves on a GPU."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported
pytest.importorskip("triton", reason="Triton is not installed (it comes with torch for a GPU)")

from sharp_model import sharp_tiny
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from r1env.engines import SamplingParams
from r1env_trainers.generate import graphs
from r1env_trainers.generate.batches import LlamaBatch
from r1env_trainers.generate.cache import graph_size
from r1env_trainers.generate.engine import Sampler
from r1env_trainers.generate.graphs import GraphDecoder
from r1env_trainers.generate.step import FEW_ROWS
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.load import LoadedModel
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs
from r1env_trainers.model.tiny import build_tokenizer

PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]
CUDA = torch.cuda.is_available()
ROUNDING = 0.05 if CUDA else 1e-4  # bfloat16 on a GPU
pytestmark = [] if CUDA else pytest.mark.slow  # minutes in the interpreter


class WithoutGraphs(GraphDecoder):
    """Runs every step as it comes, which a CPU can."""

    def _graph(self):
        size = graph_size(self._live)
        return SimpleNamespace(replay=lambda: self._step(size, self._restriction))


@pytest.fixture(scope="module")
def loaded():
    return sharp_tiny("cuda" if CUDA else "cpu")


def test_products_of_few_rows_that_disagree_with_torch_are_left_out(loaded, monkeypatch, caplog):
    decoder = decoder_of(loaded)
    monkeypatch.setattr(graphs, "newest_hidden_states", lambda *arguments: torch.full((8, 4), float(arguments[-1] > 0)))
    decoder._live = 3
    decoder._try_few(8)
    assert decoder._few == 0
    assert "the matrix products of few rows are off by" in caplog.text


def test_a_stride_is_short_while_rows_are_short():
    assert [graphs.stride(drawn) for drawn in (1, 256, 512, 4096)] == [4, 4, 8, 16]


def decoder_of(loaded, max_rows=None, few=FEW_ROWS):
    """A decoder that takes our own matrix products up to so many rows."""
    decoder = (GraphDecoder if CUDA else WithoutGraphs)(loaded.model, max_rows, loaded.never_drawn)
    decoder._few = few
    return decoder


@pytest.fixture(scope="module", params=[0, FEW_ROWS])
def sampler(loaded, request):
    sampler = Sampler(loaded)
    sampler._start = decoder_of(loaded, few=request.param).start
    return sampler


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_rows_that_take_the_slots_of_ended_ones_draw_what_they_would_have_drawn_side_by_side(loaded, sampler, temperature):
    few = Sampler(loaded)
    few._start = decoder_of(loaded, max_rows=5).start
    settings = {"n": 4, "max_new_tokens": 11, "temperature": temperature, "seed": 5}
    together, in_turn = (
        sampler.sample(PROMPTS, SamplingParams(top_p=1.0, **settings)),
        few.sample(PROMPTS, SamplingParams(top_p=1.0, **settings)),
    )
    if CUDA:  # rounding differs with the rows of a step, and so may a token here and there
        assert (together.ids[:, 0] == in_turn.ids[:, 0]).float().mean() > 0.8
    else:
        assert torch.equal(together.ids, in_turn.ids)
        assert torch.allclose(together.logprobs, in_turn.logprobs, atol=1e-4)
    gap = (in_turn.logprobs - trainers_logprobs(loaded, in_turn, 4, temperature or 1.0)).abs()
    assert gap.mean() < ROUNDING


def trainers_logprobs(loaded, samples, n, temperature):
    ids, mask = left_pad([prompt for prompt in PROMPTS for _ in range(n)], 0, loaded.device)
    with torch.no_grad():
        batch = TokenBatch(ids, mask, samples.ids, samples.mask)
        return completion_logprobs(loaded.model, batch, temperature, loaded.never_drawn)


def test_the_log_probs_of_sampler_and_trainer_agree_within_rounding(loaded, sampler):
    samples = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=4, max_new_tokens=20, temperature=0.7, seed=1))
    assert len(set(samples.mask.sum(dim=1).tolist())) > 1  # rows have left the batch on the way
    gap = (samples.logprobs - trainers_logprobs(loaded, samples, 4, 0.7)).abs()
    assert gap.mean() < ROUNDING


def test_greedy_tokens_are_those_of_plain_decoding(loaded, sampler):
    ours = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=8, temperature=0)).ids
    plain = LlamaBatch(loaded.model, PROMPTS, SamplingParams(max_new_tokens=8, temperature=0))
    with torch.no_grad():
        expected = torch.stack([plain.advance()[0] for _ in range(4)], dim=1)
    assert torch.equal(ours[:, :4], expected)


def test_a_nucleus_keeps_to_the_likeliest_tokens(loaded, sampler):
    samples = sampler.sample(PROMPTS, SamplingParams(n=8, max_new_tokens=6, temperature=1.0, top_p=0.3, seed=2))
    whole = trainers_logprobs(loaded, samples, 8, 1.0)
    assert (samples.logprobs >= whole - ROUNDING).all()  # renormalised over fewer tokens
    assert (samples.logprobs * samples.mask).mean() > (whole * samples.mask).mean() + 0.1


def test_gemma_in_slots_draws_the_tokens_of_plain_decoding():
    """Norms of queries and keys, two rotary embeddings, and windows shorter than the prompts."""
    config = Gemma3TextConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=20,
        initializer_range=0.2,
        eos_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    loaded = LoadedModel(AutoModelForCausalLM.from_config(config).eval().to("cuda" if CUDA else "cpu"), build_tokenizer())
    sampler = Sampler(loaded)
    sampler._start = decoder_of(loaded).start
    prompts, params = [PROMPTS[0] * 3, PROMPTS[1]], SamplingParams(max_new_tokens=5, temperature=0)
    samples = sampler.sample(prompts, params)
    plain = LlamaBatch(loaded.model, prompts, params)
    with torch.no_grad():
        expected = [plain.advance() for _ in range(5)]
    assert torch.equal(samples.ids[:, :3], torch.stack([ids for ids, _ in expected], dim=1)[:, :3])
    first = torch.stack([logprobs for _, logprobs in expected], dim=1)[:, :3]
    assert (samples.logprobs[:, :3] - first).abs().max() < ROUNDING


def test_one_decoder_serves_batches_of_any_size_and_sees_new_weights(loaded, sampler):
    first = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3)).ids
    sampler.sample([PROMPTS[0] * 20] * 5, SamplingParams(top_p=1.0, n=4, max_new_tokens=12, temperature=1.0))
    assert torch.equal(
        sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3)).ids, first
    )
    weight = loaded.model.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        weight.mul_(-1)
    changed = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3))
    gap = (changed.logprobs - trainers_logprobs(loaded, changed, 2, 1.0)).abs()
    with torch.no_grad():
        weight.mul_(-1)
    assert gap.mean() < ROUNDING
