"""The network: what happens between the matrix products, and the decoder layer that strings them together.

The residual stream is float32 whatever the format of the matrices, as it is under transformers with autocast.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from r1env_trainers.devices import has_triton
from r1env_trainers.llama.shape import Shape
from r1env_trainers.llama.weights import LayerWeights

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of one layer: queries [N, heads, D], keys and values [N, kv_heads, D] -> [N, heads * D]."""


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32 (arXiv 1910.07467)."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The residual stream [N, H] (float32) after adding `delta`, and its RMS norm in the format of `delta`."""
    x = x + delta
    return x, rms_norm(x, weight, eps).to(delta.dtype)


def rotate(
    qkv: Tensor, cos: Tensor, sin: Tensor, q_norm: Tensor | None, k_norm: Tensor | None, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Split [N, (heads + 2 * kv_heads) * D] into queries, keys and values; norm (Qwen3) and rotate the first two.

    Args:
        cos, sin: [N, D] float32, both halves alike (arXiv 2104.09864 in transformers' layout).
    """
    heads = qkv.unflatten(1, (-1, shape.head_dim))
    queries, keys, values = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
    if q_norm is not None and k_norm is not None:
        queries, keys = rms_norm(queries, q_norm, shape.eps), rms_norm(keys, k_norm, shape.eps)
    return _turn(queries, cos, sin).to(qkv.dtype), _turn(keys, cos, sin).to(qkv.dtype), values


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of [N, 2 * I] (arXiv 2002.05202), in float32, given back in the format it came in."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (silu(gate) * up).to(gate_up.dtype)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """The functions above; everything else in a layer is a matrix product or attention."""

    add_norm: Callable[..., tuple[Tensor, Tensor]]
    rotate: Callable[..., tuple[Tensor, Tensor, Tensor]]
    swiglu: Callable[[Tensor], Tensor]


PLAIN = Elementwise(add_norm, rotate, swiglu)


@functools.cache
def elementwise(device_type: str) -> Elementwise:
    """Each function compiled on a GPU, where it would otherwise be up to ten passes over memory; plain on a CPU."""
    if device_type == "cuda" and has_triton():
        return Elementwise(torch.compile(add_norm), torch.compile(rotate), torch.compile(swiglu))
    return PLAIN


def decoder_layer(
    x: Tensor, delta: Tensor, weights: LayerWeights, cos: Tensor, sin: Tensor, shape: Shape, attend: Attend, ops: Elementwise
) -> tuple[Tensor, Tensor]:
    """One layer over N tokens.

    The residual stream comes and goes as a sum not yet taken, so that one pass over memory adds and norms.

    Args:
        x: [N, H] float32.
        delta: [N, H], to be added to x; in the format of the matrices.

    Returns:
        x and delta for the next layer.
    """
    x, normed = ops.add_norm(x, delta, weights.input_norm, shape.eps)
    qkv = linear(normed, weights.qkv, weights.qkv_bias)
    attended = attend(*ops.rotate(qkv, cos, sin, weights.q_norm, weights.k_norm, shape))
    x, normed = ops.add_norm(x, linear(attended, weights.out), weights.output_norm, shape.eps)
    return x, linear(ops.swiglu(linear(normed, weights.gate_up)), weights.down)
