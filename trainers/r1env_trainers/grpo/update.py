"""The second half of a step: one batch of scored rollouts becomes one or more optimizer steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from r1env_trainers.forward import TokenBatch, completion_logprobs
from r1env_trainers.grpo import advantages as advantage_estimators
from r1env_trainers.grpo import kl as kl_estimators
from r1env_trainers.grpo.collect import Experience, step_seed
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.losses import aggregate, clipped_share, loss_denominator, policy_loss
from r1env_trainers.local import optimizer_step
from r1env_trainers.micro_batches import micro_batches
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
    clipped, gap, norms = TokenMean(), TokenMean(), []
    loss_sum = torch.zeros((), device=loaded.device)
    for number, mini_batch in enumerate(shuffled.chunk(config.mini_batches)):
        denominator = loss_denominator(tokens.completion_mask[mini_batch], config.aggregation, config.max_new_tokens)
        for places in micro_batches(_lengths(tokens, mini_batch), loaded.model, config.micro_batch_size):
            micro = mini_batch[places]
            batch = tokens.select(micro)
            length, mask = batch.completion_ids.shape[1], batch.completion_mask
            logprobs = completion_logprobs(loaded.model, batch, config.temperature)
            before = logprobs.detach() if old is None else old[micro, :length]
            clip = {"clip_low": config.clip_low, "clip_high": config.clip_high}
            per_token = policy_loss(logprobs, before, advantages[micro], **clip)
            if config.kl_coef > 0 and reference_logprobs is not None:
                estimate = kl_estimators.ESTIMATORS[config.kl_estimator]
                per_token = per_token + config.kl_coef * estimate(logprobs, reference_logprobs[micro, :length])
            loss = aggregate(per_token, mask, config.aggregation, denominator)
            loss.backward()
            loss_sum += loss.detach()
            clipped.add(clipped_share(logprobs, before, advantages[micro], **clip), mask)
            gap.add((logprobs - experience.sampled_logprobs[micro, :length]).abs(), mask)
        index = step * config.mini_batches + number
        taken = optimizer_step(loaded, optimizer, config, index, total=config.steps * config.mini_batches)
        norms.append(taken["grad_norm"])
    return metrics | {
        "loss": float(loss_sum) / len(norms),
        "grad_norm": sum(norms) / len(norms),
        "lr": taken["lr"],
        "clip_fraction": clipped.value,
        "logprob_gap": gap.value,
    }


@torch.no_grad()
def logprobs_of(loaded: LoadedModel, tokens: TokenBatch, config: GRPOConfig) -> Tensor:
    """[B, T] log-probs of all completions under a model, 0 on padding, without gradient."""
    result = torch.zeros_like(tokens.completion_mask)
    rows = torch.arange(len(tokens), device=loaded.device)
    for places in micro_batches(_lengths(tokens, rows), loaded.model, config.micro_batch_size):
        micro = rows[places]
        batch = tokens.select(micro)
        result[micro, : batch.completion_ids.shape[1]] = completion_logprobs(loaded.model, batch, config.temperature)
    return result


def _kl_metric(experience: Experience, reference_logprobs: Tensor | None) -> dict[str, float]:
    """KL of the sampling policy to the reference, over all sampled tokens, by the k3 estimator whatever the loss uses."""
    if reference_logprobs is None:
        return {}
    mean = TokenMean()
    mean.add(kl_estimators.k3(experience.sampled_logprobs, reference_logprobs), experience.tokens.completion_mask)
    return {"kl": mean.value}


def _lengths(tokens: TokenBatch, rows: Tensor) -> list[int]:
    """Tokens of each row, prompt and completion."""
    lengths: list[int] = (tokens.prompt_mask[rows].sum(dim=1) + (tokens.completion_mask[rows] > 0).sum(dim=1)).tolist()
    return lengths
