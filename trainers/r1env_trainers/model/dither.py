"""Dither: weights stored in few bits, spread so that the first small updates reach a model which computes in bfloat16.

Training keeps weights in float32 and multiplies with their roundings to bfloat16, which are 1/128 to 1/256 of a weight apart. A
checkpoint in bfloat16 starts with every weight in the middle between two such steps: an update of 1e-6 or 1e-5 moves no rounding of a
weight of 0.1 for the first dozens or hundreds of steps, so nothing is learnt in them. Spread evenly over the values that round to the same
number, the roundings are those of the checkpoint to the last bit, and an update of a hundredth of a step moves one weight in a hundred:
on average exactly what was asked for (non-subtractive dither; Wannamaker et al., "A theory of nonsubtractive dither", 2000).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

HALF_STEP = 1 << 15
"""Half the distance of two neighbours in bfloat16, in units of the last place of float32."""

FINE_BITS = 0b1111
"""The last places of a float32. Weights that were stored in up to 16 bits, or as small integers times a scale, have zeros there."""


@torch.no_grad()
def dither_matrices(model: nn.Module, seed: int) -> None:
    """Dither, in place, the float32 matrices of linear layers that were stored in fewer bits; nothing else is changed.

    Weights that are not read in bfloat16 (norms, embeddings) stay as they are, and so does a head that is the embedding too: its rows
    are looked up in float32, so spreading them would change what the model computes. The model must be on one device.
    """
    tables = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and id(layer.weight) not in tables]
    matrices = {id(layer.weight): layer.weight for layer in linear}
    generator = Generator(next(model.parameters()).device).manual_seed(seed)
    for weight in matrices.values():
        if weight.dtype == torch.float32 and is_coarse(weight):
            weight.copy_(dithered(weight, generator))


def is_coarse(weights: Tensor) -> bool:
    """Return whether most of these float32 weights, zeros excepted, would fit into fewer bits."""
    bits = weights.detach()[weights.detach() != 0].view(torch.int32)
    return bits.numel() > 0 and bool((bits & FINE_BITS == 0).float().mean() > 0.5)


def dithered(weights: Tensor, generator: Generator) -> Tensor:
    """Return float32 numbers drawn uniformly from those that bfloat16 rounds to the same value as `weights`.

    Args:
        weights: of any shape, in float32. Zeros, infinities and NaNs come back as they are.
        generator: on the device of `weights`.
    """
    rounded = weights.bfloat16().float()
    offsets = torch.randint(
        1 - HALF_STEP, HALF_STEP, weights.shape, generator=generator, device=weights.device, dtype=torch.int32
    )
    spread = (rounded.view(torch.int32) + offsets).view(torch.float32)
    return torch.where((rounded != 0) & rounded.isfinite(), spread, weights)
