"""How many sequences go through the model at once: memory, never mathematics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

CPU_ROWS = 8
GPU_TOKENS = 32_768
"""Enough to keep an H200 busy: the gradients of 152,576 tokens take a 135M model 0.59 s at 19,000 tokens a forward pass, 0.45 s at
32,600 and 0.43 s at 38,100."""
GPU_SHARE = 0.5
"""Of the free memory, for what is kept for the backward pass; logits, gradients and fragmentation need the rest."""


def micro_batches(lengths: Sequence[int], model: PreTrainedModel, rows: int | None) -> list[list[int]]:
    """The places of sequences, longest first so that memory peaks first and padding is little, cut into micro-batches.

    Args:
        lengths: tokens of each sequence.
        rows: the most sequences in one; None for 8 on a CPU, and for as many tokens on a GPU as keep it busy and fit.
    """
    longest_first = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    if rows is None and model.device.type == "cuda":
        return _cut_by_tokens(longest_first, lengths, _token_budget(model))
    size = rows or CPU_ROWS
    return [longest_first[start : start + size] for start in range(0, len(longest_first), size)]


def _cut_by_tokens(places: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Runs of places with at most `budget` tokens; a sequence that is longer alone stands alone."""
    batches: list[list[int]] = []
    room = 0
    for place in places:
        if not batches or lengths[place] > room:
            batches.append([])
            room = budget
        batches[-1].append(place)
        room -= lengths[place]
    return batches


def _token_budget(model: PreTrainedModel) -> int:
    """Tokens of one forward pass on a GPU, from the memory that is free and what a token of this model leaves behind."""
    config = model.config
    token = activation_bytes(
        config.num_hidden_layers, config.hidden_size, getattr(config, "intermediate_size", config.hidden_size * 4)
    )
    unused = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    free = torch.cuda.mem_get_info(model.device)[0] + unused
    return int(min(GPU_TOKENS, GPU_SHARE * free / token))


def activation_bytes(layers: int, hidden: int, feed_forward: int) -> int:
    """What one token leaves behind for the backward pass in bfloat16: about 12 hidden and 4 feed-forward vectors a layer.

    0.8 MB for SmolLM2-135M, where 0.7 were measured.
    """
    return layers * 2 * (12 * hidden + 4 * feed_forward)
