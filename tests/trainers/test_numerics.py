"""Findings of a numerical audit: each test fails on what the trainers once computed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_architectures import build
from training_runs import trained
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

import r1env
from r1env.engines import SamplingParams
from r1env.envs.suite import make_suite
from r1env.errors import UsageError
from r1env.recipes import plan_training
from r1env_trainers.distill.config import DistillConfig
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.dither import dither_matrices
from r1env_trainers.model.load import load_model
from r1env_trainers.model.session import learning_rate, make_optimizer
from r1env_trainers.rl.config import GRPOConfig, PPOConfig
from r1env_trainers.rl.metrics import TokenTexts, token_data
from r1env_trainers.rl.rollouts import collect
from r1env_trainers.rl.trainer import check_rollouts
from r1env_trainers.rl.update import advantages_of, learning_rows, logprobs_of, prepare, update


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@r1env.reward(name="long")
def long(completion):
    """Differs in nearly every group."""
    return len(completion) / 100


BOTH = {"name": "both", "rewards": [{"reward": "training_runs:digits"}, {"reward": "accuracy"}]}


def config_of(kind=GRPOConfig, **groups):
    sampling = {"prompts_per_step": 4, "group_size": 4, "max_new_tokens": 8, **groups.pop("sampling", {})}
    return kind(
        **{
            "model": "tiny",
            "env": "sort-4",
            "env_options": {"style": "compact"},
            "rubric": BOTH,
            "sampling": sampling,
            "optim": {"lr": 1e-3, "warmup_steps": 0},
            **groups,
        }
    )


def experience_of(config, policy, rubric=BOTH):
    suite = make_suite("sort-4", rubric=r1env.rubrics.RubricSpec(**rubric), style="compact", split="train")
    return collect(suite, policy, LocalEngine(Sampler(policy)), config, 0)


def norm_of(policy, experience, config):
    """The gradient norm of one update that changes nothing."""
    frozen = config.model_copy(update={"optim": config.optim.model_copy(update={"lr": 1e-30})})
    return update(policy, make_optimizer(policy, frozen), experience, frozen, 0)["grad_norm"]


# 2: the policy's schedule begins when the policy does.


def test_the_warm_up_of_the_critic_uses_up_nothing_of_the_policy_s_schedule(tmp_path):
    settings = {
        "preset": "tiny-cpu",
        "steps": 9,
        "eval.every": 0,
        "sampling.prompts_per_step": 2,
        "sampling.group_size": 2,
        "sampling.max_new_tokens": 3,
        "optim": {"lr": 1e-4, "warmup_steps": 3, "lr_schedule": "linear"},
        "critic": {"warmup_steps": 4, "lr": 1e-3},
    }
    rows = trained(plan_training("ppo", overrides=settings), tmp_path / "run").metrics()
    expected = [0.0] * 4 + [learning_rate(i, peak=1e-4, warmup=3, total=5, schedule="linear") for i in range(5)]
    assert [row["lr"] for row in rows] == pytest.approx(expected)
    assert rows[4]["lr"] == pytest.approx(1e-4 / 3)
    assert rows[0]["value/lr"] > 0


# 3: one distribution on both sides.


RESTRICTED = {"top_p": 0.8}, {"top_k": 10}, {"min_p": 0.9}, {"top_k": 20, "top_p": 0.8, "min_p": 0.8}


@pytest.mark.parametrize(("sampling", "mini_batches"), [({}, 2), *((one, 1) for one in RESTRICTED)])
def test_equal_policies_have_no_kl_no_gap_and_weights_of_one_whatever_is_sampled_from(sampling, mini_batches):
    policy = load_model("tiny")
    config = config_of(
        sampling=sampling,
        algo={
            "track_kl": True,
            "advantage": "reinforce_pp",  # every row has a gradient
            "importance_sampling_correction": "sequence",
            "importance_sampling_cap": 10.0,
        },
        optim={"lr": 1e-30, "mini_batches": mini_batches},
    )
    experience = experience_of(config, policy)
    found = update(policy, make_optimizer(policy, config), experience, config, 0, reference=policy)
    assert found["kl"] == pytest.approx(0, abs=1e-5)
    assert found["logprob_gap"] == pytest.approx(0, abs=1e-4)
    assert found["correction"] == pytest.approx(1, abs=1e-3)
    if sampling:  # what was compared before: a nucleus of 0.8 makes every token 0.2 nats likelier
        gap = (logprobs_of(policy, experience, config) - experience.sampled_logprobs).abs().sum()
        assert gap / experience.tokens.completion_mask.sum() > 0.1


def test_a_repetition_penalty_is_refused_where_log_probs_are_learned_from():
    for kind in (GRPOConfig, PPOConfig):
        with pytest.raises(ValueError, match="the trainer computes the model's own"):
            kind(model="tiny", env="sort-4", sampling={"repetition_penalty": 1.1})


def test_completions_that_never_end_are_refused_where_cut_off_ones_are_left_out():
    with pytest.raises(ValueError, match="learns from none of those"):
        config_of(sampling={"ignore_eos": True}, algo={"mask_truncated_completions": True})


# 4: the gap is the sampler's, not the policy's drift.


def test_the_log_prob_gap_is_measured_before_the_first_of_several_updates():
    policy = load_model("tiny")
    config = config_of(optim={"lr": 1e-2, "mini_batches": 8, "warmup_steps": 0}, algo={"advantage": "reinforce_pp"})
    found = update(policy, make_optimizer(policy, config), experience_of(config, policy), config, 0)
    assert found["updates"] == 8
    assert found["logprob_gap"] < 1e-4


def test_each_token_is_stored_with_its_gap_its_log_prob_and_whether_it_was_clipped():
    policy = load_model("tiny")
    config = config_of(optim={"lr": 1e-2, "mini_batches": 8, "warmup_steps": 0}, algo={"advantage": "reinforce_pp"})
    experience = experience_of(config, policy)
    experience.rewards[0, 0] = float("nan")  # unscored, so that the update leaves it out
    batches = []
    found = update(policy, make_optimizer(policy, config), experience, config, 0, prepared=batches.append)
    stored = token_data(batches[0], TokenTexts(policy.tokenizer))
    mask = experience.tokens.completion_mask
    lengths = mask.sum(dim=1).int().tolist()
    assert [len(row["text"]) for row in stored] == lengths
    for ids, row, length in zip(experience.tokens.completion_ids, stored, lengths, strict=True):
        assert "".join(row["text"]) == policy.tokenizer.decode(ids[:length].tolist())
    assert all(row["trained"] is None for row in stored)
    assert stored[1]["logprob"] == pytest.approx(experience.sampled_logprobs[1, : lengths[1]].tolist(), abs=1e-4)
    assert stored[0]["gap"] is None
    assert max(abs(gap) for gap in stored[1]["gap"]) < 1e-3  # of the policy that sampled, although eight updates followed
    clipped = sum(sum(row["clipped"] or ()) for row in stored)
    assert clipped / mask[1:].sum() == pytest.approx(found["clip_fraction"], abs=1e-6)
    assert clipped > 0


def test_tokens_that_an_environment_wrote_are_stored_as_not_trained():
    policy = load_model("tiny")
    config = config_of()
    experience = experience_of(config, policy)
    tokens = experience.tokens
    tokens.completion_mask[2, 1] = 0.0
    context = torch.zeros_like(tokens.completion_mask, dtype=torch.bool)
    context[2, 1] = True
    experience = replace(experience, tokens=replace(tokens, context_mask=context))
    row = token_data(prepare(policy, experience, config), TokenTexts(policy.tokenizer))[2]
    assert row["trained"] == [place != 1 for place in range(len(row["text"]))]


# 5: an estimator without a gradient.


@pytest.mark.parametrize("kind", [GRPOConfig, PPOConfig])
def test_k1_in_the_loss_is_refused_with_the_reason(kind):
    algo = {"kl_coef": 0.1, "kl_in": "loss", **({"kl_estimator": "k1"} if kind is GRPOConfig else {})}
    with pytest.raises(ValueError, match="k1 in the loss regularises nothing"):
        config_of(kind, algo=algo)
    config_of(kind, algo=algo | {"kl_estimator": "k2"})
    config_of(kind, algo=algo | {"kl_in": "reward"})


# 6: dither.


@pytest.mark.parametrize("tied", [True, False])
def test_dither_changes_nothing_that_a_model_computes_in_bfloat16(tied):
    def outputs(seed):
        model = build("llama", tie_word_embeddings=tied)
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(weight.bfloat16())
            if seed is not None:
                dither_matrices(model, seed)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return model(input_ids=torch.arange(3, 40)[None]).logits

    assert torch.equal(outputs(None), outputs(1))


# 7: flat groups in the denominator.


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
def test_counted_flat_groups_weigh_as_they_do_with_a_kl_of_nothing(aggregation):
    policy = load_model("tiny")
    config = config_of(algo={"loss_aggregation": aggregation})
    experience = experience_of(config, policy)
    rewards = experience.rewards.clone()
    rewards[1:] = 0.25  # one group of four is mixed
    rewards[0] = torch.tensor([0.0, 1.0, 0.5, 0.0])
    experience = replace(experience, rewards=rewards)
    counted = config_of(algo={"loss_aggregation": aggregation, "count_flat_groups": True})
    with_kl = config_of(algo={"loss_aggregation": aggregation, "kl_coef": 1e-12})
    left_out = norm_of(policy, experience, config)
    everything = norm_of(policy, experience, counted)
    reference = load_model("tiny")
    frozen = with_kl.model_copy(update={"optim": with_kl.optim.model_copy(update={"lr": 1e-30})})
    kl = update(policy, make_optimizer(policy, frozen), experience, frozen, 0, reference)["grad_norm"]
    assert everything == pytest.approx(kl, rel=1e-4)
    assert left_out > 2 * everything


def test_dr_grpo_divides_by_a_constant_however_many_groups_are_mixed():
    policy = load_model("tiny")
    preset = GRPOConfig.presets["drgrpo"].settings["algo"]
    assert preset["count_flat_groups"]
    config = config_of(algo=preset, optim={"lr": 1e-30})
    experience = experience_of(config, policy)
    rewards = torch.tensor([[0.0, 1.0, 0.5, 0.0]]).repeat(4, 1)
    one = rewards.clone()
    one[1:] = 0.0
    means = [
        update(policy, make_optimizer(policy, config), replace(experience, rewards=given), config, 0)["loss"]
        for given in (rewards, one)
    ]
    # On the first update each token's loss is minus its advantage, so the loss itself shows the denominator: 16 rows of 8 tokens.
    mask = experience.tokens.completion_mask
    for given, mean in zip((rewards, one), means, strict=True):
        advantages = given - given.mean(dim=1, keepdim=True)
        expected = -(advantages.flatten()[:, None] * mask).sum() / (16 * 8)
        assert mean == pytest.approx(float(expected), abs=1e-6)


def test_a_step_of_flat_groups_alone_learns_nothing_and_says_so():
    policy = load_model("tiny")
    config = config_of(algo={"count_flat_groups": True})
    experience = experience_of(config, policy)
    experience = replace(experience, rewards=torch.full_like(experience.rewards, 0.5))
    found = update(policy, make_optimizer(policy, config), experience, config, 0)
    assert (found["loss"], found["grad_norm"], found["updates"]) == (0.0, 0.0, 0.0)


# 8: the list.


def test_dapo_compares_verdicts_and_not_rewards():
    preset = GRPOConfig.presets["dapo"].settings
    assert preset["filter"]["dynamic_sampling_metric"] == "accuracy"
    policy = load_model("tiny")
    lengths = {"name": "lengths", "rewards": [{"reward": f"{__name__}:long"}, {"reward": "accuracy"}]}
    found = {}
    for metric in ("reward", "accuracy"):
        settings = {"dynamic_sampling": True, "dynamic_sampling_metric": metric, "max_extra_batches": 1}
        found[metric] = experience_of(config_of(filter=settings, rubric=lengths), policy, lengths)
    # All answers of an untrained model are wrong: their lengths differ, and there is nothing to compare.
    assert int(found["reward"].kept.sum()) == 4
    assert int(found["accuracy"].kept.sum()) == 0
    assert found["accuracy"].refills == 1


def test_comparing_verdicts_needs_them_in_the_rubric():
    rubric = {"name": "one", "rewards": [{"reward": "training_runs:digits"}]}
    config = config_of(rubric=rubric, filter={"dynamic_sampling": True, "dynamic_sampling_metric": "accuracy"})
    with pytest.raises(UsageError, match="needs the reward 'accuracy'"):
        check_rollouts(config)


def test_the_preset_of_gspo_has_its_clip_and_its_aggregation():
    algo = GRPOConfig.presets["gspo"].settings["algo"]
    assert (algo["policy_ratio"], algo["loss_aggregation"]) == ("sequence", "seq-mean-token-mean")
    assert (algo["clip_ratio_low"], algo["clip_ratio_high"]) == (3e-4, 4e-4)


def test_rloo_takes_the_kl_within_the_reward_and_its_baseline():
    policy, reference = load_model("tiny"), load_model("tiny", seed=1)
    config = config_of(algo={"advantage": "rloo", "kl_coef": 0.1, "kl_in": "reward", "kl_estimator": "k1"})
    experience = experience_of(config, policy)
    old, theirs = (logprobs_of(model, experience, config) for model in (policy, reference))
    found, _ = advantages_of(experience, config, learning_rows(experience, config), old, theirs, None)
    total = (experience.rewards.flatten() - 0.1 * ((old - theirs) * experience.tokens.completion_mask).sum(dim=1)).view(4, 4)
    others = (total.sum(dim=1, keepdim=True) - total) / 3
    torch.testing.assert_close(found.view(4, 4), total - others, atol=1e-5, rtol=1e-5)
    assert float(found.sum()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("rows", "updates"), [(9, 8), (16, 8), (5, 5)])
def test_mini_batches_differ_by_one_row_at_most(rows, updates, monkeypatch):
    policy = load_model("tiny")
    config = config_of(optim={"lr": 1e-30, "mini_batches": 8}, algo={"advantage": "reinforce_pp"})
    experience = experience_of(config, policy)
    rewards = experience.rewards.clone().flatten()
    rewards[rows:] = math.nan
    experience = replace(experience, rewards=rewards.view(4, 4))
    assert len(prepare(policy, experience, config).rows) == rows
    assert update(policy, make_optimizer(policy, config), experience, config, 0)["updates"] == updates


@pytest.mark.parametrize(
    ("schedule", "theirs"), [("cosine", get_cosine_schedule_with_warmup), ("linear", get_linear_schedule_with_warmup)]
)
def test_the_schedule_after_the_warm_up_is_transformers_and_the_last_update_has_a_rate(schedule, theirs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = theirs(optimizer, num_warmup_steps=3, num_training_steps=8)
    rates = []
    for _ in range(8):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = [learning_rate(step, peak=1.0, warmup=3, total=8, schedule=schedule) for step in range(8)]
    assert ours[3:] == pytest.approx(rates[3:])
    assert ours[-1] > 0
    assert ours[0] > 0 == rates[0]
    assert learning_rate(1, peak=1.0, warmup=0, total=2, schedule="linear") == 0.5


@pytest.mark.parametrize("tied", [True, False])
def test_weight_decay_falls_on_products_only(tied):
    loaded = replace(load_model("tiny"), model=build("qwen2", tie_word_embeddings=tied))
    config = config_of(optim={"lr": 1.0, "weight_decay": 0.1, "warmup_steps": 0})
    optimizer = make_optimizer(loaded, config)
    before = {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}
    for weight in loaded.model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    shrunk = {name for name, weight in loaded.model.named_parameters() if not torch.equal(weight, before[name])}
    assert shrunk
    assert all(("proj" in name and name.endswith("weight")) or name == "lm_head.weight" for name in shrunk)
    assert ("lm_head.weight" in shrunk) is not tied


def test_neighbouring_seeds_share_no_stream():
    loaded = load_model("tiny-gpt2")
    sampler = LocalEngine(Sampler(loaded, max_rows=4))
    prompts = [loaded.tokenizer("1+1=")["input_ids"]] * 3

    def drawn(seed):
        params = SamplingParams(n=4, seed=seed, temperature=1.0, top_p=1.0, max_new_tokens=8)
        found = sampler.generate_tokens(prompts, params)
        return [[tuple(one.token_ids) for one in found[start : start + 4]] for start in range(0, 12, 4)]

    streams = [batch for seed in range(3) for batch in map(tuple, drawn(seed))]
    assert len(set(streams)) == 9


@pytest.mark.parametrize("restriction", [{"top_p": 0.9}, {"top_k": 20}, {"min_p": 0.1}, {"repetition_penalty": 1.1}])
def test_distilling_from_samples_of_another_distribution_is_refused(restriction):
    settings = {"model": "tiny", "teacher": "tiny-1m", "env": "sort-4", "method": "on_policy", "optim": {"batch_size": 4}}
    with pytest.raises(ValueError, match="draws from another one"):
        DistillConfig(**settings, divergence="sampled", sampling={"n": 1, **restriction})
    DistillConfig(**settings, divergence="sampled", sampling={"n": 1, "top_p": 1.0})
    DistillConfig(**settings, divergence="exact", sampling={"n": 1, **restriction})
