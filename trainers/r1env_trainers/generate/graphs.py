"""Decoding on a GPU: one CUDA graph per step, over a KV cache of slots at fixed addresses (continuous batching).

A row keeps its slot until it ends; then a waiting row takes it, or, where none waits, a graph of a smaller size runs over the
slots that are left. Graphs, cache and weights last as long as the decoder, so a training step captures nothing new. The host
queues steps before it has read the results of the last ones, so the device never waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env.engines import SamplingParams
from r1env_trainers.generate.batches import Drawn
from r1env_trainers.generate.cache import Capacity, DeviceState, Slots, graph_size, leaves_room, memory_budget, token_bytes
from r1env_trainers.generate.kernels import draw_into
from r1env_trainers.generate.step import FEW_ROWS, newest_hidden_states
from r1env_trainers.model.attention import Packing, causal_attention
from r1env_trainers.model.llama import Attend, Shape, all_weights, cached_hidden_states, compute_dtype, refresh
from r1env_trainers.model.logprobs import forbid, logits_of, restrict, restricts

logger = logging.getLogger(__name__)

PROMPT_BLOCK = 64
"""Reserve prompt columns in multiples of this, so that a slightly longer prompt needs no new cache."""
NOTHING = Capacity(1, PROMPT_BLOCK, 1, 1)
PREFILL_TOKENS = 65_536
"""Prompts that go through the network at once, unless one is longer: enough to keep an H200 busy, and what they compute fits."""
STRIDE = 4
LONG_STRIDE = 16
"""Steps queued at once, at the start and for long rows. Two strides are pending, so up to twice as many tokens are drawn behind the end
of a row: with a stride of at most 1/64 of what the rows have, that is little, and a busy host is asked seldom."""
TRIAL_TOLERANCE = 0.1
"""How far hidden states of our own matrix products may lie from torch's, relative to their norm, both in the format of the device:
rounding to bfloat16 is a tenth of it."""


class Restriction(NamedTuple):
    """What a graph leaves of the distribution, see `restrict`. The values that are part of a graph; that of `top_p` is read when it runs."""

    top_k: int = 0
    nucleus: bool = False
    min_p: float = 0.0


UNRESTRICTED = Restriction()


class GraphDecoder:
    """Decodes one batch at a time; `start` begins the next one and drops the last.

    Args:
        max_rows: the most slots; None for as many as there are rows, or as memory allows.
        forbidden: a token that is never drawn.
    """

    def __init__(self, model: PreTrainedModel, max_rows: int | None = None, forbidden: int | None = None) -> None:
        self._model, self._max_rows, self._forbidden = model, max_rows, forbidden
        self._shape = Shape.of(model.config)
        with torch.no_grad():
            self._weights = all_weights(model, compute_dtype(model.device))
        self._graphs: dict[tuple[int, Restriction], torch.cuda.CUDAGraph] = {}
        self._asked = NOTHING  # what the cache was last asked to hold; it may be smaller
        self._state = DeviceState(model, NOTHING)
        self._few = FEW_ROWS if model.device.type == "cuda" else 0
        self._tried = False  # whether our own matrix products have been compared with torch's
        self._live = 0  # rows of a step
        self._restriction = UNRESTRICTED

    @torch.no_grad()
    def start(self, prompts: Sequence[Sequence[int]], params: SamplingParams) -> GraphBatch:
        """See `Start`."""
        refresh(self._weights, self._model)
        longest = -(-max(len(prompt) for prompt in prompts) // PROMPT_BLOCK) * PROMPT_BLOCK
        self._reserve(Capacity(len(prompts), longest, len(prompts) * params.n, params.max_new_tokens))
        state = self._state
        state.seed.fill_(params.seed)
        state.temperature.fill_(params.temperature)
        state.top_p.fill_(params.top_p)
        self._restriction = Restriction(params.top_k, params.top_p < 1, params.min_p) if restricts(params) else UNRESTRICTED
        return GraphBatch(self, prompts, params.n, params.max_new_tokens)

    @property
    def capacity(self) -> Capacity:
        """The shape of the cache."""
        return self._state.capacity

    @torch.no_grad()
    def begin(
        self, rows: Sequence[int], slots: Sequence[int], groups: Sequence[int], prompts: dict[int, Sequence[int]]
    ) -> Drawn:
        """Run the prompts of new rows and draw their first tokens.

        Args:
            rows, slots, groups: the number of each row, its slot, and its prompt's place.
            prompts: by their places.
        """
        state, places = self._state, list(prompts)
        slot, group, row = self._on_device([slots, groups, rows])
        state.groups[slot], state.rows[slot] = group, row
        state.drawn[slot] = 0
        lengths = [len(prompt) for prompt in prompts.values()]
        passes = chunks(lengths, PREFILL_TOKENS)
        logits = torch.cat([self._prefill([prompts[place] for place in places[some]], places[some]) for some in passes])
        which_prompt = {place: which for which, place in enumerate(places)}
        (which,) = self._on_device([[which_prompt[group] for group in groups]])
        self._draw(logits[which], slot, self._restriction)
        return self._newest(rows, slot, 1)

    @torch.no_grad()
    def step(self, rows: Sequence[int], slots: Sequence[int], count: int) -> Drawn:
        """Draw the next `count` tokens of these rows."""
        size = graph_size(len(slots))
        (live,) = self._on_device([[*slots, *[self._state.capacity.rows] * (size - len(slots))]])
        self._state.live[:size] = live
        self._state.drawn[-1:].fill_(1)  # rows that only pad a graph shall have little to attend to
        self._live = len(slots)
        graph = self._graph()
        for _ in range(count):
            graph.replay()
        return self._newest(rows, live[: len(slots)], count)

    def rest(self) -> None:
        """Free the cache, and with it the graphs, if an update could not do with what it leaves."""
        size = self.capacity.size(token_bytes(self._shape, compute_dtype(self._model.device)), 0)
        if self._asked == NOTHING or leaves_room(self._model, size):
            return
        self._graphs.clear()
        del self._state
        torch.cuda.empty_cache()
        self._asked, self._state = NOTHING, DeviceState(self._model, NOTHING)

    def _reserve(self, wanted: Capacity) -> None:
        """Make the cache large enough, as far as memory allows. Graphs hold addresses, so they are dropped with the old cache."""
        asked = self._asked.with_room_for(wanted)
        if asked == self._asked:
            return
        self._graphs.clear()
        del self._state  # first: there may not be room for both
        device, vocabulary = self._model.device, self._weights.head.shape[0]
        limited = asked.with_rows(self._max_rows or asked.rows)
        token = token_bytes(self._shape, compute_dtype(device))
        self._state = DeviceState(self._model, limited.within(memory_budget(device), token, vocabulary))
        self._asked = asked

    def _on_device(self, values: Sequence[Sequence[int]]) -> Tensor:
        """Copy integers to the device as int32, without waiting for it."""
        on_host = torch.tensor(values, dtype=torch.int32)
        if self._model.device.type != "cuda":
            return on_host
        return on_host.pin_memory().to(self._model.device, non_blocking=True)

    def _newest(self, rows: Sequence[int], slots: Tensor, count: int) -> Drawn:
        """Return the last `count` tokens of rows, being copied to the CPU behind everything queued so far."""
        state = self._state
        columns = (state.drawn[slots] - count)[:, None] + torch.arange(count, device=slots.device)
        ids, logprobs = (of[slots[:, None], columns].to("cpu", non_blocking=True) for of in (state.ids, state.logprobs))
        if slots.device.type != "cuda":
            return Drawn(torch.tensor(rows), ids, logprobs)
        arrived: Any = torch.cuda.Event()
        arrived.record()
        return Drawn(torch.tensor(rows), ids, logprobs, arrived.synchronize)

    def _graph(self) -> torch.cuda.CUDAGraph:
        """Return the graph of a step over as many rows as are live; capture it on first use."""
        key = (graph_size(self._live), self._restriction)
        if key not in self._graphs:
            if not self._tried and key[0] <= self._few:
                self._try_few(key[0])
            self._graphs[key] = self._capture(*key)
        return self._graphs[key]

    def _try_few(self, size: int) -> None:
        """Compare our own matrix products with torch's on the rows of the next step, and leave them out if they disagree."""
        slots = self._state.live[:size]
        ours, theirs = (
            newest_hidden_states(self._weights, self._shape, self._state, slots, few)[: self._live].float()
            for few in (self._few, 0)
        )
        gap = float((ours - theirs).norm() / theirs.norm())
        self._tried = True
        if not gap <= TRIAL_TOLERANCE:
            logger.warning("the matrix products of few rows are off by %.2g; using torch's instead", gap)
            self._few = 0

    def _capture(self, size: int, restriction: Restriction) -> torch.cuda.CUDAGraph:
        live = self._state.live.clone()
        # Run once without a graph, which compiles everything; on the scratch slot, so that no row is changed.
        self._state.live.fill_(self._state.capacity.rows)
        self._step(size, restriction)
        self._state.live.copy_(live)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        with torch.cuda.graph(graph, pool=pool):
            self._step(size, restriction)
        return graph

    def _step(self, size: int, restriction: Restriction) -> None:
        """Run the newest token of the first `size` live rows through the network, and draw the next."""
        slots = self._state.live[:size]
        hidden = newest_hidden_states(self._weights, self._shape, self._state, slots, self._few)
        self._draw(logits_of(hidden, self._weights.head), slots, restriction)

    def _draw(self, logits: Tensor, slots: Tensor, restriction: Restriction) -> None:
        state = self._state
        logits = forbid(logits, self._forbidden)
        if restriction != UNRESTRICTED:
            logprobs = (logits / state.temperature).log_softmax(dim=-1)
            top_p = state.top_p if restriction.nucleus else 1.0
            outside = restrict(logprobs, top_k=restriction.top_k, top_p=top_p, min_p=restriction.min_p).isneginf()
            logits = logits.masked_fill(outside, float("-inf"))
        draw_into(
            logits,
            slots,
            state.rows,
            state.drawn,
            state.seed,
            state.temperature,
            state.last,
            state.ids,
            state.logprobs,
            state.arrivals,
        )

    def _prefill(self, prompts: Sequence[Sequence[int]], places: Sequence[int]) -> Tensor:
        """Run every prompt once and keep its keys and values at its place; return the logits [P, V] of the first token."""
        state, shape, lengths = self._state, self._shape, [len(prompt) for prompt in prompts]
        packing = Packing.of(lengths, state.drawn.device)
        (ids,) = self._on_device([[token for prompt in prompts for token in prompt]])
        place, length = self._on_device([places, lengths])
        state.prompt_lengths[place] = length
        of_token = torch.repeat_interleave(place, packing.starts.diff(), output_size=len(ids))

        def attend_in(layer: int) -> Attend:
            def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
                state.prompt_keys[layer][of_token, :, packing.positions] = keys
                state.prompt_values[layer][of_token, :, packing.positions] = values
                return causal_attention(queries, keys, values, packing, shape.scale, shape.window_of(layer))

            return attend

        rotaries = [(cos[packing.positions], sin[packing.positions]) for cos, sin in state.rotaries]
        attends = [attend_in(layer) for layer in range(shape.layers)]
        hidden = cached_hidden_states(ids, self._weights, rotaries, shape, attends)
        return logits_of(hidden[packing.starts[1:].long() - 1], self._weights.head)


def stride(shortest: int) -> int:
    """Return how many steps to queue at once, when the row with the fewest tokens has so many."""
    return min(LONG_STRIDE, max(STRIDE, shortest // 64))


def chunks(lengths: Sequence[int], most: int) -> list[slice]:
    """Cut a sequence of prompts into runs of at most `most` tokens; a longer prompt is a run of its own."""
    runs, first, total = list[slice](), 0, 0
    for place, length in enumerate(lengths):
        if place > first and total + length > most:
            runs.append(slice(first, place))
            first, total = place, 0
        total += length
    return [*runs, slice(first, len(lengths))]


class GraphBatch:
    """A `Batch` in the slots of a decoder; waiting rows take the slots of ended ones."""

    ahead = 1

    def __init__(self, decoder: GraphDecoder, prompts: Sequence[Sequence[int]], n: int, max_new_tokens: int) -> None:
        self._decoder, self._prompts, self._n = decoder, prompts, n
        self._max_new_tokens = max_new_tokens
        capacity, rows = decoder.capacity, len(prompts) * n
        self._slots = Slots(rows, n, capacity.rows, capacity.prompts)
        self._drawn = [0] * rows  # tokens of each row, pending ones included

    def advance(self) -> Drawn | None:
        if begun := self._slots.begin():
            return self._begin(begun)
        if not self._slots.live:
            self._decoder.rest()
            return None
        rows, slots = list(self._slots.live), list(self._slots.live.values())
        drawn_so_far = [self._drawn[row] for row in rows]
        count = min(stride(min(drawn_so_far)), self._max_new_tokens - max(drawn_so_far))
        drawn = self._decoder.step(rows, slots, count)
        self._advanced(rows, count)
        return drawn

    def end(self, rows: Tensor) -> None:
        self._slots.end(rows.tolist())

    def _begin(self, rows: Sequence[int]) -> Drawn:
        of = {row: row // self._n for row in rows}
        places = {prompt: self._slots.places[prompt] for prompt in of.values()}
        drawn = self._decoder.begin(
            rows,
            [self._slots.live[row] for row in rows],
            [places[prompt] for prompt in of.values()],
            {place: self._prompts[prompt] for prompt, place in places.items()},
        )
        self._advanced(rows, 1)
        return drawn

    def _advanced(self, rows: Sequence[int], count: int) -> None:
        """Count `count` more tokens of these rows as pending; rows that reach the limit thereby end without a look at their tokens."""
        for row in rows:
            self._drawn[row] += count
        self._slots.end([row for row in rows if self._drawn[row] == self._max_new_tokens])
