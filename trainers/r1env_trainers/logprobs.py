"""Log-probabilities of given tokens under a linear head, without ever holding the logits of all tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from r1env_trainers.devices import has_triton

CHUNK_ELEMENTS = {"cuda": 2**28, "cpu": 2**24}
"""Logits held at once: 1 GB on a GPU, enough to fill it; 64 MB on a CPU."""


def linear_logprobs(hidden: Tensor, head: Tensor, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """[N] natural-log probabilities of `ids` under softmax(hidden @ head.T / temperature), float32.

    Logits are computed in chunks, in float32, and again in the backward pass: 2 * V * H more operations a token for V * 4 bytes less.
    Few logits on a CPU are kept instead (`keeps_logits`).

    Args:
        hidden: [N, H], float32 or bfloat16.
        head: [V, H] in any format; products are taken in that of `hidden`, its gradient is summed in float32.
        ids: [N] int64.
    """
    if keeps_logits(hidden, head):
        return chosen(whole_logprobs(hidden, head, temperature), ids)
    result: Tensor = _LinearLogprobs.apply(hidden, head, ids, temperature)  # type: ignore[no-untyped-call]
    return result


def keeps_logits(hidden: Tensor, head: Tensor) -> bool:
    """Whether all logits are kept for the backward pass: in float32 on a CPU, where products are dear, if they fit into one chunk."""
    usual = hidden.device.type == "cpu" and hidden.dtype == torch.float32
    return usual and len(hidden) * len(head) <= CHUNK_ELEMENTS["cpu"]


def whole_logprobs(hidden: Tensor, head: Tensor, temperature: float) -> Tensor:
    """[N, V] natural-log probabilities of all tokens under softmax(hidden @ head.T / temperature), of float32 hidden states."""
    return logits_of(hidden / temperature, head.to(hidden.dtype)).log_softmax(dim=-1)


def chosen(logprobs: Tensor, ids: Tensor) -> Tensor:
    """[N] the entries of [N, V] log-probs at `ids`."""
    return logprobs.gather(1, ids[:, None]).squeeze(1)


def logits_of(hidden: Tensor, head: Tensor) -> Tensor:
    """[N, V] float32 hidden @ head.T of two tensors in one format; the sum is never rounded to bfloat16."""
    return _product(hidden, head.T)


class _LinearLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, ids: Tensor, temperature: float) -> Tensor:
        weight = head.to(hidden.dtype)
        logprobs, normalisers = [], []
        for rows in _chunks(hidden, head):
            logprob, normaliser = _chunk_functions(hidden.device.type)[0](
                logits_of(hidden[rows], weight), ids[rows], temperature
            )
            logprobs.append(logprob)
            normalisers.append(normaliser)
        ctx.save_for_backward(hidden, head, ids, torch.cat(normalisers))
        ctx.temperature = temperature
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden, head, ids, normalisers = ctx.saved_tensors
        weight = head.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros_like(head, dtype=torch.float32)
        for rows in _chunks(hidden, head):
            logits = logits_of(hidden[rows], weight)
            slope = _chunk_functions(hidden.device.type)[1](
                logits, ids[rows], normalisers[rows], grad[rows], ctx.temperature, hidden.dtype
            )
            grad_hidden[rows] = slope @ weight
            grad_head += _product(slope.T, hidden[rows])
        return grad_hidden, grad_head.to(head.dtype), None, None


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right, summed and given back in float32."""
    if left.dtype == torch.float32:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _chunks(hidden: Tensor, head: Tensor) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS[hidden.device.type] // head.shape[0])
    return [slice(start, start + size) for start in range(0, max(1, len(hidden)), size)]


def _chunk_logprobs(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """[n] log-probs of `ids`, and the log of the sum of exponentials that normalises each row of [n, V] logits."""
    scaled = logits / temperature
    normaliser = scaled.logsumexp(dim=-1)
    return scaled.gather(1, ids[:, None]).squeeze(1) - normaliser, normaliser


def _chunk_slope(
    logits: Tensor, ids: Tensor, normaliser: Tensor, grad: Tensor, temperature: float, dtype: torch.dtype
) -> Tensor:
    """[n, V] gradient of the logits: grad * (1[column = id] - p) / temperature."""
    probabilities = (logits / temperature - normaliser[:, None]).exp()
    chosen = torch.arange(logits.shape[1], device=logits.device) == ids[:, None]
    return ((chosen.float() - probabilities) * (grad / temperature)[:, None]).to(dtype)


@functools.cache
def _chunk_functions(device_type: str) -> tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]:
    """Both functions of a chunk; compiled on a GPU, where each is then one or two passes over the logits."""
    if device_type == "cuda" and has_triton():
        return torch.compile(_chunk_logprobs), torch.compile(_chunk_slope)
    return _chunk_logprobs, _chunk_slope
