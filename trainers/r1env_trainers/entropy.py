"""Entropies of a model's next-token distributions, with gradients, for the entropy bonus."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from r1env_trainers.logprobs import CHUNK_ELEMENTS, chosen, keeps_logits, linear_logprobs, logits_of, whole_logprobs


def entropies_of(logits: Tensor) -> Tensor:
    """[...] nats of softmax(logits), from [..., V] logits."""
    return _entropies(logits.log_softmax(dim=-1))


def linear_logprobs_and_entropies(hidden: Tensor, head: Tensor, ids: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """`linear_logprobs` and `linear_entropies`; logits that may be kept are computed once for both."""
    if not keeps_logits(hidden, head):
        return linear_logprobs(hidden, head, ids, temperature), linear_entropies(hidden, head, temperature)
    logprobs = whole_logprobs(hidden, head, temperature)
    return chosen(logprobs, ids), _entropies(logprobs)


def linear_entropies(hidden: Tensor, head: Tensor, temperature: float = 1.0) -> Tensor:
    """[N] nats of softmax(hidden @ head.T / temperature), float32, a chunk of logits at a time, forth and back.

    Args:
        hidden: [N, H].
        head: [V, H].
    """
    rows = max(1, CHUNK_ELEMENTS[hidden.device.type] // head.shape[0])
    chunks = [checkpoint(_chunk, part, head, temperature, use_reentrant=False) for part in hidden.split(rows)]
    return torch.cat(chunks)


def _chunk(hidden: Tensor, head: Tensor, temperature: float) -> Tensor:
    return entropies_of(logits_of(hidden, head.to(hidden.dtype)) / temperature)


def _entropies(logprobs: Tensor) -> Tensor:
    return -(logprobs.exp() * logprobs).sum(dim=-1)
