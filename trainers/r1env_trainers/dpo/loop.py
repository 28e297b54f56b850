"""The loop of direct preference optimization (DPO, arXiv 2305.18290): pairs in, one loss, no sampling.

For each pair the policy's log-probabilities of the chosen and of the rejected response are compared with the reference's, which is the
model that training starts from.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedTokenizerBase

from r1env.data.sources import shuffled_index
from r1env.errors import UsageError
from r1env.preflight import settle
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env.types import Message
from r1env_trainers.dpo.config import DPOConfig
from r1env_trainers.generate.engine import context_length
from r1env_trainers.model.batching import micro_batches, within_memory
from r1env_trainers.model.guards import rows_at_fault, shown_ids
from r1env_trainers.model.load import LoadedModel, check_vocabulary
from r1env_trainers.model.logprobs import completion_logprobs
from r1env_trainers.model.lora import without_adapters
from r1env_trainers.model.session import Checkpoints, Session, begin, check_local, fingerprint, optimizer_step, save_result
from r1env_trainers.reward_model.data import Pair, pair_facts, read_pairs, select_pairs, split_by_prompt
from r1env_trainers.rl.update import Reference
from r1env_trainers.sft.data import check_demonstrations, encode_within
from r1env_trainers.sft.loop import learn_to_stop, make_batch
from r1env_trainers.sft.render import Demonstration, Encoded

logger = logging.getLogger(__name__)

Sides = tuple[Encoded, Encoded]
"""The chosen and the rejected response to a prompt."""


class DPOTrainer:
    """The trainer plugin `dpo`: preference pairs, in this process, on a CPU or one GPU."""

    def check(self, config: DPOConfig) -> None:
        check_local(config)
        for file in filter(None, (config.data, config.eval.data)):
            if not is_stage(file):
                _pairs_in(file, config)

    def train(self, config: DPOConfig, run: Run) -> None:
        """Check the pairs, learn them, from the newest checkpoint where there is one, and leave the model."""
        session = begin(config, run)
        policy = session.loaded
        if (context := context_length(policy.model.config)) is not None:
            config = config.model_copy(update={"max_length": min(config.max_length, context)})
        train, held_out = _open(config, policy.tokenizer)
        if config.epochs is not None:
            config = config.model_copy(update={"steps": math.ceil(config.epochs * len(train) / config.optim.batch_size)})
        learn_to_stop(policy)
        reference = None if config.algo.reference_free else Reference.start(config.model, policy, config.seed, {}).loaded
        with Checkpoints(session, config, run, fingerprint(train)) as checkpoints:
            for step in range(session.first_step, config.steps):
                start = time.perf_counter()
                positions = range(step * config.optim.batch_size, (step + 1) * config.optim.batch_size)
                batch = [train[shuffled_index(position, len(train), config.seed)] for position in positions]
                metrics = _update(session, reference, batch, config, step, checkpoints.hold)
                metrics["seconds/update"] = time.perf_counter() - start
                if held_out and (step + 1 == config.steps or (config.eval.every and (step + 1) % config.eval.every == 0)):
                    metrics |= {f"eval/{name}": value for name, value in _measure(policy, reference, held_out, config).items()}
                run.log(step + 1, metrics)
                session.guard.after(step + 1, metrics, at_fault=partial(_at_fault, policy, reference, batch, config))
                checkpoints.step_done(step + 1)
        save_result(session, config, run)


def _update(
    session: Session,
    reference: LoadedModel | None,
    batch: Sequence[Sides],
    config: DPOConfig,
    step: int,
    hold: Callable[[], None],
) -> dict[str, float]:
    """Take one optimizer step; the loss is the mean over the pairs, however they are cut into micro-batches.

    Args:
        hold: called before the weights change.
    """
    policy = session.loaded
    check_vocabulary(policy, (ids for sides in batch for one in sides for ids in (one.prompt, one.response)), "a pair")

    def gradients(passes: list[list[int]]) -> tuple[Tensor, list[_Margins]]:
        total, found = torch.zeros((), device=policy.device), list[_Margins]()
        for places in passes:
            margins = _margins(policy, reference, [batch[place] for place in places])
            losses = dpo_loss(margins.chosen - margins.rejected, config.algo.beta, config.algo.label_smoothing)
            loss = losses.sum() / len(batch)
            loss.backward()
            total += loss.detach()
            found.append(margins.detached())
        return total, found

    total, found = within_memory(policy.model, _micro_batches(batch, policy, config), gradients)
    hold()
    taken = optimizer_step(policy, session.optimizer, config, step, total=config.steps, loss=float(total))
    return {"loss": float(total)} | _metrics(found, config.algo.beta) | taken


def dpo_loss(advantage: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """[B] -log σ(β Δ), where Δ is by how much more the policy prefers the chosen response than the reference does (DPO, eq. 7).

    With label smoothing ε each pair counts as the wrong way round with probability ε: (1 - ε) · loss(Δ) + ε · loss(-Δ)
    (conservative DPO, Mitchell 2023).

    Args:
        advantage: [B] Δ = log π(chosen)/π_ref(chosen) - log π(rejected)/π_ref(rejected), in nats.

    Example:
        >>> float(dpo_loss(torch.tensor([0.0]), beta=0.1)) == -math.log(0.5)
        True
    """
    scaled = beta * advantage
    return -(1 - label_smoothing) * logsigmoid(scaled) - label_smoothing * logsigmoid(-scaled)


class _Margins:
    """[B] log π/π_ref of the chosen and of the rejected responses, in nats; log π where there is no reference."""

    def __init__(self, chosen: Tensor, rejected: Tensor) -> None:
        self.chosen = chosen
        self.rejected = rejected

    def detached(self) -> _Margins:
        return _Margins(self.chosen.detach(), self.rejected.detach())


def _margins(policy: LoadedModel, reference: LoadedModel | None, sides: Sequence[Sides]) -> _Margins:
    rows = [(one.prompt, one.response) for pair in sides for one in pair]
    batch = make_batch(rows, policy.pad, policy.device)
    ratios = (completion_logprobs(policy.model, batch) * batch.completion_mask).sum(dim=1)
    if reference is not None:
        with torch.no_grad(), without_adapters(reference):
            theirs = (completion_logprobs(reference.model, batch) * batch.completion_mask).sum(dim=1)
        ratios = ratios - theirs
    return _Margins(ratios[0::2], ratios[1::2])


def _metrics(found: Sequence[_Margins], beta: float) -> dict[str, float]:
    """Return the implicit rewards β log π/π_ref (DPO, section 5), and the share of pairs in which the chosen one has more."""
    chosen, rejected = (beta * torch.cat([getattr(one, side) for one in found]) for side in ("chosen", "rejected"))
    return {
        "accuracy": float(((chosen > rejected).float() + 0.5 * (chosen == rejected).float()).mean()),
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margin": float((chosen - rejected).mean()),
    }


@torch.no_grad()
def _measure(policy: LoadedModel, reference: LoadedModel | None, pairs: Sequence[Sides], config: DPOConfig) -> dict[str, float]:
    """Return the loss and the metrics of held-out pairs."""
    found = [
        _margins(policy, reference, [pairs[place] for place in places]) for places in _micro_batches(pairs, policy, config)
    ]
    losses = torch.cat([dpo_loss(one.chosen - one.rejected, config.algo.beta, config.algo.label_smoothing) for one in found])
    return {"loss": float(losses.mean())} | _metrics(found, config.algo.beta)


def _micro_batches(batch: Sequence[Sides], policy: LoadedModel, config: DPOConfig) -> list[list[int]]:
    lengths = [2 * max(map(len, sides)) for sides in batch]  # a pair is two rows, padded to each other
    return micro_batches(lengths, policy.model, config.optim.micro_batch_size)


def _at_fault(
    policy: LoadedModel, reference: LoadedModel | None, batch: Sequence[Sides], config: DPOConfig
) -> list[dict[str, Any]]:
    """Describe the pairs of a step whose loss or gradient is not finite."""

    def loss(places: Sequence[int]) -> Tensor:
        margins = _margins(policy, reference, [batch[place] for place in places])
        return dpo_loss(margins.chosen - margins.rejected, config.algo.beta, config.algo.label_smoothing).sum()

    return [
        {
            "row": row,
            "prompt": shown_ids(policy.tokenizer, batch[row][0].prompt),
            "chosen": shown_ids(policy.tokenizer, batch[row][0].response),
            "rejected": shown_ids(policy.tokenizer, batch[row][1].response),
        }
        for row in rows_at_fault(_micro_batches(batch, policy, config), loss, policy.model.parameters())
    ]


# Pairs: read as reward models read them, checked and rendered as SFT does it.


def _pairs_in(file: str, config: DPOConfig) -> list[Pair]:
    pairs = select_pairs(read_pairs(file), config.min_margin, balance_lengths=False)
    if not pairs:
        raise UsageError(
            f"{file}: no pair is left to learn from; lower min_margin (it is {config.min_margin:g}), or bring more"
        )
    return pairs


def _open(config: DPOConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Sides], list[Sides]]:
    """Return the pairs to learn, and those that are only measured.

    Raises:
        PreflightError: rows are too long, empty, or cannot be shown, and the settings do not say to go on without them.
    """
    pairs = prepare_pairs(_pairs_in(config.data, config), config.data, tokenizer, config)
    if config.eval.data is not None:
        measured = prepare_pairs(_pairs_in(config.eval.data, config), config.eval.data, tokenizer, config)
    else:
        pairs, measured = split_by_prompt(pairs, config.eval.share, config.seed)
    train, held_out = (_differing([_sides(pair, tokenizer, config) for pair in rows], config) for rows in (pairs, measured))
    if not train:
        raise UsageError(f"{config.data}: no pair is left to learn from; lower eval.share, or bring more")
    return train, held_out


def _differing(sides: Sequence[Sides], config: DPOConfig) -> list[Sides]:
    """Return the pairs whose responses differ in their tokens: others have no gradient, and an accuracy of one half."""
    kept = [(chosen, rejected) for chosen, rejected in sides if chosen.response != rejected.response]
    if len(kept) < len(sides):
        logger.warning(
            "%s: %d pairs are left out, since their responses are the same tokens, as the chat template writes them and cut to max_length",
            config.data,
            len(sides) - len(kept),
        )
    return kept


def prepare_pairs(pairs: Sequence[Pair], name: str, tokenizer: PreTrainedTokenizerBase, config: DPOConfig) -> list[Pair]:
    """Check both sides of every pair, and return the pairs of which both can be learnt; see `r1env_trainers.sft.data.prepare`.

    Raises:
        PreflightError: as `prepare`.
    """
    sides = [one for pair in pairs for one in _demonstrations(pair)]
    report, kept = check_demonstrations(sides, name, tokenizer, config)
    settle([report.model_copy(update={"facts": (*report.facts, *pair_facts(pairs))})], config.preflight)
    good = {id(one) for one in kept}
    return [pair for place, pair in enumerate(pairs) if {id(sides[2 * place]), id(sides[2 * place + 1])} <= good]


def _demonstrations(pair: Pair) -> tuple[Demonstration, Demonstration]:
    def side(text: str) -> Demonstration:
        answer: Message = {"role": "assistant", "content": text}
        return Demonstration(pair.prompt, answer, tools=pair.tools, where=pair.where)

    return side(pair.chosen), side(pair.rejected)


def _sides(pair: Pair, tokenizer: PreTrainedTokenizerBase, config: DPOConfig) -> Sides:
    chosen, rejected = (encode_within(one, tokenizer, config) for one in _demonstrations(pair))
    return chosen, rejected
