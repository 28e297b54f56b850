"""The second half of a step: one batch of scored rollouts becomes one or more optimizer steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from r1env_trainers.forward import TokenBatch, completion_logits, token_logprobs
from r1env_trainers.grpo import advantages as advantage_estimators
from r1env_trainers.grpo import kl as kl_estimators
from r1env_trainers.grpo.collect import Experience, step_seed
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.losses import aggregate, clipped_share, loss_denominator, policy_loss
from r1env_trainers.local import optimizer_step
from r1env_trainers.models.load import LoadedModel


@dataclass(slots=True)
class TokenMean:
    """A mean over tokens, gathered micro-batch by micro-batch."""

    total: float = 0.0
    count: float = 0.0

    def add(self, values: Tensor, mask: Tensor) -> None:
        self.total += float((values.detach() * mask).sum())
        self.count += float(mask.sum())

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


def update(
    loaded: LoadedModel,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    config: GRPOConfig,
    step: int,
    reference: LoadedModel | None,
) -> dict[str, float]:
    """Improve the policy on one batch of rollouts; returns metrics.

    Rows without a gradient (unscored, or of a group whose rewards are all alike) are left out of the forward pass and of the
    denominators. With a KL term every scored row has a gradient, so only the unscored are left out.
    """
    advantages = advantage_estimators.ESTIMATORS[config.advantage](experience.rewards).flatten().to(loaded.device)  # [B]
    tokens = experience.tokens
    reference_logprobs = logprobs_of(reference, tokens, config) if reference is not None else None  # [B, T]
    useful = experience.rewards.flatten().isfinite().to(loaded.device)
    if config.kl_coef == 0:
        in_mixed_group = advantage_estimators.mixed(experience.rewards).repeat_interleave(experience.rewards.shape[1])
        useful &= in_mixed_group.to(loaded.device)
    rows = useful.nonzero().squeeze(1)
    metrics = _kl_metric(experience, reference_logprobs)
    if len(rows) == 0:
        return metrics | {"loss": 0.0, "grad_norm": 0.0}
    old = logprobs_of(loaded, tokens, config) if config.mini_batches > 1 else None  # [B, T]
    generator = torch.Generator().manual_seed(step_seed(config.seed, step) ^ 1)
    shuffled = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    clipped, gap, losses, norms = TokenMean(), TokenMean(), [], []
    for number, mini_batch in enumerate(shuffled.chunk(config.mini_batches)):
        denominator = loss_denominator(tokens.completion_mask[mini_batch], config.aggregation, config.max_new_tokens)
        loss_value = 0.0
        for micro in _by_length(mini_batch, tokens).split(config.micro_batch_size):
            batch = tokens.select(micro)
            length, mask = batch.completion_ids.shape[1], batch.completion_mask
            logprobs = token_logprobs(completion_logits(loaded.model, batch, config.temperature), batch.completion_ids)
            before = logprobs.detach() if old is None else old[micro, :length]
            clip = {"clip_low": config.clip_low, "clip_high": config.clip_high}
            per_token = policy_loss(logprobs, before, advantages[micro], **clip)
            if config.kl_coef > 0 and reference_logprobs is not None:
                estimate = kl_estimators.ESTIMATORS[config.kl_estimator]
                per_token = per_token + config.kl_coef * estimate(logprobs, reference_logprobs[micro, :length])
            loss = aggregate(per_token, mask, config.aggregation, denominator)
            loss.backward()
            loss_value += float(loss.detach())
            clipped.add(clipped_share(logprobs, before, advantages[micro], **clip), mask)
            gap.add((logprobs - experience.sampled_logprobs[micro, :length]).abs(), mask)
        index = step * config.mini_batches + number
        taken = optimizer_step(loaded, optimizer, config, index, total=config.steps * config.mini_batches)
        norms.append(taken["grad_norm"])
        losses.append(loss_value)
    return metrics | {
        "loss": sum(losses) / len(losses),
        "grad_norm": sum(norms) / len(norms),
        "lr": taken["lr"],
        "clip_fraction": clipped.value,
        "logprob_gap": gap.value,
    }


@torch.no_grad()
def logprobs_of(loaded: LoadedModel, tokens: TokenBatch, config: GRPOConfig) -> Tensor:
    """[B, T] log-probs of all completions under a model, 0 on padding, without gradient."""
    result = torch.zeros_like(tokens.completion_mask)
    for micro in torch.arange(len(tokens), device=loaded.device).split(config.micro_batch_size):
        batch = tokens.select(micro)
        logits = completion_logits(loaded.model, batch, config.temperature)
        result[micro, : batch.completion_ids.shape[1]] = token_logprobs(logits, batch.completion_ids)
    return result * tokens.completion_mask


def _kl_metric(experience: Experience, reference_logprobs: Tensor | None) -> dict[str, float]:
    """KL of the sampling policy to the reference, over all sampled tokens, by the k3 estimator whatever the loss uses."""
    if reference_logprobs is None:
        return {}
    mean = TokenMean()
    mean.add(kl_estimators.k3(experience.sampled_logprobs, reference_logprobs), experience.tokens.completion_mask)
    return {"kl": mean.value}


def _by_length(rows: Tensor, tokens: TokenBatch) -> Tensor:
    """The rows from longest to shortest, so that a micro-batch holds little padding and memory peaks first."""
    lengths = tokens.completion_mask[rows].sum(dim=1)
    return rows[lengths.argsort(descending=True, stable=True)]
