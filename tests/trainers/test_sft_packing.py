"""Demonstrations into forward passes: nothing lost, nothing over the budget, and no token sees its neighbour."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import completion_logprobs
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import best_fit, padded_batches
from r1env_trainers.sft.loop import forward_passes, make_batch, response_loss

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=60)
DATA = {"model": "tiny", "data": "unread.jsonl"}


@pytest.fixture(scope="module", params=["tiny", "tiny-gpt2"])
def loaded(request):
    torch.set_num_threads(1)
    return load_model(request.param, seed=0)


@given(LENGTHS, st.integers(1, 100))
def test_best_fit_loses_nothing_and_keeps_to_the_budget(lengths, budget):
    bins = best_fit(lengths, budget)
    assert sorted(place for one in bins for place in one) == list(range(len(lengths)))
    assert all(len(one) == 1 or sum(lengths[place] for place in one) <= budget for one in bins)


@given(LENGTHS, st.integers(50, 100))
def test_best_fit_leaves_no_two_bins_that_would_fit_into_one(lengths, budget):
    loads = sorted(sum(lengths[place] for place in one) for one in best_fit(lengths, budget))
    assert len(loads) < 2 or loads[0] + loads[1] > budget


@given(LENGTHS, st.integers(1, 400))
def test_padded_batches_lose_nothing_and_count_their_padding(lengths, budget):
    batches = padded_batches(lengths, budget)
    assert sorted(place for one in batches for place in one) == list(range(len(lengths)))
    assert all(len(one) == 1 or len(one) * max(lengths[place] for place in one) <= budget for one in batches)


def test_best_fit_takes_the_fullest_bin_with_room():
    # 7 and 6 open bins; 4 fits beside 6 alone; 3 fills up the 7.
    assert best_fit([3, 6, 4, 7], 10) == [[3, 0], [1, 2]]


PAIRS = [([4, 39, 5, 51], [6, 1]), ([31, 4, 3, 51], [55, 56, 57, 3, 4, 58, 1]), ([20, 20], [21, 1]), ([4], [5, 5, 5, 1])]


@torch.no_grad()
def test_no_token_sees_its_neighbour(loaded):
    def logprobs(pairs):
        batch = make_batch(pairs, loaded.pad, loaded.device)
        return completion_logprobs(loaded.model, batch)[0, : len(pairs[0][1])]

    alone = logprobs(PAIRS[:1])
    others = [([40, 41, 42, 43], [44] * 9), ([13, 14, 15], [16, 17])]
    torch.testing.assert_close(logprobs(PAIRS), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(logprobs([PAIRS[0], *others]), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("budget", [1, 12, 20, 1000])
def test_the_budget_changes_no_gradient(loaded, budget):
    def gradient(config):
        for one in forward_passes(PAIRS, loaded.model, config):
            response_loss(loaded.model, make_batch(one, loaded.pad, loaded.device), 15).backward()
        found = torch.cat([parameter.grad.flatten() for parameter in loaded.model.parameters()])
        loaded.model.zero_grad()
        return found

    whole = gradient(SFTConfig(**DATA, optim={"micro_batch_size": 4}))
    torch.testing.assert_close(gradient(SFTConfig(**DATA, optim={"micro_batch_tokens": budget})), whole, atol=1e-6, rtol=1e-4)


def test_models_without_a_packed_forward_pass_count_their_padding(loaded):
    passes = forward_passes(PAIRS, loaded.model, SFTConfig(**DATA, optim={"micro_batch_tokens": 26}))
    assert [len(one) for one in passes] == ([4] if loaded.model.config.model_type == "llama" else [2, 2])
