"""The second half of a step: one batch of scored rollouts becomes one or more optimizer steps of the policy, and of a critic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from r1env.engines import derive_seed
from r1env_trainers.model.batching import within_memory
from r1env_trainers.model.guards import SKIPPED, UPDATES, rows_at_fault, shown, shown_ids
from r1env_trainers.model.load import LoadedModel, load_model
from r1env_trainers.model.logprobs import (
    TokenBatch,
    completion_logprobs,
    completion_logprobs_and_entropies,
    micro_batches_of,
    restricted_mass,
    restricts,
)
from r1env_trainers.model.lora import without_adapters
from r1env_trainers.model.session import apply_gradients, clip_gradients, scheduled_rate
from r1env_trainers.rl.advantages import (
    estimate_advantages,
    gae,
    gdpo,
    leave_one_out,
    mixed,
    mixed_parts,
    token_rewards,
    whiten,
    with_kl_reward,
)
from r1env_trainers.rl.config import CISPO, CLIPPED, GRPOConfig
from r1env_trainers.rl.critic import Critic
from r1env_trainers.rl.losses import (
    aggregate,
    clipped_share,
    estimate_kl,
    explained_variance,
    k3,
    loss_denominator,
    other_loss,
    policy_loss,
    sampler_correction,
    value_loss,
)
from r1env_trainers.rl.rollouts import Experience


def update(
    policy: LoadedModel,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    config: GRPOConfig,
    step: int,
    reference: LoadedModel | None = None,
    critic: Critic | None = None,
    hold: Callable[[], object] = lambda: None,
    prepared: Callable[[Batch], object] = lambda _: None,
) -> dict[str, float]:
    """Improve the policy, and the critic where there is one, on one batch of rollouts; return metrics.

    Every epoch shuffles the rows that can teach something (`learning_rows`) and cuts them into mini-batches, one optimizer step
    each. A mini-batch goes through the model in micro-batches, whose gradients add up to its own: memory, not mathematics.

    Args:
        step: from 0; with the settings' seed it decides how the rows are shuffled.
        reference: the model that the KL is measured to.
        critic: needed for `advantage="gae"`, and for nothing else.
        hold: called before weights change, see `Checkpoints`.
        prepared: receives the batch with its advantages, before the first optimizer step.
    """
    if not experience.sampled_logprobs.isfinite().all():  # the sampler computes with weights that are broken already
        return {"loss": math.nan, "grad_norm": math.nan, UPDATES: 0.0, SKIPPED: float(config.optim.updates_per_step)}
    batch = prepare(policy, experience, config, reference, critic)
    prepared(batch)
    if bool(batch.flat[batch.rows].all()):  # or there are none
        return _before_the_update(batch) | {"loss": 0.0, "grad_norm": 0.0, UPDATES: 0.0, SKIPPED: 0.0}
    means, taken = TokenMeans(), list[dict[str, float]]()
    generator = torch.Generator().manual_seed(derive_seed(config.seed, step) ^ 1)
    for epoch in range(config.optim.epochs):
        order = batch.rows[torch.randperm(len(batch.rows), generator=generator).to(batch.rows.device)]
        # Sizes differ by one at most; torch.chunk would make 5 of 8 mini-batches of 9 rows.
        for number, mini_batch in enumerate(order.tensor_split(min(config.optim.mini_batches, len(order)))):
            losses, more = mini_batch_gradients(policy, critic, batch, mini_batch, config, step)
            means.merge(more)
            of_losses = dict(zip(("loss", "value/loss")[: 1 if critic is None else 2], losses.tolist(), strict=False))
            hold()
            index = epoch * config.optim.mini_batches + number
            taken.append(of_losses | _optimizer_steps(policy, optimizer, critic, config, step, index, of_losses.values()))
    return _before_the_update(batch) | _over_the_updates(taken) | means.values()


def mini_batch_gradients(
    policy: LoadedModel, critic: Critic | None, batch: Batch, mini_batch: Tensor, config: GRPOConfig, step: int
) -> tuple[Tensor, TokenMeans]:
    """Compute the gradients of a mini-batch [R] of rows, micro-batch by micro-batch.

    Returns:
        [2] the losses of the policy and of the critic, and means over tokens.
    """
    tokens = batch.experience.tokens
    denominators = Denominators.of(tokens.completion_mask[mini_batch], config, step)
    rows = mini_batch[~batch.flat[mini_batch]]

    def gradients(passes: list[list[int]]) -> tuple[Tensor, TokenMeans]:
        losses, means = torch.zeros(2, device=policy.device), TokenMeans()
        for places in passes:
            loss, critic_loss = micro_batch_losses(policy, critic, batch, rows[places], config, denominators, means)
            (loss if critic is None else loss + critic.weight * critic_loss).backward()
            losses += torch.stack([loss.detach(), critic_loss.detach()])
        return losses, means

    parameters = [*policy.model.parameters(), *([] if critic is None else critic.own.parameters())]
    return within_memory(policy.model, passes_of(tokens, rows, policy, config), gradients, parameters)


def passes_of(tokens: TokenBatch, rows: Tensor, policy: LoadedModel, config: GRPOConfig) -> list[list[int]]:
    """Return the places in `rows` of each micro-batch; none for no rows."""
    return micro_batches_of(tokens.select(rows), policy.model, config.optim.micro_batch_size) if len(rows) else []


def _optimizer_steps(
    policy: LoadedModel,
    optimizer: torch.optim.Optimizer,
    critic: Critic | None,
    config: GRPOConfig,
    step: int,
    number: int,
    losses: Iterable[float],
) -> dict[str, float]:
    """Take optimizer step `number` of a training step: of the critic, and of the policy unless the critic still learns alone.

    Both or neither: where one of the losses or gradients is not finite, the other came out of the same forward pass.
    """
    each, first = config.optim.updates_per_step, config.critic.warmup_steps if critic is not None else 0
    norms = {"grad_norm": clip_gradients(policy.model.parameters(), config) if step >= first else 0.0}
    if critic is not None:
        norms["value/grad_norm"] = clip_gradients(critic.own.parameters(), config)
    finite = all(map(math.isfinite, [*losses, *norms.values()]))
    rates = {}
    if critic is not None:
        rates["value/lr"] = scheduled_rate(config, config.critic.lr, step * each + number, config.steps * each)
        apply_gradients(critic.optimizer, rates["value/lr"], finite=finite)
    if step < first:  # the policy has not learned yet, so neither its warm-up nor its schedule has begun
        optimizer.zero_grad(set_to_none=True)
        return norms | rates | {"lr": 0.0, SKIPPED: float(not finite)}
    rates["lr"] = scheduled_rate(config, config.optim.lr, (step - first) * each + number, (config.steps - first) * each)
    apply_gradients(optimizer, rates["lr"], finite=finite)
    return norms | rates | {SKIPPED: float(not finite)}


def _over_the_updates(taken: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the metrics of a training step from those of its optimizer steps: rates as of the last one, skipped ones counted, of
    everything else the mean over those that were not skipped (NaN where all were)."""
    good = [one for one in taken if not one[SKIPPED]]
    means = {name: sum(one[name] for one in good) / len(good) if good else math.nan for name in taken[0]}
    rates = {name: value for name, value in taken[-1].items() if name.endswith("lr")}
    return means | rates | {UPDATES: float(len(good)), SKIPPED: sum(one[SKIPPED] for one in taken)}


def describe_rows_at_fault(
    policy: LoadedModel,
    experience: Experience,
    config: GRPOConfig,
    step: int,
    reference: LoadedModel | None = None,
    critic: Critic | None = None,
) -> list[dict[str, Any]]:
    """Describe the rollouts whose sampled log-probs, loss or gradient is not finite."""
    found = (~experience.sampled_logprobs.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if not found:
        batch = prepare(policy, experience, config, reference, critic)
        rows = batch.rows[~batch.flat[batch.rows]]
        denominators = Denominators.of(experience.tokens.completion_mask[rows], config, step)

        def loss_of(places: Sequence[int]) -> Tensor:
            some = rows[list(places)]
            loss, critic_loss = micro_batch_losses(policy, critic, batch, some, config, denominators, TokenMeans())
            return loss + critic_loss

        parameters = [*policy.model.parameters(), *([] if critic is None else critic.own.parameters())]
        passes = passes_of(experience.tokens, rows, policy, config)
        found = [int(rows[place]) for place in rows_at_fault(passes, loss_of, parameters)]
    return [
        {
            "row": row,
            "task_id": experience.rollouts[row].task.id,
            "prompt": shown_ids(policy.tokenizer, experience.tokens.prompt_ids[row][experience.tokens.prompt_mask[row] > 0]),
            "completion": shown(experience.rollouts[row].completion),
        }
        for row in found
    ]


# Before the first optimizer step: log-probs and values of the whole batch, the rows to learn from, and the advantages.


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of rollouts as the models see it before the update. Tensors without gradient; None where the settings need none.

    Attributes:
        rows: [R] to learn from.
        flat: [B] True for those of `rows` that count in the denominators and have no gradient.
        sampled: [B, T] log-probs of the sampler, under the whole distribution at the sampling temperature.
        advantages: [B], or [B, T] where they differ from token to token.
        old, reference: [B, T] log-probs of the policy that is about to be updated, and of the reference.
        values, returns: [B, T] of the critic, and its targets.
        gaps: [B, T] log-probs of the policy that is about to be updated less the sampler's; NaN until the update has seen the row.
        clipped: [B, T] bool, True where the clip removed the gradient in any of the update's passes.
    """

    experience: Experience
    rows: Tensor
    flat: Tensor
    sampled: Tensor
    advantages: Tensor
    gaps: Tensor
    clipped: Tensor
    old: Tensor | None = None
    reference: Tensor | None = None
    values: Tensor | None = None
    returns: Tensor | None = None


def row_advantages(batch: Batch, config: GRPOConfig) -> list[float | None]:
    """Return the advantage of each rollout, a mean over its tokens where it differs between them.

    None for rollouts that are left out of the update: without a score, of a prompt that was not kept, or cut off where
    `mask_truncated_completions` is set.
    """
    experience, mask = batch.experience, batch.experience.tokens.completion_mask
    values = batch.advantages
    if values.dim() == 2:
        values = (values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    counts = experience.rewards.flatten().isfinite() & experience.kept.repeat_interleave(experience.rewards.shape[1])
    if config.algo.mask_truncated_completions:
        counts = counts & ~experience.truncated
    return [value if one else None for value, one in zip(values.tolist(), counts.tolist(), strict=True)]


@torch.no_grad()
def prepare(
    policy: LoadedModel,
    experience: Experience,
    config: GRPOConfig,
    reference: LoadedModel | None = None,
    critic: Critic | None = None,
) -> Batch:
    """Run the models over the batch, and estimate the advantages.

    The policy's own log-probs are needed where they are not those of the first and only forward pass of the update.
    """
    theirs = None if reference is None else logprobs_of(reference, experience, config)
    sampled = experience.sampled_logprobs
    params = config.sampling.params(temperature=experience.temperature)
    if restricts(params):
        (mass,) = _over(
            experience, policy, config, lambda tokens: [restricted_mass(policy.model, tokens, params, policy.never_drawn)]
        )
        sampled = sampled + mass
    old = values = None
    if critic is not None:
        old, values = _over(experience, policy, config, lambda tokens: critic(policy, tokens, experience.temperature)[:2])
    elif config.optim.updates_per_step > 1 or config.algo.penalizes_kl:
        old = logprobs_of(policy, experience, config)
    learning = learning_rows(experience, config)
    rows = learning_rows(experience, config, with_flat=config.algo.count_flat_groups)
    advantages, returns = advantages_of(experience, config, learning, old, theirs, values)
    flat = torch.ones(len(experience.tokens), dtype=torch.bool, device=rows.device).index_fill(0, learning, False)
    gaps, clipped = torch.full_like(sampled, torch.nan), torch.zeros_like(sampled, dtype=torch.bool)
    return Batch(experience, rows, flat, sampled, advantages, gaps, clipped, old, theirs, values, returns)


def learning_rows(experience: Experience, config: GRPOConfig, *, with_flat: bool = False) -> Tensor:
    """Return [R], the rows that have a gradient: scored, of a kept prompt, and of a group whose rewards differ.

    A term that does not come from the rewards (KL, entropy) has a gradient in every scored row; so has an advantage that is not
    measured within its group (`reinforce_pp`, `gae`). `refill` drops groups without a difference whatever the other terms, and
    `mask_truncated` cut-off rows.

    Args:
        with_flat: also those whose group's rewards do not differ, which have no gradient and count in the denominators.
    """
    n = experience.rewards.shape[1]
    useful = experience.rewards.flatten().isfinite() & experience.kept.repeat_interleave(n)
    if not with_flat and config.algo.kl_coef == 0 and config.algo.entropy_coef == 0 and config.algo.compares_groups:
        differing = mixed_parts(experience.parts) if config.algo.advantage == "gdpo" else mixed(experience.rewards)
        useful &= differing.repeat_interleave(n)
    if config.algo.mask_truncated_completions:
        useful &= ~experience.truncated
    return useful.nonzero().squeeze(1).to(experience.tokens.completion_mask.device)


def advantages_of(
    experience: Experience,
    config: GRPOConfig,
    rows: Tensor,
    old: Tensor | None,
    reference: Tensor | None,
    values: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Return the advantages, and for `gae` the returns.

    Args:
        rows: [R] whose tokens count where the advantages are whitened.
        old, reference: [B, T] log-probs of the policy that sampled and of the reference; needed for `kl_in="reward"`.
        values: [B, T] of the critic; needed for `gae`.

    Returns:
        [B], or [B, T] where they differ from token to token; and [B, T] or None.
    """
    mask = experience.tokens.completion_mask
    kl = None
    if config.algo.penalizes_kl:
        assert old is not None  # `prepare` has both for this setting
        assert reference is not None
        kl = estimate_kl(config.algo.kl_estimator, old, reference)
    returns = None
    if config.algo.advantage == "gae":
        assert values is not None  # `prepare` has them from the critic
        rewards = experience.rewards.flatten().to(mask.device).nan_to_num(0.0)
        given = token_rewards(rewards, mask, None if kl is None else config.algo.kl_coef * kl)
        advantages = gae(given, values, mask, gamma=config.algo.gamma, gae_lambda=config.algo.gae_lambda)
        returns = advantages + values
    else:
        if kl is not None and config.algo.advantage == "rloo":
            # RLOO's reward is that of the sequence, KL included, and so is the baseline (arXiv 2402.14740, eq. 3).
            penalty = config.algo.kl_coef * (kl * mask).sum(dim=1).cpu().view_as(experience.rewards)
            advantages = leave_one_out(experience.rewards - penalty).flatten().to(mask.device)
        else:
            advantages = _from_groups(experience, config).flatten().to(mask.device)
            if kl is not None:
                advantages = with_kl_reward(advantages, kl, mask, config.algo.kl_coef)
    if config.algo.normalizes:
        learning = torch.zeros_like(mask)
        learning[rows] = mask[rows]
        per_token = advantages if advantages.dim() == 2 else advantages[:, None].expand_as(mask)
        advantages = whiten(per_token, learning)
    return advantages, returns


def _from_groups(experience: Experience, config: GRPOConfig) -> Tensor:
    """[P, n]"""
    if config.algo.advantage == "gdpo":
        counting = experience.kept[:, None] & experience.rewards.isfinite()
        return gdpo(torch.where(counting[:, :, None], experience.parts, torch.nan), experience.part_weights)
    return estimate_advantages(config.algo.advantage, experience.rewards)


def logprobs_of(loaded: LoadedModel, experience: Experience, config: GRPOConfig) -> Tensor:
    """Return [B, T], the log-probs of all completions under a model, without gradient; 0 where the mask is 0."""
    with without_adapters(loaded):
        (found,) = _over(
            experience,
            loaded,
            config,
            lambda tokens: [completion_logprobs(loaded.model, tokens, experience.temperature, loaded.never_drawn)],
        )
    return found


@torch.no_grad()
def _over(
    experience: Experience, like: LoadedModel, config: GRPOConfig, compute: Callable[[TokenBatch], Sequence[Tensor]]
) -> list[Tensor]:
    """Run `compute` on micro-batches; return each of its results as [B, T] for the whole batch, in the order of the rows."""
    tokens = experience.tokens

    def over(passes: list[list[int]]) -> list[Tensor]:
        results: list[Tensor] = []
        for places in passes:
            rows = torch.tensor(places, device=like.device)
            batch = tokens.select(rows)
            found = compute(batch)
            results = results or [torch.zeros_like(tokens.completion_mask) for _ in found]
            for result, values in zip(results, found, strict=True):
                result[rows, : batch.completion_ids.shape[1]] = values
        return results

    return within_memory(like.model, micro_batches_of(tokens, like.model, config.optim.micro_batch_size), over)


# The losses of one micro-batch.


@dataclass(frozen=True, slots=True)
class Denominators:
    """What sums over a mini-batch are divided by: in the mode of the settings (see `aggregate`), and for a mean over tokens."""

    loss: float
    tokens: float
    max_new_tokens: int

    @classmethod
    def of(cls, mask: Tensor, config: GRPOConfig, step: int) -> Denominators:
        """Return the denominators of a mini-batch with this mask [B, T]."""
        limit = config.sampling.max_new_tokens_at(step)
        loss = loss_denominator(mask, config.algo.loss_aggregation, limit)
        return cls(loss, loss_denominator(mask, "token-mean", limit), limit)


def micro_batch_losses(
    policy: LoadedModel,
    critic: Critic | None,
    batch: Batch,
    rows: Tensor,
    config: GRPOConfig,
    denominators: Denominators,
    means: TokenMeans,
) -> tuple[Tensor, Tensor]:
    """Return what some rows add to the losses of their mini-batch: the policy's, and the critic's (0 without one).

    Policy: clipped surrogate, times the correction for the sampler's probabilities, plus kl_coef * KL, less entropy_coef * entropy.
    """
    experience = batch.experience
    tokens = experience.tokens.select(rows)
    length, mask = tokens.completion_ids.shape[1], tokens.completion_mask  # [r, T'], columns that are all padding are cut
    entropies = values = None
    if critic is not None:
        logprobs, values, entropies = critic(policy, tokens, experience.temperature, entropies=config.algo.entropy_coef > 0)
    elif config.algo.entropy_coef > 0:
        logprobs, entropies = completion_logprobs_and_entropies(
            policy.model, tokens, experience.temperature, policy.never_drawn
        )
    else:
        logprobs = completion_logprobs(policy.model, tokens, experience.temperature, policy.never_drawn)
    old = logprobs.detach() if batch.old is None else batch.old[rows, :length]
    sampled = batch.sampled[rows, :length]
    advantages = batch.advantages[rows] if batch.advantages.dim() == 1 else batch.advantages[rows, :length]
    clip = {"clip_low": config.algo.clip_ratio_low, "clip_high": config.algo.clip_ratio_high}
    if config.algo.loss == CLIPPED:
        per_token = policy_loss(
            logprobs, old, advantages, ratio=config.algo.policy_ratio, mask=mask, dual_clip=config.algo.dual_clip, **clip
        )
    else:
        per_token = other_loss(config.algo.loss, logprobs, old, advantages, mask=mask, **clip)
    if config.algo.importance_sampling_correction is not None:
        weights = sampler_correction(
            old, sampled, mask, form=config.algo.importance_sampling_correction, cap=config.algo.importance_sampling_cap
        )
        per_token = per_token * weights
        means.add("correction", weights.expand_as(mask), mask)
    if config.algo.kl_coef > 0 and config.algo.kl_in == "loss" and batch.reference is not None:
        kl = estimate_kl(config.algo.kl_estimator, logprobs, batch.reference[rows, :length])
        per_token = per_token + config.algo.kl_coef * kl
    loss = aggregate(
        per_token, mask, config.algo.loss_aggregation, denominators.loss, max_new_tokens=denominators.max_new_tokens
    )
    if entropies is not None:
        loss = loss - config.algo.entropy_coef * aggregate(entropies, mask, "token-mean", denominators.tokens)
        means.add("entropy/exact", entropies, mask)
    critic_loss = torch.zeros_like(loss)
    if values is not None:
        assert batch.values is not None  # `prepare` has them from the same critic
        assert batch.returns is not None
        errors = value_loss(values, batch.values[rows, :length], batch.returns[rows, :length], config.critic.value_clip)
        critic_loss = aggregate(errors, mask, "token-mean", denominators.tokens)
    clipped = clipped_share(
        logprobs,
        old,
        advantages,
        ratio=config.algo.policy_ratio,
        mask=mask,
        bounds_weight=config.algo.loss == CISPO,
        **clip,
    )
    gaps = old - sampled  # of the policy that sampled, not of its later self
    batch.clipped[rows, :length] |= clipped.detach() * mask > 0
    batch.gaps[rows, :length] = gaps
    means.add("clip_fraction", clipped, mask)
    means.add("logprob_gap", gaps.abs(), mask)
    return loss, critic_loss


# Metrics.


@dataclass(slots=True)
class TokenMean:
    """A mean over tokens, accumulated on their device micro-batch by micro-batch; only reading `value` waits for the device."""

    total: Tensor | float = 0.0
    count: Tensor | float = 0.0

    def add(self, values: Tensor, mask: Tensor) -> None:
        self.total = self.total + (values.detach() * mask).sum()
        self.count = self.count + mask.sum()

    @property
    def value(self) -> float:
        return float(self.total) / float(self.count) if self.count else math.nan


@dataclass(slots=True)
class TokenMeans:
    """Update metrics: token-weighted means over micro-batches, by name."""

    means: dict[str, TokenMean] = field(default_factory=dict)

    def add(self, name: str, values: Tensor, mask: Tensor) -> None:
        self.means.setdefault(name, TokenMean()).add(values, mask)

    def merge(self, others: TokenMeans) -> None:
        """Take in other means, as if their tokens had been added here."""
        for name, other in others.means.items():
            mean = self.means.setdefault(name, TokenMean())
            mean.total, mean.count = mean.total + other.total, mean.count + other.count

    def values(self) -> dict[str, float]:
        return {name: mean.value for name, mean in self.means.items()}


def _before_the_update(batch: Batch) -> dict[str, float]:
    """Return the KL to the reference, and how well the critic predicts the returns.

    The KL is that of the sampling policy, over all sampled tokens, by the estimator k3 whichever the loss uses.
    """
    means, mask, rows = TokenMeans(), batch.experience.tokens.completion_mask, batch.rows
    if batch.reference is not None:
        means.add("kl", k3(batch.sampled, batch.reference), mask)
    if batch.values is None or batch.returns is None:
        return means.values()
    values, returns, counting = batch.values[rows], batch.returns[rows], mask[rows]
    means.add("value/mean", values, counting)
    explained = {"value/explained_variance": explained_variance(values, returns, counting)} if len(rows) else {}
    return means.values() | explained


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
        """Load the model called `model` on the device of `like`, or what `state` of a checkpoint holds.

        Of a policy with adapters it is the policy itself with these switched off.
        """
        if like.adapter is not None:
            return cls(replace(like, base_only=True))
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
        """Return what a checkpoint stores: the weights, unless they are those of the starting model."""
        return {"weights": self.loaded.model.state_dict()} if self._replaced else {}
