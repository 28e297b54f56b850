"""A light forward pass for Llama-shaped models, Gemma 3 included: token ids in, hidden states out, for the head to turn into logits."""

from __future__ import annotations

import copy
import functools
import logging
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, linear, silu
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.gemma3.modeling_gemma3 import Gemma3ForCausalLM, Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.mistral.modeling_mistral import MistralForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from r1env_trainers.model.attention import Continuations, Packing, causal_attention
from r1env_trainers.model.batching import recomputes
from r1env_trainers.model.load import FORWARD_PASSES, has_triton
from r1env_trainers.model.lora import (
    LowRank,
    adapter_obstacle,
    merged_weight,
    plain_layer,
    shaken_adapters,
    stacked_low_rank,
)


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the format of matrix products: bfloat16 on a GPU, float32 on a CPU."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


Through = tuple[Tensor, Tensor, Tensor | None]
"""The residual stream behind a layer, what is to be added to it, and the weights of that one's norm."""
Rotary = tuple[Tensor, Tensor]
"""cos and sin, [N, D] float32 each."""


@torch.no_grad()
def rotary_tables(model: PreTrainedModel, length: int) -> tuple[Rotary, ...]:
    """Return cos and sin of positions 0 … length - 1, from the model's own module (with its scaling): of the layers that see
    everything, and for Gemma 3 second of those with a window."""
    rotary: Any = model.model.rotary_emb
    like = torch.empty(0, device=model.device, dtype=torch.float32)
    positions = torch.arange(length, device=model.device)[None]
    kinds = [(kind,) for kind in LAYER_KINDS] if isinstance(model, Gemma3ForCausalLM) else [()]
    tables = [rotary(like, positions, *kind) for kind in kinds]
    return tuple((cos[0], sin[0]) for cos, sin in tables)


def packed_hidden_states(model: PreTrainedModel, ids: Tensor, packing: Packing, dtype: torch.dtype | None = None) -> Tensor:
    """Return [N, H], hidden states of packed sequences, ready for the head; gradients reach the parameters of `model`.

    Args:
        dtype: of the matrix products; None for `compute_dtype`.
    """
    body: Any = model.model
    shape, dtype = Shape.of(model.config), dtype or compute_dtype(ids.device)
    rotaries = [(cos[packing.positions], sin[packing.positions]) for cos, sin in rotary_tables(model, packing.context)]
    x = _embedded(ids, body.embed_tokens.weight, shape)
    learning = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in body.parameters())
    if learning and not x.requires_grad:  # embeddings are frozen under adapters
        x.requires_grad_()
    # As in all other layers: one compiled variant less.
    delta = torch.zeros_like(x, dtype=dtype).requires_grad_(learning)
    delta_norm: Tensor | None = None
    usual = dtype == compute_dtype(ids.device)  # for another format compiling would not pay
    layer, ops = (_packed_layer(ids.device.type), elementwise(ids.device.type)) if usual else (_causal_layer, PLAIN)

    def through(module: nn.Module, x: Tensor, delta: Tensor, delta_norm: Tensor | None, sliding: bool) -> Through:
        weights, (cos, sin) = layer_weights(module, dtype), rotaries[sliding]
        x, delta = layer(
            x,
            delta,
            delta_norm,
            weights,
            cos,
            sin,
            shape,
            packing.starts,
            packing.positions,
            packing.longest,
            packing.continuations,
            sliding,
        )
        return x, delta, weights.feed_forward_norm

    again = recomputes(model, len(ids))
    for module, sliding in zip(body.layers, shape.sliding, strict=True):
        arguments = (module, x, delta, delta_norm, sliding)
        x, delta, delta_norm = checkpoint(through, *arguments, use_reentrant=False) if again else through(*arguments)
    _, hidden = ops.add_norm(x, delta, norm_weight(body.norm), shape.eps, delta_norm)
    return hidden


def _embedded(ids: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Return the embeddings [N, H] of tokens, float32."""
    x = embedding(ids, weight).float()
    return x if shape.embedding_scale == 1 else x * shape.embedding_scale


def cached_hidden_states(
    ids: Tensor, weights: Weights, rotaries: Sequence[Rotary], shape: Shape, attends: Sequence[Attend]
) -> Tensor:
    """Return [N, H], hidden states of N tokens, ready for the head; the caller provides the attention of every layer.

    Args:
        ids: [N] int64.
        rotaries: of `rotary_tables`, at the position of each token.
        attends: one per layer.
    """
    ops = elementwise(ids.device.type)

    def rotating(layer: LayerWeights, attend: Attend, sliding: bool) -> Mix:
        return lambda qkv: attend(*ops.rotate(qkv, *rotaries[sliding], layer.q_norm, layer.k_norm, shape))

    return mixed_hidden_states(ids, weights, shape, list(map(rotating, weights.layers, attends, shape.sliding)))


def mixed_hidden_states(ids: Tensor, weights: Weights, shape: Shape, mixes: Sequence[Mix]) -> Tensor:
    """Compute `cached_hidden_states` where the caller rotates too: `mixes` takes the projections of every layer."""
    ops = elementwise(ids.device.type)
    x = _embedded(ids, weights.embedding, shape)
    delta = torch.zeros_like(x, dtype=weights.head.dtype)
    delta_norm: Tensor | None = None
    for layer, mix in zip(weights.layers, mixes, strict=True):
        x, delta = decoder_layer(x, delta, delta_norm, layer, shape, mix, ops)
        delta_norm = layer.feed_forward_norm
    _, hidden = ops.add_norm(x, delta, weights.norm, shape.eps, delta_norm)
    return hidden


def _causal_layer(
    x: Tensor,
    delta: Tensor,
    delta_norm: Tensor | None,
    weights: LayerWeights,
    cos: Tensor,
    sin: Tensor,
    shape: Shape,
    starts: Tensor,
    positions: Tensor,
    longest: int,
    continuations: Continuations | None,
    sliding: bool,
) -> tuple[Tensor, Tensor]:
    """`decoder_layer` with the attention of packed sequences, as one function of tensors that can be compiled whole."""
    packing = Packing(starts, positions, longest, continuations)

    def mix(qkv: Tensor) -> Tensor:
        queries, keys, values = rotate(qkv, cos, sin, weights.q_norm, weights.k_norm, shape)
        return causal_attention(queries, keys, values, packing, shape.scale, shape.window if sliding else 0)

    return decoder_layer(x, delta, delta_norm, weights, shape, mix, PLAIN)


VARIANTS = 32


@functools.cache
def _packed_layer(device_type: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return one function for all layers, compiled whole on a GPU: for micro-batches of 19,000 tokens of a 135M model an H200 takes
    74 ms so, and 119 ms with the functions of `elementwise`, since the CPU cannot launch fast enough."""
    if device_type != "cuda" or not has_triton():
        return _causal_layer
    # Compiled anew with and without gradients, for one sequence and for several, with and without a window, when layers are computed
    # again: more often than torch's limit of 8, behind which it gives up and runs every operation by itself.
    limits: Any = torch._dynamo.config
    limits.recompile_limit = max(VARIANTS, limits.recompile_limit)
    return compiled(_causal_layer)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled for a GPU, by kernels for the gradients of norms which do not depend on the number of tokens.

    Since torch 2.10 large passes take kernels which compute the gradients of the inputs and of the weights of a norm together. They are
    known to return gradients that nothing was written to (pytorch issue 193061), and every limit below which they are not taken is one
    more variant to compile: a pass of a few tokens after a large one has kernels of its own.
    """
    import torch._inductor.config as inductor

    known = hasattr(inductor.triton, "mix_order_reduction")
    return torch.compile(function, options={"triton.mix_order_reduction": False} if known else None)


# The network: the elementwise functions, and the decoder layer.
#
# The residual stream is float32 whatever the format of the matrices, as it is under transformers with autocast.


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of one layer: queries [N, heads, D], keys and values [N, kv_heads, D] -> [N, heads * D]."""
Mix = Callable[[Tensor], Tensor]
"""The same from the projections [N, (heads + 2 * kv_heads) * D] of queries, keys and values, before norms and rotation."""


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32 (arXiv 1910.07467)."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float, delta_norm: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the residual stream [N, H] (float32) after adding `delta`, and its RMS norm in the format of `delta`.

    Args:
        delta_norm: [H] of a norm of `delta` before it is added (Gemma 3); None for none.
    """
    x = x + (delta if delta_norm is None else rms_norm(delta, delta_norm, eps))
    return x, rms_norm(x, weight, eps).to(delta.dtype)


def rotate(
    qkv: Tensor, cos: Tensor, sin: Tensor, q_norm: Tensor | None, k_norm: Tensor | None, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Split [N, (heads + 2 * kv_heads) * D] into queries, keys and values; norm (Qwen3, Gemma 3) and rotate the first two.

    Args:
        cos, sin: [N, D] float32, both halves alike (arXiv 2104.09864 in transformers' layout).
    """
    heads = qkv.unflatten(1, (-1, shape.head_dim))
    queries, keys, values = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
    if q_norm is not None and k_norm is not None:
        queries, keys = rms_norm(queries, q_norm, shape.eps), rms_norm(keys, k_norm, shape.eps)
    return _turn(queries, cos, sin).to(qkv.dtype), _turn(keys, cos, sin).to(qkv.dtype), values


def gated(gate_up: Tensor, smooth: bool) -> Tensor:
    """Return silu(gate) * up of [N, 2 * I], or with gelu where `smooth` (arXiv 2002.05202), in float32, in the format of the input."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return ((gelu(gate, approximate="tanh") if smooth else silu(gate)) * up).to(gate_up.dtype)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """The elementwise functions above; the rest of a layer is matrix products and attention."""

    add_norm: Callable[..., tuple[Tensor, Tensor]]
    rotate: Callable[..., tuple[Tensor, Tensor, Tensor]]
    gated: Callable[[Tensor, bool], Tensor]


PLAIN = Elementwise(add_norm, rotate, gated)


@functools.cache
def elementwise(device_type: str) -> Elementwise:
    """Return the functions, compiled on a GPU, where each would otherwise take up to ten passes over memory; as they are on a CPU."""
    if device_type == "cuda" and has_triton():
        return Elementwise(compiled(add_norm), compiled(rotate), compiled(gated))
    return PLAIN


def decoder_layer(
    x: Tensor, delta: Tensor, delta_norm: Tensor | None, weights: LayerWeights, shape: Shape, mix: Mix, ops: Elementwise
) -> tuple[Tensor, Tensor]:
    """Run one layer over N tokens.

    The residual stream is passed as a sum not yet computed, so that one pass over memory adds and norms.

    Args:
        x: [N, H] float32.
        delta: [N, H], to be added to x; in the format of the matrices.
        delta_norm: of `delta` before it is added: `feed_forward_norm` of the layer before.

    Returns:
        x and delta for the next layer.
    """
    x, normed = ops.add_norm(x, delta, weights.input_norm, shape.eps, delta_norm)
    attended = project(
        mix(project(normed, weights.qkv, weights.qkv_bias, weights.qkv_lora)), weights.out, None, weights.out_lora
    )
    x, normed = ops.add_norm(x, attended, weights.output_norm, shape.eps, weights.attention_norm)
    gated = ops.gated(project(normed, weights.gate_up, None, weights.gate_up_lora), shape.smooth)
    return x, project(gated, weights.down, None, weights.down_lora)


def project(x: Tensor, weight: Tensor, bias: Tensor | None, lora: LowRank | None) -> Tensor:
    """Return x @ weight.T [N, outputs], with the bias and what adapters add where there are any.

    The product of the adapters' matrices is never formed: it would be as large as the weights, in every layer, until the backward pass.
    """
    y = linear(x, weight, bias)
    return y if lora is None else torch.addmm(y, linear(x, lora.inward), lora.outward.T)


# The sizes of a Llama-shaped network.


LAYER_KINDS = ("full_attention", "sliding_attention")  # as transformers calls them


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that the forward pass needs beside the weights.

    Attributes:
        eps: of all RMS norms.
        scale: the factor of attention scores.
        smooth: whether the gate is a gelu (its tanh form) and not a silu.
        embedding_scale: the factor of embeddings.
        window: tokens that a layer with a window sees, the newest included; 0 where no layer has one.
        sliding: [layers] whether each layer has a window.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    scale: float
    smooth: bool
    embedding_scale: float
    window: int
    sliding: tuple[bool, ...]

    @classmethod
    def of(cls, config: PretrainedConfig) -> Shape:
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        gemma = config.model_type == "gemma3_text"
        return cls(
            layers=layers,
            heads=heads,
            kv_heads=config.num_key_value_heads,
            head_dim=head_dim,
            eps=config.rms_norm_eps,
            scale=1 / math.sqrt(config.query_pre_attn_scalar if gemma else head_dim),
            smooth=gemma,
            embedding_scale=math.sqrt(config.hidden_size) if gemma else 1.0,
            window=config.sliding_window if gemma else 0,
            sliding=tuple(kind == "sliding_attention" for kind in config.layer_types) if gemma else (False,) * layers,
        )

    def window_of(self, layer: int) -> int:
        """Return how many tokens a layer sees; 0 for all."""
        return self.window if self.sliding[layer] else 0


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
        q_norm, k_norm: [D] norms of each head (Qwen3, Gemma 3); float32.
        attention_norm, feed_forward_norm: [H], of what attention and the feed-forward network add (Gemma 3); float32.
        out: [H, heads * D].
        gate_up: [2 * I, H].
        down: [H, I].
        qkv_lora, out_lora, gate_up_lora, down_lora: what adapters add to the matrices, where it is not in them.
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
    attention_norm: Tensor | None = None
    feed_forward_norm: Tensor | None = None
    qkv_lora: LowRank | None = None
    out_lora: LowRank | None = None
    gate_up_lora: LowRank | None = None
    down_lora: LowRank | None = None


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


def layer_weights(layer: Any, dtype: torch.dtype, *, merge: bool = False) -> LayerWeights:
    """Return the weights of one decoder layer of transformers' Llama, Qwen2, Qwen3, Mistral or Gemma 3, matrices in `dtype`.

    Args:
        merge: whether active adapters are added to the matrices, for decoding. Otherwise they stay apart, for training: their
            gradients need no matrix of the size of the weights then.
    """
    attention, mlp = layer.self_attn, layer.mlp
    inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [plain_layer(projection).bias for projection in inputs if plain_layer(projection).bias is not None]
    gemma = hasattr(layer, "post_feedforward_layernorm")

    def matrix(*projections: Any) -> Tensor:
        weights = [merged_weight(one) if merge else plain_layer(one).weight for one in projections]
        return (torch.cat(weights) if len(weights) > 1 else weights[0]).to(dtype)

    def lora(*projections: Any) -> LowRank | None:
        added = None if merge else stacked_low_rank(projections)
        return None if added is None else LowRank(added.inward.to(dtype), added.outward.to(dtype))

    return LayerWeights(
        input_norm=norm_weight(layer.input_layernorm),
        qkv=matrix(*inputs),
        qkv_bias=torch.cat(biases).to(dtype) if biases else None,
        q_norm=norm_weight(attention.q_norm) if hasattr(attention, "q_norm") else None,
        k_norm=norm_weight(attention.k_norm) if hasattr(attention, "k_norm") else None,
        out=matrix(attention.o_proj),
        # Gemma 3 has another norm of this name, on what attention adds.
        output_norm=norm_weight(layer.pre_feedforward_layernorm if gemma else layer.post_attention_layernorm),
        gate_up=matrix(mlp.gate_proj, mlp.up_proj),
        down=matrix(mlp.down_proj),
        attention_norm=norm_weight(layer.post_attention_layernorm) if gemma else None,
        feed_forward_norm=norm_weight(layer.post_feedforward_layernorm) if gemma else None,
        qkv_lora=lora(*inputs),
        out_lora=lora(attention.o_proj),
        gate_up_lora=lora(mlp.gate_proj, mlp.up_proj),
        down_lora=lora(mlp.down_proj),
    )


def norm_weight(norm: Any) -> Tensor:
    """Return what a module of transformers multiplies normed states with; Gemma 3 stores its distance from one."""
    weight: Tensor = norm.weight
    return 1.0 + weight if isinstance(norm, Gemma3RMSNorm) else weight


def all_weights(model: PreTrainedModel, dtype: torch.dtype) -> Weights:
    """Return the weights of a whole model for decoding, active adapters merged in."""
    body: Any = model.model
    return Weights(
        embedding=body.embed_tokens.weight,
        layers=tuple(layer_weights(layer, dtype, merge=True) for layer in body.layers),
        norm=norm_weight(body.norm),
        head=model.get_output_embeddings().weight.to(dtype),
    )


@torch.no_grad()
def refresh(weights: Weights, model: PreTrainedModel) -> None:
    """Copy the model's current weights into `weights`, in place, so that CUDA graphs which read them stay valid.

    This takes 3 ms for 135 million parameters on an H200, most of it launching the copies.
    """
    for kept, layer in zip(weights.layers, model.model.layers, strict=True):
        fresh = layer_weights(layer, kept.qkv.dtype, merge=True)
        for field in fields(LayerWeights):
            old, new = getattr(kept, field.name), getattr(fresh, field.name)
            if old is not None and old.data_ptr() != new.data_ptr():  # norms are the module's own
                old.copy_(new)
    for old, new in ((weights.norm, norm_weight(model.model.norm)), (weights.head, model.get_output_embeddings().weight)):
        if old.data_ptr() != new.data_ptr():
            old.copy_(new)


# Which models the light forward pass supports. All others go through transformers.


logger = logging.getLogger(__name__)

CLASSES: tuple[type[PreTrainedModel], ...] = (
    LlamaForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
    MistralForCausalLM,
    Gemma3ForCausalLM,
)
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
    found = _gemma_obstacle(model) if isinstance(model, Gemma3ForCausalLM) else _llama_obstacle(config)
    if found is not None:
        return found
    body: Any = model.model
    if adapted := [name for name, layer in model.named_modules() if _is_wrapped(layer) and "_proj" not in name]:
        return f"{adapted[0]} has adapters or another wrapper, not only projections"
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        others = (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        if found := next(filter(None, map(adapter_obstacle, (*inputs, *others))), None):
            return found
        inputs, others = tuple(map(plain_layer, inputs)), tuple(map(plain_layer, others))
        if wrapped := next((one for one in (*inputs, *others) if type(one) is not nn.Linear), None):
            return f"a projection is a {type(wrapped).__name__}, not a plain Linear"
        if any(one.bias is not None for one in others) or len({one.bias is None for one in inputs}) == 2:
            return "biases outside queries, keys and values"
    return None


def _is_wrapped(layer: nn.Module) -> bool:
    """Return whether PEFT put something around a module, adapters or a copy of it to train."""
    return hasattr(layer, "base_layer") or hasattr(layer, "original_module")


def _llama_obstacle(config: Any) -> str | None:
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act!r}, not 'silu'"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"a sliding window of {config.sliding_window}"
    return _rotary_obstacle(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})


def _gemma_obstacle(model: Gemma3ForCausalLM) -> str | None:
    config: Any = model.config
    if not hasattr(model.model.rotary_emb, "layer_types"):
        return "rotary embeddings of an earlier transformers; version 5 has one module for both kinds of layers"
    if config.hidden_activation != "gelu_pytorch_tanh":
        return f"activation {config.hidden_activation!r}, not 'gelu_pytorch_tanh'"
    for name in ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"):
        if getattr(config, name):
            return f"{name} {getattr(config, name)}"
    if set(config.layer_types) != set(LAYER_KINDS):
        return f"layers of the kinds {', '.join(sorted(set(config.layer_types)))}"
    return next(filter(None, (_rotary_obstacle(config.rope_parameters[kind]) for kind in LAYER_KINDS)), None)


def _rotary_obstacle(parameters: dict[str, Any]) -> str | None:
    kind = parameters.get("rope_type", "default")
    return None if kind in ROTARY else f"rotary embedding {kind!r}"


@torch.no_grad()
def _agrees(model: PreTrainedModel) -> bool:
    """Try both forwards on two short sequences. A later version of transformers may have changed what a class computes."""
    model = _in_float32(model)
    ids = torch.arange(2, 18, device=model.device) % model.config.vocab_size
    packing = Packing.of([8, 8], model.device)
    with shaken_adapters(model):
        theirs = model(ids.view(2, 8), use_cache=False).logits.float().log_softmax(-1).flatten(0, 1)
        head = model.get_output_embeddings().weight
        logits = packed_hidden_states(model, ids, packing, torch.float32) @ head.T.float()
    gap = float((logits.log_softmax(-1) - theirs).abs().amax())
    allowed = TOLERANCE * max(1.0, float(theirs.abs().amax()) / 10)
    if not gap <= allowed:
        logger.warning("%s: own forward pass is off by %.2g; using transformers' instead", type(model).__name__, gap)
    return gap <= allowed


def _in_float32(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model for a trial: itself in float32, else a copy in float32 of its first layers, of each kind one at least."""
    if model.dtype == torch.float32:
        return model
    body: Any = model.model
    layers, kinds = body.layers, Shape.of(model.config).sliding
    count = max(2, *(kinds.index(kind) + 1 for kind in set(kinds)))
    body.layers = layers[:count]
    try:
        copied: Any = copy.deepcopy(model)
    finally:
        body.layers = layers
    copied.config.num_hidden_layers = len(copied.model.layers)
    if getattr(copied.config, "layer_types", None):
        copied.config.layer_types = copied.config.layer_types[:count]
    short: PreTrainedModel = copied.float()
    return short
