"""The loop of reward-model training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from r1env.data.sources import shuffled_index
from r1env.errors import UsageError
from r1env.preflight import Collected, Preflight, Report, settle
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_trainers.generate.engine import context_length
from r1env_trainers.model.batching import micro_batches, within_memory
from r1env_trainers.model.guards import rows_at_fault, shown_ids
from r1env_trainers.model.load import LoadedModel, check_vocabulary
from r1env_trainers.model.session import Checkpoints, Session, begin, check_local, fingerprint, optimizer_step, save_result
from r1env_trainers.reward_model.config import RewardModelConfig
from r1env_trainers.reward_model.data import Examples, Labelled, Pair, open_examples
from r1env_trainers.reward_model.model import (
    Record,
    encode,
    rewards_of,
    save_record,
    start_reward_model,
)
from r1env_trainers.sft.data import TOO_LONG


@dataclass(frozen=True, slots=True)
class Item:
    """An example as token ids: two sequences (chosen, rejected) with the margin as `target`, or one with its label.

    `shorter` is True where the chosen response of a pair has fewer tokens than the rejected one.
    """

    sequences: tuple[list[int], ...]
    target: float
    shorter: bool = False

    @property
    def length(self) -> int:
        """Tokens of all its sequences, padded to each other."""
        return len(self.sequences) * max(map(len, self.sequences))


class RewardModelTrainer:
    """The trainer plugin `reward_model`."""

    def check(self, config: RewardModelConfig) -> None:
        check_local(config)
        if config.lora.rank and not config.lora.merge:
            raise UsageError("a reward model is scored as a whole model: leave out lora.merge=false")
        if not any(is_stage(file) for file in (config.data, config.eval.data or "")):
            open_examples(config)

    def train(self, config: RewardModelConfig, run: Run) -> None:
        examples = open_examples(config)
        session = begin(config, run, start_reward_model)
        if (context := context_length(session.loaded.model.config)) is not None:
            config = config.model_copy(update={"max_length": min(config.max_length, context)})
        found = Collected()
        train, heldout = (_encoded(rows, session.loaded, config, found) for rows in (examples.train, examples.heldout))
        _report(config, examples, found)
        if not train:
            raise UsageError(f"{config.data}: every row is longer than max_length {config.max_length}; raise it")
        run.note(examples=_counts(examples, train, heldout))
        with Checkpoints(session, config, run, fingerprint(train)) as checkpoints:
            for step in range(session.first_step, config.steps):
                start = time.perf_counter()
                positions = range(step * config.optim.batch_size, (step + 1) * config.optim.batch_size)
                batch = [train[shuffled_index(position, len(train), config.seed)] for position in positions]
                metrics = _update(session, batch, config, step, checkpoints.hold)
                metrics["seconds/update"] = time.perf_counter() - start
                if heldout and (step + 1 == config.steps or (config.eval.every and (step + 1) % config.eval.every == 0)):
                    metrics |= _evaluate(session.loaded, heldout, config)
                run.log(step + 1, metrics)
                session.guard.after(step + 1, metrics, at_fault=partial(_rows_at_fault, session.loaded, batch, config))
                checkpoints.step_done(step + 1)
        save_result(session, config, run)
        save_record(run.model_dir(), _record(session.loaded, heldout or train, config))


def _encoded(
    rows: Sequence[Pair] | Sequence[Labelled], loaded: LoadedModel, config: RewardModelConfig, found: Collected
) -> list[Item]:
    """Return the rows that fit `max_length`, as token ids; the others are collected."""
    items = []
    for row in rows:
        item = _item(row, loaded, config)
        longest = max(map(len, item.sequences))
        if longest <= config.max_length:
            items.append(item)
        else:
            found.add(TOO_LONG, f"{row.where}: {longest:,} tokens, max_length {config.max_length:,}")
    return items


def _report(config: RewardModelConfig, examples: Examples, found: Collected) -> None:
    """Report what is left out and what is known about the rows, before the first step."""
    faults = tuple(found.fault(TOO_LONG, "they are left out; raise max_length to learn them", fatal=False))
    rows = len(examples.train) + len(examples.heldout)
    settle([Report(subject=config.data, checked=rows, faults=faults, facts=examples.facts)], Preflight())


def _item(row: Pair | Labelled, loaded: LoadedModel, config: RewardModelConfig) -> Item:
    if isinstance(row, Labelled):
        return Item((encode(loaded.tokenizer, row.prompt, row.completion),), float(row.safe))
    chosen, rejected = (encode(loaded.tokenizer, row.prompt, text) for text in (row.chosen, row.rejected))
    return Item((chosen, rejected), config.pairs.margin_scale * (row.margin or 0.0), len(chosen) < len(rejected))


def _update(
    session: Session, batch: Sequence[Item], config: RewardModelConfig, step: int, hold: Callable[[], object]
) -> dict[str, float]:
    """Take one optimizer step, before which `hold` is called; the loss is the mean over the batch, however it is cut into micro-batches."""
    loaded = session.loaded
    check_vocabulary(loaded, (ids for item in batch for ids in item.sequences), "an example")

    def gradients(passes: list[list[int]]) -> tuple[Tensor, list[float]]:
        total, gaps = torch.zeros((), device=loaded.device), list[float]()
        for places in passes:
            chunk = [batch[place] for place in places]
            rewards = _rewards(loaded, chunk)
            loss = _loss(rewards, chunk).sum() / len(batch)
            loss.backward()
            total += loss.detach()
            gaps += _gaps(rewards.detach(), chunk)
        return total, gaps

    batches = micro_batches([item.length for item in batch], loaded.model, config.optim.micro_batch_size)
    total, gaps = within_memory(loaded.model, batches, gradients)
    hold()
    taken = optimizer_step(loaded, session.optimizer, config, step, total=config.steps, loss=float(total))
    return {"loss": float(total), "accuracy": pair_accuracy(gaps)} | taken


def _rows_at_fault(loaded: LoadedModel, batch: Sequence[Item], config: RewardModelConfig) -> list[dict[str, Any]]:
    """Describe the examples of a step whose loss or gradient is not finite."""

    def loss(places: Sequence[int]) -> Tensor:
        chunk = [batch[place] for place in places]
        return _loss(_rewards(loaded, chunk), chunk).sum()

    batches = micro_batches([item.length for item in batch], loaded.model, config.optim.micro_batch_size)
    found = rows_at_fault(batches, loss, loaded.model.parameters())
    return [
        {
            "row": row,
            "texts": [shown_ids(loaded.tokenizer, ids) for ids in batch[row].sequences],
            "target": batch[row].target,
        }
        for row in found
    ]


def _rewards(loaded: LoadedModel, items: Sequence[Item]) -> torch.Tensor:
    """Return the rewards [B, 1 or 2] of the items' sequences."""
    columns = len(items[0].sequences)
    return rewards_of(loaded, [sequence for item in items for sequence in item.sequences]).view(len(items), columns)


def _loss(rewards: torch.Tensor, items: Sequence[Item]) -> torch.Tensor:
    """Return the losses [B]: of pairs if there are two rewards per item, else of labels."""
    targets = torch.tensor([item.target for item in items], device=rewards.device)
    if rewards.shape[1] == 2:
        return pairwise_loss(rewards[:, 0], rewards[:, 1], targets)
    return pointwise_loss(rewards[:, 0], targets)


def _gaps(rewards: torch.Tensor, items: Sequence[Item]) -> list[float]:
    """Return each item's margin: chosen minus rejected, or the log-odds of the true label."""
    if rewards.shape[1] == 2:
        return cast(list[float], (rewards[:, 0] - rewards[:, 1]).tolist())
    return [reward if item.target else -reward for reward, item in zip(rewards[:, 0].tolist(), items, strict=True)]


@torch.no_grad()
def _measured(loaded: LoadedModel, items: Sequence[Item], config: RewardModelConfig) -> torch.Tensor:
    """Return the rewards [B, 1 or 2] of all items, in order, on the CPU."""
    found = torch.empty(len(items), len(items[0].sequences))
    for places in micro_batches([item.length for item in items], loaded.model, config.optim.micro_batch_size):
        found[places] = _rewards(loaded, [items[place] for place in places]).cpu()
    return found


def _evaluate(loaded: LoadedModel, items: Sequence[Item], config: RewardModelConfig) -> dict[str, float]:
    """Return the held-out loss and accuracy; for labels also the AUC, for pairs also the accuracy where the better response is the shorter one."""
    rewards = _measured(loaded, items, config)
    gaps = _gaps(rewards, items)
    found = {"eval/loss": float(_loss(rewards, items).mean()), "eval/accuracy": pair_accuracy(gaps)}
    if config.objective == "pointwise":
        return found | {"eval/auc": auc(rewards[:, 0].tolist(), [bool(item.target) for item in items])}
    shorter = [gap for gap, item in zip(gaps, items, strict=True) if item.shorter]
    return found | {"eval/accuracy_chosen_shorter": pair_accuracy(shorter)}


def _record(loaded: LoadedModel, items: Sequence[Item], config: RewardModelConfig) -> Record:
    """Return what later scoring needs. The rewards of a pairwise model have no natural zero, so the mean over these data becomes it."""
    record = Record(objective=config.objective, reads=config.reads, max_length=config.max_length)
    if config.objective == "pointwise":
        return record
    rewards = _measured(loaded, items, config).numpy()
    return record.model_copy(update={"mean": float(np.mean(rewards)), "std": max(float(np.std(rewards)), 1e-6)})


def _counts(examples: Examples, train: Sequence[Item], heldout: Sequence[Item]) -> dict[str, int]:
    """Return how many rows there were after selection, and how many of them were short enough."""
    return {
        "train": len(train),
        "heldout": len(heldout),
        "too_long": len(examples.train) + len(examples.heldout) - len(train) - len(heldout),
    }


# The two losses of reward models, on rewards as the scalar head gives them.


def pairwise_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """Return [B] -log σ(chosen - rejected - margin): Bradley-Terry (arXiv 2203.02155, eq. 1) with the margin of Llama 2 (2307.09288, eq. 2).

    Args:
        chosen, rejected: [B] rewards.
        margin: [B] by how much the chosen one must lead; 0 is the plain loss.
    """
    return softplus(-(chosen - rejected - margin))


def pointwise_loss(logits: Tensor, safe: Tensor) -> Tensor:
    """Return the binary cross-entropy [B]; σ(logit) is the probability that a completion is safe.

    Args:
        logits: [B] rewards.
        safe: [B] 1 where the completion is safe, 0 where it is not.
    """
    return binary_cross_entropy_with_logits(logits, safe, reduction="none")


# How good rewards are, on held-out data. Pure functions on numbers.


def pair_accuracy(gaps: Sequence[float]) -> float:
    """Return the share of pairs whose chosen response has the higher reward; a tie counts half. NaN without pairs.

    Args:
        gaps: reward of the chosen minus reward of the rejected response.
    """
    return float(np.mean(np.sign(gaps) / 2 + 0.5)) if len(gaps) else math.nan


def auc(rewards: Sequence[float], positive: Sequence[bool]) -> float:
    """Area under the ROC curve: how likely a positive has the higher reward than a negative; a tie counts half (Mann-Whitney).

    NaN where all are of one kind.
    """
    values, labels = np.asarray(rewards, float), np.asarray(positive, bool)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return math.nan
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]  # from 1; those of a tie are their mean
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))
