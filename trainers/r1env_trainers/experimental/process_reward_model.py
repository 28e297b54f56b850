"""A process reward model: a scalar head on a language model, read at the last token of every step, trained on labelled steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from r1env_trainers.experimental.steps import step_ends
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.load import LoadedModel, autocast, load_model
from r1env_trainers.reward_model.model import with_scalar_head


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
    """The probability that each step is right, for solutions given as prompt and steps."""
    return [logits.sigmoid().tolist() for logits in _logits(prm, solutions)]


def _logits(prm: LoadedModel, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[Tensor]:
    """[K] of each solution. Steps are encoded one by one, so that a token never belongs to two of them."""
    sequences, ends = [], []
    for prompt, steps in solutions:
        first, *rest = (_encode(prm, text) for text in (prompt, *steps))
        sequences.append([*first, *(token for step in rest for token in step)])
        ends.append([len(first) + end for end in step_ends([len(step) for step in rest])])
    ids, mask = left_pad(sequences, prm.pad, prm.device)
    with autocast(prm.device):
        hidden = prm.model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0), use_cache=False
        ).last_hidden_state
    values: Tensor = prm.model.score(hidden.float()).squeeze(-1)  # type: ignore[operator]
    padding = ids.shape[1]
    return [
        row[[padding - len(sequence) + place for place in places]]
        for row, sequence, places in zip(values, sequences, ends, strict=True)
    ]


def _encode(prm: LoadedModel, text: str) -> list[int]:
    clean = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no tokens
    ids: list[int] = prm.tokenizer(clean, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids
