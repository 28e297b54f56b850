"""The conformance kit lets sound losses, advantages, ratios, aggregations and KL estimators pass, and says what is wrong with each other."""

from __future__ import annotations

import pytest
import torch

from r1env.plugins import installed
from r1env.testing import check_advantage, check_kl_estimator, check_loss, check_loss_aggregation, check_policy_ratio

CHECKS = {
    "advantages": check_advantage,
    "losses": check_loss,
    "policy_ratios": check_policy_ratio,
    "loss_aggregations": check_loss_aggregation,
    "kl_estimators": check_kl_estimator,
}
NEED_MORE_THAN_REWARDS = {"gdpo", "gae"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in CHECKS for name in installed().provided(kind) if name not in NEED_MORE_THAN_REWARDS],
)
def test_everything_that_is_installed_passes(kind, name):
    CHECKS[kind](name)


def centred(rewards):
    return (rewards - rewards.nanmean(dim=1, keepdim=True)).nan_to_num(0.0)


def test_a_function_of_ones_own_passes():
    check_advantage(centred)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rewards: rewards - rewards.mean(dim=1, keepdim=True), "values must be finite"),
        (lambda rewards: centred(rewards) + 0.1, "an unscored completion"),
        (lambda rewards: -centred(rewards), "a higher one got a lower advantage"),
        (lambda rewards: centred(rewards)[0], "returned the shape"),
        (lambda rewards: centred(rewards).tolist(), "returned list, not a tensor"),
        (lambda rewards: centred(rewards) * torch.arange(1, rewards.shape[1] + 1), "the order of the completions"),
        (lambda rewards: centred(rewards.nan_to_num_(0.0)), "changes its arguments in place"),
        (lambda rewards: centred(rewards) + torch.rand(()), "two calls with the same arguments differ"),
        (lambda rewards: rewards.nosuch(), "raised AttributeError"),
    ],
)
def test_a_bad_advantage_is_named(function, message):
    with pytest.raises(AssertionError, match=message):
        check_advantage(function)


def reinforce(logprobs, old_logprobs, advantages):
    return -advantages * logprobs


def test_a_loss_of_ones_own_passes():
    check_loss(reinforce)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logprobs, old, advantages: advantages * logprobs, "does not raise the probability"),
        (
            lambda logprobs, old, advantages: -advantages.abs() * logprobs,
            "raises the probability of tokens with the advantage -",
        ),
        (lambda logprobs, old, advantages: -advantages * logprobs.detach(), "has no gradient"),
        (lambda logprobs, old, advantages: (-advantages * logprobs).sum(), "returned the shape"),
        (lambda logprobs, old, advantages: -advantages * (logprobs - logprobs.mean(0)), "alone gives other values"),
        (lambda logprobs, old, advantages: -advantages * (logprobs + logprobs.mean(1, keepdim=True)), "in the padding"),
        (
            lambda logprobs, old, advantages: -advantages * (logprobs - old).exp(),
            "not finite for policies that have grown far apart",
        ),
    ],
)
def test_a_bad_loss_is_named(function, message):
    with pytest.raises(AssertionError, match=message):
        check_loss(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logprobs, old: logprobs - old, "a ratio of probabilities is positive"),
        (lambda logprobs, old: 2 * (logprobs - old).clamp(-20, 20).exp(), "not 1, where both policies agree"),
        (lambda logprobs, old: (logprobs - old).exp(), "not finite"),
        (lambda logprobs, old: (logprobs - old).mean(1, keepdim=True).exp(), "in the padding"),
        (lambda logprobs, old: (logprobs - old).clamp(-20, 20).exp().detach(), "has no gradient"),
        (lambda logprobs, old: (logprobs - old).exp().sum(), "returned the shape"),
    ],
)
def test_a_bad_policy_ratio_is_named(function, message):
    with pytest.raises(AssertionError, match=message):
        check_policy_ratio(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logprobs, reference: (logprobs - reference).abs() + 1, "not 0, where both agree"),
        (lambda logprobs, reference: reference - logprobs, "it must grow"),
        (lambda logprobs, reference: (reference - logprobs).exp() - (reference - logprobs) - 1, "not finite"),
        (lambda logprobs, reference: (logprobs - reference).mean(), "returned the shape"),
        (lambda logprobs, reference: (logprobs - reference).detach(), "has no gradient"),
    ],
)
def test_a_bad_kl_estimator_is_named(function, message):
    with pytest.raises(AssertionError, match=message):
        check_kl_estimator(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda per_token, mask: (per_token * mask).sum() / mask.sum(), "not a total and a count"),
        (lambda per_token, mask: ((per_token * mask).sum(), mask.sum(1).amax()), "the counts of two micro-batches"),
        (lambda per_token, mask: ((per_token * mask).sum() / mask.sum(), mask.sum()), "the totals of two micro-batches"),
        (lambda per_token, mask: (per_token.sum(), mask.sum()), "in the padding counts"),
        (lambda per_token, mask: ((per_token.square() * mask).sum(), mask.sum()), "not linear"),
        (lambda per_token, mask: ((per_token * mask).sum(), (per_token * mask).abs().sum()), "the count depends on the losses"),
        (lambda per_token, mask: ((per_token * mask).sum(), -mask.sum()), "it must be positive"),
        (lambda per_token, mask: ((per_token * mask).sum(1), mask.sum(1)), "must be scalars"),
        (lambda per_token, mask: ((per_token * mask).detach().sum(), mask.sum()), "has no gradient"),
    ],
)
def test_a_bad_loss_aggregation_is_named(function, message):
    with pytest.raises(AssertionError, match=message):
        check_loss_aggregation(function)
