"""The Triton kernels of decoding against plain torch: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported
pytest.importorskip("triton", reason="Triton is not installed (it comes with torch for a GPU)")

from torch.nn.functional import linear, scaled_dot_product_attention, silu

from r1env_trainers.generate.kernels import (
    Cache,
    Tiling,
    add_projection,
    append_and_attend,
    draw_into,
    embed,
    look_up,
    normed,
    project,
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [] if DEVICE.type == "cuda" else pytest.mark.slow  # minutes in the interpreter


def number(value: float, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor([value], dtype=dtype, device=DEVICE)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=DEVICE)


def turned(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight


EPS = 1e-5
KV_HEADS, HEAD_DIM = 2, 16


def make_cache(most: int) -> tuple[Cache, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three prompts, six slots and a scratch one; each row is at a token of its own, the last at `most`. Also the prompt of each slot,
    their lengths, and how many tokens each slot has."""
    prompts, group, longest, capacity = 3, 2, 70, 9
    prompt_keys, prompt_values = (random(prompts, KV_HEADS, longest, HEAD_DIM) for _ in range(2))
    own_keys, own_values = (random(prompts * group + 1, KV_HEADS, capacity, HEAD_DIM) for _ in range(2))
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 0], dtype=torch.int32, device=DEVICE)
    lengths = torch.tensor([70, 65, 3], dtype=torch.int32, device=DEVICE)
    drawn = (torch.arange(7, dtype=torch.int32, device=DEVICE) + most - 6).clamp(min=1)
    angles = torch.arange(longest + capacity, device=DEVICE)[:, None] * torch.logspace(0, -2, HEAD_DIM // 2, device=DEVICE)
    cos, sin = (torch.cat([half, half], dim=1) for half in (angles.cos(), angles.sin()))
    arrivals = torch.zeros(64, dtype=torch.int32, device=DEVICE)
    return Cache(prompt_keys, prompt_values, own_keys, own_values, cos, sin, arrivals), groups, lengths, drawn


@pytest.mark.parametrize("most", [1, 6, 9])
@pytest.mark.parametrize(
    ("heads_a_key", "parts", "window", "norms"),
    [(1, 1, 0, False), (3, 4, 0, True), (20, 2, 0, False), (3, 1, 40, True), (3, 4, 5, False), (1, 16, 1, False)],
)
def test_attention_sees_the_prompt_the_earlier_tokens_and_the_newest(most, heads_a_key, parts, window, norms):
    torch.manual_seed(0)
    (cache, groups, lengths, drawn), heads = make_cache(most), KV_HEADS * heads_a_key
    slots = torch.tensor([4, 1, 0, 6], dtype=torch.int32, device=DEVICE)
    before = cache.own_keys.clone()
    qkv = random(5, (heads + 2 * KV_HEADS) * HEAD_DIM)  # the last row is padding
    q_norm, k_norm = (1 + random(HEAD_DIM), 1 + random(HEAD_DIM)) if norms else (None, None)
    whereabouts = look_up(slots, groups, lengths, drawn)
    attended = append_and_attend(
        qkv, whereabouts, cache, heads, 0.25, q_norm=q_norm, k_norm=k_norm, eps=EPS, window=window, parts=parts
    )
    assert len(attended) == len(qkv)
    assert not cache.arrivals.any()
    queries, keys, values = qkv.unflatten(1, (-1, HEAD_DIM)).split([heads, KV_HEADS, KV_HEADS], dim=1)
    for row, slot in enumerate(slots.tolist()):
        prompt, earlier = int(groups[slot]), int(drawn[slot]) - 1
        length = int(lengths[prompt])
        query, key = (rms(queries[row], q_norm), rms(keys[row], k_norm)) if norms else (queries[row], keys[row])
        cos, sin = cache.cos[length + earlier], cache.sin[length + earlier]
        query, key = query * cos + turned(query) * sin, key * cos + turned(key) * sin
        seen = [
            torch.cat([old[prompt, :, :length], own[slot, :, :earlier], new[:, None]], dim=1)[:, -window:]
            for old, own, new in (
                (cache.prompt_keys, cache.own_keys, key),
                (cache.prompt_values, cache.own_values, values[row]),
            )
        ]
        expected = scaled_dot_product_attention(
            query.unflatten(0, (KV_HEADS, -1)), seen[0], seen[1], scale=0.25
        )  # the heads that share keys, as if they were a sequence
        assert torch.allclose(attended[row], expected.flatten(), atol=1e-4)
        assert torch.allclose(cache.own_keys[slot, :, earlier], key, atol=1e-5)
        assert torch.equal(cache.own_values[slot, :, earlier], values[row])
    newest = slots.long(), slice(None), drawn[slots.long()].long() - 1
    cache.own_keys[newest] = before[newest]
    assert torch.equal(cache.own_keys, before)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_a_layer_of_our_own_products_is_that_of_torch(parts, biased):
    torch.manual_seed(0)
    hidden, feed_forward, projections, rows = 48, 96, 64, 5
    embedding, last = random(20, hidden), torch.arange(7, device=DEVICE)
    slots = torch.tensor([3, 0, 5, 6, 6], dtype=torch.int32, device=DEVICE)
    qkv, out, gate_up, down = (
        0.3 * random(*shape)
        for shape in ((projections, hidden), (hidden, projections), (2 * feed_forward, hidden), (hidden, feed_forward))
    )
    bias, norms = random(projections) if biased else None, [1 + 0.3 * random(hidden) for _ in range(3)]
    arrivals = torch.zeros(8, dtype=torch.int32, device=DEVICE)
    split = Tiling(16, 16, parts)
    stream = embed(slots, last, embedding, norms[0], EPS, 16, torch.float32)
    projected = project(stream, qkv, bias)
    stream = add_projection(stream, projected, out, norms[1], arrivals, split)
    gated = project(stream, gate_up, None, gated=True, tiling=Tiling(32, 16))
    stream = add_projection(stream, gated, down, norms[2], arrivals, split)
    assert not arrivals.any()
    x = embedding[last[slots.long()]]
    expected = linear(rms(x, norms[0]), qkv, bias)
    assert torch.allclose(projected[:rows], expected, atol=1e-4)
    x = x + linear(expected, out)
    gate, up = linear(rms(x, norms[1]), gate_up).chunk(2, dim=1)
    x = x + linear(silu(gate) * up, down)
    assert torch.allclose(stream.sum[:rows], x, rtol=1e-4, atol=1e-3)
    assert torch.allclose(normed(stream)[:rows], rms(x, norms[2]), atol=1e-4)


@pytest.mark.parametrize("rows", [1, 16, 64, 128])
@pytest.mark.parametrize(("columns", "inner"), [(2048, 1536), (960, 576), (1536, 8960), (48, 16), (1152, 4864)])
def test_tilings_cover_the_matrix(rows, columns, inner):
    for splits in (False, True):
        tiling = Tiling.of(columns, inner, rows, splits=splits)
        assert columns % tiling.columns == 0
        assert inner % tiling.inner == 0
        assert tiling.parts == 1 or (splits and tiling.parts <= inner // tiling.inner)


def draw(
    logits: torch.Tensor,
    temperature: float,
    *,
    seed: int = 7,
    slots: list[int] | None = None,
    names: list[int] | None = None,
    column: int = 0,
    parts: int | None = None,
):
    """Tokens and log-probs of rows that have these slots; the names are those of the slots unless given."""
    rows = len(logits)
    places = torch.tensor(slots or list(range(rows)), dtype=torch.int32, device=DEVICE)
    size = int(places.max()) + 1
    last, ids = torch.zeros(size, dtype=torch.long, device=DEVICE), torch.zeros(size, 4, dtype=torch.long, device=DEVICE)
    logprobs = torch.zeros(size, 4, device=DEVICE)
    warmth = number(temperature, torch.float32)
    named = torch.arange(size, dtype=torch.int32, device=DEVICE)
    named[places.long()] = torch.tensor(names or places.tolist(), dtype=torch.int32, device=DEVICE)
    drawn = torch.full((size,), column, dtype=torch.int32, device=DEVICE)
    arrivals = torch.zeros(rows, dtype=torch.int32, device=DEVICE)
    draw_into(
        logits.to(DEVICE), places, named, drawn, number(seed, torch.long), warmth, last, ids, logprobs, arrivals, parts=parts
    )
    assert not arrivals.any()
    assert drawn[places.long()].tolist() == [column + 1] * rows
    assert torch.equal(last, ids[:, column])
    return ids[places.long(), column], logprobs[places.long(), column]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_draws_do_not_depend_on_how_the_vocabulary_is_split(temperature):
    logits = 3 * random(3, 9000)
    (tokens, logprobs), *others = (draw(logits, temperature, parts=parts) for parts in (1, 2, 4))
    for other_tokens, other_logprobs in others:
        assert torch.equal(other_tokens, tokens)
        assert torch.allclose(other_logprobs, logprobs, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_the_log_prob_is_that_of_the_distribution_drawn_from(temperature):
    logits = 3 * random(3, 5000)
    tokens, logprobs = draw(logits, temperature)
    expected = (logits / (temperature or 1.0)).log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
    assert torch.allclose(logprobs, expected, atol=1e-4)
    assert temperature or torch.equal(tokens, logits.argmax(-1))


def test_draws_of_the_kernel_follow_the_distribution():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.049, 0.001])
    rows = 1_000_000 if DEVICE.type == "cuda" else 1000
    tokens, _ = draw(probabilities.log().expand(rows, -1).contiguous(), 1.0)
    counts = torch.bincount(tokens, minlength=5).cpu()
    chi_square = ((counts - rows * probabilities) ** 2 / (rows * probabilities)).sum()
    assert chi_square < 23.5  # four degrees of freedom: one in ten thousand is above


def test_a_token_without_probability_is_never_drawn():
    logits = torch.zeros(200, 50)
    logits[:, 10:] = float("-inf")
    tokens, logprobs = draw(logits, 1.0)
    assert int(tokens.max()) < 10
    assert torch.allclose(logprobs.cpu(), torch.full((200,), 0.1).log(), atol=1e-4)


def test_a_draw_depends_on_seed_name_and_column_and_not_on_slot_or_other_rows():
    logits = random(6, 400)
    tokens, _ = draw(logits, 1.0)
    some, _ = draw(logits[[1, 4]], 1.0, slots=[0, 3], names=[1, 4])
    assert some.tolist() == tokens[[1, 4]].tolist()
    assert draw(logits, 1.0, seed=8)[0].tolist() != tokens.tolist()
    assert draw(logits, 1.0, column=1)[0].tolist() != tokens.tolist()
