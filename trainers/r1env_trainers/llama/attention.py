"""Causal attention over sequences packed one behind the other, each seeing only itself."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

varlen_attn: Any
try:  # torch >= 2.10
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None
# Later versions want to be told that there are fewer keys than queries, earlier ones just take it.
GROUPED = {"enable_gqa": True} if varlen_attn is not None and "enable_gqa" in inspect.signature(varlen_attn).parameters else {}


@dataclass(frozen=True, slots=True)
class Packing:
    """Where S sequences lie in N packed tokens.

    Attributes:
        starts: [S + 1] int32, the first token of each sequence, and N.
        positions: [N] int64, of each token in its sequence.
        longest: tokens of the longest sequence.
    """

    starts: Tensor
    positions: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Packing:
        """The packing of sequences of these lengths, none 0."""
        counts = torch.tensor(lengths)
        starts = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
        positions = torch.arange(int(starts[-1])) - starts[:-1].repeat_interleave(counts)
        return cls(starts.to(device, torch.int32), positions.to(device), max(lengths))

    @property
    def sequences(self) -> int:
        return self.starts.shape[0] - 1


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor, packing: Packing, scale: float) -> Tensor:
    """[N, heads * D] out of queries [N, heads, D], keys and values [N, kv_heads, D]."""
    if varlen_attn is not None and queries.is_cuda and queries.dtype in (torch.bfloat16, torch.float16):
        longest, starts = packing.longest, packing.starts
        attended: Tensor = varlen_attn(
            queries, keys, values, starts, starts, longest, longest, scale=scale, window_size=(-1, 0), **GROUPED
        )
        return attended.flatten(1)
    return _padded_attention(queries, keys, values, packing, scale)


def _padded_attention(queries: Tensor, keys: Tensor, values: Tensor, packing: Packing, scale: float) -> Tensor:
    """The same by way of a padded batch: padding stands on the right, where a causal mask hides it from every real token."""
    sequence = torch.repeat_interleave(
        torch.arange(packing.sequences, device=queries.device), packing.starts.diff(), output_size=len(queries)
    )
    place = sequence * packing.longest + packing.positions  # [N]

    def padded(x: Tensor) -> Tensor:
        rows: Tensor = x.new_zeros((packing.sequences * packing.longest, *x.shape[1:])).index_copy(0, place, x)
        return rows.view(packing.sequences, packing.longest, *x.shape[1:]).transpose(1, 2)

    attended = scaled_dot_product_attention(
        padded(queries),
        padded(keys),
        padded(values),
        is_causal=True,
        scale=scale,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return attended.transpose(1, 2).flatten(0, 1)[place].flatten(1)
