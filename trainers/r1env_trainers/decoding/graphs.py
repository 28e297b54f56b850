"""Decoding on a GPU: one CUDA graph a step, over a cache that stays where it is.

A row's keys and values keep their slot for the whole batch; when rows end, the graph of the next smaller size runs over the
slots that are left. Graphs, cache and weights last as long as the decoder, so a training step captures nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.decoding.batch import Draws
from r1env_trainers.decoding.draw import nucleus
from r1env_trainers.decoding.kernels import append_and_attend, draw_into
from r1env_trainers.decoding.sizes import graph_size
from r1env_trainers.llama.attention import Packing, causal_attention
from r1env_trainers.llama.forward import cached_hidden_states, compute_dtype, rotary_table
from r1env_trainers.llama.layers import Attend
from r1env_trainers.llama.shape import Shape
from r1env_trainers.llama.weights import all_weights, refresh
from r1env_trainers.logprobs import logits_of

PROMPT_BLOCK = 64
"""Prompt columns are reserved in multiples of this, so that a slightly longer prompt needs no new cache."""


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


class DeviceState:
    """Everything that a graph reads and writes. S = rows + 1 slots: the last is scratch, for the rows that fill up a graph.

    Attributes:
        prompt_keys, prompt_values: [layers, P, kv_heads, L, D].
        own_keys, own_values: [layers, S, kv_heads, T, D].
        prompt_lengths: [P]. groups: [S], the prompt of each slot.
        live: [graph_size(rows)] slots under way, scratch behind them.
        drawn: [1] tokens drawn so far. last: [S] the newest. ids, logprobs: [S, T] all of them.
        seed, temperature, top_p: [1].
        cos, sin: [L + T, D].
    """

    def __init__(self, model: PreTrainedModel, capacity: Capacity) -> None:
        shape, device = Shape.of(model.config), model.device
        tail = (shape.head_dim,)
        prompt = (shape.layers, capacity.prompts, shape.kv_heads, capacity.prompt_tokens, *tail)
        own = (shape.layers, capacity.rows + 1, shape.kv_heads, capacity.new_tokens, *tail)
        dtype = compute_dtype(device)
        self.capacity = capacity
        self.prompt_keys = torch.empty(prompt, dtype=dtype, device=device)
        self.prompt_values = torch.empty_like(self.prompt_keys)
        self.own_keys = torch.empty(own, dtype=dtype, device=device)
        self.own_values = torch.empty_like(self.own_keys)
        self.prompt_lengths = torch.ones(capacity.prompts, dtype=torch.int32, device=device)
        self.groups = torch.zeros(capacity.rows + 1, dtype=torch.int32, device=device)
        self.live = torch.full((graph_size(capacity.rows),), capacity.rows, dtype=torch.int32, device=device)
        self.drawn = torch.ones(1, dtype=torch.int32, device=device)
        self.last = torch.zeros(capacity.rows + 1, dtype=torch.long, device=device)
        self.ids = torch.zeros((capacity.rows + 1, capacity.new_tokens), dtype=torch.long, device=device)
        self.logprobs = torch.zeros((capacity.rows + 1, capacity.new_tokens), dtype=torch.float32, device=device)
        self.seed = torch.zeros(1, dtype=torch.long, device=device)
        self.temperature = torch.ones(1, dtype=torch.float32, device=device)
        self.top_p = torch.ones(1, dtype=torch.float32, device=device)
        self.cos, self.sin = rotary_table(model, capacity.prompt_tokens + capacity.new_tokens)


class GraphDecoder:
    """Decodes one batch at a time; `start` begins the next one and forgets the last."""

    stride = 8  # tokens drawn beyond an end are thrown away; looking costs a wait for the GPU

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._shape = Shape.of(model.config)
        with torch.no_grad():
            self._weights = all_weights(model, compute_dtype(model.device))
        self._state = DeviceState(model, Capacity(1, PROMPT_BLOCK, 1, 1))
        self._graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self._slots = torch.empty(0)  # [R] of the live rows
        self._nucleus = False
        self._drawn = 0  # what `drawn` is on the device
        self._given = 0  # tokens that `advance` has returned

    @torch.no_grad()
    def start(self, prompts: Sequence[Sequence[int]], n: int, max_new_tokens: int, draws: Draws) -> GraphDecoder:
        """See `Start`."""
        refresh(self._weights, self._model)
        longest = max(len(prompt) for prompt in prompts)
        self._reserve(Capacity(len(prompts), -(-longest // PROMPT_BLOCK) * PROMPT_BLOCK, len(prompts) * n, max_new_tokens))
        state, device = self._state, self._model.device
        state.prompt_lengths[: len(prompts)] = torch.tensor([len(prompt) for prompt in prompts], device=device)
        slots = torch.arange(len(prompts) * n, device=device, dtype=torch.int32)
        state.groups[: len(slots)] = slots // n
        state.seed.fill_(draws.seed)
        state.temperature.fill_(draws.temperature)
        state.top_p.fill_(draws.top_p)
        state.drawn.zero_()
        self._nucleus = draws.top_p < 1 and draws.temperature > 0
        self._use(slots)
        self._draw(self._prefill(prompts).repeat_interleave(n, dim=0), slots, self._nucleus)
        self._drawn, self._given = 1, 0
        return self

    @torch.no_grad()
    def advance(self, count: int) -> tuple[Tensor, Tensor]:
        while self._drawn < self._given + count:
            self._graph().replay()
            self._drawn += 1
        columns = slice(self._given, self._given + count)
        self._given += count
        return self._state.ids[self._slots, columns], self._state.logprobs[self._slots, columns]

    def keep(self, rows: Tensor) -> None:
        self._use(self._slots[rows])

    def _reserve(self, wanted: Capacity) -> None:
        """Make room; graphs know the old addresses and go with the old cache."""
        capacity = self._state.capacity.with_room_for(wanted)
        if capacity != self._state.capacity:
            self._graphs.clear()
            del self._state  # before the next is made: both may not fit
            self._state = DeviceState(self._model, capacity)

    def _use(self, slots: Tensor) -> None:
        self._slots = slots
        self._state.live.fill_(self._state.capacity.rows)
        self._state.live[: len(slots)] = slots

    def _graph(self) -> torch.cuda.CUDAGraph:
        """The graph of a step over as many rows as are live, captured when first wanted."""
        key = (graph_size(len(self._slots)), self._nucleus)
        if key not in self._graphs:
            self._graphs[key] = self._capture(*key)
        return self._graphs[key]

    def _capture(self, size: int, keep_nucleus: bool) -> torch.cuda.CUDAGraph:
        live, drawn = self._state.live.clone(), self._state.drawn.clone()
        # Once without a graph, so that everything is compiled; on scratch, so that no row sees it.
        self._state.live.fill_(self._state.capacity.rows)
        self._state.drawn.fill_(1)
        self._step(size, keep_nucleus, warm_up=True)
        self._state.drawn.copy_(drawn)
        self._state.live.copy_(live)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        with torch.cuda.graph(graph, pool=pool):
            self._step(size, keep_nucleus)
        return graph

    def _step(self, size: int, keep_nucleus: bool, *, warm_up: bool = False) -> None:
        """Run the newest token of the first `size` live rows through the network, and draw the next."""
        state, shape = self._state, self._shape
        slots = state.live[:size]
        positions = state.prompt_lengths[state.groups[slots]] + (state.drawn - 1)

        def attend_in(layer: int) -> Attend:
            def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
                return append_and_attend(
                    queries,
                    keys,
                    values,
                    state.prompt_keys[layer],
                    state.prompt_values[layer],
                    state.own_keys[layer],
                    state.own_values[layer],
                    slots,
                    state.groups,
                    state.prompt_lengths,
                    state.drawn,
                    shape.scale,
                )

            return attend

        hidden = self._run(state.last[slots], positions, [attend_in(layer) for layer in range(shape.layers)])
        if warm_up:
            state.drawn.zero_()  # a cache of a single column has no second to write
        self._draw(logits_of(hidden, self._weights.head), slots, keep_nucleus)

    def _draw(self, logits: Tensor, slots: Tensor, keep_nucleus: bool) -> None:
        state = self._state
        if keep_nucleus:
            outside = nucleus((logits / state.temperature).log_softmax(dim=-1), state.top_p).isneginf()
            logits = logits.masked_fill(outside, float("-inf"))
        draw_into(logits, slots, state.drawn, state.seed, state.temperature, state.last, state.ids, state.logprobs)
        state.drawn += 1

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Run every prompt once and keep its keys and values; logits [P, V] of the first token."""
        state, shape = self._state, self._shape
        packing = Packing.of([len(prompt) for prompt in prompts], state.drawn.device)
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=state.drawn.device)
        group = torch.repeat_interleave(
            torch.arange(len(prompts), device=ids.device), packing.starts.diff(), output_size=len(ids)
        )

        def attend_in(layer: int) -> Attend:
            def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
                state.prompt_keys[layer][group, :, packing.positions] = keys
                state.prompt_values[layer][group, :, packing.positions] = values
                return causal_attention(queries, keys, values, packing, shape.scale)

            return attend

        hidden = self._run(ids, packing.positions, [attend_in(layer) for layer in range(shape.layers)])
        return logits_of(hidden[packing.starts[1:].long() - 1], self._weights.head)

    def _run(self, ids: Tensor, positions: Tensor, attends: Sequence[Attend]) -> Tensor:
        rotary = (self._state.cos[positions], self._state.sin[positions])
        return cached_hidden_states(ids, self._weights, rotary, self._shape, attends)
