"""The second half of a step: one batch of scored rollouts becomes one or more optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r1env_trainers.model.load import LoadedModel, load_model
from r1env_trainers.model.logprobs import completion_logprobs, completion_logprobs_and_entropies, micro_batches_of
from r1env_trainers.model.session import optimizer_step
from r1env_trainers.rl import losses as kl_estimators
from r1env_trainers.rl.advantages import ESTIMATORS, gdpo, mixed, mixed_parts, whiten, with_kl_reward
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.loop import step_seed
from r1env_trainers.rl.losses import aggregate, clipped_share, loss_denominator, policy_loss, sampler_correction
from r1env_trainers.rl.rollouts import Experience
from r1env_trainers.settings import LocalConfig

# What an update aims at: which rows of an experience it learns from, and the advantage of each of their tokens.


@dataclass(frozen=True, slots=True)
class Targets:
    """What the rows of a batch are worth.

    Attributes:
        rows: [R] those to learn from.
        advantages: [B], or [B, T] where they differ from token to token.
    """

    rows: Tensor
    advantages: Tensor


def learning_rows(experience: Experience, config: GRPOConfig) -> Tensor:
    """[R] the rows that can teach something: scored, of a kept prompt, and of a group whose rewards differ.

    A term that does not come from the rewards (KL, entropy) has a gradient in every scored row; so has an advantage without a group
    (`reinforce_pp`). `refill` drops groups without a difference whatever the other terms, and `mask_truncated` cut-off rows.
    """
    n = experience.rewards.shape[1]
    useful = experience.rewards.flatten().isfinite() & experience.kept.repeat_interleave(n)
    if config.algo.kl_coef == 0 and config.algo.entropy_coef == 0 and config.algo.advantage != "reinforce_pp":
        useful &= differing_groups(experience, config).repeat_interleave(n)
    if config.algo.mask_truncated_completions:
        useful &= ~experience.truncated
    return useful.nonzero().squeeze(1).to(experience.tokens.completion_mask.device)


def differing_groups(experience: Experience, config: GRPOConfig) -> Tensor:
    """[P] True where the advantage of a group is not 0 throughout."""
    return mixed_parts(experience.parts) if config.algo.advantage == "gdpo" else mixed(experience.rewards)


def targets(experience: Experience, config: GRPOConfig, old: Tensor | None, reference: Tensor | None) -> Targets:
    """The rows and the advantages of an update.

    Args:
        old, reference: [B, T] log-probs of the policy that sampled and of the reference; needed for `kl_in="reward"`.
    """
    mask = experience.tokens.completion_mask
    rows = learning_rows(experience, config)
    advantages = _of_rewards(experience, config).flatten().to(mask.device)
    if config.algo.kl_in == "reward":
        assert old is not None  # `update` computes both for this setting
        assert reference is not None
        estimate = kl_estimators.ESTIMATORS[config.algo.kl_estimator](old, reference)
        advantages = with_kl_reward(advantages, estimate, mask, config.algo.kl_coef)
    if config.algo.normalizes:
        learning = torch.zeros_like(mask)
        learning[rows] = mask[rows]
        per_token = advantages if advantages.dim() == 2 else advantages[:, None].expand_as(mask)
        advantages = whiten(per_token, learning)
    return Targets(rows, advantages)


def _of_rewards(experience: Experience, config: GRPOConfig) -> Tensor:
    """[P, n]"""
    if config.algo.advantage == "gdpo":
        counting = experience.kept[:, None] & experience.rewards.isfinite()
        return gdpo(torch.where(counting[:, :, None], experience.parts, torch.nan), experience.part_weights)
    return ESTIMATORS[config.algo.advantage](experience.rewards)


@dataclass(slots=True)
class TokenMean:
    """A mean over tokens, gathered micro-batch by micro-batch on their device: only reading `value` waits for it."""

    total: Tensor | float = 0.0
    count: Tensor | float = 0.0

    def add(self, values: Tensor, mask: Tensor) -> None:
        self.total = self.total + (values.detach() * mask).sum()
        self.count = self.count + mask.sum()

    @property
    def value(self) -> float:
        return float(self.total) / float(self.count) if self.count else math.nan


class UpdateMetrics:
    """What an update says about itself, token means over its micro-batches."""

    def __init__(self) -> None:
        self.clipped, self.gap, self.correction, self.entropy = TokenMean(), TokenMean(), TokenMean(), TokenMean()

    def values(self) -> dict[str, float]:
        optional = {"correction": self.correction.value, "entropy/exact": self.entropy.value}
        return {
            "clip_fraction": self.clipped.value,
            "logprob_gap": self.gap.value,
            **{name: value for name, value in optional.items() if not math.isnan(value)},
        }


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the micro-batches of an update are cut from; log-probs [B, T] are None where the settings need none."""

    experience: Experience
    targets: Targets
    old: Tensor | None
    reference: Tensor | None


def update(
    loaded: LoadedModel,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    config: GRPOConfig,
    step: int,
    reference: LoadedModel | None,
) -> dict[str, float]:
    """Improve the policy on one batch of rollouts; returns metrics.

    Rows that cannot teach anything (`targets.learning_rows`) are left out of the forward pass and of the denominators.
    """
    tokens = experience.tokens
    reference_logprobs = None if reference is None else logprobs_of(reference, experience, config)
    metrics = _kl_metric(experience, reference_logprobs)
    needs_old = config.optim.mini_batches > 1 or config.algo.kl_in == "reward"
    old = logprobs_of(loaded, experience, config) if needs_old else None
    aims = targets(experience, config, old, reference_logprobs)
    if len(aims.rows) == 0:
        return metrics | {"loss": 0.0, "grad_norm": 0.0}
    batch = _Batch(experience, aims, old, reference_logprobs)
    generator = torch.Generator().manual_seed(step_seed(config.seed, step) ^ 1)
    shuffled = aims.rows[torch.randperm(len(aims.rows), generator=generator).to(aims.rows.device)]
    told, norms = UpdateMetrics(), []
    loss_sum = torch.zeros((), device=loaded.device)
    for number, mini_batch in enumerate(shuffled.chunk(config.optim.mini_batches)):
        mask = tokens.completion_mask[mini_batch]
        denominator = loss_denominator(mask, config.algo.loss_aggregation, config.sampling.max_new_tokens_at(step))
        counted = loss_denominator(mask, "token", config.sampling.max_new_tokens_at(step))
        for places in micro_batches_of(tokens.select(mini_batch), loaded.model, config.optim.micro_batch_size):
            loss = _micro_loss(loaded, batch, mini_batch[places], config, denominator, counted, told)
            loss.backward()
            loss_sum += loss.detach()
        index = step * config.optim.mini_batches + number
        taken = optimizer_step(loaded, optimizer, config, index, total=config.steps * config.optim.mini_batches)
        norms.append(taken["grad_norm"])
    return (
        metrics
        | {"loss": float(loss_sum) / len(norms), "grad_norm": sum(norms) / len(norms), "lr": taken["lr"]}
        | told.values()
    )


def _micro_loss(
    loaded: LoadedModel,
    batch: _Batch,
    rows: Tensor,
    config: GRPOConfig,
    denominator: float,
    counted: float,
    told: UpdateMetrics,
) -> Tensor:
    """The part of some rows in the loss of their mini-batch, whose `aggregate` denominator and number of tokens are given."""
    experience = batch.experience
    tokens = experience.tokens.select(rows)
    length, mask = tokens.completion_ids.shape[1], tokens.completion_mask
    entropies = None
    if config.algo.entropy_coef > 0:
        logprobs, entropies = completion_logprobs_and_entropies(loaded.model, tokens, experience.temperature)
    else:
        logprobs = completion_logprobs(loaded.model, tokens, experience.temperature)
    before = logprobs.detach() if batch.old is None else batch.old[rows, :length]
    sampled = experience.sampled_logprobs[rows, :length]
    advantages = batch.targets.advantages[rows]
    if advantages.dim() == 2:
        advantages = advantages[:, :length]
    clip = {"clip_low": config.algo.clip_ratio_low, "clip_high": config.algo.clip_ratio_high}
    per_token = policy_loss(
        logprobs, before, advantages, ratio=config.algo.policy_ratio, mask=mask, dual_clip=config.algo.dual_clip, **clip
    )
    if config.algo.importance_sampling_correction is not None:
        weights = sampler_correction(
            before, sampled, mask, form=config.algo.importance_sampling_correction, cap=config.algo.importance_sampling_cap
        )
        per_token = per_token * weights
        told.correction.add(weights.expand_as(mask), mask)
    if config.algo.kl_coef > 0 and config.algo.kl_in == "loss" and batch.reference is not None:
        estimate = kl_estimators.ESTIMATORS[config.algo.kl_estimator]
        per_token = per_token + config.algo.kl_coef * estimate(logprobs, batch.reference[rows, :length])
    loss = aggregate(per_token, mask, config.algo.loss_aggregation, denominator)
    if entropies is not None:
        loss = loss - config.algo.entropy_coef * aggregate(entropies, mask, "token", counted)
        told.entropy.add(entropies, mask)
    told.clipped.add(clipped_share(logprobs, before, advantages, ratio=config.algo.policy_ratio, mask=mask, **clip), mask)
    told.gap.add((logprobs - sampled).abs(), mask)
    return loss


@torch.no_grad()
def logprobs_of(loaded: LoadedModel, experience: Experience, config: LocalConfig) -> Tensor:
    """[B, T] log-probs of all completions under a model, 0 where the mask is, without gradient."""
    tokens = experience.tokens
    result = torch.zeros_like(tokens.completion_mask)
    rows = torch.arange(len(tokens), device=loaded.device)
    for places in micro_batches_of(tokens, loaded.model, config.optim.micro_batch_size):
        micro = rows[places]
        batch = tokens.select(micro)
        result[micro, : batch.completion_ids.shape[1]] = completion_logprobs(loaded.model, batch, experience.temperature)
    return result


def _kl_metric(experience: Experience, reference_logprobs: Tensor | None) -> dict[str, float]:
    """KL of the sampling policy to the reference, over all sampled tokens, by the k3 estimator whatever the loss uses."""
    if reference_logprobs is None:
        return {}
    mean = TokenMean()
    mean.add(kl_estimators.k3(experience.sampled_logprobs, reference_logprobs), experience.tokens.completion_mask)
    return {"kl": mean.value}


# The frozen model that the KL is measured to, and its replacement by the policy (iterative GRPO; DeepSeek-R1: every 400 steps).


class Reference:
    """The starting model, until `replace`.

    Attributes:
        loaded: the model as it is now.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._replaced = False

    @classmethod
    def start(cls, model: str, like: LoadedModel, seed: int, state: Mapping[str, Any]) -> Reference:
        """The model called `model` on the device of `like`, or what `state` of a checkpoint holds."""
        reference = cls(load_model(model, device=like.device, seed=seed))
        if "weights" in state:
            reference.loaded.model.load_state_dict(state["weights"])
            reference._replaced = True
        return reference

    def replace(self, policy: LoadedModel) -> None:
        """Make a copy of the policy's weights the reference."""
        self.loaded.model.load_state_dict(policy.model.state_dict())
        self._replaced = True

    def state(self) -> dict[str, dict[str, Tensor]]:
        """For a checkpoint: the weights, where they are not those of the starting model."""
        return {"weights": self.loaded.model.state_dict()} if self._replaced else {}
