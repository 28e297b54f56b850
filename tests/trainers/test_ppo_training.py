"""PPO as a user runs it: its critic learns, micro-batches change nothing, an interrupted run resumes bit for bit."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from training_runs import assert_bit_for_bit, assert_same_weights, at_step, interrupted, told, trained

import r1env
from r1env.envs.suite import make_suite
from r1env.recipes import execute, plan_training
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.checkpoint import save_pretrained
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import completion_logprobs, completion_logprobs_and_entropies
from r1env_trainers.model.session import make_optimizer
from r1env_trainers.reward_model.model import Record, save_record, with_scalar_head
from r1env_trainers.rl.config import PPOConfig
from r1env_trainers.rl.critic import Critic
from r1env_trainers.rl.metrics import TokenTexts, token_data
from r1env_trainers.rl.rollouts import collect
from r1env_trainers.rl.update import prepare, update

SMALL = {
    "steps": 4,
    "sampling.prompts_per_step": 4,
    "sampling.group_size": 2,
    "eval.every": 2,
    "eval.limit": 8,
    "checkpoint.every": 2,
    "rubric": {"name": "digits", "rewards": [{"reward": f"{__name__}:digit_share"}]},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@r1env.reward(name="digit_share")
def digit_share(completion):
    """A reward that untrained models earn."""
    return sum(character.isdigit() for character in completion) / 12


def plan_ppo(**settings):
    return plan_training("ppo", preset="tiny-cpu", overrides={**SMALL, **settings})


def first_batch(model="tiny", **settings):
    """A policy with its critic and one batch of its rollouts."""
    config = PPOConfig.model_validate({**PPOConfig.presets["tiny-cpu"].settings, **SMALL, "model": model, **settings})
    policy = load_model(config.model)
    suite = make_suite(config.env, rubric=config.rubric, **config.env_options)
    experience = collect(suite, policy, LocalEngine(Sampler(policy)), config, 0)
    return config, policy, Critic.start(config, policy, {}), experience


@pytest.mark.parametrize("critic", [pytest.param("separate", marks=pytest.mark.slow), "shared"])
def test_a_run_that_was_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_one(tmp_path, critic):
    plan = plan_ppo(critic={"kind": critic}, optim={"mini_batches": 2, "epochs": 2}, algo={"kl_coef": 0.01})
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", at_step(3))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "ppo")
    rows = [row for row in told(whole) if "loss" in row]
    assert len(rows) == SMALL["steps"]
    assert all(row["grad_norm"] > 0 and row["value/grad_norm"] > 0 for row in rows)


@pytest.mark.parametrize("critic", [pytest.param("separate", marks=pytest.mark.slow), "shared"])
def test_the_critic_learns_what_the_rollouts_earn(critic):
    config, policy, model, experience = first_batch(
        critic={"kind": critic, "lr": 3e-3, "value_clip": None}, optim={"warmup_steps": 0}
    )
    optimizer = make_optimizer(policy, config)
    before = update(policy, optimizer, experience, config, 0, critic=model)["value/loss"]
    for _ in range(30):
        after = update(policy, optimizer, experience, config, 0, critic=model)["value/loss"]
    assert after < before / 4


@pytest.mark.parametrize("critic", ["separate", "shared"])
@pytest.mark.parametrize("model", ["tiny", "tiny-gpt2"])
def test_micro_batches_change_memory_and_nothing_else(model, critic):
    found = []
    for size in (2, 8):
        config, policy, of_policy, experience = first_batch(
            model, critic={"kind": critic}, optim={"micro_batch_size": size}, algo={"gae_lambda": 0.95}
        )
        metrics = update(policy, make_optimizer(policy, config), experience, config, 0, critic=of_policy)
        found.append([metrics[name] for name in ("loss", "value/loss", "grad_norm", "value/grad_norm")])
    assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-6)


def test_a_shared_critic_sees_the_policy_as_it_is():
    _, policy, critic, experience = first_batch("tiny-gpt2", critic={"kind": "shared"})
    with torch.no_grad():
        logprobs, values, _ = critic(policy, experience.tokens, 0.7)
        expected = completion_logprobs(policy.model, experience.tokens, 0.7, policy.never_drawn)
    assert torch.allclose(logprobs, expected, atol=1e-5)
    assert float(values.abs().max()) == 0  # its head is zero, and it leaves the policy in peace


def test_a_reward_model_can_be_where_the_critic_starts(tmp_path):
    trained = with_scalar_head(load_model("tiny", seed=5), device="cpu", seed=6)
    save_pretrained(tmp_path, trained)
    save_record(tmp_path, Record(objective="pairwise", reads="response", max_length=64))
    _, _, critic, _ = first_batch(critic={"model": str(tmp_path)})
    weights = critic.own.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in trained.model.state_dict().items())


def test_while_the_critic_learns_alone_the_policy_stands_still():
    config, policy, critic, experience = first_batch(critic={"warmup_steps": 1}, optim={"warmup_steps": 0})
    weights = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    optimizer = make_optimizer(policy, config)
    update(policy, optimizer, experience, config, 0, critic=critic)
    assert all(torch.equal(weights[name], tensor) for name, tensor in policy.model.state_dict().items())
    update(policy, optimizer, experience, config, 1, critic=critic)
    assert not all(torch.equal(weights[name], tensor) for name, tensor in policy.model.state_dict().items())


def test_the_kl_lowers_the_return_of_every_token_before_it():
    config, policy, critic, experience = first_batch(algo={"kl_coef": 0.5, "kl_estimator": "k3", "normalize_advantages": False})
    plain = prepare(policy, experience, config, policy, critic)
    with_kl = prepare(policy, experience, config, load_model("tiny", seed=1), critic)
    mask = experience.tokens.completion_mask
    drop = (plain.returns - with_kl.returns) * mask
    assert (drop[:, :-1] >= drop[:, 1:] - 1e-6).all()
    assert float(drop[:, 0].min()) > 0


def test_an_unscored_rollout_teaches_neither_of_the_two():
    config, policy, critic, experience = first_batch()
    experience.rewards[0, 1] = float("nan")
    valued = prepare(policy, experience, config, critic=critic)
    assert valued.rows.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert valued.advantages[valued.rows].isfinite().all()


def test_advantages_that_differ_between_tokens_are_stored_for_each():
    config, policy, critic, experience = first_batch()
    valued = prepare(policy, experience, config, critic=critic)
    stored = token_data(valued, TokenTexts(policy.tokenizer))[1]
    assert stored["advantage"] == pytest.approx(valued.advantages[1, : len(stored["text"])].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"critic.kind": "shared", "critic.model": "tiny"}, "has no model of its own"),
        ({"optim.mini_batches": 3}, "8 rollouts do not divide into 3 mini-batches"),
        ({"critic.warmup_steps": 4}, "critic.warmup_steps=4 leaves none of the 4 steps to the policy"),
        (
            {"algo.advantage": "rloo", "sampling.group_size": 4, "algo.kl_in": "loss", "algo.gamma": 0.9},
            "critic.lr, algo.gamma: a critic belongs to advantage=gae",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        PPOConfig.model_validate({**PPOConfig.presets["tiny-cpu"].settings, **SMALL, **settings})


def test_ppo_is_grpo_with_generalised_advantage_estimation(tmp_path):
    """Under the same settings both trainers leave the same weights and say the same."""
    ppo = plan_ppo(algo={"kl_coef": 0.01})
    settings = ppo.stages[0].config
    grpo = plan_training("grpo", overrides={name: value for name, value in settings.items() if name != "preset"})
    one, other = trained(ppo, tmp_path / "ppo"), trained(grpo, tmp_path / "grpo")
    rows = [[{key: value for key, value in row.items() if key != "stage"} for row in told(run)] for run in (one, other)]
    assert rows[0] == rows[1]
    left = [load_model(str(run.model_dir(stage))) for run, stage in ((one, "ppo"), (other, "grpo"))]
    assert_same_weights(*(loaded.model.state_dict() for loaded in left))


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_an_entropy_bonus_beside_a_critic_is_that_of_the_policy(critic):
    config, policy, model, experience = first_batch(critic={"kind": critic}, algo={"entropy_coef": 0.1})
    tokens, temperature = experience.tokens, experience.temperature
    told_by_policy = completion_logprobs_and_entropies(policy.model, tokens, temperature, policy.never_drawn)[1]
    found = update(policy, make_optimizer(policy, config), experience, config, 0, critic=model)["entropy/exact"]
    assert found == pytest.approx(float(told_by_policy.detach().sum() / experience.tokens.completion_mask.sum()), rel=1e-4)
