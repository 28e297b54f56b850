"""The formulas of GRPO against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.rl import losses as kl
from r1env_trainers.rl.advantages import (
    baseline_free,
    gdpo,
    group_mean,
    group_std,
    leave_one_out,
    maxrl,
    mixed,
    mixed_parts,
    whiten,
    with_kl_reward,
)
from r1env_trainers.rl.losses import (
    aggregate,
    cispo_loss,
    clipped_share,
    loss_denominator,
    policy_loss,
    sampler_correction,
    sequence_ratio,
)

NAN = math.nan
OF_GROUPS = [group_mean, group_std, leave_one_out, maxrl]


def test_group_mean_subtracts_the_mean_of_the_group():
    advantages = group_mean(torch.tensor([[1.0, 0.0, 0.0, 1.0], [3.0, 1.0, 1.0, 3.0]]))
    assert advantages.tolist() == [[0.5, -0.5, -0.5, 0.5], [1.0, -1.0, -1.0, 1.0]]


def test_group_std_divides_by_the_sample_deviation():
    # mean 1, deviations -1 0 1, sample variance (1 + 0 + 1) / 2 = 1
    assert group_std(torch.tensor([[0.0, 1.0, 2.0]])).tolist() == [[-1.0, 0.0, 1.0]]


def test_leave_one_out_subtracts_the_mean_of_the_others():
    assert leave_one_out(torch.tensor([[1.0, 0.0, 0.5], [3.0, NAN, 1.0]])).tolist() == [
        [pytest.approx(0.75), pytest.approx(-0.75), 0.0],
        [pytest.approx(2.0), 0.0, pytest.approx(-2.0)],
    ]


def test_maxrl_divides_by_the_success_rate():
    assert maxrl(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])).tolist() == [
        [3.0, -1.0, -1.0, -1.0],
        [pytest.approx(1 / 3), pytest.approx(1 / 3), pytest.approx(1 / 3), -1.0],
    ]


def test_maxrl_leaves_a_group_out_whose_mean_it_cannot_divide_by():
    assert maxrl(torch.tensor([[1.0, -1.0], [-1.0, -2.0]])).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_gdpo_gives_a_small_spread_as_much_say_as_a_large_one():
    parts = torch.tensor([[[0.0, 0.00], [1.0, 0.00], [0.0, 0.01], [1.0, 0.01]]])  # columns: right, and a hundredth for the form
    advantages = gdpo(parts, torch.ones(1, 2))
    assert advantages[0, 1:3].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert float(advantages[0, 3]) == pytest.approx(-float(advantages[0, 0]), abs=1e-6)
    assert advantages[0, 3] > 1


def test_gdpo_leaves_out_a_reward_that_is_not_the_environments():
    parts = torch.tensor([[[0.0, NAN], [1.0, NAN], [1.0, NAN]], [[NAN, 2.0], [NAN, 2.0], [NAN, 5.0]]])
    advantages = gdpo(parts, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert advantages.isfinite().all()
    assert advantages.argmin(dim=1).tolist() == [0, 0]
    assert advantages.sum(dim=1).tolist() == pytest.approx([0, 0], abs=1e-5)


def test_gdpo_sees_a_difference_that_the_sum_hides():
    parts = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    assert not mixed(parts.sum(dim=2)).any()
    assert mixed_parts(parts).tolist() == [True, False]


def test_reinforce_pp_has_no_baseline_but_the_batch():
    rewards = torch.tensor([[1.0, 1.0], [0.0, NAN]])
    advantages, mask = baseline_free(rewards).flatten(), torch.tensor([[1.0], [1.0], [1.0], [0.0]])
    assert advantages.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert whiten(advantages[:, None], mask).flatten().tolist() == pytest.approx([0.5**0.5, 0.5**0.5, -(2.0**0.5), 0.0])


def test_whitening_weighs_by_tokens():
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    whitened = whiten(torch.tensor([[1.0], [-1.0]]).expand(2, 3), mask)
    assert float(whitened.sum()) == pytest.approx(0, abs=1e-6)
    assert float(whitened.square().sum() / mask.sum()) == pytest.approx(1)


def test_whitening_a_batch_that_is_all_alike_gives_nothing():
    assert not whiten(torch.full((2, 3), 0.7), torch.ones(2, 3)).any()


def test_the_kl_as_a_reward_is_taken_from_every_token_before_it():
    kl_tokens, mask = torch.tensor([[0.1, 0.2, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert with_kl_reward(torch.tensor([1.0]), kl_tokens, mask, 0.5).tolist() == [
        [pytest.approx(0.85), pytest.approx(0.9), 0.0]
    ]


@pytest.mark.parametrize("estimator", OF_GROUPS)
def test_an_unscored_completion_leaves_the_statistics_of_its_group(estimator):
    with_gap = estimator(torch.tensor([[1.0, NAN, 0.0, 2.0]]))
    without = estimator(torch.tensor([[1.0, 0.0, 2.0]]))
    assert with_gap[0, [0, 2, 3]].tolist() == without[0].tolist()
    assert with_gap[0, 1] == 0


@pytest.mark.parametrize("estimator", OF_GROUPS)
@pytest.mark.parametrize(
    "group", [[1.0, 1.0, 1.0], [0.3, 0.3 + 1e-8, 0.3], [NAN, NAN, NAN], [NAN, 1.0, NAN]], ids=["equal", "noise", "none", "one"]
)
def test_a_group_without_variance_teaches_nothing(estimator, group):
    rewards = torch.tensor([group])
    assert not mixed(rewards).any()
    assert estimator(rewards).tolist() == [[0.0, 0.0, 0.0]]


@given(st.lists(st.lists(st.floats(-10, 10), min_size=4, max_size=4), min_size=1, max_size=5))
def test_advantages_are_finite_and_sum_to_zero_in_each_group(groups):
    for estimator in (group_mean, group_std, leave_one_out):
        advantages = estimator(torch.tensor(groups, dtype=torch.float64))
        assert advantages.isfinite().all()
        assert advantages.sum(dim=1).abs().max() < 1e-6


def test_the_clip_takes_the_gradient_from_a_ratio_above_the_upper_bound():
    logprobs = torch.tensor([[math.log(1.5), math.log(1.1)]], requires_grad=True)
    loss = policy_loss(logprobs, torch.zeros(1, 2), torch.tensor([2.0]), clip_low=0.2, clip_high=0.3)
    assert loss.tolist() == [[pytest.approx(-2.6), pytest.approx(-2.2)]]
    loss.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[0.0, pytest.approx(-2.2)]]


def test_a_negative_advantage_is_clipped_on_the_lower_side_only():
    old = torch.zeros(1, 2)
    logprobs = torch.tensor([[math.log(0.5), math.log(3.0)]])
    loss = policy_loss(logprobs, old, torch.tensor([-1.0]), clip_low=0.2, clip_high=0.2)
    assert loss.tolist() == [[pytest.approx(0.8), pytest.approx(3.0)]]
    assert clipped_share(logprobs, old, torch.tensor([-1.0]), clip_low=0.2, clip_high=0.2).tolist() == [[1.0, 0.0]]


def test_the_clip_of_r1_stops_only_ratios_above_eleven():
    logprobs = torch.tensor([[math.log(10.9), math.log(12.0), -5.0]])
    clipped = clipped_share(logprobs, torch.zeros(1, 3), torch.tensor([1.0]), clip_low=10, clip_high=10)
    assert clipped.tolist() == [[0.0, 1.0, 0.0]]


def test_gspo_takes_the_geometric_mean_of_a_sequence_and_clips_it_whole():
    logprobs = torch.tensor([[math.log(4.0), 0.0, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    old = torch.zeros(1, 3)
    assert sequence_ratio(logprobs, old, mask).tolist() == [[pytest.approx(2.0)]]
    settings = {"clip_low": 0.2, "clip_high": 0.2, "ratio": "sequence", "mask": mask}
    loss = policy_loss(logprobs, old, torch.tensor([1.0]), **settings)
    assert loss.expand(1, 3).tolist() == [[pytest.approx(-1.2)] * 3]
    assert clipped_share(logprobs, old, torch.tensor([1.0]), **settings).tolist() == [[1.0, 1.0, 1.0]]


def test_the_ratio_of_sequences_wants_their_mask():
    with pytest.raises(ValueError, match="mask"):
        policy_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1), clip_low=0.2, clip_high=0.2, ratio="sequence")


def test_cispo_keeps_the_gradient_of_a_clipped_token():
    logprobs = torch.tensor([[math.log(3.0), math.log(0.5)]], requires_grad=True)
    settings = {"clip_low": 1.0, "clip_high": 0.5}
    cispo_loss(logprobs, torch.zeros(1, 2), torch.tensor([2.0]), **settings).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[pytest.approx(-1.5 * 2), pytest.approx(-0.5 * 2)]]
    share = clipped_share(logprobs, torch.zeros(1, 2), torch.tensor([-1.0]), bounds_weight=True, **settings)
    assert share.tolist() == [[1.0, 0.0]]


def test_the_dual_clip_bounds_what_a_bad_token_can_cost():
    logprobs, old = torch.tensor([[math.log(9.0)]]), torch.zeros(1, 1)
    settings = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0}
    assert float(policy_loss(logprobs, old, torch.tensor([-1.0]), **settings)) == pytest.approx(3.0)
    assert float(policy_loss(logprobs, old, torch.tensor([1.0]), **settings)) == pytest.approx(-1.2)


def test_the_samplers_error_is_weighed_out_up_to_a_cap():
    trainer = torch.log(torch.tensor([[0.5, 0.4, 0.3]]))
    sampler = torch.log(torch.tensor([[0.25, 0.1, 0.9]]))
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    token = sampler_correction(trainer, sampler, mask, form="token", cap=3.0)
    assert token.tolist() == [[pytest.approx(2.0), pytest.approx(3.0), 1.0]]
    assert sampler_correction(trainer, sampler, mask, form="sequence", cap=100.0).tolist() == [[pytest.approx(8.0)]]
    assert sampler_correction(trainer, sampler, mask, form="sequence", cap=2.0).tolist() == [[2.0]]


def test_weighing_out_the_samplers_error_makes_a_biased_sample_unbiased():
    policy, sampler = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.4, 0.4, 0.2])
    weights = sampler_correction(policy.log()[None], sampler.log()[None], torch.ones(1, 3), form="token", cap=10.0)[0]
    worth = torch.tensor([1.0, -2.0, 5.0])
    assert float((sampler * weights * worth).sum()) == pytest.approx(float((policy * worth).sum()), abs=1e-6)


def test_policies_that_parted_give_finite_losses_and_gradients():
    logprobs = torch.tensor([[-1.0, -500.0]], requires_grad=True)
    old = torch.tensor([[-500.0, -1.0]])
    loss = policy_loss(logprobs, old, torch.tensor([-1.0]), clip_low=0.2, clip_high=0.2) + kl.k3(logprobs, old)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logprobs.grad is not None
    assert logprobs.grad.isfinite().all()


def test_the_three_aggregations_by_hand():
    per_token = torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])

    def whole(mode):
        return float(aggregate(per_token, mask, mode, loss_denominator(mask, mode, max_new_tokens=5)))

    assert whole("token-mean") == (1 + 2 + 3 + 4) / 4
    assert whole("seq-mean-token-mean") == ((1 + 2 + 3) / 3 + 4) / 2
    assert whole("seq-mean-token-sum-norm") == (1 + 2 + 3 + 4) / (2 * 5)


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
def test_micro_batches_add_up_to_the_loss_of_the_whole(mode):
    generator = torch.Generator().manual_seed(0)
    per_token = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    mask = (torch.rand(6, 5, generator=generator) < 0.7).double()
    mask[:, 0] = 1
    denominator = loss_denominator(mask, mode, max_new_tokens=7)
    whole = aggregate(per_token, mask, mode, denominator)
    parts = [aggregate(per_token[rows], mask[rows], mode, denominator) for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert float(sum(parts)) == pytest.approx(float(whole), abs=1e-12)


def test_the_kl_estimators_by_hand():
    logprobs, reference = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert float(kl.k1(logprobs, reference)) == pytest.approx(math.log(2))
    assert float(kl.k2(logprobs, reference)) == pytest.approx(math.log(2) ** 2 / 2)
    assert float(kl.k3(logprobs, reference)) == pytest.approx(0.5 - math.log(0.5) - 1)


def test_k1_and_k3_estimate_the_kl_of_two_known_distributions():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.4, 0.4, 0.2])
    exact = float((policy * (policy / reference).log()).sum())
    for estimator in (kl.k1, kl.k3):
        expectation = float((policy * estimator(policy.log(), reference.log())).sum())
        assert expectation == pytest.approx(exact, abs=1e-6)
