"""A process reward model: a scalar head on a language model, read at the last token of every step, trained on labelled steps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from r1env_trainers.model.batching import right_pad
from r1env_trainers.model.load import LoadedModel, autocast, load_model
from r1env_trainers.reward_model.model import with_scalar_head
from r1env_trainers.rl.advantages import FLAT


@dataclass(frozen=True, slots=True)
class LabelledSteps:
    """A solution whose steps somebody, or a checker, has judged.

    Attributes:
        prompt: as the model reads it; nothing is added.
        steps: texts, none empty.
        right: one a step.
    """

    prompt: str
    steps: tuple[str, ...]
    right: tuple[bool, ...]


def start_process_reward_model(model: str, *, device: torch.device | str = "cpu", seed: int = 0) -> LoadedModel:
    """The body of `model` under a new head.

    Raises:
        UsageError: it cannot be loaded, or transformers has no classifier of its architecture.
    """
    return with_scalar_head(load_model(model, device="cpu", seed=seed), device=device, seed=seed)


def train_process_reward_model(
    prm: LoadedModel, examples: Sequence[LabelledSteps], *, updates: int, batch_size: int, lr: float, seed: int
) -> list[float]:
    """Train in place; returns the loss of every update: binary cross-entropy, the mean over the batch's steps."""
    optimizer = torch.optim.AdamW(prm.model.parameters(), lr=lr)
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(updates):
        batch = [examples[place] for place in rng.integers(len(examples), size=batch_size)]
        labels = torch.tensor([float(right) for example in batch for right in example.right], device=prm.device)
        logits = torch.cat(_logits(prm, [(example.prompt, example.steps) for example in batch]))
        loss = binary_cross_entropy_with_logits(logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prm.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
    return [float(loss) for loss in losses]


@torch.no_grad()
def score_steps(prm: LoadedModel, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
    """Return the probability that each step is right, for solutions given as prompt and steps."""
    return [logits.sigmoid().tolist() for logits in _logits(prm, solutions)]


def _logits(prm: LoadedModel, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[Tensor]:
    """Return the rewards [K] of the steps of each solution. Steps are encoded one by one, so that no token belongs to two of them."""
    sequences, ends = [], []
    for prompt, steps in solutions:
        first, *rest = (_encode(prm, text) for text in (prompt, *steps))
        sequences.append([*first, *(token for step in rest for token in step)])
        ends.append([len(first) + end for end in step_ends([len(step) for step in rest])])
    ids, _ = right_pad(sequences, prm.pad, prm.device)  # nothing sees the padding, so no mask is needed
    with autocast(prm.device):
        hidden = prm.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    values: Tensor = prm.model.score(hidden.float()).squeeze(-1)  # type: ignore[operator]
    return [row[places] for row, places in zip(values, ends, strict=True)]


def _encode(prm: LoadedModel, text: str) -> list[int]:
    clean = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no tokens
    ids: list[int] = prm.tokenizer(clean, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


# Cuts a completion into reasoning steps. What a step is, is the first thing that process rewards founder on: here it is a line.


def split_steps(completion: str, delimiter: str = "\n") -> list[str]:
    """Return the steps in order, each with the delimiters after it, so that joining them gives back the completion.

    Blank pieces belong to the step before them (at the very beginning, to the first one). Linear in the length of the text.
    """
    steps: list[str] = []
    for piece in _pieces(completion, delimiter):
        if steps and (not piece.strip() or not steps[-1].strip()):
            steps[-1] += piece
        else:
            steps.append(piece)
    return steps


def step_ends(lengths: list[int]) -> list[int]:
    """Return the index of each step's last token, from the numbers of tokens of the steps (none is 0)."""
    return [end - 1 for end in accumulate(lengths)]


def _pieces(text: str, delimiter: str) -> list[str]:
    *before, last = text.split(delimiter)
    pieces = [piece + delimiter for piece in before]
    return [*pieces, last] if last else pieces


# Process supervision in GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.3): a reward a step, an advantage a token.


def process_advantages(rewards: Tensor, ends: Tensor, length: int) -> Tensor:
    """A_it = Σ_{j: index_i(j) >= t} (r_ij - mean(R)) / std(R), R all the step rewards of the group.

    The deviation is the sample's (n - 1), as in `grpo.advantages.group_std`; a group whose step rewards are all alike gets 0.

    Args:
        rewards: [n, K] of the steps of n completions of one prompt, NaN where a completion has fewer than K.
        ends: [n, K] int64, index_i(j): the place of each step's last token; ignored where there is no step.
        length: T, the tokens of the longest completion.

    Returns:
        [n, T]; 0 after a completion's last step.
    """
    present = rewards.isfinite()
    every = rewards[present]
    if len(every) < 2 or float(every.max() - every.min()) < FLAT:
        return torch.zeros(len(rewards), length, device=rewards.device)
    normalised = torch.where(present, (rewards - every.mean()) / every.std(), 0.0)
    at_ends = torch.zeros(len(rewards), length, device=rewards.device, dtype=rewards.dtype)
    at_ends.scatter_add_(1, torch.where(present, ends, 0), normalised)
    return at_ends.flip(1).cumsum(dim=1).flip(1)


# Chooses one of several completions of a prompt: by vote, or by what a reward model says of them.

OfSteps = Literal["min", "product", "last", "mean"]


def majority_vote(answers: Sequence[str | None]) -> int | None:
    """Return the place of the first completion with the commonest answer (self-consistency, arXiv 2203.11171); None without any answer.

    None stands for a completion without an answer. Among equally common answers the earliest wins.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return answers.index(counts.most_common(1)[0][0]) if counts else None


def best_of_n(scores: Sequence[float]) -> int | None:
    """Return the place of the highest score, the earliest of equals; NaN (not scored) never wins."""
    scored = [place for place, score in enumerate(scores) if not math.isnan(score)]
    return max(scored, key=lambda place: scores[place]) if scored else None


def weighted_vote(answers: Sequence[str | None], scores: Sequence[float]) -> int | None:
    """Return the place of the best completion with the answer whose scores sum to most (arXiv 2206.02336); scores are not negative."""
    weights: dict[str, float] = {}
    for answer, score in zip(answers, scores, strict=True):
        if answer is not None and not math.isnan(score):
            weights[answer] = weights.get(answer, 0.0) + score
    if not weights:
        return None
    winner = max(weights, key=lambda answer: weights[answer])
    return best_of_n([score if answer == winner else math.nan for answer, score in zip(answers, scores, strict=True)])


def of_steps(scores: Sequence[float], how: OfSteps = "min") -> float:
    """Return one score of a solution from those of its steps: a chain is as good as its weakest link (arXiv 2305.20050 has `product`).

    NaN for a solution without steps.
    """
    if not scores:
        return math.nan
    match how:
        case "min":
            return min(scores)
        case "product":
            return math.prod(scores)
        case "last":
            return scores[-1]
        case "mean":
            return sum(scores) / len(scores)
