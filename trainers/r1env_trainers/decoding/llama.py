"""Decoding Llama-shaped models with plain torch operations, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from r1env_trainers.decoding.batch import Draws
from r1env_trainers.decoding.draw import draw
from r1env_trainers.llama.attention import Packing, causal_attention
from r1env_trainers.llama.forward import cached_hidden_states, compute_dtype, rotary_table
from r1env_trainers.llama.layers import Attend
from r1env_trainers.llama.shape import Shape
from r1env_trainers.llama.weights import all_weights
from r1env_trainers.logprobs import logits_of


class LlamaBatch:
    """Keys and values lie in one tensor a layer, [rows at the start, kv_heads, L + T, D]: prompts end at column L, padded on the
    left, so that the token drawn at step t of any row is at column L + t. The first R rows of the cache are in use: when rows end,
    the last ones move into their places, and nothing else is copied."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], n: int, max_new_tokens: int, draws: Draws
    ) -> None:
        device, self._draws = model.device, draws
        self._generator = torch.Generator(device=device).manual_seed(draws.seed)
        self._shape = Shape.of(model.config)
        self._weights = all_weights(model, compute_dtype(device))
        lengths = [len(prompt) for prompt in prompts]
        self._columns = max(lengths)  # of the cache that are in use
        self._capacity = self._columns + max_new_tokens
        self._rotary = rotary_table(model, self._capacity)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._logits: Tensor | None = self._prefill(prompts, n)  # [R, V]
        self._positions = torch.tensor(lengths, device=device).repeat_interleave(n)  # [R], of the token drawn next
        # True on real tokens; None where no prompt is padded, which lets attention take a quicker way.
        columns = torch.arange(self._capacity, device=device)
        self._mask = None if min(lengths) == max(lengths) else columns >= self._columns - self._positions[:, None]  # [R, L + T]
        self._places = torch.arange(
            len(prompts) * n, device=device
        )  # [R] of the rows in the cache; everything else is in its order
        self._token = torch.empty_like(self._positions)  # [R]

    def advance(self) -> tuple[Tensor, Tensor]:
        if self._logits is None:
            attends = [self._attend_to_cache(layer) for layer in range(self._shape.layers)]
            self._columns += 1
            hidden = self._run(self._token, self._positions, attends)
            self._positions = self._positions + 1
            self._logits = logits_of(hidden[self._places], self._weights.head)
        token, logprob = draw(self._logits, self._draws.temperature, self._draws.top_p, self._generator)
        self._token = torch.empty_like(token).index_copy_(0, self._places, token)
        self._logits = None
        return token, logprob

    def keep(self, rows: Tensor) -> None:
        places, count = self._places[rows], len(rows)
        vacant = torch.ones(count, dtype=torch.bool, device=places.device)
        vacant[places[places < count]] = False
        holes, movers = vacant.nonzero().squeeze(1), places[places >= count]
        for cache in (*self._keys, *self._values):
            cache[holes, :, : self._columns] = cache[movers, :, : self._columns]
        for by_place in (self._token, self._positions, self._mask):
            if by_place is not None:
                by_place[holes] = by_place[movers]
        self._places = places.masked_scatter(places >= count, holes)
        self._token, self._positions = self._token[:count], self._positions[:count]

    def _prefill(self, prompts: Sequence[Sequence[int]], n: int) -> Tensor:
        """Run every prompt once, spread its keys and values to its n rows; logits [R, V] of the first token."""
        device, shape = self._weights.norm.device, self._shape
        packing = Packing.of([len(prompt) for prompt in prompts], device)
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=device)
        ends = packing.starts[1:].long()
        prompt = torch.repeat_interleave(torch.arange(len(prompts), device=device), packing.starts.diff(), output_size=len(ids))
        column = self._columns - ends[prompt] + torch.arange(len(ids), device=device)

        def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            for cache, new in ((self._keys, keys), (self._values, values)):
                # Zeros, since what stands on padding is multiplied with a probability of 0 and must be a number.
                padded = new.new_zeros((len(prompts), shape.kv_heads, self._columns, shape.head_dim))
                padded[prompt, :, column] = new
                whole = new.new_empty((len(prompts) * n, shape.kv_heads, self._capacity, shape.head_dim))
                whole[:, :, : self._columns] = padded.repeat_interleave(n, dim=0)
                cache.append(whole)
            return causal_attention(queries, keys, values, packing, shape.scale)

        hidden = self._run(ids, packing.positions, [attend] * shape.layers)
        return logits_of(hidden[ends - 1], self._weights.head).repeat_interleave(n, dim=0)

    def _attend_to_cache(self, layer: int) -> Attend:
        def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            used, rows = self._columns, len(keys)
            self._keys[layer][:rows, :, used - 1] = keys
            self._values[layer][:rows, :, used - 1] = values
            # The heads that share keys stand where a sequence of queries would: no key is ever repeated.
            attended = scaled_dot_product_attention(
                queries.unflatten(1, (self._shape.kv_heads, -1)),
                self._keys[layer][:rows, :, :used],
                self._values[layer][:rows, :, :used],
                attn_mask=None if self._mask is None else self._mask[:rows, None, None, :used],
                scale=self._shape.scale,
            )
            return attended.flatten(1)

        return attend

    def _run(self, ids: Tensor, positions: Tensor, attends: Sequence[Attend]) -> Tensor:
        cos, sin = self._rotary
        return cached_hidden_states(ids, self._weights, (cos[positions], sin[positions]), self._shape, attends)
