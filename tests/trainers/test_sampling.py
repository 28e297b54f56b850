"""SamplingParams and the log-probs that training needs."""

from __future__ import annotations

import math

import pytest
import torch
from sharp_model import sharp_tiny

from r1env.engines import SamplingParams
from r1env_trainers.generate.batches import draw
from r1env_trainers.generate.engine import Sampler, decode_samples
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs

PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]


@pytest.fixture(scope="module")
def loaded():
    return sharp_tiny()


@pytest.fixture(scope="module")
def sampler(loaded):
    return Sampler(loaded)


def recomputed(loaded, prompts, samples, n, temperature=1.0):
    ids, mask = left_pad([prompt for prompt in prompts for _ in range(n)], 0, loaded.device)
    batch = TokenBatch(ids, mask, samples.ids, samples.mask)
    with torch.no_grad():
        return completion_logprobs(loaded.model, batch, temperature)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_log_probs_of_the_sampler_are_those_of_the_forward_pass(loaded, sampler, temperature):
    samples = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=4, max_new_tokens=20, temperature=temperature, seed=1))
    assert torch.allclose(samples.logprobs, recomputed(loaded, PROMPTS, samples, 4, temperature), atol=2e-5)


def test_greedy_decoding_is_that_of_transformers(loaded, sampler):
    for prompt in PROMPTS:
        theirs = loaded.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=16, do_sample=False
        )[0, len(prompt) :]
        ours = sampler.sample([prompt], SamplingParams(top_p=1.0, n=1, max_new_tokens=16, temperature=0)).ids[0]
        assert ours.tolist() == theirs.tolist()


def test_a_prompt_gets_the_same_greedy_completion_alone_and_beside_longer_ones(sampler):
    together = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=12, temperature=0))
    for row, prompt in enumerate(PROMPTS):
        alone = sampler.sample([prompt], SamplingParams(top_p=1.0, n=1, max_new_tokens=12, temperature=0))
        length = int(alone.mask.sum())
        assert together.ids[row, :length].tolist() == alone.ids[0, :length].tolist()


def test_the_seed_decides_the_draws(sampler):
    first, again, other = (
        sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=8, temperature=1.0, seed=seed)).ids.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_completions_end_at_the_end_token_or_the_limit(loaded, sampler):
    samples = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=16, max_new_tokens=40, temperature=1.0, seed=3))
    for ids, mask, finished in zip(samples.ids, samples.mask.sum(dim=1).long(), samples.finished, strict=True):
        drawn = ids[: int(mask)].tolist()
        assert (drawn[-1] == loaded.tokenizer.eos_token_id) == bool(finished)
        assert loaded.tokenizer.eos_token_id not in drawn[:-1]
        assert bool(finished) or len(drawn) == 40


def test_a_stop_text_ends_a_completion_and_stays_in_it(sampler):
    samples = sampler.sample(
        PROMPTS, SamplingParams(top_p=1.0, n=32, max_new_tokens=60, temperature=1.0, stop=("a", "12"), seed=4)
    )
    lengths = samples.mask.sum(dim=1).long().tolist()
    texts = decode_samples(sampler.tokenizer, samples)
    before_the_last_token = [sampler.tokenizer.decode(ids[: n - 1]) for ids, n in zip(samples.ids, lengths, strict=True)]
    assert any("a" in text or "12" in text for text in texts)
    assert not any("a" in text or "12" in text for text in before_the_last_token)


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = probabilities.log().expand(20_000, -1)
    tokens, logprobs = draw(logits, 1.0, 1.0, torch.Generator().manual_seed(0))
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    assert torch.allclose(shares, probabilities, atol=0.015)
    assert torch.allclose(logprobs, probabilities.log()[tokens], atol=1e-6)


def test_top_p_keeps_the_smallest_set_that_reaches_it_and_renormalises():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(5000, -1)
    tokens, logprobs = draw(logits, 1.0, 0.7, torch.Generator().manual_seed(0))
    assert set(tokens.tolist()) == {0, 1}
    assert logprobs[tokens == 0][0] == pytest.approx(math.log(0.5 / 0.8), abs=1e-6)


def test_greedy_takes_the_likeliest_with_its_plain_log_prob():
    token, logprob = draw(torch.tensor([[0.0, 2.0, 1.0]]), 0, 0.1, torch.Generator())
    assert token.tolist() == [1]
    assert float(logprob) == pytest.approx(2 - math.log(1 + math.e + math.e**2), abs=1e-5)


def test_selecting_rows_cuts_padding_and_changes_no_log_prob(loaded, sampler):
    samples = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=30, temperature=1.0, seed=5))
    ids, mask = left_pad([prompt for prompt in PROMPTS for _ in range(2)], 0, loaded.device)
    batch = TokenBatch(ids, mask, samples.ids, samples.mask)
    rows = torch.tensor([2, 3])
    part = batch.select(rows)
    assert part.prompt_ids.shape[1] == 1
    with torch.no_grad():
        logprobs = completion_logprobs(loaded.model, part)
    length = part.completion_ids.shape[1]
    assert torch.allclose(logprobs, samples.logprobs[rows, :length], atol=2e-5)
