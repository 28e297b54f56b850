"""The Triton kernels of a decoding step: attention of one new token over the cache, matrix products of few rows, drawing a token.

All read what changes from step to step (rows, lengths, counters, settings) from device memory, so that a CUDA graph can hold them.
Why our own: for 1,024 rows of 102 keys, 9 heads and 3 key heads on an H200 this attention takes 23 us a layer; torch 2.11's
grouped `scaled_dot_product_attention` 40 us where all lengths are alike and 70 us with a mask, `varlen_attn` 91 us and
`flex_attention` 371 us. Drawing takes 0.19 ms for a vocabulary of 49,152, against 0.71 ms in separate operations. With few rows a
step is nothing but reading the weights, and every kernel costs about 3 us to begin and to end: so norms, activations and residual
sums are part of the products. Tried without gain: fetching the next kernel's weights into the L2 cache.

Work on one result that is spread over several programs is finished by the last of them to arrive, which adds the parts in their
order: the sum does not depend on who was last.
"""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,untyped-decorator,misc,unused-ignore"
from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

FEW_RESULTS = 192
"""Rows times key heads up to which a program of the attention has four warps and blocks of 64 keys; beyond it one warp and 16 keys.
The fastest of 1 to 4 warps and 16 to 128 keys on an H200."""
MOST_PARTS = 16
"""Of the keys of one row: more cost the last program more than they save the others."""
VOCABULARY_BLOCK = 1024


@functools.cache
def _launch() -> dict[str, Any]:
    """Return the launch options of a kernel that is set up while the one in front of it still runs, where that is possible: from
    Hopper on (programmatic dependent launch). A step of 64 rows of a 1.5B model took 2.03 ms without, and 1.94 ms with it."""
    possible = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (9, 0) and hasattr(tl.extra.cuda, "gdc_wait")
    return {"OVERLAPS": True, "launch_pdl": True} if possible else {"OVERLAPS": False}


@triton.jit
def _wait(OVERLAPS: tl.constexpr):  # noqa: N803 - Triton's custom for constants, here and below
    """Wait until the results of the kernel in front are there."""
    if OVERLAPS:
        tl.extra.cuda.gdc_wait()


@triton.jit
def _let_go(OVERLAPS: tl.constexpr):  # noqa: N803
    """Have the next kernel set up. Late, once the main loop is done: at the start this made a step slower by a third, since the
    programs of the next kernels then take the places of this one's."""
    if OVERLAPS:
        tl.extra.cuda.gdc_launch_dependents()


# Attention of one new token per row.


@dataclass(frozen=True, slots=True)
class Cache:
    """What attention reads and writes; see `DeviceState`, of which this is one layer.

    Attributes:
        prompt_keys, prompt_values: [P, kv_heads, L, D].
        own_keys, own_values: [S, kv_heads, T, D]; a row's newest go behind its earlier tokens.
        cos, sin: [L + T, D] float32, of every position.
        arrivals: [at least R * kv_heads] int32 zeros, and zeros again afterwards.
    """

    prompt_keys: Tensor
    prompt_values: Tensor
    own_keys: Tensor
    own_values: Tensor
    cos: Tensor
    sin: Tensor
    arrivals: Tensor


def look_up(slots: Tensor, groups: Tensor, prompt_lengths: Tensor, drawn: Tensor) -> Tensor:
    """Return [R, 4] int32 of R rows: slot, place of the prompt, length of the prompt, and how many tokens came before the newest.

    Once a step, since in each layer every program of the attention would follow these references one by one.

    Args:
        slots: [R]. groups: [S] the prompt of each slot. prompt_lengths: [P].
        drawn: [S] tokens drawn so far in each slot.
    """
    whereabouts = torch.empty((len(slots), 4), dtype=torch.int32, device=slots.device)
    block = min(1024, triton.next_power_of_2(len(slots)))
    _look_up[(triton.cdiv(len(slots), block),)](
        slots,
        groups,
        prompt_lengths,
        drawn,
        whereabouts,
        len(slots),
        BLOCK=block,
        **_launch(),
    )
    return whereabouts


@triton.jit
def _look_up(
    slots,
    groups,
    prompt_lengths,
    drawn,
    whereabouts,
    rows,
    BLOCK: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slots + row, mask=row < rows, other=0)
    group = tl.load(groups + slot, mask=row < rows, other=0)
    places = whereabouts + row * 4
    tl.store(places, slot, mask=row < rows)
    tl.store(places + 1, group, mask=row < rows)
    tl.store(places + 2, tl.load(prompt_lengths + group, mask=row < rows, other=0), mask=row < rows)
    tl.store(places + 3, tl.maximum(tl.load(drawn + slot, mask=row < rows, other=1) - 1, 0), mask=row < rows)


def append_and_attend(
    qkv: Tensor,
    whereabouts: Tensor,
    cache: Cache,
    heads: int,
    scale: float,
    *,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    eps: float = 0.0,
    window: int = 0,
    parts: int | None = None,
) -> Tensor:
    """Rotate queries and keys of R rows, write the newest key and value into their cache, and attend over prompt, earlier tokens and
    the newest.

    The prompt's part of the cache is stored once per prompt; programs of one group run side by side and share it in the L2 cache.
    With few rows the keys of each are split among several programs (flash-decoding).

    Args:
        qkv: [R or more, (heads + 2 * kv_heads) * D], the projections of the token drawn last.
        whereabouts: [R, 4] see `look_up`.
        q_norm, k_norm: [D] float32, RMS norms of each head before it is rotated (Qwen3); None for none.
        window: how many tokens are seen, the newest included; 0 for all.
        parts: of the keys of a row, a power of two; None for as many as keep the device busy.

    Returns:
        [R or more, heads * D], as many rows as `qkv`.
    """
    rows, (kv_heads, head_dim) = len(whereabouts), (cache.own_keys.shape[1], cache.own_keys.shape[3])
    group = heads // kv_heads
    few = rows * kv_heads <= FEW_RESULTS
    if parts is None:
        wanted = (256 if rows * kv_heads > 64 else 128) if few else 1024
        parts = min(MOST_PARTS, max(1, triton.next_power_of_2(wanted // (rows * kv_heads) + 1) // 2))
    attended = qkv.new_empty((len(qkv), heads * head_dim))
    mixed = qkv.new_empty((rows, kv_heads, parts, group, head_dim) if parts > 1 else 1, dtype=torch.float32)
    sums = qkv.new_empty((rows, kv_heads, parts, 2, group) if parts > 1 else 1, dtype=torch.float32)
    _append_and_attend[(parts, kv_heads, rows)](
        qkv,
        attended,
        cache.prompt_keys,
        cache.prompt_values,
        cache.own_keys,
        cache.own_values,
        whereabouts,
        cache.cos,
        cache.sin,
        cache.cos if q_norm is None else q_norm,
        cache.cos if k_norm is None else k_norm,
        mixed,
        sums,
        cache.arrivals,
        scale * 1.4426950408889634,  # log2(e): the kernel takes powers of two
        eps,
        window or 2**30,
        qkv.stride(0),
        cache.prompt_keys.stride(0),
        cache.prompt_keys.stride(1),
        cache.own_keys.stride(0),
        cache.own_keys.stride(1),
        HEADS=group,
        TILE=max(16, triton.next_power_of_2(group)),  # the smallest that the matrix unit takes
        D=head_dim,
        BLOCK=64 if few else 16,
        PARTS=parts,
        UNROLL=min(parts, 8),
        NORMED=q_norm is not None,
        num_warps=4 if few or head_dim > 128 else 1,
        **_launch(),
    )
    return attended


@triton.jit
def _append_and_attend(
    qkv,
    attended,
    prompt_keys,
    prompt_values,
    own_keys,
    own_values,
    whereabouts,
    cos,
    sin,
    q_norm,
    k_norm,
    partly_mixed,
    partial_sums,
    arrivals,
    scale,
    eps,
    window,
    stride,
    prompt_stride,
    prompt_head_stride,
    own_stride,
    own_head_stride,
    HEADS: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
    D: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
    PARTS: tl.constexpr,  # noqa: N803
    UNROLL: tl.constexpr,  # noqa: N803
    NORMED: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    part = tl.program_id(0)
    kv_head = tl.program_id(1)
    kv_heads = tl.num_programs(1)
    row = tl.program_id(2).to(tl.int64)
    slot = tl.load(whereabouts + row * 4).to(tl.int64)
    group = tl.load(whereabouts + row * 4 + 1).to(tl.int64)
    prompt_length = tl.load(whereabouts + row * 4 + 2)
    earlier = tl.load(whereabouts + row * 4 + 3)
    position = prompt_length + earlier

    head = tl.arange(0, TILE)
    lane = tl.arange(0, D)
    other = (lane + D // 2) % D  # the lane that this one is turned with
    sign = tl.where(lane < D // 2, -1.0, 1.0)
    turn = tl.load(cos + position * D + lane)
    across = tl.load(sin + position * D + lane) * sign

    heads = qkv + row * stride + (kv_head * HEADS + head[:, None]) * D
    real = head[:, None] < HEADS
    query = tl.load(heads + lane[None, :], mask=real, other=0.0).to(tl.float32)
    turned = tl.load(heads + other[None, :], mask=real, other=0.0).to(tl.float32)
    new_key = qkv + row * stride + (kv_heads * HEADS + kv_head) * D
    new_value = tl.load(new_key + kv_heads * D + lane)
    key = tl.load(new_key + lane).to(tl.float32)
    turned_key = tl.load(new_key + other).to(tl.float32)
    if NORMED:
        size = 1.0 / tl.sqrt(tl.sum(query * query, axis=1) / D + eps)
        query = query * size[:, None] * tl.load(q_norm + lane)[None, :]
        turned = turned * size[:, None] * tl.load(q_norm + other)[None, :]
        key_size = 1.0 / tl.sqrt(tl.sum(key * key, axis=0) / D + eps)
        key = key * key_size * tl.load(k_norm + lane)
        turned_key = turned_key * key_size * tl.load(k_norm + other)
    query = (query * turn[None, :] + turned * across[None, :]).to(qkv.dtype.element_ty)
    key = (key * turn + turned_key * across).to(qkv.dtype.element_ty)

    # The newest token belongs to the first part: it starts its running softmax, so that nothing just written is read back. The
    # others start with nothing; finite, so that -inf - -inf never comes up.
    own = slot * own_stride + kv_head * own_head_stride
    newest = part == 0
    tl.store(own_keys + own + earlier * D + lane, key, mask=(lane < D) & newest)
    tl.store(own_values + own + earlier * D + lane, new_value, mask=(lane < D) & newest)
    top = tl.where(newest, tl.sum(query.to(tl.float32) * key.to(tl.float32)[None, :], axis=1) * scale, -1e30)
    total = tl.where(newest, 1.0, 0.0) + tl.zeros((TILE,), tl.float32)
    mixed = tl.where(newest, 1.0, 0.0) * new_value.to(tl.float32)[None, :] + tl.zeros((TILE, D), tl.float32)

    # Keys before the newest: columns 0 to prompt_length of the prompt's part, 0 to earlier of the row's own.
    seen = tl.maximum(position + 1 - window, 0)
    share = tl.cdiv(tl.cdiv(position - seen, PARTS), BLOCK) * BLOCK
    start = seen + part * share
    stop = tl.minimum(start + share, position)
    prompt = group * prompt_stride + kv_head * prompt_head_stride
    top, total, mixed = _attend_over(
        query,
        prompt_keys + prompt,
        prompt_values + prompt,
        start,
        tl.minimum(stop, prompt_length),
        scale,
        top,
        total,
        mixed,
        D,
        BLOCK,
    )
    top, total, mixed = _attend_over(
        query,
        own_keys + own,
        own_values + own,
        tl.maximum(start - prompt_length, 0),
        stop - prompt_length,
        scale,
        top,
        total,
        mixed,
        D,
        BLOCK,
    )

    _let_go(OVERLAPS)
    heads = attended + row * (kv_heads * HEADS * D) + (kv_head * HEADS + head[:, None]) * D + lane[None, :]
    if PARTS == 1:
        tl.store(heads, (mixed / total[:, None]).to(attended.dtype.element_ty), mask=real)
    else:
        result = row * kv_heads + kv_head
        mixed_places = partly_mixed + result * PARTS * HEADS * D + head[:, None] * D + lane[None, :]
        sum_places = partial_sums + result * PARTS * 2 * HEADS + head
        tl.store(mixed_places + part * HEADS * D, mixed, mask=real)
        tl.store(sum_places + part * 2 * HEADS, top, mask=head < HEADS)
        tl.store(sum_places + part * 2 * HEADS + HEADS, total, mask=head < HEADS)
        tl.debug_barrier()  # all of the program's threads have written before one of them says so
        if tl.atomic_add(arrivals + result, 1, sem="acq_rel") == PARTS - 1:
            every = tl.arange(0, PARTS)
            tops = tl.load(
                sum_places[None, :] + every[:, None] * 2 * HEADS,
                mask=head[None, :] < HEADS,
                other=0.0,
                cache_modifier=".cg",
            )
            top = tl.max(tops, axis=0)
            total = tl.zeros((TILE,), tl.float32)
            mixed = tl.zeros((TILE, D), tl.float32)
            for one in tl.range(0, PARTS, loop_unroll_factor=UNROLL):
                one_top = tl.load(sum_places + one * 2 * HEADS, mask=head < HEADS, other=0.0, cache_modifier=".cg")
                one_total = tl.load(sum_places + one * 2 * HEADS + HEADS, mask=head < HEADS, other=1.0, cache_modifier=".cg")
                one_mixed = tl.load(mixed_places + one * HEADS * D, mask=real, other=0.0, cache_modifier=".cg")
                weight = tl.exp2(one_top - top)
                total += one_total * weight
                mixed += one_mixed * weight[:, None]
            tl.store(arrivals + result, 0)
            tl.store(heads, (mixed / total[:, None]).to(attended.dtype.element_ty), mask=real)


@triton.jit
def _attend_over(query, keys, values, start, stop, scale, top, total, mixed, D: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """Continue a running softmax over keys `start` to `stop`: its maximum, its sum, and the weighted values so far."""
    lane = tl.arange(0, D)
    for first in range(start, stop, BLOCK):
        column = first + tl.arange(0, BLOCK)
        inside = column < stop
        place = column[:, None] * D + lane[None, :]
        key = tl.load(keys + place, mask=inside[:, None], other=0.0)
        value = tl.load(values + place, mask=inside[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        scores = tl.where(inside[None, :], scores, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        shares = tl.exp2(scores - new_top[:, None])
        shrink = tl.exp2(top - new_top)
        total = total * shrink + tl.sum(shares, axis=1)
        mixed = mixed * shrink[:, None] + tl.dot(shares.to(value.dtype), value, input_precision="ieee")
        top = new_top
    return top, total, mixed


# Matrix products of few rows. The residual stream [M, H] (float32) is kept beside two things that its next RMS norm needs:
# `weighted`, the stream times the weights of that norm, in the format of the matrices, and `squares` [tiles, M], the sums of its
# squares over each tile of columns. A product of the normed stream is then a product of `weighted`, scaled row by row at its end.


@dataclass(frozen=True, slots=True)
class Stream:
    """The residual stream of M rows.

    Attributes:
        sum: [M, H] float32.
        weighted: [M, H], times the weights of the next norm.
        squares: [tiles, M] float32, sums of the squares of `sum`.
        eps: of the norms.
    """

    sum: Tensor
    weighted: Tensor
    squares: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a product [M, K] @ [N, K].T is cut: columns of a program, the block of the inner dimension, in how many parts that is split."""

    columns: int
    inner: int
    parts: int = 1
    warps: int = 4
    stages: int = 4

    @classmethod
    def of(cls, columns: int, inner: int, rows: int, *, splits: bool = False) -> Tiling:
        """Choose for an [M, inner] @ [columns, inner].T product.

        Args:
            rows: M. splits: whether the inner dimension may be split.

        The fastest of a sweep on an H200, for 16, 32 and 64 rows of 1,536 and 8,960 columns.
        """
        if splits and inner > 2 * columns:  # much to add up: split it
            wide = 32 if columns % 32 == 0 else 16
            block = next(size for size in (128, 64, 32, 16) if inner % size == 0)
            return cls(wide, block, max(1, min(inner // block // 2, 264 // (columns // wide))))
        # Many columns: some programs on each multiprocessor at once; few: 16 columns each, and a deep pipeline.
        many = columns // 32 >= 192 and columns % 32 == 0
        wide = 32 if many and rows != 32 else 16
        block = next(size for size in (64 if many and rows > 32 else 128, 64, 32, 16) if inner % size == 0)
        if not many:
            return cls(wide, block, stages=6 if columns // wide <= 132 else 3)
        return cls(wide, block, warps=2 if wide == 16 else 4, stages=3 if rows <= 32 else 4)


def fits(hidden: int, feed_forward: int, projections: int) -> bool:
    """Return whether the products of few rows support matrices of these sizes."""
    return all(size % 16 == 0 for size in (hidden, feed_forward, projections))


def embed(slots: Tensor, last: Tensor, embedding: Tensor, norm: Tensor, eps: float, rows: int, dtype: torch.dtype) -> Stream:
    """Begin the residual stream with the embeddings of the newest tokens.

    Args:
        slots: [R]. last: [S] the newest token of each slot.
        norm: [H] float32, weights of the first norm.
        rows: M, of the stream; those beyond R are scratch.
        dtype: of the matrices.
    """
    hidden = embedding.shape[1]
    total = torch.empty((rows, hidden), dtype=torch.float32, device=embedding.device)
    stream = Stream(total, torch.empty_like(total, dtype=dtype), total.new_empty((1, rows)), eps)
    _embed[(rows,)](
        slots,
        last,
        embedding,
        norm,
        stream.sum,
        stream.weighted,
        stream.squares,
        len(slots),
        H=hidden,
        WIDTH=triton.next_power_of_2(hidden),
        **_launch(),
    )
    return stream


@triton.jit
def _embed(
    slots,
    last,
    embedding,
    norm,
    stream,
    weighted,
    squares,
    rows,
    H: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    row = tl.program_id(0)
    lane = tl.arange(0, WIDTH)
    slot = tl.load(slots + tl.minimum(row, rows - 1))
    token = tl.load(last + slot)
    x = tl.load(embedding + token * H + lane, mask=lane < H, other=0.0).to(tl.float32)
    tl.store(stream + row * H + lane, x, mask=lane < H)
    scaled = x * tl.load(norm + lane, mask=lane < H, other=0.0)
    tl.store(weighted + row * H + lane, scaled.to(weighted.dtype.element_ty), mask=lane < H)
    tl.store(squares + row, tl.sum(x * x, axis=0))


def normed(stream: Stream) -> Tensor:
    """Return the RMS norm of the stream [M, H], in the format of the matrices."""
    rows, hidden = stream.sum.shape
    result = torch.empty_like(stream.weighted)
    _normed[(rows,)](
        stream.weighted,
        stream.squares,
        result,
        stream.eps,
        H=hidden,
        WIDTH=triton.next_power_of_2(hidden),
        TILES=len(stream.squares),
        SQUARES=triton.next_power_of_2(len(stream.squares)),
        M=rows,
        **_launch(),
    )
    return result


@triton.jit
def _normed(
    weighted,
    squares,
    result,
    eps,
    H: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    TILES: tl.constexpr,  # noqa: N803
    SQUARES: tl.constexpr,  # noqa: N803
    M: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    row = tl.program_id(0)
    lane, tile = tl.arange(0, WIDTH), tl.arange(0, SQUARES)
    mean = tl.sum(tl.load(squares + tile * M + row, mask=tile < TILES, other=0.0), axis=0) / H
    x = tl.load(weighted + row * H + lane, mask=lane < H, other=0.0).to(tl.float32)
    tl.store(result + row * H + lane, (x / tl.sqrt(mean + eps)).to(result.dtype.element_ty), mask=lane < H)


def project(
    stream: Stream, weight: Tensor, bias: Tensor | None, *, gated: bool = False, tiling: Tiling | None = None
) -> Tensor:
    """Return norm(stream) @ weight.T + bias, [M, N].

    Args:
        weight: [N, H].
        gated: `weight` is [2 * N, H], gate above up, and the result is silu(gate) * up (arXiv 2002.05202).
    """
    rows, hidden = stream.sum.shape
    columns = len(weight) // 2 if gated else len(weight)
    tiling = tiling or Tiling.of(columns, hidden, rows)
    result = stream.weighted.new_empty((rows, columns))
    _project[(columns // tiling.columns,)](
        stream.weighted,
        stream.squares,
        weight,
        weight if bias is None else bias,
        result,
        stream.eps,
        K=hidden,
        N=columns,
        M=rows,
        TILES=len(stream.squares),
        SQUARES=triton.next_power_of_2(len(stream.squares)),
        COLUMNS=tiling.columns,
        INNER=tiling.inner,
        BIASED=bias is not None,
        GATED=gated,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
        **_launch(),
    )
    return result


@triton.jit
def _project(
    weighted,
    squares,
    weight,
    bias,
    result,
    eps,
    K: tl.constexpr,  # noqa: N803
    N: tl.constexpr,  # noqa: N803
    M: tl.constexpr,  # noqa: N803
    TILES: tl.constexpr,  # noqa: N803
    SQUARES: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    INNER: tl.constexpr,  # noqa: N803
    BIASED: tl.constexpr,  # noqa: N803
    GATED: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    row = tl.arange(0, M)
    first = tl.program_id(0) * COLUMNS
    column = first + tl.arange(0, COLUMNS)
    tile = tl.arange(0, SQUARES)
    parts = tl.load(squares + tile[:, None] * M + row[None, :], mask=tile[:, None] < TILES, other=0.0)

    inner = tl.arange(0, INNER)
    x_places = weighted + row[:, None] * K + inner[None, :]
    places = weight + column[None, :].to(tl.int64) * K + inner[:, None]
    total = tl.zeros((M, COLUMNS), tl.float32)
    up = tl.zeros((M, COLUMNS), tl.float32)
    for start in range(0, K, INNER):
        x = tl.load(x_places + start)
        total = tl.dot(x, tl.load(places + start), total, input_precision="ieee")
        if GATED:
            up = tl.dot(x, tl.load(places + start + N * K), up, input_precision="ieee")

    _let_go(OVERLAPS)
    size = (1.0 / tl.sqrt(tl.sum(parts, axis=0) / K + eps))[:, None]
    total = total * size
    if BIASED:
        total += tl.load(bias + column).to(tl.float32)[None, :]
    if GATED:
        total = total / (1.0 + tl.exp(-total)) * (up * size)
    tl.store(result + row[:, None] * N + column[None, :], total.to(result.dtype.element_ty))


def add_projection(
    stream: Stream,
    x: Tensor,
    weight: Tensor,
    norm: Tensor,
    arrivals: Tensor,
    tiling: Tiling | None = None,
) -> Stream:
    """Add x @ weight.T to the stream, in place, and prepare it for its next norm.

    Args:
        x: [M, K]. weight: [H, K].
        norm: [H] float32, the weights of the next norm.
        arrivals: as in `Cache`, at least H / 16.
    """
    rows, hidden = stream.sum.shape
    inner = x.shape[1]
    tiling = tiling or Tiling.of(hidden, inner, rows, splits=True)
    tiles = hidden // tiling.columns
    squares = stream.squares.new_empty((tiles, rows))
    partial = stream.sum.new_empty((tiling.parts, rows, hidden) if tiling.parts > 1 else 1)
    _add_projection[(tiles, tiling.parts)](
        x,
        weight,
        norm,
        stream.sum,
        stream.weighted,
        squares,
        partial,
        arrivals,
        K=inner,
        N=hidden,
        M=rows,
        COLUMNS=tiling.columns,
        INNER=tiling.inner,
        SHARE=-(-inner // tiling.inner // tiling.parts) * tiling.inner,
        PARTS=tiling.parts,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
        **_launch(),
    )
    return replace(stream, squares=squares)


@triton.jit
def _add_projection(
    x,
    weight,
    norm,
    stream,
    weighted,
    squares,
    partial,
    arrivals,
    K: tl.constexpr,  # noqa: N803
    N: tl.constexpr,  # noqa: N803
    M: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    INNER: tl.constexpr,  # noqa: N803
    SHARE: tl.constexpr,  # noqa: N803
    PARTS: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    tile = tl.program_id(0)
    part = tl.program_id(1)
    first = part * SHARE
    last = tl.minimum(first + SHARE, K)
    row = tl.arange(0, M)
    column = tile * COLUMNS + tl.arange(0, COLUMNS)
    inner = tl.arange(0, INNER)
    here = row[:, None] * N + column[None, :]
    x_places = x + row[:, None] * K + inner[None, :]
    places = weight + column[None, :].to(tl.int64) * K + inner[:, None]
    total = tl.zeros((M, COLUMNS), tl.float32)
    for start in range(first, last, INNER):
        total = tl.dot(tl.load(x_places + start), tl.load(places + start), total, input_precision="ieee")
    _let_go(OVERLAPS)

    if PARTS == 1:
        _add(total, here, row, column, tile, norm, stream, weighted, squares, M)
    else:
        tl.store(partial + part * M * N + here, total)
        tl.debug_barrier()  # all of the program's threads have written before one of them says so
        if tl.atomic_add(arrivals + tile, 1, sem="acq_rel") == PARTS - 1:
            total = tl.zeros((M, COLUMNS), tl.float32)
            for one in tl.range(0, PARTS, loop_unroll_factor=4):
                total += tl.load(partial + one * M * N + here, cache_modifier=".cg")
            tl.store(arrivals + tile, 0)
            _add(total, here, row, column, tile, norm, stream, weighted, squares, M)


@triton.jit
def _add(total, here, row, column, tile, norm, stream, weighted, squares, M: tl.constexpr):  # noqa: N803
    total += tl.load(stream + here)
    tl.store(stream + here, total)
    tl.store(weighted + here, (total * tl.load(norm + column)[None, :]).to(weighted.dtype.element_ty))
    tl.store(squares + tile * M + row, tl.sum(total * total, axis=1))


# Drawing a token.


def draw_into(
    logits: Tensor,
    slots: Tensor,
    names: Tensor,
    drawn: Tensor,
    seed: Tensor,
    temperature: Tensor,
    last: Tensor,
    ids: Tensor,
    logprobs: Tensor,
    arrivals: Tensor,
    parts: int | None = None,
) -> None:
    """Draw one token per row, and write it into its slot.

    A draw is argmax(logit / temperature - log e) with e ~ Exp(1), the Gumbel-max trick; e comes from a counter-based generator
    (Philox, Salmon et al. 2011) at (token, name, column), so it depends neither on the slot nor on the other rows.

    Args:
        logits: [R or more, V] float32; -inf on tokens that may not be drawn.
        slots: [R] int32.
        names: [S] int32, the number of the row in each slot, which makes its draws differ from the others'.
        drawn: [S] int32, the column of `ids` and `logprobs` to write; one more afterwards. Beyond the last column that one is written.
        seed: [1] int64. temperature: [1] float32; 0 is greedy.
        last: [S] int64, receives the token. ids: [S, T] int64, likewise. logprobs: [S, T] float32, its log-prob.
        arrivals: [at least R] int32 zeros, and zeros again afterwards.
        parts: of the vocabulary of a row, a power of two; None for as many as keep the device busy.
    """
    rows, vocabulary = len(slots), logits.shape[1]
    most = triton.next_power_of_2(triton.cdiv(vocabulary, 4 * VOCABULARY_BLOCK))
    parts = parts or min(most, max(1, triton.next_power_of_2(1024 // rows + 1) // 2), 16)
    found = logits.new_empty((rows, 3, parts))
    chosen = torch.empty((rows, parts), dtype=torch.int32, device=logits.device)
    _draw_into[(rows, parts)](
        logits,
        slots,
        names,
        drawn,
        seed,
        temperature,
        last,
        ids,
        logprobs,
        found,
        chosen,
        arrivals,
        vocabulary,
        ids.stride(0),
        PARTS=parts,
        BLOCK=VOCABULARY_BLOCK,
        ROUNDS=7,  # pass BigCrush (Salmon et al., table 2)
        FAST=logits.is_cuda,
        num_warps=8,
        **_launch(),
    )


@triton.jit
def _draw_into(
    logits,
    slots,
    names,
    drawn,
    seed,
    temperature,
    last,
    ids,
    logprobs,
    found,
    found_tokens,
    arrivals,
    vocabulary,
    stride,
    PARTS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
    ROUNDS: tl.constexpr,  # noqa: N803
    FAST: tl.constexpr,  # noqa: N803
    OVERLAPS: tl.constexpr,  # noqa: N803
):
    _wait(OVERLAPS)
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    slot = tl.load(slots + row)
    name = tl.load(names + slot).to(tl.int32)
    column = tl.minimum(tl.load(drawn + slot).to(tl.int32), stride - 1)
    key = tl.load(seed)
    warmth = tl.load(temperature)
    greedy = warmth == 0.0
    scale = 1.0 / tl.where(greedy, 1.0, warmth)
    double = scale * 1.4426950408889634  # log2(e): all sums are of powers of two
    logits += row * vocabulary

    lane = tl.arange(0, BLOCK)
    # Each lane keeps its own best, and its own running sum of powers; finite, so that -inf - -inf never comes up.
    top = tl.full((BLOCK,), -1e30, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    chosen = tl.zeros((BLOCK,), tl.int32)
    share = tl.cdiv(tl.cdiv(vocabulary, 4 * BLOCK), PARTS) * 4 * BLOCK
    for start in range(part * share, tl.minimum((part + 1) * share, vocabulary), 4 * BLOCK):
        token = start + lane
        bits0, bits1, bits2, bits3 = tl.philox(key, token, token * 0 + name, token * 0 + column, token * 0, n_rounds=ROUNDS)
        scaled0 = tl.load(logits + token, mask=token < vocabulary, other=float("-inf")) * double
        scaled1 = tl.load(logits + token + BLOCK, mask=token + BLOCK < vocabulary, other=float("-inf")) * double
        scaled2 = tl.load(logits + token + 2 * BLOCK, mask=token + 2 * BLOCK < vocabulary, other=float("-inf")) * double
        scaled3 = tl.load(logits + token + 3 * BLOCK, mask=token + 3 * BLOCK < vocabulary, other=float("-inf")) * double
        best, chosen = _consider(scaled0, token, bits0, greedy, best, chosen, FAST)
        best, chosen = _consider(scaled1, token + BLOCK, bits1, greedy, best, chosen, FAST)
        best, chosen = _consider(scaled2, token + 2 * BLOCK, bits2, greedy, best, chosen, FAST)
        best, chosen = _consider(scaled3, token + 3 * BLOCK, bits3, greedy, best, chosen, FAST)
        new_top = tl.maximum(top, tl.maximum(tl.maximum(scaled0, scaled1), tl.maximum(scaled2, scaled3)))
        total *= tl.exp2(top - new_top)
        total += tl.exp2(scaled0 - new_top) + tl.exp2(scaled1 - new_top)
        total += tl.exp2(scaled2 - new_top) + tl.exp2(scaled3 - new_top)
        top = new_top

    _let_go(OVERLAPS)
    highest = tl.max(top, axis=0)
    total_here = tl.sum(total * tl.exp2(top - highest), axis=0)
    best_here = tl.max(best, axis=0)
    picked = tl.sum(tl.where(lane == tl.argmax(best, axis=0), chosen, 0), axis=0)
    if PARTS == 1:
        logprob = tl.load(logits + picked) * scale - (highest + tl.log2(total_here)) * 0.6931471805599453
        _write(slot, column, picked, logprob, drawn, last, ids, logprobs, stride)
    else:
        places = found + row * 3 * PARTS
        tl.store(places + part, highest)
        tl.store(places + PARTS + part, total_here)
        tl.store(places + 2 * PARTS + part, best_here)
        tl.store(found_tokens + row * PARTS + part, picked)
        tl.debug_barrier()  # all of the program's threads have written before one of them says so
        if tl.atomic_add(arrivals + row, 1, sem="acq_rel") == PARTS - 1:
            one = tl.arange(0, PARTS)
            tops = tl.load(places + one, cache_modifier=".cg")
            totals = tl.load(places + PARTS + one, cache_modifier=".cg")
            winner = tl.argmax(tl.load(places + 2 * PARTS + one, cache_modifier=".cg"), axis=0)
            tokens = tl.load(found_tokens + row * PARTS + one, cache_modifier=".cg")
            picked = tl.sum(tl.where(one == winner, tokens, 0), axis=0)
            highest = tl.max(tops, axis=0)
            normaliser = highest + tl.log2(tl.sum(totals * tl.exp2(tops - highest), axis=0))
            tl.store(arrivals + row, 0)
            logprob = tl.load(logits + picked) * scale - normaliser * 0.6931471805599453
            _write(slot, column, picked, logprob, drawn, last, ids, logprobs, stride)


@triton.jit
def _write(slot, column, picked, logprob, drawn, last, ids, logprobs, stride):
    tl.store(drawn + slot, column + 1)
    tl.store(last + slot, picked.to(tl.int64))
    tl.store(ids + slot.to(tl.int64) * stride + column, picked.to(tl.int64))
    tl.store(logprobs + slot.to(tl.int64) * stride + column, logprob)


@triton.jit
def _consider(scaled, token, bits, greedy, best, chosen, FAST: tl.constexpr):  # noqa: N803
    """Add one block of tokens to each lane's running best."""
    # u in (0, 1) with all the precision a float has near 0: small e = -log2(1 - u) are the ones that win, and near 0 they come from
    # a series, where the fast logarithm has an absolute error only.
    u = (bits.to(tl.uint32, bitcast=True).to(tl.float32) + 0.5) * 2.3283064365386963e-10
    e = tl.where(u < 0.03, (u + u * u * (0.5 + u * 0.33333333)) * 1.4426950408889634, -_log2(1.0 - u, FAST))
    score = tl.where(greedy, scaled, scaled - _log2(e, FAST))
    better = score > best
    return tl.where(better, score, best), tl.where(better, token, chosen)


@triton.jit
def _log2(x, FAST: tl.constexpr):  # noqa: N803
    if FAST:
        return tl.inline_asm_elementwise("lg2.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:  # noqa: RET505 - Triton compiles one branch only
        return tl.log2(x)
