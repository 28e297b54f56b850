"""The loss of supervised fine-tuning: cross-entropy of the response's tokens, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.forward import TokenBatch, completion_logprobs
from r1env_trainers.llama.support import is_llama
from r1env_trainers.micro_batches import micro_batches
from r1env_trainers.prompts import left_pad
from r1env_trainers.sft.config import TuningSettings
from r1env_trainers.sft.packing import best_fit, padded_batches

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt and of its response."""


def make_batch(pairs: Sequence[Pair], pad: int, device: torch.device) -> TokenBatch:
    """Stack (prompt, response) token ids: prompts padded on the left, responses on the right."""
    prompt_ids, prompt_mask = left_pad([prompt for prompt, _ in pairs], pad, device)
    length = max(len(response) for _, response in pairs)
    ids = torch.full((len(pairs), length), pad, dtype=torch.long)
    mask = torch.zeros((len(pairs), length))
    for row, (_, response) in enumerate(pairs):
        ids[row, : len(response)] = torch.tensor(response)
        mask[row, : len(response)] = 1
    return TokenBatch(prompt_ids, prompt_mask, ids.to(device), mask.to(device))


def response_loss(model: PreTrainedModel, batch: TokenBatch, tokens: float) -> Tensor:
    """-Σ log p(response token) / `tokens`, where `tokens` counts the response tokens of the whole step."""
    return -(completion_logprobs(model, batch) * batch.completion_mask).sum() / tokens


def forward_passes(pairs: Sequence[Pair], model: PreTrainedModel, config: TuningSettings) -> list[list[Pair]]:
    """The pairs of an optimizer step, cut into what goes through the model at once; which changes no loss."""
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    if config.micro_batch_tokens is None:
        places = micro_batches(lengths, model, config.micro_batch_size)
    else:  # only the packed forward pass of Llama-shaped models computes no padding
        places = (best_fit if is_llama(model) else padded_batches)(lengths, config.micro_batch_tokens)
    return [[pairs[place] for place in batch] for batch in places]
