"""The forward pass: token ids in, the hidden states out that the head turns into logits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding
from transformers import PreTrainedModel

from r1env_trainers.devices import has_triton
from r1env_trainers.llama.attention import Continuations, Packing, causal_attention
from r1env_trainers.llama.layers import PLAIN, Attend, decoder_layer, elementwise
from r1env_trainers.llama.shape import Shape
from r1env_trainers.llama.weights import LayerWeights, Weights, layer_weights


def compute_dtype(device: torch.device) -> torch.dtype:
    """The format of matrix products: bfloat16 on a GPU, float32 on a CPU."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


@torch.no_grad()
def rotary_table(model: PreTrainedModel, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin [length, D] of positions 0 … length - 1, float32, by the model's own module (all its scalings included)."""
    rotary: Any = model.model.rotary_emb
    positions = torch.arange(length, device=model.device)[None]
    cos, sin = rotary(torch.empty(0, device=model.device, dtype=torch.float32), positions)
    return cos[0], sin[0]


def packed_hidden_states(model: PreTrainedModel, ids: Tensor, packing: Packing, dtype: torch.dtype | None = None) -> Tensor:
    """[N, H] hidden states of packed sequences, ready for the head; gradients reach the parameters of `model`.

    Args:
        dtype: of the matrix products; that of `compute_dtype` when None.
    """
    body: Any = model.model
    shape, dtype = Shape.of(model.config), dtype or compute_dtype(ids.device)
    cos, sin = (table[packing.positions] for table in rotary_table(model, packing.context))
    x = embedding(ids, body.embed_tokens.weight).float()
    delta = torch.zeros_like(x, dtype=dtype)
    usual = dtype == compute_dtype(ids.device)  # for another format compiling would not pay
    layer, ops = (_packed_layer(ids.device.type), elementwise(ids.device.type)) if usual else (_causal_layer, PLAIN)
    for module in body.layers:
        weights = layer_weights(module, dtype)
        x, delta = layer(
            x, delta, weights, cos, sin, shape, packing.starts, packing.positions, packing.longest, packing.continuations
        )
    _, hidden = ops.add_norm(x, delta, body.norm.weight, shape.eps)
    return hidden


def cached_hidden_states(
    ids: Tensor, weights: Weights, rotary: tuple[Tensor, Tensor], shape: Shape, attends: Sequence[Attend]
) -> Tensor:
    """[N, H] hidden states of N tokens whose attention, layer by layer, is the caller's; ready for the head.

    Args:
        ids: [N] int64.
        rotary: cos and sin [N, D] at the position of each token.
        attends: one a layer.
    """
    ops = elementwise(ids.device.type)
    x = embedding(ids, weights.embedding).float()
    delta = torch.zeros_like(x, dtype=weights.head.dtype)
    for layer, attend in zip(weights.layers, attends, strict=True):
        x, delta = decoder_layer(x, delta, layer, *rotary, shape, attend, ops)
    _, hidden = ops.add_norm(x, delta, weights.norm, shape.eps)
    return hidden


def _causal_layer(
    x: Tensor,
    delta: Tensor,
    weights: LayerWeights,
    cos: Tensor,
    sin: Tensor,
    shape: Shape,
    starts: Tensor,
    positions: Tensor,
    longest: int,
    continuations: Continuations | None,
) -> tuple[Tensor, Tensor]:
    """`decoder_layer` with the attention of packed sequences, as one function of tensors that can be compiled whole."""
    packing = Packing(starts, positions, longest, continuations)

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return causal_attention(queries, keys, values, packing, shape.scale)

    return decoder_layer(x, delta, weights, cos, sin, shape, attend, PLAIN)


@functools.cache
def _packed_layer(device_type: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """One function for all layers, compiled whole on a GPU: for micro-batches of 19,000 tokens of a 135M model an H200 takes
    74 ms so, and 119 ms with the functions of `elementwise`, since the CPU cannot launch fast enough."""
    return torch.compile(_causal_layer) if device_type == "cuda" and has_triton() else _causal_layer
