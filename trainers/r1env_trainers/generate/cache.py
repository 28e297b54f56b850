"""Memory of the graph decoder: the KV cache and its size, the slots that rows are assigned to, the sizes of its graphs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.model.batching import activation_bytes
from r1env_trainers.model.llama import Shape, compute_dtype, rotary_tables
from r1env_trainers.model.load import free_memory, usable_memory

MEMORY_SHARE = 0.8
"""Share of the free memory that a cache may take; prompts and what a step computes need the rest."""
UPDATE_TOKENS = 8192
"""A cache stays between two batches where beside it an update has room for the activations of twice as many tokens."""
TRAINING_BYTES = 18
"""Of a parameter in training: weight, gradient and two moments in float32, and the weight in bfloat16."""
PLACES = 3
"""Of 16 completions whose lengths are spread exponentially, the longest is 3.4 times as long as the mean; until then their prompt stays."""
LOGITS_BYTES = 12
"""Bytes per row and vocabulary entry: float32 logits of the graph, of the prompts, and masked by top-p."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The shape of a cache: number of prompts and the longest, number of rows and the longest completion."""

    prompts: int
    prompt_tokens: int
    rows: int
    new_tokens: int

    def with_room_for(self, other: Capacity) -> Capacity:
        return Capacity(
            max(self.prompts, other.prompts),
            max(self.prompt_tokens, other.prompt_tokens),
            max(self.rows, other.rows),
            max(self.new_tokens, other.new_tokens),
        )

    def with_rows(self, rows: int) -> Capacity:
        """Return the same for at most so many rows at once. Prompts get `PLACES` times their share: they outlast most of their rows."""
        if rows >= self.rows:
            return self
        prompts = max(2, -(-PLACES * rows * self.prompts // self.rows))
        return replace(self, rows=rows, prompts=min(self.prompts, prompts))

    def within(self, budget: float, token_bytes: int, vocabulary: int) -> Capacity:
        """Return it with the most rows at once, at least one, that `budget` bytes are enough for; see `size`."""
        fewer = [rows for rows in graph_sizes(self.rows)[::-1] if rows < self.rows]
        for capacity in map(self.with_rows, [self.rows, *fewer]):
            if capacity.size(token_bytes, vocabulary) <= budget:
                return capacity
        return self.with_rows(1)

    def size(self, token_bytes: int, vocabulary: int) -> int:
        """Return the bytes of the cache and of a step's logits.

        Args:
            token_bytes: keys and values of one token.
        """
        tokens = self.prompts * self.prompt_tokens + (self.rows + 1) * self.new_tokens
        return tokens * token_bytes + graph_size(self.rows) * vocabulary * LOGITS_BYTES


def token_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """Return the bytes of one token's keys and values in all layers."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * dtype.itemsize


def memory_budget(device: torch.device) -> float:
    """Return how many bytes a cache may take; unlimited on a CPU, whose batches are small."""
    if device.type != "cuda":
        return float("inf")
    return MEMORY_SHARE * free_memory(device)


def leaves_room(model: PreTrainedModel, size: int) -> bool:
    """Return whether a cache of so many bytes leaves an update of the model the memory to be fast."""
    if model.device.type != "cuda":
        return True
    config = model.config
    activations = activation_bytes(config.num_hidden_layers, config.hidden_size, config.intermediate_size)
    training = TRAINING_BYTES * sum(parameter.numel() for parameter in model.parameters())
    return size + training + 2 * UPDATE_TOKENS * activations <= usable_memory(model.device)


class DeviceState:
    """Everything that a graph reads and writes. S = rows + 1 slots: the last is scratch, for rows that only pad a graph.

    Attributes:
        prompt_keys, prompt_values: [layers, P, kv_heads, L, D].
        own_keys, own_values: [layers, S, kv_heads, T, D].
        prompt_lengths: [P].
        groups, rows: [S] the place of each slot's prompt, and which row of the batch it is.
        drawn: [S] tokens drawn so far. last: [S] the newest. ids, logprobs: [S, T] all of them.
        live: [graph_size(rows)] slots being decoded, then scratch.
        seed, temperature, top_p: [1].
        rotaries: of `rotary_tables`, for all L + T positions.
        arrivals: zeros, for the kernels to count on.
    """

    def __init__(self, model: PreTrainedModel, capacity: Capacity) -> None:
        shape, device = Shape.of(model.config), model.device
        slots = capacity.rows + 1
        prompt = (shape.layers, capacity.prompts, shape.kv_heads, capacity.prompt_tokens, shape.head_dim)
        own = (shape.layers, slots, shape.kv_heads, capacity.new_tokens, shape.head_dim)
        dtype = compute_dtype(device)

        def integers(count: int, value: int) -> Tensor:
            return torch.full((count,), value, dtype=torch.int32, device=device)

        self.capacity = capacity
        self.prompt_keys = torch.empty(prompt, dtype=dtype, device=device)
        self.prompt_values = torch.empty_like(self.prompt_keys)
        self.own_keys = torch.empty(own, dtype=dtype, device=device)
        self.own_values = torch.empty_like(self.own_keys)
        self.prompt_lengths = integers(capacity.prompts, 1)
        self.groups, self.rows = integers(slots, 0), integers(slots, 0)
        self.drawn = integers(slots, 1)
        self.live = integers(graph_size(capacity.rows), capacity.rows)
        self.last = torch.zeros(slots, dtype=torch.long, device=device)
        self.ids = torch.zeros((slots, capacity.new_tokens), dtype=torch.long, device=device)
        self.logprobs = torch.zeros((slots, capacity.new_tokens), dtype=torch.float32, device=device)
        self.seed = torch.zeros(1, dtype=torch.long, device=device)
        self.temperature = torch.ones(1, dtype=torch.float32, device=device)
        self.top_p = torch.ones(1, dtype=torch.float32, device=device)
        self.rotaries = rotary_tables(model, capacity.prompt_tokens + capacity.new_tokens)
        self.arrivals = integers(max(len(self.live) * shape.kv_heads, model.config.hidden_size), 0)


# Which row is in which slot.

WORTHWHILE = 4
"""Waiting rows start when 1/so many of the slots can be filled: a small prefill costs as much as many decoding steps."""


class Slots:
    """KV-cache slot allocator. Rows 0 … rows - 1, n for each prompt, start in order as slots and places become free. A row holds
    a slot until it ends; a prompt holds a place until its last row has ended.

    Attributes:
        live: the slot of each row being decoded; rows ascend.
        places: the place of each prompt of which some rows, but not all, have ended.
    """

    def __init__(self, rows: int, n: int, slots: int, places: int) -> None:
        self.live: dict[int, int] = {}
        self.places: dict[int, int] = {}
        self._rows, self._n = rows, n
        self._next = 0
        self._free = list(range(min(slots, rows)))[::-1]
        self._free_places = list(range(places))[::-1]
        self._worthwhile = max(1, min(len(self._free), places * n) // WORTHWHILE)
        self._left: dict[int, int] = {}  # rows of each placed prompt that have not ended

    def begin(self) -> list[int]:
        """Return the rows that start now, if there are enough to be worth a prefill."""
        waiting = self._rows - self._next
        if self.live and min(len(self._free), self._with_place()) < min(self._worthwhile, waiting):
            return []
        first = self._next
        while self._next < self._rows and self._free and self._place(self._next // self._n):
            self.live[self._next] = self._free.pop()
            self._next += 1
        return list(range(first, self._next))

    def end(self, rows: Iterable[int]) -> None:
        """Free the slots of these rows; rows that had ended before are ignored."""
        for row in rows:
            if row not in self.live:
                continue
            self._free.append(self.live.pop(row))
            prompt = row // self._n
            self._left[prompt] -= 1
            if not self._left[prompt]:
                del self._left[prompt]
                self._free_places.append(self.places.pop(prompt))

    def _with_place(self) -> int:
        """Return how many more rows there are places for."""
        prompt, begun = divmod(self._next, self._n)
        return len(self._free_places) * self._n + (self._n - begun if prompt in self.places else 0)

    def _place(self, prompt: int) -> bool:
        """Return whether the prompt has a place; assign one if it is free."""
        if prompt not in self.places:
            if not self._free_places:
                return False
            self.places[prompt] = self._free_places.pop()
            self._left[prompt] = self._n
        return True


# The numbers of rows that CUDA graphs are made for.


def graph_size(rows: int) -> int:
    """Return the smallest graph size that holds so many rows: powers of two from 8 on, and the middles between them."""
    size = 8
    while size < rows:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def graph_sizes(most: int) -> list[int]:
    """Return all graph sizes up to the one that holds `most` rows, ascending."""
    sizes = [graph_size(1)]
    while sizes[-1] < most:
        sizes.append(graph_size(sizes[-1] + 1))
    return sizes
