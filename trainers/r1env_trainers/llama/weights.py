"""The weights of a transformers module as the forward pass wants them: projections of one input stacked, in one number format.

Stacking and casting are ordinary differentiable operations, so a training step calls `layer_weights` under autograd and the
gradients arrive at the module's own float32 parameters. For decoding the same tensors are made once and refreshed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer. H hidden size, D head dimension, I size of the feed-forward network.

    Attributes:
        input_norm, output_norm: [H], before attention and before the feed-forward network; float32.
        qkv, qkv_bias: [(heads + 2 * kv_heads) * D, H] and [(heads + 2 * kv_heads) * D]; Llama and Qwen3 have no bias.
        q_norm, k_norm: [D] norms of each head (Qwen3); float32.
        out: [H, heads * D].
        gate_up: [2 * I, H].
        down: [H, I].
    """

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Tensor
    output_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """A whole network. V vocabulary.

    Attributes:
        embedding: [V, H], in the format it is stored in.
        norm: [H] before the head; float32.
        head: [V, H].
    """

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Tensor


def layer_weights(layer: Any, dtype: torch.dtype) -> LayerWeights:
    """The weights of one decoder layer of transformers' Llama, Qwen2, Qwen3 or Mistral, matrices in `dtype`."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections if projection.bias is not None]
    return LayerWeights(
        input_norm=layer.input_layernorm.weight,
        qkv=torch.cat([projection.weight for projection in projections]).to(dtype),
        qkv_bias=torch.cat(biases).to(dtype) if biases else None,
        q_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        k_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        out=attention.o_proj.weight.to(dtype),
        output_norm=layer.post_attention_layernorm.weight,
        gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).to(dtype),
        down=mlp.down_proj.weight.to(dtype),
    )


def all_weights(model: PreTrainedModel, dtype: torch.dtype) -> Weights:
    """The weights of a whole model."""
    body: Any = model.model
    return Weights(
        embedding=body.embed_tokens.weight,
        layers=tuple(layer_weights(layer, dtype) for layer in body.layers),
        norm=body.norm.weight,
        head=model.get_output_embeddings().weight.to(dtype),
    )


@torch.no_grad()
def refresh(weights: Weights, model: PreTrainedModel) -> None:
    """Bring `weights` up to the model's present ones, in place, so that CUDA graphs which read them stay valid.

    3 ms for 135 million parameters on an H200, most of it launching the copies.
    """
    for kept, layer in zip(weights.layers, model.model.layers, strict=True):
        fresh = layer_weights(layer, kept.qkv.dtype)
        for field in fields(LayerWeights):
            old, new = getattr(kept, field.name), getattr(fresh, field.name)
            if old is not None and old.data_ptr() != new.data_ptr():  # norms are the module's own
                old.copy_(new)
    head = model.get_output_embeddings().weight
    if weights.head.data_ptr() != head.data_ptr():
        weights.head.copy_(head)
