"""The formulas of PPO against numbers worked out by hand, identities, and OpenRLHF's own code on the same tensors."""

from __future__ import annotations

import ast
import importlib.util
import typing
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.rl.advantages import gae, token_rewards
from r1env_trainers.rl.losses import explained_variance, value_loss

BATCH, LENGTH = 6, 9


def drawn(seed=0):
    """Rewards, values and masks of rows that end at different places."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (torch.randn(BATCH, LENGTH, generator=generator, dtype=torch.float64) for _ in range(2))
    lengths = torch.randint(1, LENGTH + 1, (BATCH,), generator=generator)
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).double()
    return rewards * mask, values * mask, mask


def test_the_reward_of_an_episode_is_at_its_last_token_and_the_penalty_at_every_one():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    penalty = torch.full((3, 3), 0.25)
    given_rewards = token_rewards(torch.tensor([1.0, 2.0, 9.0]), mask, penalty)
    assert given_rewards.tolist() == [[-0.25, 0.75, 0.0], [-0.25, -0.25, 1.75], [0.0, 0.0, 0.0]]


def test_gae_by_hand():
    # δ_1 = 0 + 0.5 * 4 - 2 = 0, δ_0 = 1 + 0.5 * 2 - 1 = 1; third token: δ_2 = 3 - 4 = -1
    # with γλ = 0.25: A_2 = -1, A_1 = 0 - 0.25 = -0.25, A_0 = 1 - 0.0625
    rewards, values = torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([[1.0, 2.0, 4.0]])
    assert gae(rewards, values, torch.ones(1, 3), gamma=0.5, gae_lambda=0.5).tolist() == [[0.9375, -0.25, -1.0]]


@given(st.integers(0, 1000))
def test_with_lambda_1_the_advantage_is_the_return_less_the_value(seed):
    rewards, values, mask = drawn(seed)
    returns = rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(gae(rewards, values, mask, gamma=1.0, gae_lambda=1.0), (returns - values) * mask)


@given(st.integers(0, 1000))
def test_with_lambda_0_the_advantage_is_the_error_of_one_step(seed):
    rewards, values, mask = drawn(seed)
    following = torch.cat([values[:, 1:], torch.zeros(BATCH, 1)], dim=1)
    expected = (rewards + 0.9 * following - values) * mask
    assert torch.allclose(gae(rewards, values, mask, gamma=0.9, gae_lambda=0.0), expected)


def test_what_an_environment_says_between_two_turns_is_as_if_it_were_not_there():
    rewards, values = torch.tensor([[0.5, 0.0, 1.0]]), torch.tensor([[1.0, 2.0, 4.0]])
    options = {"gamma": 0.9, "gae_lambda": 0.95}
    whole = gae(rewards, values, torch.ones(1, 3), **options)
    places = torch.tensor([0, 3, 4])
    spread = [torch.full((1, 5), 7.0).index_copy(1, places, one) for one in (rewards, values)]
    mask = torch.zeros(1, 5).index_fill(1, places, 1.0)
    found = gae(*spread, mask, **options)
    assert torch.equal(found[:, places], whole)
    assert found[:, [1, 2]].tolist() == [[0.0, 0.0]]


def test_the_loss_of_a_value_that_leaves_the_clip_is_the_worse_of_both():
    values, old, returns = torch.tensor([[1.0, 0.0, 3.0]]), torch.zeros(1, 3), torch.tensor([[2.0, 2.0, 2.0]])
    # clipped to 0.5, 0.0, 0.5: squared errors 2.25, 4, 2.25 against 1, 4, 1
    assert value_loss(values, old, returns, 0.5).tolist() == [[1.125, 2.0, 1.125]]
    assert value_loss(values, old, returns, None).tolist() == [[0.5, 2.0, 0.5]]


def test_explained_variance_is_1_for_who_knows_and_0_for_who_always_says_the_same():
    returns, mask = torch.tensor([[0.0, 1.0, 3.0, 99.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(torch.full_like(returns, 0.4), returns, mask) == pytest.approx(0.0, abs=1e-6)


@pytest.fixture(scope="module")
def openrlhf_folder():
    spec = importlib.util.find_spec("openrlhf")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("OpenRLHF is not installed (requirements/peers.txt)")
    return Path(next(iter(spec.submodule_search_locations)))


def released(path, name, **known):
    """A function or class out of a file whose imports are not all installed."""
    tree = ast.parse(path.read_text("utf-8"))
    (found,) = (node for node in ast.walk(tree) if getattr(node, "name", None) == name)
    names = {"torch": torch, "nn": torch.nn, **vars(typing), **known}
    exec(compile(ast.Module([found], []), str(path), "exec"), names)
    return names[name]


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.5)])
def test_advantages_and_returns_are_those_of_openrlhf(openrlhf_folder, gamma, gae_lambda):
    path = openrlhf_folder / "trainer/ppo_utils/experience_maker.py"
    peer = released(path, "get_advantages_and_returns")
    rewards, values, mask = drawn()
    advantages, returns = peer(None, values, rewards, mask, gamma, gae_lambda)
    ours = gae(rewards, values, mask, gamma=gamma, gae_lambda=gae_lambda)
    assert torch.allclose(ours, advantages * mask)
    assert torch.allclose(ours + values, returns * mask)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_value_loss_is_that_of_openrlhf(openrlhf_folder, clip):
    path = openrlhf_folder / "models/loss.py"
    mean = released(openrlhf_folder / "models/utils.py", "masked_mean")
    peer = released(path, "ValueLoss", aggregate_loss=released(path, "aggregate_loss", masked_mean=mean))
    returns, values, mask = drawn()
    old = values + 0.3 * torch.randn(BATCH, LENGTH, generator=torch.Generator().manual_seed(5))
    theirs = peer(clip)(values, old, returns, action_mask=mask)
    ours = (value_loss(values, old, returns, clip) * mask).sum() / mask.sum()
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)
