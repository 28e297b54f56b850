"""The critic: a model that says what an episode will earn from each of its states on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1env_trainers.model.load import LoadedModel, autocast
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, micro_batches_of
from r1env_trainers.model.session import dither_start, learning_rate, optimizer_step
from r1env_trainers.reward_model.model import start_reward_model
from r1env_trainers.rl import losses as kl_estimators
from r1env_trainers.rl.advantages import gae, token_rewards, whiten
from r1env_trainers.rl.config import PPOConfig
from r1env_trainers.rl.loop import step_seed
from r1env_trainers.rl.losses import aggregate, clipped_share, explained_variance, loss_denominator, policy_loss, value_loss
from r1env_trainers.rl.rollouts import Experience
from r1env_trainers.rl.update import TokenMean


@dataclass(frozen=True, slots=True)
class Critic:
    """A scalar head on a body, and the optimizer of what is the critic's own.

    Attributes:
        own: the parameters that are not the policy's: the whole model, or the head alone.
        body: what gives hidden states; None where that is the policy.
    """

    own: nn.Module
    head: nn.Module
    body: nn.Module | None
    optimizer: torch.optim.Optimizer

    @classmethod
    def start(cls, config: PPOConfig, policy: LoadedModel, state: Mapping[str, Any]) -> Critic:
        """As the settings say, or as `state` of a checkpoint has it."""
        if config.critic.kind == "separate":
            loaded = start_reward_model(config.critic.model or config.model, device=policy.device, seed=config.seed)
            dither_start(loaded, config)
            own: nn.Module = loaded.model
            head: nn.Module = loaded.model.score  # type: ignore[assignment]  # transformers' classifiers name their head so
            body: nn.Module | None = loaded.model.base_model
        else:
            own = head = _zero_head(policy)
            body = None
        optimizer = torch.optim.AdamW(
            own.parameters(), lr=config.critic.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay, fused=True
        )
        if state:
            own.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
        return cls(own, head, body, optimizer)

    def values(self, batch: TokenBatch) -> Tensor:
        """[B, T] of the states before the completion tokens, 0 on those that do not count; for a critic with a body."""
        assert self.body is not None  # else `logprobs_and_values` has them from the policy's pass
        with autocast(batch.prompt_ids.device):
            hidden = self.body(**_inputs(batch)).last_hidden_state
        return self._of(hidden, batch)

    def logprobs_and_values(self, policy: PreTrainedModel, batch: TokenBatch, temperature: float) -> tuple[Tensor, Tensor]:
        """[B, T] each: `completion_logprobs` under the policy, and `values`."""
        if self.body is not None:
            return completion_logprobs(policy, batch, temperature), self.values(batch)
        keep = batch.completion_ids.shape[1] + 1
        with autocast(policy.device):
            output = policy(**_inputs(batch), logits_to_keep=keep, output_hidden_states=True)
        logprobs = (output.logits[:, :-1].float() / temperature).log_softmax(dim=-1)
        chosen = logprobs.gather(2, batch.completion_ids[:, :, None]).squeeze(2)
        return torch.where(batch.completion_mask > 0, chosen, 0.0), self._of(output.hidden_states[-1], batch)

    def step(self, config: PPOConfig, index: int, total: int) -> dict[str, float]:
        """Clip the gradients of the critic's own parameters, take optimizer step `index` of `total`, clear the gradients."""
        rate = learning_rate(
            index,
            peak=config.critic.lr,
            warmup=config.optim.warmup_steps,
            total=total,
            schedule=config.optim.lr_schedule,
            floor=config.optim.min_lr_ratio,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = float(nn.utils.clip_grad_norm_(self.own.parameters(), config.optim.max_grad_norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"value/grad_norm": norm, "value/lr": rate}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"weights": self.own.state_dict(), "optimizer": self.optimizer.state_dict()}

    def _of(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """[B, T] from hidden states [B, L + T, H] of prompts and completions."""
        predicting = hidden[:, -batch.completion_ids.shape[1] - 1 : -1].float()  # the state before a token is the one before it
        values: Tensor = self.head(predicting).squeeze(-1)
        return torch.where(batch.completion_mask > 0, values, 0.0)


def _zero_head(policy: LoadedModel) -> nn.Linear:
    """Zeros: all states are alike at first, and the policy's body feels nothing of the head until it has learnt something."""
    head = nn.Linear(policy.model.config.hidden_size, 1, bias=False, device=policy.device)
    nn.init.zeros_(head.weight)
    return head


def _inputs(batch: TokenBatch) -> dict[str, Any]:
    mask = torch.cat([batch.prompt_mask, batch.present.long()], dim=1)
    return {
        "input_ids": torch.cat([batch.prompt_ids, batch.completion_ids], dim=1),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        "use_cache": False,
    }


# The second half of a PPO step: rollouts are valued once, then policy and critic learn from them together.


@dataclass(frozen=True, slots=True)
class Valued:
    """A batch of rollouts as the models of its beginning see it; all tensors [B, T] without gradient.

    Attributes:
        rows: [R] those to learn from: scored, of a kept prompt.
        logprobs, values: of policy and critic before the update.
        advantages, returns: what policy and critic learn.
        reference: log-probs of the reference; None without one.
    """

    experience: Experience
    rows: Tensor
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    reference: Tensor | None


def update_with_critic(
    policy: LoadedModel,
    optimizer: torch.optim.Optimizer,
    critic: Critic,
    experience: Experience,
    config: PPOConfig,
    step: int,
    reference: LoadedModel | None,
) -> dict[str, float]:
    """Improve policy and critic on one batch of rollouts; returns metrics."""
    valued = value(policy, critic, experience, config, reference)
    metrics = _of_values(valued)
    if len(valued.rows) == 0:
        return metrics | {"loss": 0.0, "grad_norm": 0.0}
    generator = torch.Generator().manual_seed(step_seed(config.seed, step) ^ 1)
    totals, clipped, gap = torch.zeros(2, device=policy.device), TokenMean(), TokenMean()
    taken: list[dict[str, float]] = []
    for epoch in range(config.optim.epochs):
        shuffled = valued.rows[torch.randperm(len(valued.rows), generator=generator).to(valued.rows.device)]
        for number, mini_batch in enumerate(shuffled.chunk(config.optim.mini_batches)):
            totals += _accumulate(policy, critic, valued, mini_batch, config, step, clipped, gap)
            index = step * config.updates_per_step + epoch * config.optim.mini_batches + number
            taken.append(_steps(policy, optimizer, critic, config, index, learns=step >= config.critic.warmup_steps))
    means = {name: sum(one[name] for one in taken) / len(taken) for name in taken[0]}
    loss, critic_loss = (totals / len(taken)).tolist()
    return (
        metrics
        | means
        | {
            "loss": loss,
            "value/loss": critic_loss,
            "clip_fraction": clipped.value,
            "logprob_gap": gap.value,
            "lr": taken[-1]["lr"],
            "value/lr": taken[-1]["value/lr"],
        }
    )


@torch.no_grad()
def value(
    policy: LoadedModel, critic: Critic, experience: Experience, config: PPOConfig, reference: LoadedModel | None
) -> Valued:
    """What the policy, the critic and the reference say of a batch, and the advantages and returns that follow."""
    mask, temperature = experience.tokens.completion_mask, experience.temperature
    logprobs, values = _over(
        experience.tokens, policy, config, 2, lambda batch: critic.logprobs_and_values(policy.model, batch, temperature)
    )
    theirs = None
    if reference is not None:
        model = reference.model
        (theirs,) = _over(experience.tokens, policy, config, 1, lambda batch: (completion_logprobs(model, batch, temperature),))
    rewards = experience.rewards.flatten().to(mask.device)
    kept = experience.kept.repeat_interleave(experience.rewards.shape[1]).to(mask.device)
    rows = (rewards.isfinite() & kept).nonzero().squeeze(1)
    penalty = None
    if theirs is not None and config.algo.kl_in == "reward":
        penalty = config.algo.kl_coef * kl_estimators.ESTIMATORS[config.algo.kl_estimator](logprobs, theirs)
    given = token_rewards(rewards.nan_to_num(0.0), mask, penalty)
    advantages = gae(given, values, mask, gamma=config.algo.gamma, gae_lambda=config.algo.gae_lambda)
    returns = advantages + values
    if config.algo.normalize_advantages:
        learning = torch.zeros_like(mask)
        learning[rows] = mask[rows]
        advantages = whiten(advantages, learning)
    return Valued(experience, rows, logprobs, values, advantages, returns, theirs)


def _accumulate(
    policy: LoadedModel,
    critic: Critic,
    valued: Valued,
    mini_batch: Tensor,
    config: PPOConfig,
    step: int,
    clipped: TokenMean,
    gap: TokenMean,
) -> Tensor:
    """Gradients of one mini-batch, micro-batch by micro-batch; returns [2] the losses of policy and critic."""
    tokens, temperature = valued.experience.tokens, valued.experience.temperature
    mask = tokens.completion_mask[mini_batch]
    limit = config.sampling.max_new_tokens_at(step)
    denominator, counted = (loss_denominator(mask, mode, limit) for mode in (config.algo.loss_aggregation, "token"))
    value_coef = config.critic.value_coef if critic.body is None else 1.0  # separate models have separate gradients
    losses = torch.zeros(2, device=policy.device)
    for places in micro_batches_of(tokens.select(mini_batch), policy.model, config.optim.micro_batch_size):
        rows = mini_batch[places]
        batch = tokens.select(rows)
        length, mask = batch.completion_ids.shape[1], batch.completion_mask
        logprobs, values = critic.logprobs_and_values(policy.model, batch, temperature)
        old, advantages = valued.logprobs[rows, :length], valued.advantages[rows, :length]
        low, high = config.algo.clip_ratio_low, config.algo.clip_ratio_high
        per_token = policy_loss(logprobs, old, advantages, clip_low=low, clip_high=high)
        if valued.reference is not None and config.algo.kl_in == "loss":
            estimate = kl_estimators.ESTIMATORS[config.algo.kl_estimator]
            per_token = per_token + config.algo.kl_coef * estimate(logprobs, valued.reference[rows, :length])
        loss = aggregate(per_token, mask, config.algo.loss_aggregation, denominator)
        errors = value_loss(values, valued.values[rows, :length], valued.returns[rows, :length], config.critic.value_clip)
        critic_loss = aggregate(errors, mask, "token", counted)
        (loss + value_coef * critic_loss).backward()
        losses += torch.stack([loss.detach(), critic_loss.detach()])
        clipped.add(clipped_share(logprobs, old, advantages, clip_low=low, clip_high=high), mask)
        gap.add((logprobs - valued.experience.sampled_logprobs[rows, :length]).abs(), mask)
    return losses


def _steps(
    policy: LoadedModel, optimizer: torch.optim.Optimizer, critic: Critic, config: PPOConfig, index: int, *, learns: bool
) -> dict[str, float]:
    """One optimizer step of the critic, and of the policy unless the critic still learns alone."""
    total = config.steps * config.updates_per_step
    taken = critic.step(config, index, total)
    if not learns:
        optimizer.zero_grad(set_to_none=True)
        return taken | {"grad_norm": 0.0, "lr": 0.0}
    return taken | optimizer_step(policy, optimizer, config, index, total)


def _over(
    tokens: TokenBatch,
    like: LoadedModel,
    config: PPOConfig,
    count: int,
    compute: Callable[[TokenBatch], tuple[Tensor, ...]],
) -> list[Tensor]:
    """`count` tensors [B, T] of what `compute` gives for micro-batches."""
    results = [torch.zeros_like(tokens.completion_mask) for _ in range(count)]
    for places in micro_batches_of(tokens, like.model, config.optim.micro_batch_size):
        rows = torch.tensor(places, device=like.device)
        batch = tokens.select(rows)
        for result, values in zip(results, compute(batch), strict=True):
            result[rows, : batch.completion_ids.shape[1]] = values
    return results


def _of_values(valued: Valued) -> dict[str, float]:
    mask = valued.experience.tokens.completion_mask
    rows = valued.rows
    mean = TokenMean()
    mean.add(valued.values[rows], mask[rows])
    metrics = {"value/mean": mean.value}
    if len(rows):
        metrics["value/explained_variance"] = explained_variance(valued.values[rows], valued.returns[rows], mask[rows])
    if valued.reference is not None:
        kl = TokenMean()
        kl.add(kl_estimators.k3(valued.logprobs, valued.reference), mask)
        metrics["kl"] = kl.value
    return metrics
