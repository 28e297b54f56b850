"""The slots of the GPU's decoder on any machine: its two kernels are replaced by plain torch, its graphs by the steps they hold."""

from __future__ import annotations

import importlib
import sys
from collections import namedtuple
from types import ModuleType, SimpleNamespace

import pytest
import torch
from sharp_model import sharp_tiny
from torch.nn.functional import scaled_dot_product_attention

from r1env.engines import SamplingParams
from r1env_trainers.generate.engine import Sampler
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, restricted_mass

PROMPTS = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14]]
GRAPHS, STEP = "r1env_trainers.generate.graphs", "r1env_trainers.generate.step"
CACHE = "prompt_keys prompt_values own_keys own_values cos sin arrivals"
OF_FEW_ROWS = ("add_projection", "embed", "fits", "normed", "project")  # kernels that no step here calls


def look_up(slots, groups, prompt_lengths, drawn):
    of = groups[slots.long()].long()
    return torch.stack([slots.long(), of, prompt_lengths[of].long(), (drawn[slots.long()] - 1).clamp(min=0).long()], dim=1)


def append_and_attend(qkv, whereabouts, cache, heads, scale, *, q_norm, k_norm, eps, window):
    assert q_norm is None
    assert not window
    kv_heads, attended = cache.own_keys.shape[1], []
    split = qkv.unflatten(1, (heads + 2 * kv_heads, -1)).split([heads, kv_heads, kv_heads], dim=1)
    for row, (slot, place, length, earlier) in enumerate(whereabouts.tolist()):
        cos, sin = cache.cos[length + earlier], cache.sin[length + earlier]
        query, new_key = (one[row] * cos + turned(one[row]) * sin for one in split[:2])
        cache.own_keys[slot, :, earlier], cache.own_values[slot, :, earlier] = new_key, split[2][row]
        key, value = (
            torch.cat([prompt[place, :, :length], own[slot, :, : earlier + 1]], dim=1)
            for prompt, own in ((cache.prompt_keys, cache.own_keys), (cache.prompt_values, cache.own_values))
        )
        attended.append(scaled_dot_product_attention(query.unflatten(0, (kv_heads, -1)), key, value, scale=scale).flatten())
    return torch.stack(attended)


def turned(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def draw_into(logits, slots, names, drawn, seed, temperature, last, ids, logprobs, arrivals):
    for row, slot in enumerate(slots.tolist()):
        column = min(int(drawn[slot]), ids.shape[1] - 1)
        noise = torch.Generator().manual_seed(int(seed) + 1000 * int(names[slot]) + column)
        scaled = (logits[row] / (float(temperature) or 1.0)).log_softmax(dim=-1)
        exponential = torch.empty_like(scaled).exponential_(generator=noise)
        token = int(scaled.argmax() if temperature == 0 else (scaled.exp() / exponential).argmax())
        drawn[slot], last[slot], ids[slot, column], logprobs[slot, column] = column + 1, token, token, scaled[token]


@pytest.fixture(scope="module")
def loaded():
    return sharp_tiny()


@pytest.fixture
def sampler_of(loaded, monkeypatch):
    """A sampler with so many slots."""
    kernels = ModuleType("kernels")
    kernels.look_up, kernels.append_and_attend, kernels.draw_into = look_up, append_and_attend, draw_into
    kernels.Cache = namedtuple("Cache", CACHE)
    vars(kernels).update(dict.fromkeys(OF_FEW_ROWS))
    monkeypatch.setitem(sys.modules, "r1env_trainers.generate.kernels", kernels)
    for module in (GRAPHS, STEP):
        monkeypatch.delitem(sys.modules, module, raising=False)
    graphs = importlib.import_module(GRAPHS)

    class WithoutGraphs(graphs.GraphDecoder):
        sizes: list[int]

        def _graph(self):
            self.sizes.append(self._live)
            size = graphs.graph_size(self._live)
            return SimpleNamespace(replay=lambda: self._step(size, self._restriction))

    def make(max_rows=None):
        sampler, decoder = Sampler(loaded), WithoutGraphs(loaded.model, max_rows, loaded.never_drawn)
        decoder.sizes = []
        sampler._start = decoder.start
        return sampler, decoder

    yield make
    for module in (GRAPHS, STEP):
        sys.modules.pop(module, None)  # they hold the stand-ins


def trainers_logprobs(loaded, samples, n):
    ids, mask = left_pad([prompt for prompt in PROMPTS for _ in range(n)], 0, loaded.device)
    with torch.no_grad():
        return completion_logprobs(loaded.model, TokenBatch(ids, mask, samples.ids, samples.mask), forbidden=loaded.never_drawn)


@pytest.mark.parametrize(("max_rows", "stop"), [(1, ()), (3, ("a", "12")), (5, ()), (8, ())])
def test_what_a_row_draws_does_not_depend_on_how_many_slots_there_are(loaded, sampler_of, max_rows, stop):
    settings = {"n": 3, "max_new_tokens": 14, "temperature": 1.0, "stop": stop, "seed": 5}
    together = sampler_of()[0].sample(PROMPTS, SamplingParams(top_p=1.0, **settings))
    few, decoder = sampler_of(max_rows)
    in_turn = few.sample(PROMPTS, SamplingParams(top_p=1.0, **settings))
    assert max(decoder.sizes) <= max_rows
    assert torch.equal(in_turn.ids, together.ids)
    assert torch.equal(in_turn.finished, together.finished)
    assert torch.allclose(in_turn.logprobs, together.logprobs, atol=1e-4)
    assert len(set(in_turn.mask.sum(dim=1).tolist())) > 2  # rows did end at random
    assert torch.allclose(in_turn.logprobs, trainers_logprobs(loaded, in_turn, 3), atol=1e-4)


@pytest.mark.parametrize("settings", [{"top_k": 5}, {"top_k": 20, "top_p": 0.8, "min_p": 0.1}])
def test_rows_in_slots_are_drawn_from_what_the_settings_leave(loaded, sampler_of, settings):
    params = SamplingParams(**{"top_p": 1.0, "n": 3, "max_new_tokens": 8, "temperature": 1.0, "seed": 5, **settings})
    samples = sampler_of()[0].sample(PROMPTS, params)
    ids, mask = left_pad([prompt for prompt in PROMPTS for _ in range(3)], 0, loaded.device)
    batch = TokenBatch(ids, mask, samples.ids, samples.mask)
    left = restricted_mass(loaded.model, batch, params, loaded.never_drawn)
    torch.testing.assert_close(samples.logprobs, trainers_logprobs(loaded, samples, 3) - left, atol=1e-4, rtol=0)
    assert float(left.min()) < -0.1


def test_greedy_rows_in_slots_are_those_of_generate(loaded, sampler_of):
    samples = sampler_of(3)[0].sample(PROMPTS, SamplingParams(top_p=1.0, n=1, max_new_tokens=10, temperature=0))
    for row, prompt in enumerate(PROMPTS):
        theirs = loaded.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=10, do_sample=False
        )[0, len(prompt) :].tolist()
        assert samples.ids[row, : int(samples.mask[row].sum())].tolist() == theirs


def test_slots_that_are_free_are_taken_before_the_longest_row_has_ended(sampler_of):
    settings = {"n": 8, "max_new_tokens": 40, "temperature": 1.0, "stop": ("a", "e", "1", "2", "3", "4"), "seed": 1}
    few, decoder = sampler_of(8)
    lengths = few.sample(PROMPTS, SamplingParams(top_p=1.0, **settings)).mask.sum(dim=1)
    one_after_another = sum(-(-int(batch.max() - 1) // 4) for batch in lengths.split(8))
    assert len(decoder.sizes) < one_after_another


@pytest.mark.parametrize("max_new_tokens", [1, 2, 9])
def test_rows_at_the_limit_leave_their_slots(sampler_of, max_new_tokens):
    samples = sampler_of(2)[0].sample(
        PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=max_new_tokens, temperature=1.0, seed=3)
    )
    lengths = samples.mask.sum(dim=1)
    assert (lengths[~samples.finished] == max_new_tokens).all()
    assert int(lengths.min()) >= 1


def test_one_decoder_serves_batches_of_any_size(sampler_of):
    sampler, _ = sampler_of(6)
    first = sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3)).ids
    sampler.sample([PROMPTS[0] * 20] * 5, SamplingParams(top_p=1.0, n=4, max_new_tokens=12, temperature=1.0))
    assert torch.equal(
        sampler.sample(PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3)).ids, first
    )


def test_a_cache_that_leaves_no_room_for_an_update_is_freed_after_each_batch(sampler_of, monkeypatch):
    sampler, decoder = sampler_of(6)
    settings = SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3)
    kept = sampler.sample(PROMPTS, settings)
    assert decoder.capacity.rows > 1
    monkeypatch.setattr(f"{GRAPHS}.leaves_room", lambda model, size: False)
    for _ in range(2):
        again = sampler.sample(PROMPTS, settings)
        assert decoder.capacity.rows == 1
        assert torch.equal(again.ids, kept.ids)


def test_prompts_that_are_prefilled_in_turn_draw_what_they_do_together(sampler_of, monkeypatch):
    settings = SamplingParams(top_p=1.0, n=2, max_new_tokens=6, temperature=1.0, seed=3)
    together = sampler_of()[0].sample(PROMPTS, settings)
    monkeypatch.setattr(f"{GRAPHS}.PREFILL_TOKENS", 5)
    assert torch.equal(sampler_of()[0].sample(PROMPTS, settings).ids, together.ids)


@pytest.mark.parametrize(("lengths", "most", "runs"), [([3], 2, 1), ([2, 2, 2], 4, 2), ([9, 1, 1], 4, 2), ([1] * 7, 3, 3)])
def test_prompts_are_cut_into_runs_that_fit(sampler_of, lengths, most, runs):
    found = importlib.import_module(GRAPHS).chunks(lengths, most)
    assert len(found) == runs
    assert [place for run in found for place in range(len(lengths))[run]] == list(range(len(lengths)))
    assert all(run.stop - run.start == 1 or sum(lengths[run]) <= most for run in found)


def test_a_cache_that_memory_is_not_enough_for_gets_fewer_slots(loaded, sampler_of, monkeypatch):
    settings = {"n": 6, "max_new_tokens": 12, "temperature": 1.0, "seed": 2}
    together = sampler_of()[0].sample(PROMPTS, SamplingParams(top_p=1.0, **settings))
    few, decoder = sampler_of()
    monkeypatch.setattr(f"{GRAPHS}.memory_budget", lambda device: 8e5)
    in_turn = few.sample(PROMPTS, SamplingParams(top_p=1.0, **settings))
    assert decoder.capacity.rows < 24
    assert torch.equal(in_turn.ids, together.ids)
