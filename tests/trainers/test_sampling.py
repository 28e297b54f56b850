"""SamplingParams and the log-probs that training needs."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from chat_templates import CHATML, tokenizer_of
from sharp_model import sharp_tiny
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from r1env.engines import SamplingParams
from r1env_trainers.generate.batches import Drawn, draw
from r1env_trainers.generate.engine import Sampler, decode_samples
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import LIKELIEST, TokenBatch, completion_logprobs, outside_nucleus, restrict

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
        return completion_logprobs(loaded.model, batch, temperature, loaded.never_drawn)


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
    tokens, logprobs = draw(logits, SamplingParams(temperature=1.0, top_p=1.0), torch.Generator().manual_seed(0))
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    assert torch.allclose(shares, probabilities, atol=0.015)
    assert torch.allclose(logprobs, probabilities.log()[tokens], atol=1e-6)


def test_top_p_keeps_the_smallest_set_that_reaches_it_and_renormalises():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(5000, -1)
    tokens, logprobs = draw(logits, SamplingParams(temperature=1.0, top_p=0.7), torch.Generator().manual_seed(0))
    assert set(tokens.tolist()) == {0, 1}
    assert logprobs[tokens == 0][0] == pytest.approx(math.log(0.5 / 0.8), abs=1e-6)


def test_greedy_takes_the_likeliest_with_its_plain_log_prob():
    token, logprob = draw(torch.tensor([[0.0, 2.0, 1.0]]), SamplingParams(temperature=0, top_p=0.1), torch.Generator())
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
        logprobs = completion_logprobs(loaded.model, part, forbidden=loaded.never_drawn)
    length = part.completion_ids.shape[1]
    assert torch.allclose(logprobs, samples.logprobs[rows, :length], atol=2e-5)


# Restricted distributions, against transformers' own processors.


def processors_of(params, never_drawn=None):
    """transformers' processors for these parameters, in transformers' order."""
    found = LogitsProcessorList()
    if never_drawn is not None:
        found.append(SuppressTokensLogitsProcessor([never_drawn]))
    if params.repetition_penalty != 1:
        found.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    found.append(TemperatureLogitsWarper(float(params.temperature)))
    if params.top_k:
        found.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        found.append(TopPLogitsWarper(params.top_p))
    if params.min_p:
        found.append(MinPLogitsWarper(params.min_p))
    return found


RESTRICTIONS = [
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 1000},
    {"top_p": 0.7},
    {"min_p": 0.2},
    {"top_k": 9, "top_p": 0.8},
    {"top_p": 0.9, "min_p": 0.1},
    {"top_k": 20, "top_p": 0.9, "min_p": 0.05},
]


@pytest.mark.parametrize("restriction", RESTRICTIONS)
@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_what_top_k_top_p_and_min_p_leave_is_what_transformers_leaves(restriction, temperature):
    logits = 3 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    logits[:, 11] = logits[:, 3]  # two that are equally likely
    params = SamplingParams(**{"top_p": 1.0, "temperature": temperature, **restriction})
    theirs = processors_of(params)(torch.zeros(50, 1, dtype=torch.long), logits.clone()).log_softmax(dim=-1)
    ours = restrict((logits / temperature).log_softmax(dim=-1), top_k=params.top_k, top_p=params.top_p, min_p=params.min_p)
    torch.testing.assert_close(ours.log_softmax(dim=-1), theirs)


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999, 1.0 - 1e-7])
def test_the_nucleus_is_that_of_a_full_sort_whether_or_not_the_likeliest_tokens_hold_it(top_p):
    sharpness = torch.linspace(0, 8, 12)[:, None]  # from an even distribution, whose nucleus is nearly all, to one token
    logprobs = (sharpness * torch.randn(12, 3 * LIKELIEST, generator=torch.Generator().manual_seed(0))).log_softmax(dim=-1)
    ordered, order = logprobs.sort(dim=-1, descending=True)
    whole = torch.zeros_like(logprobs, dtype=torch.bool).scatter(1, order, ordered.exp().cumsum(-1) - ordered.exp() >= top_p)
    found = outside_nucleus(logprobs, top_p)
    kept = (~found).sum(dim=-1)
    assert torch.equal(kept, (~whole).sum(dim=-1))
    assert torch.equal(
        logprobs.masked_fill(found, -math.inf).sort().values, logprobs.masked_fill(whole, -math.inf).sort().values
    )
    if top_p < 1e-3:
        assert kept.tolist() == [1] * 12
    elif top_p > 0.5:
        assert kept.max() > LIKELIEST > kept.min()


ALL_AT_ONCE = {"top_k": 12, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.4}


@pytest.mark.parametrize("model", ["tiny", "tiny-gpt2"])
@pytest.mark.parametrize("settings", [{"top_p": 1.0, "repetition_penalty": 0.7}, ALL_AT_ONCE])
def test_the_log_probs_of_a_sample_are_those_of_transformers_processors(loaded, model, settings):
    one = loaded if model == "tiny" else load_model(model)
    params = SamplingParams(n=3, max_new_tokens=12, temperature=0.8, seed=3, stop=("1", "5"), **settings)
    samples = Sampler(one).sample(PROMPTS, params)
    lengths = samples.mask.sum(dim=1).long().tolist()
    assert len(set(lengths)) > 1  # rows left the batch on the way
    processors = processors_of(params, one.never_drawn)
    for row, length in enumerate(lengths):
        prompt = PROMPTS[row // 3]
        ids = torch.tensor([[*prompt, *samples.ids[row, :length].tolist()]])
        with torch.no_grad():
            logits = one.model(ids).logits[0]
        for drawn in range(length):
            place = len(prompt) + drawn
            scores = processors(ids[:, :place], logits[place - 1 : place].clone()).log_softmax(dim=-1)
            assert float(scores[0, ids[0, place]]) == pytest.approx(float(samples.logprobs[row, drawn]), abs=1e-4)


@pytest.mark.parametrize("model", ["tiny", "tiny-gpt2"])
def test_greedy_completions_under_a_repetition_penalty_are_those_of_generate(loaded, model):
    one = loaded if model == "tiny" else load_model(model)
    ours = Sampler(one).sample(PROMPTS, SamplingParams(temperature=0, max_new_tokens=12, repetition_penalty=1.5))
    for row, prompt in enumerate(PROMPTS):
        theirs = one.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt)),
            max_new_tokens=12,
            do_sample=False,
            repetition_penalty=1.5,
        )[0, len(prompt) :]
        assert ours.ids[row, : int(ours.mask[row].sum())].tolist() == theirs.tolist()


# The pad token, and where completions end.


def that_always_wants(token, model="tiny"):
    """A model to which one token is the likeliest by far, after any other."""
    loaded = load_model(model)
    head = torch.nn.Linear(loaded.model.config.hidden_size, loaded.model.config.vocab_size)
    torch.nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.linspace(0, 1, len(head.bias)))
        head.bias[token] = 50.0
    loaded.model.set_output_embeddings(head)
    return loaded


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_the_pad_token_is_never_drawn(temperature):
    pad = load_model("tiny").pad
    loaded = that_always_wants(pad)
    assert loaded.never_drawn == pad
    samples = Sampler(loaded).sample(
        PROMPTS, SamplingParams(n=8, max_new_tokens=20, top_p=1.0, temperature=temperature, ignore_eos=True)
    )
    assert not (samples.ids == pad).any()
    assert samples.mask.all()
    torch.testing.assert_close(samples.logprobs, recomputed(loaded, PROMPTS, samples, 8), rtol=0, atol=1e-4)


def test_a_pad_token_that_ends_completions_is_drawn():
    loaded = that_always_wants(load_model("tiny").tokenizer.eos_token_id)
    loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
    assert loaded.never_drawn is None
    samples = Sampler(loaded).sample(PROMPTS, SamplingParams(max_new_tokens=5))
    assert samples.ids.tolist() == [[loaded.tokenizer.eos_token_id]] * 3
    assert samples.finished.all()


def test_ends_that_are_ignored_are_tokens_like_others():
    loaded = that_always_wants(load_model("tiny").tokenizer.eos_token_id)
    samples = Sampler(loaded).sample(PROMPTS, SamplingParams(max_new_tokens=5, ignore_eos=True))
    assert samples.ids.tolist() == [[loaded.tokenizer.eos_token_id] * 5] * 3
    assert not samples.finished.any()


def test_a_completion_ends_at_the_end_of_turn_of_the_chat_template():
    tokenizer = tokenizer_of(CHATML)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    loaded = load_model("tiny")
    loaded.model.resize_token_embeddings(len(tokenizer))
    wants = dataclasses.replace(that_always_wants(2), tokenizer=tokenizer)
    assert wants.ends == sorted({tokenizer.eos_token_id, end, loaded.tokenizer.eos_token_id})
    samples = says([7, 8, end, 9], wants).sample([[5]], SamplingParams(max_new_tokens=4))
    assert samples.ids.tolist() == [[7, 8, end]]
    assert samples.finished.tolist() == [True]


def says(ids, loaded):
    """A sampler whose model answers with these tokens."""

    class Says:
        ahead = 0

        def __init__(self, prompts, params):
            self.left = list(ids[: params.max_new_tokens])

        def advance(self):
            return Drawn(torch.tensor([0]), torch.tensor([[self.left.pop(0)]]), torch.zeros(1, 1)) if self.left else None

        def end(self, rows):
            self.left.clear()

    sampler = Sampler(loaded)
    sampler._start = Says
    return sampler


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("a" * 60 + "b c", "a" * 50 + "b", "a" * 60 + "b"),
        ("one two", "one ", "one "),
        ("1 é2", "é", "1 é"),
        ("数1数2", "1数", "数1数"),
    ],
)
def test_a_stop_text_is_found_whatever_its_length_and_its_last_character(text, stop, expected):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({one: place for place, one in enumerate(["<pad>", "<eos>", *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bytes_tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    sampler = says(bytes_tokenizer(text)["input_ids"], dataclasses.replace(load_model("tiny"), tokenizer=bytes_tokenizer))
    samples = sampler.sample([[5]], SamplingParams(max_new_tokens=100, stop=("never", stop)))
    assert decode_samples(bytes_tokenizer, samples) == [expected]
    assert samples.finished.tolist() == [True]


def test_an_empty_stop_text_is_refused():
    with pytest.raises(ValueError, match="at least 1 character"):
        SamplingParams(stop=("",))
