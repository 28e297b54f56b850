"""One decoding step as far as the hidden states: the newest token of every live row through the network, over the cache of slots.

With many rows the matrix products are torch's, with few rows our own, where all else of a layer is part of them: five kernels a
layer instead of nine.
"""

from __future__ import annotations

from torch import Tensor

from r1env_trainers.generate.cache import DeviceState
from r1env_trainers.generate.kernels import Cache, add_projection, append_and_attend, embed, fits, look_up, normed, project
from r1env_trainers.model.llama import LayerWeights, Mix, Shape, Weights, mixed_hidden_states

FEW_ROWS = 64
"""Up to so many rows a step takes our own matrix products, if the model's sizes suit them."""


def newest_hidden_states(weights: Weights, shape: Shape, state: DeviceState, slots: Tensor, few: int = FEW_ROWS) -> Tensor:
    """Return [R, H], hidden states of the tokens drawn last, ready for the head; their keys and values are in the cache then.

    Args:
        slots: [R] int32, of the rows.
        few: the most rows for our own matrix products; 0 for torch's alone.
    """
    mixes = _mixes(weights, shape, state, slots)
    if len(slots) <= few and _suits(weights):
        return _few_hidden_states(weights, shape, state, slots, mixes)
    return mixed_hidden_states(state.last[slots], weights, shape, mixes)


def _suits(weights: Weights) -> bool:
    """Return whether our own matrix products can do a layer: its sizes, and no norms of what it adds (Gemma 3)."""
    layer = weights.layers[0]
    return layer.attention_norm is None and fits(weights.embedding.shape[1], layer.down.shape[1], len(layer.qkv))


def _mixes(weights: Weights, shape: Shape, state: DeviceState, slots: Tensor) -> list[Mix]:
    """Return the attention of every layer."""
    whereabouts = look_up(slots, state.groups, state.prompt_lengths, state.drawn)

    def mix_of(number: int, layer: LayerWeights) -> Mix:
        cache = Cache(
            state.prompt_keys[number],
            state.prompt_values[number],
            state.own_keys[number],
            state.own_values[number],
            *state.rotaries[shape.sliding[number]],
            state.arrivals,
        )
        return lambda qkv: append_and_attend(
            qkv,
            whereabouts,
            cache,
            shape.heads,
            shape.scale,
            q_norm=layer.q_norm,
            k_norm=layer.k_norm,
            eps=shape.eps,
            window=shape.window_of(number),
        )

    return [mix_of(number, layer) for number, layer in enumerate(weights.layers)]


def _few_hidden_states(weights: Weights, shape: Shape, state: DeviceState, slots: Tensor, mixes: list[Mix]) -> Tensor:
    """Compute the same with our own products, over as many rows as the matrix unit takes at once."""
    rows, layers = max(16, 1 << (len(slots) - 1).bit_length()), weights.layers
    next_norms = [*(layer.input_norm for layer in layers[1:]), weights.norm]
    stream = embed(slots, state.last, weights.embedding, layers[0].input_norm, shape.eps, rows, weights.head.dtype)
    for layer, mix, next_norm in zip(layers, mixes, next_norms, strict=True):
        attended = mix(project(stream, layer.qkv, layer.qkv_bias))
        stream = add_projection(stream, attended, layer.out, layer.output_norm, state.arrivals)
        gated = project(stream, layer.gate_up, None, gated=True)
        stream = add_projection(stream, gated, layer.down, next_norm, state.arrivals)
    return normed(stream)[: len(slots)]
