"""Causal attention over packed sequences: each sees only itself and, where it has one, its prefix."""

from __future__ import annotations

import inspect
import itertools
from collections import Counter
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
class Continuations:
    """C sequences, each of which continues another one, its prefix, and sees all of it.

    Attributes:
        queries: [C, T] int64, the packed places of their tokens; shorter sequences repeat their last place on the right.
        keys: [C, P + T] int64, the packed places of their prefixes, likewise, and of themselves.
        bias: [C or 1, 1, T, P + T] float32, added to the scores: minus infinity where a query must not look, 0 elsewhere.
        real: [M] int64, the places of their M tokens in the flattened `queries`.
    """

    queries: Tensor
    keys: Tensor
    bias: Tensor
    real: Tensor

    @classmethod
    def of(cls, prefix_starts: Tensor, prefixes: Tensor, starts: Tensor, lengths: Tensor) -> Continuations:
        """Make it from the first tokens and the lengths, [C] int64 each, of the prefixes and of their continuations."""
        own, before = torch.arange(int(lengths.max())), torch.arange(int(prefixes.max()))
        queries = starts[:, None] + torch.minimum(own, lengths[:, None] - 1)
        keys = torch.cat([prefix_starts[:, None] + torch.minimum(before, prefixes[:, None] - 1), queries], dim=1)
        alike = bool((prefixes == prefixes[0]).all())
        read = before < (prefixes[:1] if alike else prefixes)[:, None]  # [C or 1, P]
        past = own <= own[:, None]  # [T, T]
        seen = torch.cat([read[:, None].expand(-1, len(own), -1), past.expand(len(read), -1, -1)], dim=2)
        bias = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[:, None]
        return cls(queries, keys, bias, (own < lengths[:, None]).flatten().nonzero().squeeze(1))


@dataclass(frozen=True, slots=True)
class Packing:
    """The places of S sequences in N packed tokens, followed by those that continue one of them.

    Attributes:
        starts: [S + 1] int32, the first token of each of the S sequences, and the end of the last.
        positions: [N] int64, of each token in its sequence, prefix included.
        longest: tokens of the longest of the S sequences.
        continuations: of them; None on a GPU.
    """

    starts: Tensor
    positions: Tensor
    longest: int
    continuations: Continuations | None = None

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, going_on: Sequence[tuple[int, int]] = ()) -> Packing:
        """Pack sequences of these lengths, none 0.

        Args:
            going_on: the number of a sequence, and the length, not 0, of one that continues it. On a CPU only.
        """
        counts = torch.tensor(lengths)
        starts = _starts(counts)
        positions = torch.arange(int(starts[-1])) - starts[:-1].repeat_interleave(counts)
        if not going_on:
            return cls(starts.to(device, torch.int32), positions.to(device), max(lengths))
        prefixes, further = torch.tensor(going_on).unbind(1)
        behind = _starts(further)
        continuations = Continuations.of(starts[prefixes], counts[prefixes], starts[-1] + behind[:-1], further)
        onwards = torch.arange(int(behind[-1])) + (counts[prefixes] - behind[:-1]).repeat_interleave(further)
        return cls(starts.int(), torch.cat([positions, onwards]), max(lengths), continuations)

    @property
    def sequences(self) -> int:
        """S."""
        return self.starts.shape[0] - 1

    @property
    def context(self) -> int:
        """Tokens of the longest sequence, prefix included."""
        return self.longest if self.continuations is None else int(self.positions.max()) + 1


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor, packing: Packing, scale: float, window: int = 0) -> Tensor:
    """Return [N, heads * D] from queries [N, heads, D], keys and values [N, kv_heads, D].

    Args:
        window: how many tokens each one sees, itself included; 0 for all. Not with continuations.
    """
    if varlen_attn is not None and queries.is_cuda and queries.dtype in (torch.bfloat16, torch.float16):
        longest, starts = packing.longest, packing.starts
        attended: Tensor = varlen_attn(
            queries, keys, values, starts, starts, longest, longest, scale=scale, window_size=(window - 1, 0), **GROUPED
        )
        return attended.flatten(1)
    if packing.continuations is None:
        return _padded_attention(queries, keys, values, packing, scale, window)
    assert not window  # `shares_prompts`
    first = len(queries) - len(packing.continuations.real)
    alone = _padded_attention(queries[:first], keys[:first], values[:first], packing, scale)
    return torch.cat([alone, _continued_attention(queries, keys, values, packing.continuations, scale)])


def _starts(counts: Tensor) -> Tensor:
    """Return [S + 1]: where S runs of these lengths begin, and where the last one ends."""
    return torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])


def _padded_attention(queries: Tensor, keys: Tensor, values: Tensor, packing: Packing, scale: float, window: int = 0) -> Tensor:
    """Compute the same with a padded batch: padding is on the right, where a causal mask hides it from every real token."""
    sequence = torch.repeat_interleave(
        torch.arange(packing.sequences, device=queries.device), packing.starts.diff(), output_size=len(queries)
    )
    place = sequence * packing.longest + packing.positions[: len(queries)]  # [N]

    def padded(x: Tensor) -> Tensor:
        rows: Tensor = x.new_zeros((packing.sequences * packing.longest, *x.shape[1:])).index_copy(0, place, x)
        return rows.view(packing.sequences, packing.longest, *x.shape[1:]).transpose(1, 2)

    seen = None
    if 0 < window < packing.longest:
        place_in_row = torch.arange(packing.longest, device=queries.device)
        distance = place_in_row[:, None] - place_in_row
        seen = (distance >= 0) & (distance < window)  # [longest, longest]
    attended = scaled_dot_product_attention(
        padded(queries),
        padded(keys),
        padded(values),
        attn_mask=seen,
        is_causal=seen is None,
        scale=scale,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return attended.transpose(1, 2).flatten(0, 1)[place].flatten(1)


def _continued_attention(queries: Tensor, keys: Tensor, values: Tensor, continuations: Continuations, scale: float) -> Tensor:
    """Return [M, heads * D] for the tokens of the continuations: fewer queries than keys, with the prefix's keys repeated for each."""

    def padded(x: Tensor, places: Tensor) -> Tensor:
        return x.index_select(0, places.flatten()).view(*places.shape, *x.shape[1:]).transpose(1, 2)

    attended = scaled_dot_product_attention(
        padded(queries, continuations.queries),
        padded(keys, continuations.keys),
        padded(values, continuations.keys),
        attn_mask=continuations.bias,
        scale=scale,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return attended.transpose(1, 2).flatten(0, 1).index_select(0, continuations.real).flatten(1)


# Rows with the same prompt, packed so that it goes through the network once. Pure arithmetic on lengths.


def pack_prompts_once(
    prompts: Sequence[int], completions: Sequence[int], numbers: Sequence[int], device: torch.device
) -> tuple[Packing, Tensor]:
    """Pack rows so that completions continue one copy of each prompt; the prompt of a single row stays in one piece with its completion.

    Args:
        prompts, completions: their lengths in each row; a completion may be empty.
        numbers: of each row's prompt; equal prompts have equal numbers.

    Returns:
        the packing, and [M] int64 the place in it of each of the M tokens of all rows, row by row: prompt, then completion.
    """
    rows = Counter(numbers)
    sequence_of: dict[int, int] = {}
    lengths: list[int] = []
    for prompt, completion, number in zip(prompts, completions, numbers, strict=True):
        if number not in sequence_of:
            sequence_of[number] = len(lengths)
            lengths.append(prompt + completion if rows[number] == 1 else prompt)
    *starts, end = itertools.accumulate(lengths, initial=0)
    going_on: list[tuple[int, int]] = []
    places: list[Tensor] = []
    for prompt, completion, number in zip(prompts, completions, numbers, strict=True):
        sequence = sequence_of[number]
        start = starts[sequence]
        if rows[number] == 1:
            places.append(torch.arange(start, start + prompt + completion))
            continue
        places += [torch.arange(start, start + prompt), torch.arange(end, end + completion)]
        end += completion
        if completion:
            going_on.append((sequence, completion))
    return Packing.of(lengths, device, going_on), torch.cat(places).to(device)
