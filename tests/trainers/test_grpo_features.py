"""What GRPO's options do to a training: each one seen in the metrics, the weights, or a resumed run. Small models, real training."""

from __future__ import annotations

import math

import pytest
import torch
from training_runs import assert_bit_for_bit, at_step, interrupted, told, trained

import r1env
from r1env.envs.suite import make_suite
from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env.rubrics import RubricSpec
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.load import load_model
from r1env_trainers.model.session import make_optimizer
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import collect
from r1env_trainers.rl.update import advantages_of, learning_rows, update

SMALL = {
    "steps": 6,
    "sampling.prompts_per_step": 4,
    "sampling.group_size": 4,
    "checkpoint.every": 2,
    "eval.every": 0,
    "algo.track_kl": False,
}
DIGITS = {"name": "digits", "rewards": [{"reward": "training_runs:digits"}, {"reward": "accuracy"}]}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@r1env.reward(name="seven")
def seven(completion):
    """Earned seldom, so that many groups are all alike."""
    return float("7" in completion)


def plan_grpo(**settings):
    return plan_training("grpo", preset="tiny-cpu", overrides={**SMALL, "rubric": DIGITS, **settings})


def metrics_of(path, **settings):
    """The metrics of a training."""
    return trained(plan_grpo(**settings), path).metrics()


@pytest.mark.slow
def test_a_resumed_run_is_bit_for_bit_the_whole_one_with_everything_that_has_a_state(tmp_path):
    plan = plan_grpo(
        rubric={"name": "seven", "rewards": [{"reward": f"{__name__}:seven"}, {"reward": "accuracy"}]},
        env=None,
        env_options={},
        mixture=[
            {"env": "sort-4", "env_options": {"style": "compact"}},
            {"env": "guess-number", "env_options": {"highest": 9, "style": "compact"}},
        ],
        sampling={"max_new_tokens": 3, "length_schedule": {5: 4}},
        filter={"dynamic_sampling": True, "max_extra_batches": 3},
        algo={"kl_coef": 0.1, "ref_model_sync_steps": 3},
        optim={"mini_batches": 2, "lr": 1e-3, "warmup_steps": 0},
        final_phase={"steps": 1, "rubric": "accuracy"},
    )
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", at_step(5))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "grpo")
    assert any(row["refill/batches"] > 0 for row in told(whole))
    kl = [row["kl"] for row in told(whole)]
    assert kl[2] > 1e-6 > kl[3]  # the policy of step 3 is the reference of step 4, before its update


def test_the_length_and_the_temperature_follow_their_schedules(tmp_path):
    rows = metrics_of(
        tmp_path / "run", steps=4, sampling={"max_new_tokens": 4, "length_schedule": {2: 8}, "temperature_schedule": {3: 0.5}}
    )
    assert [row["max_new_tokens"] for row in rows] == [4, 4, 8, 8]
    assert [row["temperature"] for row in rows] == [1.0, 1.0, 1.0, 0.5]
    assert max(row["length/max"] for row in rows[:2]) <= 4 < rows[2]["length/max"] <= 8
    assert all(row["logprob_gap"] < 1e-4 for row in rows)  # the trainer knows the temperature that was sampled with


def test_the_late_rubric_is_paid_in_the_last_steps_only(tmp_path):
    rows = metrics_of(tmp_path / "run", steps=4, final_phase={"steps": 2, "rubric": "accuracy"})
    assert ["parts/digits" in row for row in rows] == [True, True, False, False]


def test_the_late_mixture_brings_its_environment_in_the_last_steps_only(tmp_path):
    share = {"env": "guess-number", "env_options": {"highest": 9, "style": "compact"}}
    rows = metrics_of(
        tmp_path / "run",
        steps=3,
        final_phase={"steps": 1, "mixture": [{"env": "sort-4"}, share]},
        sampling={"max_new_tokens": 3},
    )
    assert ["env/guess-number/reward" in row for row in rows] == [False, False, True]


def test_tasks_of_known_difficulty_are_skipped(tmp_path):
    environment = r1env.make_environment("sort-4", style="compact")
    easy = {environment.task(index, 0).id for index in range(0, 12, 2)}
    file = tmp_path / "rates.jsonl"
    file.write_text("".join(f'{{"task_id": "{name}", "correct": true}}\n' for name in easy))
    plan = plan_grpo(steps=2, filter={"pass_rates": str(file), "max_pass_rate": 0.9}, log={"samples_every": 1})
    run = trained(plan, tmp_path / "run")
    seen = {row["task_id"] for row in run.rollouts()}
    assert seen
    assert not seen & easy


def test_pass_rates_of_other_tasks_are_refused_since_they_would_filter_nothing(tmp_path):
    file = tmp_path / "rates.jsonl"
    file.write_text('{"task_id": "sort-4-of-another-split", "correct": true}\n')
    with pytest.raises(UsageError, match=r"none of 10,000 tasks of 'sort-4' is among the 1 of .*split=train"):
        check_plan(plan_grpo(filter={"pass_rates": str(file), "max_pass_rate": 0.9}))


@pytest.fixture(scope="module")
def sampled():
    """An untrained model, and a batch with rewards of every kind: mixed groups, a flat one, and an unscored completion."""
    config = GRPOConfig(**{**GRPOConfig.presets["tiny-cpu"].settings, **SMALL, "optim.lr": 1e-3, "optim.warmup_steps": 0})
    loaded = load_model("tiny", seed=0)
    suite = make_suite("sort-4", rubric=RubricSpec.model_validate(DIGITS), style="compact")
    batch = collect(suite, loaded, LocalEngine(Sampler(loaded)), config, step=0)
    batch.rewards[:] = torch.rand(batch.rewards.shape, generator=torch.Generator().manual_seed(0))
    batch.parts[:] = torch.rand(batch.parts.shape, generator=torch.Generator().manual_seed(1))
    batch.rewards[3] = 0.5
    batch.rewards[0, 1] = math.nan
    return config, batch


def changed(config, **settings):
    return config.updated(settings)


def stepped(batch, config, reference=None):
    """How far the weights of a fresh copy move, and the metrics."""
    copy = load_model("tiny", seed=0)
    before = torch.cat([parameter.detach().flatten() for parameter in copy.model.parameters()])
    metrics = update(copy, make_optimizer(copy, config), batch, config, 0, reference)
    after = torch.cat([parameter.detach().flatten() for parameter in copy.model.parameters()])
    return after - before, metrics


VARIANTS = [
    {"algo.advantage": "rloo"},
    {"algo.advantage": "maxrl"},
    {"algo.advantage": "gdpo"},
    {"algo.advantage": "reinforce_pp"},
    {"algo.normalize_advantages": True},
    {"algo.policy_ratio": "sequence", "optim.mini_batches": 2, "algo.loss_aggregation": "seq-mean-token-mean"},
    {"algo.loss": "cispo", "optim.mini_batches": 2},
    {"algo.dual_clip": 3.0, "optim.mini_batches": 2},
    {"algo.entropy_coef": 0.1},
    {"algo.importance_sampling_correction": "token"},
    {"algo.importance_sampling_correction": "sequence"},
    {"algo.kl_coef": 0.1, "algo.kl_in": "reward", "algo.kl_estimator": "k1"},
    {"algo.kl_coef": 0.1, "algo.kl_in": "reward", "algo.normalize_advantages": True},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_moves_the_weights_and_micro_batches_do_not_change_where_to(sampled, settings):
    config, batch = sampled
    reference = load_model("tiny", seed=1)
    moved, metrics = stepped(batch, changed(config, **settings), reference)
    parts, _ = stepped(batch, changed(config, **settings, optim={"micro_batch_size": 3}), reference)
    assert moved.norm() > 0.1
    assert (moved - parts).norm() < 0.05 * moved.norm()
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_group_that_is_all_alike_teaches_only_where_there_is_no_group(sampled):
    config, batch = sampled
    flat, unscored = set(range(12, 16)), 1
    assert set(learning_rows(batch, config).tolist()) == set(range(16)) - flat - {unscored}
    assert set(learning_rows(batch, changed(config, algo={"advantage": "reinforce_pp"})).tolist()) == set(range(16)) - {
        unscored
    }
    assert set(learning_rows(batch, changed(config, algo={"kl_coef": 0.1})).tolist()) == set(range(16)) - {unscored}


def test_what_refill_dropped_stays_dropped_whatever_the_other_terms(sampled):
    config, batch = sampled
    batch.kept[:] = torch.tensor([True, False, True, False])
    rows = learning_rows(batch, changed(config, algo={"kl_coef": 0.1})).tolist()
    batch.kept[:] = True
    assert set(rows) == {0, 2, 3, 8, 9, 10, 11}


def test_cut_off_rollouts_leave_the_loss_and_stay_in_the_statistics(sampled):
    config, batch = sampled
    truncated = batch.truncated.clone()
    batch.truncated[:] = torch.arange(16) == 4
    found = []
    for settings in (changed(config, algo={"mask_truncated_completions": True}), config):
        rows = learning_rows(batch, settings)
        found.append((rows, advantages_of(batch, settings, rows, None, None, None)[0]))
    batch.truncated[:] = truncated
    (masking, masked), (plain, whole) = found
    assert set(plain.tolist()) - set(masking.tolist()) == {4}
    assert torch.equal(masked, whole)


def test_the_entropy_bonus_flattens_the_policy(sampled):
    config, batch = sampled
    rewards = batch.rewards.clone()
    batch.rewards[:] = 0.0  # nothing but the bonus
    copy = load_model("tiny", seed=0)
    settings = changed(config, algo={"entropy_coef": 1.0}, optim={"lr": 1e-4})
    optimizer = make_optimizer(copy, settings)
    entropies = [update(copy, optimizer, batch, settings, step, None)["entropy/exact"] for step in range(4)]
    batch.rewards[:] = rewards
    assert entropies[-1] > entropies[0]


def test_the_kl_in_the_reward_costs_the_tokens_that_come_before(sampled):
    config, batch = sampled
    shape = batch.tokens.completion_mask.shape
    old, reference = torch.zeros(shape), torch.full(shape, -0.5)  # the policy likes every token better than the reference
    settings = changed(config, algo={"kl_coef": 0.1, "kl_in": "reward", "kl_estimator": "k1"})
    advantages, _ = advantages_of(batch, settings, learning_rows(batch, settings), old, reference, None)
    row = advantages[4][batch.tokens.completion_mask[4] > 0]
    assert row.diff().tolist() == pytest.approx([0.05] * (len(row) - 1), abs=1e-5)


@pytest.mark.slow
def test_a_model_that_knows_nothing_learns_to_find_a_number_in_a_dialogue(tmp_path):
    rows = metrics_of(
        tmp_path / "run",
        env="guess-number",
        env_options={"highest": 3, "style": "compact"},
        rubric="accuracy",
        steps=30,
        sampling={"prompts_per_step": 8, "group_size": 16, "max_new_tokens": 1},
        optim={"lr": 3e-3},
        checkpoint={"every": 0},
    )
    assert rows[0]["accuracy"] < 0.3
    assert sum(row["accuracy"] for row in rows[-3:]) / 3 > 0.7
    assert rows[-1]["turns"] < rows[0]["turns"]
