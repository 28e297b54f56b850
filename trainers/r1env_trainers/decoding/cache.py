"""What a decoder keeps on its device, and how much of it there is room for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.decoding.sizes import graph_size, graph_sizes
from r1env_trainers.llama.forward import compute_dtype, rotary_table
from r1env_trainers.llama.shape import Shape

MEMORY_SHARE = 0.5
"""Of the memory that is free when the cache is made. The first is made before the optimizer's state is, and an update needs room."""
PLACES = 3
"""Of 16 completions whose lengths are spread exponentially, the longest is 3.4 times as long as the mean; until then their prompt stays."""
LOGITS_BYTES = 12
"""A row and token of the vocabulary: float32 logits of the graph, of the prompts, and masked by top-p."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a cache has room for: prompts and their longest, rows and their longest completion."""

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
        """The same for at most so many rows at once. Prompts get `PLACES` times their share: they outlast most of their rows."""
        if rows >= self.rows:
            return self
        prompts = max(2, -(-PLACES * rows * self.prompts // self.rows))
        return replace(self, rows=rows, prompts=min(self.prompts, prompts))

    def within(self, budget: float, token_bytes: int, vocabulary: int) -> Capacity:
        """The most rows at once, at least one, that `budget` bytes are enough for; see `size`."""
        fewer = [rows for rows in graph_sizes(self.rows)[::-1] if rows < self.rows]
        for capacity in map(self.with_rows, [self.rows, *fewer]):
            if capacity.size(token_bytes, vocabulary) <= budget:
                return capacity
        return self.with_rows(1)

    def size(self, token_bytes: int, vocabulary: int) -> int:
        """Bytes, with the logits of a step.

        Args:
            token_bytes: keys and values of one token.
        """
        tokens = self.prompts * self.prompt_tokens + (self.rows + 1) * self.new_tokens
        return tokens * token_bytes + graph_size(self.rows) * vocabulary * LOGITS_BYTES


def token_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """Keys and values of one token in all layers."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * dtype.itemsize


def memory_budget(device: torch.device) -> float:
    """Bytes that a cache may take; unlimited on a CPU, whose batches are small."""
    if device.type != "cuda":
        return float("inf")
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return MEMORY_SHARE * (torch.cuda.mem_get_info(device)[0] + unused)


class DeviceState:
    """Everything that a graph reads and writes. S = rows + 1 slots: the last is scratch, for the rows that fill up a graph.

    Attributes:
        prompt_keys, prompt_values: [layers, P, kv_heads, L, D].
        own_keys, own_values: [layers, S, kv_heads, T, D].
        prompt_lengths: [P].
        groups, lengths, rows: [S] the place of each slot's prompt, the prompt's length, and which row of the batch it is.
        drawn: [S] tokens drawn so far. last: [S] the newest. ids, logprobs: [S, T] all of them.
        live: [graph_size(rows)] slots under way, scratch behind them.
        seed, temperature, top_p: [1].
        cos, sin: [L + T, D].
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
        self.groups, self.lengths, self.rows = integers(slots, 0), integers(slots, 1), integers(slots, 0)
        self.drawn = integers(slots, 1)
        self.live = integers(graph_size(capacity.rows), capacity.rows)
        self.last = torch.zeros(slots, dtype=torch.long, device=device)
        self.ids = torch.zeros((slots, capacity.new_tokens), dtype=torch.long, device=device)
        self.logprobs = torch.zeros((slots, capacity.new_tokens), dtype=torch.float32, device=device)
        self.seed = torch.zeros(1, dtype=torch.long, device=device)
        self.temperature = torch.ones(1, dtype=torch.float32, device=device)
        self.top_p = torch.ones(1, dtype=torch.float32, device=device)
        self.cos, self.sin = rotary_table(model, capacity.prompt_tokens + capacity.new_tokens)
