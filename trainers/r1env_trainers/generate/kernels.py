"""Two Triton kernels of the decoding step: attention of one new token over the cache, and drawing a token from logits.

Both read what changes from step to step (rows, lengths, counters, settings) from device memory, so that a CUDA graph can hold
them. Why our own: for 1,024 rows of 102 keys, 9 heads and 3 key heads on an H200 this attention takes 23 us a layer; torch 2.11's
grouped `scaled_dot_product_attention` 40 us where all lengths are alike and 70 us with a mask, `varlen_attn` 91 us and
`flex_attention` 371 us. Drawing takes 0.19 ms for a vocabulary of 49,152, against 0.71 ms in separate operations.
"""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,untyped-decorator,misc,unused-ignore"
from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

KEY_BLOCK = 32
"""With one warp per program, the fastest of 16 to 128 keys and 1 to 8 warps on an H200."""
VOCABULARY_BLOCK = 1024


def append_and_attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    prompt_keys: Tensor,
    prompt_values: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    slots: Tensor,
    groups: Tensor,
    prompt_lengths: Tensor,
    drawn: Tensor,
    scale: float,
) -> Tensor:
    """Write the newest key and value of R rows into their cache, and attend over prompt, earlier tokens and the newest.

    The prompt's part of the cache is stored once per prompt; programs of one group run side by side and share it in the L2 cache.

    Args:
        queries: [R, heads, D]; keys, values: [R, kv_heads, D], of the token drawn last.
        prompt_keys, prompt_values: [P, kv_heads, L, D].
        own_keys, own_values: [S, kv_heads, T, D]; a row's newest go to column drawn - 1.
        slots: [R] the slot of each row.
        groups: [S] the prompt of each slot. prompt_lengths: [P].
        drawn: [S] tokens drawn so far in each slot, 1 to T.

    Returns:
        [R, heads * D].
    """
    rows, heads, head_dim = queries.shape
    kv_heads = keys.shape[1]
    attended = queries.new_empty((rows, heads * head_dim))
    _append_and_attend[(kv_heads, rows)](
        queries,
        keys,
        values,
        attended,
        prompt_keys,
        prompt_values,
        own_keys,
        own_values,
        slots,
        groups,
        prompt_lengths,
        drawn,
        scale * 1.4426950408889634,  # log2(e): the kernel takes powers of two
        queries.stride(0),
        keys.stride(0),
        values.stride(0),
        prompt_keys.stride(0),
        prompt_keys.stride(1),
        own_keys.stride(0),
        own_keys.stride(1),
        HEADS=heads // kv_heads,
        TILE=max(16, triton.next_power_of_2(heads // kv_heads)),  # the smallest that the matrix unit takes
        D=head_dim,
        BLOCK=KEY_BLOCK,
        num_warps=1,
    )
    return attended


@triton.jit
def _append_and_attend(
    queries,
    keys,
    values,
    attended,
    prompt_keys,
    prompt_values,
    own_keys,
    own_values,
    slots,
    groups,
    prompt_lengths,
    drawn,
    scale,
    query_stride,
    key_stride,
    value_stride,
    prompt_stride,
    prompt_head_stride,
    own_stride,
    own_head_stride,
    HEADS: tl.constexpr,  # noqa: N803 - Triton's custom for constants, here and below
    TILE: tl.constexpr,  # noqa: N803
    D: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    kv_head = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    slot = tl.load(slots + row).to(tl.int64)
    group = tl.load(groups + slot).to(tl.int64)
    prompt_length = tl.load(prompt_lengths + group).to(tl.int32)
    earlier = tl.maximum(tl.load(drawn + slot).to(tl.int32) - 1, 0)

    head = tl.arange(0, TILE)
    lane = tl.arange(0, D)
    place = row * query_stride + (kv_head * HEADS + head[:, None]) * D + lane[None, :]
    query = tl.load(queries + place, mask=head[:, None] < HEADS, other=0.0)

    new_key = tl.load(keys + row * key_stride + kv_head * D + lane)
    new_value = tl.load(values + row * value_stride + kv_head * D + lane)
    own = slot * own_stride + kv_head * own_head_stride
    tl.store(own_keys + own + earlier * D + lane, new_key)
    tl.store(own_values + own + earlier * D + lane, new_value)

    # The newest token starts the running softmax, so nothing just written is read back.
    top = tl.sum(query.to(tl.float32) * new_key.to(tl.float32)[None, :], axis=1) * scale
    total = tl.full((TILE,), 1.0, tl.float32)
    mixed = tl.zeros((TILE, D), tl.float32) + new_value.to(tl.float32)[None, :]
    prompt = group * prompt_stride + kv_head * prompt_head_stride
    top, total, mixed = _attend_over(
        query, prompt_keys + prompt, prompt_values + prompt, prompt_length, scale, top, total, mixed, D, BLOCK
    )
    top, total, mixed = _attend_over(query, own_keys + own, own_values + own, earlier, scale, top, total, mixed, D, BLOCK)

    place = row * (tl.num_programs(0) * HEADS * D) + (kv_head * HEADS + head[:, None]) * D + lane[None, :]
    mixed = mixed / total[:, None]
    tl.store(attended + place, mixed.to(attended.dtype.element_ty), mask=head[:, None] < HEADS)


@triton.jit
def _attend_over(query, keys, values, length, scale, top, total, mixed, D: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """Continue a running softmax over `length` keys: its maximum, its sum, and the weighted values so far."""
    lane = tl.arange(0, D)
    for start in range(0, length, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < length
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
) -> None:
    """Draw one token per row, and write it into its slot.

    A draw is argmax(logit / temperature - log e) with e ~ Exp(1), the Gumbel-max trick; e comes from a counter-based generator
    (Philox, Salmon et al. 2011) at (token, name, column), so it depends neither on the slot nor on the other rows.

    Args:
        logits: [R, V] float32; -inf on tokens that may not be drawn.
        slots: [R] int32.
        names: [S] int32, the number of the row in each slot, which makes its draws differ from the others'.
        drawn: [S] int32, the column of `ids` and `logprobs` to write; one more afterwards. Beyond the last column that one is written.
        seed: [1] int64. temperature: [1] float32; 0 is greedy.
        last: [S] int64, receives the token. ids: [S, T] int64, likewise. logprobs: [S, T] float32, its log-prob.
    """
    rows, vocabulary = logits.shape
    _draw_into[(rows,)](
        logits,
        slots,
        names,
        drawn,
        seed,
        temperature,
        last,
        ids,
        logprobs,
        vocabulary,
        ids.stride(0),
        BLOCK=VOCABULARY_BLOCK,
        num_warps=8,
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
    vocabulary,
    stride,
    BLOCK: tl.constexpr,  # noqa: N803
):
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row)
    name = tl.load(names + slot).to(tl.int32)
    column = tl.minimum(tl.load(drawn + slot).to(tl.int32), stride - 1)
    key = tl.load(seed)
    warmth = tl.load(temperature)
    greedy = warmth == 0.0
    scale = 1.0 / tl.where(greedy, 1.0, warmth)
    logits += row * vocabulary

    lane = tl.arange(0, BLOCK)
    # Each lane keeps its own best, and its own running sum of exponentials; finite, so that -inf - -inf never comes up.
    top = tl.full((BLOCK,), -1e30, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    chosen = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, vocabulary, 4 * BLOCK):
        token = start + lane
        bits0, bits1, bits2, bits3 = tl.philox(key, token, token * 0 + name, token * 0 + column, token * 0)
        top, total, best, chosen = _consider(logits, token, bits0, vocabulary, scale, greedy, top, total, best, chosen)
        token += BLOCK
        top, total, best, chosen = _consider(logits, token, bits1, vocabulary, scale, greedy, top, total, best, chosen)
        token += BLOCK
        top, total, best, chosen = _consider(logits, token, bits2, vocabulary, scale, greedy, top, total, best, chosen)
        token += BLOCK
        top, total, best, chosen = _consider(logits, token, bits3, vocabulary, scale, greedy, top, total, best, chosen)

    winner = tl.argmax(best, axis=0)
    picked = tl.sum(tl.where(lane == winner, chosen, 0), axis=0)
    highest = tl.max(top, axis=0)
    normaliser = highest + tl.log(tl.sum(total * tl.exp(top - highest), axis=0))
    logprob = tl.load(logits + picked) * scale - normaliser
    tl.store(drawn + slot, column + 1)
    tl.store(last + slot, picked.to(tl.int64))
    tl.store(ids + slot.to(tl.int64) * stride + column, picked.to(tl.int64))
    tl.store(logprobs + slot.to(tl.int64) * stride + column, logprob)


@triton.jit
def _consider(logits, token, bits, vocabulary, scale, greedy, top, total, best, chosen):
    """Add one block of tokens to each lane's running sum and running best."""
    scaled = tl.load(logits + token, mask=token < vocabulary, other=float("-inf")) * scale
    new_top = tl.maximum(top, scaled)
    total = total * tl.exp(top - new_top) + tl.exp(scaled - new_top)
    # u in (0, 1) with all the precision a float has near 0: small e = -log(1 - u) are the ones that win.
    u = (bits.to(tl.uint32, bitcast=True).to(tl.float32) + 0.5) * 2.3283064365386963e-10
    e = tl.where(u < 1e-3, u + 0.5 * u * u, -tl.log(1.0 - u))
    score = tl.where(greedy, scaled, scaled - tl.log(e))
    better = score > best
    return new_top, total, tl.where(better, score, best), tl.where(better, token, chosen)
