"""The second half of a step: one batch of scored rollouts becomes one or more optimizer steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from r1env_trainers.forward import completion_logprobs, completion_logprobs_and_entropies, micro_batches_of
from r1env_trainers.grpo import kl as kl_estimators
from r1env_trainers.grpo.collect import step_seed
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.losses import aggregate, clipped_share, loss_denominator, policy_loss, sampler_correction
from r1env_trainers.grpo.targets import Targets, targets
from r1env_trainers.local import LocalConfig, optimizer_step
from r1env_trainers.models.load import LoadedModel


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
    needs_old = config.mini_batches > 1 or config.kl_in == "reward"
    old = logprobs_of(loaded, experience, config) if needs_old else None
    aims = targets(experience, config, old, reference_logprobs)
    if len(aims.rows) == 0:
        return metrics | {"loss": 0.0, "grad_norm": 0.0}
    batch = _Batch(experience, aims, old, reference_logprobs)
    generator = torch.Generator().manual_seed(step_seed(config.seed, step) ^ 1)
    shuffled = aims.rows[torch.randperm(len(aims.rows), generator=generator).to(aims.rows.device)]
    told, norms = UpdateMetrics(), []
    loss_sum = torch.zeros((), device=loaded.device)
    for number, mini_batch in enumerate(shuffled.chunk(config.mini_batches)):
        mask = tokens.completion_mask[mini_batch]
        denominator = loss_denominator(mask, config.aggregation, config.max_new_tokens_at(step))
        counted = loss_denominator(mask, "token", config.max_new_tokens_at(step))
        for places in micro_batches_of(tokens.select(mini_batch), loaded.model, config.micro_batch_size):
            loss = _micro_loss(loaded, batch, mini_batch[places], config, denominator, counted, told)
            loss.backward()
            loss_sum += loss.detach()
        index = step * config.mini_batches + number
        taken = optimizer_step(loaded, optimizer, config, index, total=config.steps * config.mini_batches)
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
    if config.entropy_coef > 0:
        logprobs, entropies = completion_logprobs_and_entropies(loaded.model, tokens, experience.temperature)
    else:
        logprobs = completion_logprobs(loaded.model, tokens, experience.temperature)
    before = logprobs.detach() if batch.old is None else batch.old[rows, :length]
    sampled = experience.sampled_logprobs[rows, :length]
    advantages = batch.targets.advantages[rows]
    if advantages.dim() == 2:
        advantages = advantages[:, :length]
    clip = {"clip_low": config.clip_low, "clip_high": config.clip_high}
    per_token = policy_loss(logprobs, before, advantages, ratio=config.ratio, mask=mask, dual_clip=config.dual_clip, **clip)
    if config.correction is not None:
        weights = sampler_correction(before, sampled, mask, form=config.correction, cap=config.correction_cap)
        per_token = per_token * weights
        told.correction.add(weights.expand_as(mask), mask)
    if config.kl_coef > 0 and config.kl_in == "loss" and batch.reference is not None:
        estimate = kl_estimators.ESTIMATORS[config.kl_estimator]
        per_token = per_token + config.kl_coef * estimate(logprobs, batch.reference[rows, :length])
    loss = aggregate(per_token, mask, config.aggregation, denominator)
    if entropies is not None:
        loss = loss - config.entropy_coef * aggregate(entropies, mask, "token", counted)
        told.entropy.add(entropies, mask)
    told.clipped.add(clipped_share(logprobs, before, advantages, ratio=config.ratio, mask=mask, **clip), mask)
    told.gap.add((logprobs - sampled).abs(), mask)
    return loss


@torch.no_grad()
def logprobs_of(loaded: LoadedModel, experience: Experience, config: LocalConfig) -> Tensor:
    """[B, T] log-probs of all completions under a model, 0 where the mask is, without gradient."""
    tokens = experience.tokens
    result = torch.zeros_like(tokens.completion_mask)
    rows = torch.arange(len(tokens), device=loaded.device)
    for places in micro_batches_of(tokens, loaded.model, config.micro_batch_size):
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
