"""The Triton kernels of decoding against plain torch: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported
pytest.importorskip("triton", reason="Triton is not installed (it comes with torch for a GPU)")

from torch.nn.functional import scaled_dot_product_attention

from r1env_trainers.generate.kernels import append_and_attend, draw_into

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def number(value: float, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor([value], dtype=dtype, device=DEVICE)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=DEVICE)


@pytest.mark.parametrize("most", [1, 6, 9])
@pytest.mark.parametrize("heads_a_key", [1, 3, 20])
def test_attention_sees_the_prompt_the_earlier_tokens_and_the_newest(most, heads_a_key):
    torch.manual_seed(0)
    prompts, group, kv_heads, head_dim, longest, capacity = 3, 2, 2, 16, 70, 9
    slots = torch.tensor([4, 1, 0, 6], dtype=torch.int32, device=DEVICE)
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 0], dtype=torch.int32, device=DEVICE)
    lengths = torch.tensor([70, 65, 3], dtype=torch.int32, device=DEVICE)
    drawn = (torch.arange(7, dtype=torch.int32, device=DEVICE) + most - 6).clamp(min=1)  # each row is at a token of its own
    prompt_keys, prompt_values = random(prompts, kv_heads, longest, head_dim), random(prompts, kv_heads, longest, head_dim)
    own_keys, own_values = (random(prompts * group + 1, kv_heads, capacity, head_dim) for _ in range(2))
    before = own_keys.clone()
    queries = random(4, kv_heads * heads_a_key, head_dim)
    keys, values = random(4, 2 * kv_heads, head_dim).split(kv_heads, dim=1)  # as they come out of one projection
    attended = append_and_attend(
        *(queries, keys, values, prompt_keys, prompt_values, own_keys, own_values, slots, groups, lengths, drawn, 0.25)
    )
    for row, slot in enumerate(slots.tolist()):
        prompt = int(groups[slot])
        seen = [
            torch.cat([old[prompt, :, : lengths[prompt]], own[slot, :, : drawn[slot] - 1], new[row, :, None]], dim=1)
            for old, own, new in ((prompt_keys, own_keys, keys), (prompt_values, own_values, values))
        ]
        expected = scaled_dot_product_attention(
            queries[row].unflatten(0, (kv_heads, -1)), seen[0], seen[1], scale=0.25
        )  # the heads that share keys, as if they were a sequence
        assert torch.allclose(attended[row], expected.flatten(), atol=1e-4)
        assert torch.equal(own_keys[slot, :, drawn[slot] - 1], keys[row])
    newest = slots.long(), slice(None), drawn[slots.long()].long() - 1
    own_keys[newest] = before[newest]
    assert torch.equal(own_keys, before)


def draw(
    logits: torch.Tensor,
    temperature: float,
    *,
    seed: int = 7,
    slots: list[int] | None = None,
    names: list[int] | None = None,
    column: int = 0,
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
    draw_into(logits.to(DEVICE), places, named, drawn, number(seed, torch.long), warmth, last, ids, logprobs)
    assert drawn[places.long()].tolist() == [column + 1] * rows
    assert torch.equal(last, ids[:, column])
    return ids[places.long(), column], logprobs[places.long(), column]


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
