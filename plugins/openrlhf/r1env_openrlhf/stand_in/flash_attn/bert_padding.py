"""Padding and unpadding of [B, T, …] batches, in plain torch, with flash-attn's names and results."""

from __future__ import annotations

import torch
from einops import rearrange as rearrange  # type: ignore[import-not-found]  # OpenRLHF brings it
from torch import Tensor


def index_first_axis(values: Tensor, indices: Tensor) -> Tensor:
    """Return the rows `indices` of `values` [N, …]."""
    return values[indices]


def unpad_input(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """Drop the padding.

    Args:
        values: [B, T, …].
        mask: [B, T], 1 where there is a token.

    Returns:
        tokens [N, …], their places in the flattened batch [N], cumulative lengths [B + 1] (int32), the longest length, and the lengths [B]
        (int32).
    """
    lengths = mask.sum(dim=-1, dtype=torch.int32)
    places = mask.flatten().nonzero().flatten()
    cumulative = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return values.flatten(0, 1)[places], places, cumulative, int(lengths.max()), lengths


def pad_input(tokens: Tensor, places: Tensor, batch: int, length: int) -> Tensor:
    """Return the inverse of `unpad_input`: [batch, length, …] with zeros where there is no token."""
    flat = tokens.new_zeros(batch * length, *tokens.shape[1:])
    flat[places] = tokens
    padded: Tensor = flat.unflatten(0, (batch, length))
    return padded
