"""Sequences as batches: padding, and how many go through the model at once (memory, never mathematics)."""

from __future__ import annotations

import functools
import logging
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from r1env_trainers.model.load import free_memory

CPU_ROWS = 8
GPU_TOKENS = 32_768
"""Enough to keep an H200 busy: the gradients of 152,576 tokens take a 135M model 0.59 s at 19,000 tokens a forward pass, 0.45 s at
32,600 and 0.43 s at 38,100."""
GPU_SHARE = 0.5
"""Share of the free memory for activations; logits and fragmentation need the rest."""
FEW_TOKENS = 4096
"""Where memory is enough for no more tokens at a time, layers are computed again in the backward pass: a third more operations, but
larger passes, each of which has to round all weights and to add to all gradients."""
RECOMPUTING_SHARE = 0.8
"""Share of the free memory beyond which a pass is computed again layer by layer."""


def micro_batches(
    lengths: Sequence[int],
    model: PreTrainedModel,
    rows: int | None,
    groups: Sequence[int] | None = None,
    *,
    recomputing: bool = False,
) -> list[list[int]]:
    """Split sequences into micro-batches; return their places, longest first, so that memory peaks first and padding is small.

    On a GPU micro-batches are about equally large: one of a few tokens behind full ones would round all weights and add to all gradients
    for next to nothing, and be the only one of its size, with kernels that nothing else takes.

    Args:
        lengths: tokens of each sequence.
        rows: the most sequences in one; None for 8 on a CPU, and on a GPU for as many tokens as keep it busy and fit.
        groups: the number of each sequence's group. A group stays together if it fits into one micro-batch, and is split as little
            as possible otherwise; groups with the longest sequences come first. None for no groups.
        recomputing: whether the forward pass computes layers again where memory is short (`recomputes`).
    """
    longest_first = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    together: dict[int, list[int]] = {}
    for place in longest_first:
        together.setdefault(place if groups is None else groups[place], []).append(place)
    if rows is None and model.device.type == "cuda":
        return cut_evenly(list(together.values()), lengths, _token_budget(model, recomputing))
    return _cut(list(together.values()), [1] * len(lengths), rows or CPU_ROWS)


def cut_evenly(groups: Sequence[Sequence[int]], costs: Sequence[int], budget: int) -> list[list[int]]:
    """Split groups into as few micro-batches as `budget` allows, and these as evenly as they can be cut at a few smaller budgets."""
    batches = _cut(groups, costs, budget)
    mean = sum(costs) / max(1, len(batches))
    smaller = (math.ceil(mean * (1 + excess / 64)) for excess in range(64))
    cuts = (_cut(groups, costs, some) for some in smaller if some < budget)
    return next((even for even in cuts if len(even) == len(batches)), batches)


def _cut(groups: Sequence[Sequence[int]], costs: Sequence[int], budget: int) -> list[list[int]]:
    """Split groups into micro-batches that cost at most `budget`; a sequence that costs more gets its own."""
    batches: list[list[int]] = []
    room = 0
    for group in groups:
        if room < sum(costs[place] for place in group) <= budget:
            room = 0  # it fits into the next one whole
        for place in group:
            if not batches or costs[place] > room:
                batches.append([])
                room = budget
            batches[-1].append(place)
            room -= costs[place]
    return batches


# Out of memory: the gradients of an update are computed once more, from micro-batches of half the size.

logger = logging.getLogger(__name__)

T = TypeVar("T")
_pieces: weakref.WeakKeyDictionary[PreTrainedModel, int] = weakref.WeakKeyDictionary()
"""Into how many pieces the micro-batches of a model are cut, once its memory has not sufficed for whole ones."""


def within_memory(
    model: PreTrainedModel,
    micro_batches: Sequence[Sequence[int]],
    compute: Callable[[list[list[int]]], T],
    parameters: Iterable[nn.Parameter] | None = None,
) -> T:
    """Return what `compute` makes of the micro-batches of an update; out of memory, of halves of them, and so on to single rows.

    The size that fitted is kept for the updates to come. `compute` must start anew each time: the gradients that were added up before
    memory ran out are dropped here, the rest is its own.

    Args:
        parameters: whose gradients are computed; by default those of the model.
    """
    weights = list(model.parameters() if parameters is None else parameters)
    while True:
        pieces = _pieces.get(model, 1)
        passes = [part for batch in micro_batches for part in _cut_into(batch, pieces)]
        try:
            return compute(passes)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            rows = max(map(len, passes), default=0)
            if not is_out_of_memory(error) or rows <= 1:
                raise
            reason = str(error).splitlines()[0][:200]
        # Outside the handler, whose traceback holds the tensors of the failed pass.
        for weight in weights:
            weight.grad = None
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
        _pieces[model] = pieces * 2
        logger.warning(
            "out of memory with micro-batches of %d sequences: going on with half as many, now and in later steps; set "
            "optim.micro_batch_size=%d to begin so (%s)",
            rows,
            max(1, rows // 2),
            reason,
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch failed to allocate, on a GPU or on a CPU."""
    return (
        isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error) or "can't allocate memory" in str(error)
    )


def _cut_into(batch: Sequence[int], pieces: int) -> list[list[int]]:
    """Cut a micro-batch into as many pieces, as even as can be; fewer where it has fewer rows."""
    size = max(1, math.ceil(len(batch) / pieces))
    return [list(batch[start : start + size]) for start in range(0, len(batch), size)]


def _token_budget(model: PreTrainedModel, recomputing: bool) -> int:
    """Return the tokens of one forward pass on a GPU, from its free memory and the activation bytes of a token."""
    free = GPU_SHARE * _free_for_activations(model)
    tokens = free / _token_bytes(model)
    if tokens < FEW_TOKENS and recomputing:
        tokens = free / _recomputed_token_bytes(model)
    return int(min(GPU_TOKENS, tokens))


def recomputes(model: PreTrainedModel, tokens: int) -> bool:
    """Return whether a pass over so many tokens, with gradients, has to compute its layers again in the backward pass to fit."""
    if not torch.is_grad_enabled():
        return False
    if model in _checkpointed:
        return True
    if model.device.type != "cuda":
        return False
    return tokens * _token_bytes(model) > RECOMPUTING_SHARE * _free_for_activations(model)


_checkpointed: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Have the layers of a model computed again in the backward pass, always, whichever forward pass it takes (`recomputes`).

    transformers' own switch works in training mode only, which would turn dropout on.
    """
    _checkpointed.add(model)
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = _checkpointed_forward(module.forward)


def _checkpointed_forward(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def computed_again(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        return checkpoint(forward, *inputs, use_reentrant=False, **named)

    return computed_again


def _free_for_activations(model: PreTrainedModel) -> float:
    """Return the free bytes of a GPU without the gradients that are still to come and the weights in the format of the matrices."""
    to_come = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad and parameter.grad is None)
    rounded = sum(parameter.numel() for parameter in model.parameters())
    return max(0.0, free_memory(model.device) - 4 * to_come - 2 * rounded)


def _token_bytes(model: PreTrainedModel) -> int:
    config = model.config
    feed_forward = getattr(config, "intermediate_size", config.hidden_size * 4)
    return activation_bytes(config.num_hidden_layers, config.hidden_size, feed_forward)


def _recomputed_token_bytes(model: PreTrainedModel) -> int:
    config = model.config
    feed_forward = getattr(config, "intermediate_size", config.hidden_size * 4)
    return recomputed_bytes(config.num_hidden_layers, config.hidden_size, feed_forward)


def recomputed_bytes(layers: int, hidden: int, feed_forward: int) -> int:
    """Return `activation_bytes` where layers are computed again: the residual stream before each, and one layer with its gradients."""
    return layers * 6 * hidden + 3 * activation_bytes(1, hidden, feed_forward)


def activation_bytes(layers: int, hidden: int, feed_forward: int) -> int:
    """Return the bytes that one token keeps for the backward pass, in bfloat16: about 12 hidden and 4 feed-forward vectors per layer.

    That is 0.8 MB for SmolLM2-135M, where 0.7 MB were measured.
    """
    return layers * 2 * (12 * hidden + 4 * feed_forward)


def left_pad(sequences: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack sequences of unequal length, padded on the left.

    Returns:
        Ids [B, L] (int64) and mask [B, L] (int64, 1 on real tokens).
    """
    length = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), length), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), length), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, length - len(sequence) :] = torch.tensor(sequence, dtype=torch.long)
        mask[row, length - len(sequence) :] = 1
    return ids.to(device), mask.to(device)


def right_pad(sequences: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack sequences of unequal length, padded on the right.

    Returns:
        Ids [B, L] (int64) and lengths [B] (int64).
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    ids = torch.full((len(sequences), int(lengths.max())), pad, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
    return ids.to(device), lengths.to(device)
