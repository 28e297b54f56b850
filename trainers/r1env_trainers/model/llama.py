"""A light forward pass for Llama-shaped models: token ids in, hidden states out, for the head to turn into logits."""

from __future__ import annotations

import functools
import logging
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, silu
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.mistral.modeling_mistral import MistralForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from r1env_trainers.model.attention import Continuations, Packing, causal_attention
from r1env_trainers.model.load import FORWARD_PASSES, has_triton


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the format of matrix products: bfloat16 on a GPU, float32 on a CPU."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


@torch.no_grad()
def rotary_table(model: PreTrainedModel, length: int) -> tuple[Tensor, Tensor]:
    """Return cos and sin [length, D] of positions 0 … length - 1, float32, from the model's own module (with its scaling)."""
    rotary: Any = model.model.rotary_emb
    positions = torch.arange(length, device=model.device)[None]
    cos, sin = rotary(torch.empty(0, device=model.device, dtype=torch.float32), positions)
    return cos[0], sin[0]


def packed_hidden_states(model: PreTrainedModel, ids: Tensor, packing: Packing, dtype: torch.dtype | None = None) -> Tensor:
    """Return [N, H], hidden states of packed sequences, ready for the head; gradients reach the parameters of `model`.

    Args:
        dtype: of the matrix products; None for `compute_dtype`.
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
    """Return [N, H], hidden states of N tokens, ready for the head; the caller provides the attention of every layer.

    Args:
        ids: [N] int64.
        rotary: cos and sin [N, D] at the position of each token.
        attends: one per layer.
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


# The network: the elementwise functions, and the decoder layer.
#
# The residual stream is float32 whatever the format of the matrices, as it is under transformers with autocast.


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of one layer: queries [N, heads, D], keys and values [N, kv_heads, D] -> [N, heads * D]."""


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32 (arXiv 1910.07467)."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the residual stream [N, H] (float32) after adding `delta`, and its RMS norm in the format of `delta`."""
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
    """Return silu(gate) * up of [N, 2 * I] (arXiv 2002.05202), computed in float32, in the format of the input."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (silu(gate) * up).to(gate_up.dtype)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """The elementwise functions above; the rest of a layer is matrix products and attention."""

    add_norm: Callable[..., tuple[Tensor, Tensor]]
    rotate: Callable[..., tuple[Tensor, Tensor, Tensor]]
    swiglu: Callable[[Tensor], Tensor]


PLAIN = Elementwise(add_norm, rotate, swiglu)


@functools.cache
def elementwise(device_type: str) -> Elementwise:
    """Return the functions, compiled on a GPU, where each would otherwise take up to ten passes over memory; as they are on a CPU."""
    if device_type == "cuda" and has_triton():
        return Elementwise(torch.compile(add_norm), torch.compile(rotate), torch.compile(swiglu))
    return PLAIN


def decoder_layer(
    x: Tensor, delta: Tensor, weights: LayerWeights, cos: Tensor, sin: Tensor, shape: Shape, attend: Attend, ops: Elementwise
) -> tuple[Tensor, Tensor]:
    """Run one layer over N tokens.

    The residual stream is passed as a sum not yet computed, so that one pass over memory adds and norms.

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


# The sizes of a Llama-shaped network.


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that the forward pass needs beside the weights. `eps` is that of all RMS norms."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float

    @classmethod
    def of(cls, config: PretrainedConfig) -> Shape:
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            heads=heads,
            kv_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            eps=config.rms_norm_eps,
        )

    @property
    def scale(self) -> float:
        """The factor of attention scores."""
        return 1 / math.sqrt(self.head_dim)


# The weights of a transformers module as the forward pass wants them: projections of one input stacked, in one number format.
#
# Stacking and casting are ordinary differentiable operations, so a training step calls `layer_weights` under autograd and the
# gradients arrive at the module's own float32 parameters. For decoding the same tensors are made once and refreshed in place.


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
    """Return the weights of one decoder layer of transformers' Llama, Qwen2, Qwen3 or Mistral, matrices in `dtype`."""
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
    """Return the weights of a whole model."""
    body: Any = model.model
    return Weights(
        embedding=body.embed_tokens.weight,
        layers=tuple(layer_weights(layer, dtype) for layer in body.layers),
        norm=body.norm.weight,
        head=model.get_output_embeddings().weight.to(dtype),
    )


@torch.no_grad()
def refresh(weights: Weights, model: PreTrainedModel) -> None:
    """Copy the model's current weights into `weights`, in place, so that CUDA graphs which read them stay valid.

    This takes 3 ms for 135 million parameters on an H200, most of it launching the copies.
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


# Which models the light forward pass supports. All others go through transformers.


logger = logging.getLogger(__name__)

CLASSES: tuple[type[PreTrainedModel], ...] = (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, MistralForCausalLM)
ROTARY = {"default", "linear", "llama3", "yarn"}
"""Rotary embeddings whose angles do not depend on how long the sequence is."""
TOLERANCE = 1e-2
"""How far the log-probs of the trial may lie from transformers', both in float32: rounding is a tenth of it at most, a missing term
many times more. In bfloat16 nothing could be told: on the ids of the trial, which are no text, transformers' own log-probs of
SmolLM2-135M differ from its float32 ones by up to 25."""

_known: weakref.WeakKeyDictionary[PreTrainedModel, bool] = weakref.WeakKeyDictionary()
FORWARD_PASSES.append(_known)


def is_llama(model: PreTrainedModel) -> bool:
    """Return whether the light forward pass supports the model and, in a trial, gives transformers' numbers. Decided once per model."""
    if model not in _known:
        _known[model] = obstacle(model) is None and _agrees(model)
    return _known[model]


def obstacle(model: PreTrainedModel) -> str | None:
    """Return why the light forward pass does not support a model; None where it does."""
    if type(model) not in CLASSES:
        return f"{type(model).__name__} is not one of {', '.join(one.__name__ for one in CLASSES)}"
    config: Any = model.config
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act!r}, not 'silu'"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"a sliding window of {config.sliding_window}"
    rotary = (getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}).get(
        "rope_type", "default"
    )
    if rotary not in ROTARY:
        return f"rotary embedding {rotary!r}"
    body: Any = model.model
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        others = (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        if wrapped := next((one for one in (*inputs, *others) if type(one) is not nn.Linear), None):
            return f"a projection is a {type(wrapped).__name__}, not a plain Linear"
        if any(one.bias is not None for one in others) or len({one.bias is None for one in inputs}) == 2:
            return "biases outside queries, keys and values"
    return None


@torch.no_grad()
def _agrees(model: PreTrainedModel) -> bool:
    """Try both forwards on two short sequences. A later version of transformers may have changed what a class computes."""
    ids = torch.arange(2, 18, device=model.device) % model.config.vocab_size
    packing = Packing.of([8, 8], model.device)
    theirs = model(ids.view(2, 8), use_cache=False).logits.float().log_softmax(-1).flatten(0, 1)
    head = model.get_output_embeddings().weight
    logits = packed_hidden_states(model, ids, packing, torch.float32) @ head.T.float()
    gap = float((logits.log_softmax(-1) - theirs).abs().amax())
    allowed = TOLERANCE * max(1.0, float(theirs.abs().amax()) / 10)
    if not gap <= allowed:
        logger.warning("%s: own forward pass is off by %.2g; using transformers' instead", type(model).__name__, gap)
    return gap <= allowed
