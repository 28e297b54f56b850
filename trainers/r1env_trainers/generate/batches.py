"""Batches of completions that are being decoded: the interface that the sampler uses, two implementations, and drawing a token."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from r1env.engines import SamplingParams, derive_seed
from r1env.errors import EngineError
from r1env_trainers.model.attention import Packing, causal_attention
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.llama import Attend, Shape, all_weights, cached_hidden_states, compute_dtype, rotary_tables
from r1env_trainers.model.load import autocast
from r1env_trainers.model.logprobs import forbid, logits_of, restrict, restricts


@dataclass(frozen=True, slots=True)
class Drawn:
    """The next K tokens of R rows, all on the CPU.

    Attributes:
        rows: [R] int64, ascending.
        ids: [R, K] int64. A row that ends among them has further tokens behind its end, to be cut off.
        logprobs: [R, K] float32, under the distribution they were drawn from.
        ready: returns once `ids` and `logprobs` have arrived; they may not be read before.
    """

    rows: Tensor
    ids: Tensor
    logprobs: Tensor
    ready: Callable[[], object] = lambda: None


class Batch(Protocol):
    """Completions that are being decoded: row p * n + k is completion k of prompt p. Rows may wait until others have ended.

    Attributes:
        ahead: how many more `Drawn` to request before reading the first, so that a device never waits for its host.
    """

    ahead: int

    def advance(self) -> Drawn | None:
        """Return the next tokens of some rows; None when every row has ended or has all its tokens."""

    def end(self, rows: Tensor) -> None:
        """Stop drawing tokens of these rows [R], which are complete."""


Start = Callable[[Sequence[Sequence[int]], SamplingParams], Batch]
"""Begin a batch of P prompts (token ids, none empty)."""


# Drawing one token per row from logits.


class Draw:
    """Draws the next token of rows in step, and knows which tokens each of them has seen where a repetition penalty asks for it."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, device: torch.device, forbidden: int | None
    ) -> None:
        """
        Args:
            prompts: P lists of token ids, for P * params.n rows in prompt-major order.
            forbidden: a token that is never drawn.
        """
        self._prompts, self._params, self._forbidden = prompts, params, forbidden
        self._generator = torch.Generator(device=device).manual_seed(params.seed)
        self._seen: Tensor | None = None  # [R, V]

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next tokens [R] and their log-probs [R], from logits [R, V]; see `draw`."""
        if self._params.repetition_penalty != 1:
            if self._seen is None:
                of_prompts = torch.zeros((len(self._prompts), logits.shape[1]), dtype=torch.bool)
                for seen, prompt in zip(of_prompts, self._prompts, strict=True):
                    seen[torch.tensor(prompt)] = True
                self._seen = of_prompts.to(logits.device).repeat_interleave(self._params.n, dim=0)
            logits = penalize(logits, self._seen, self._params.repetition_penalty)
        token, logprob = draw(logits, self._params, self._generator, self._forbidden)
        if self._seen is not None:
            self._seen.scatter_(1, token[:, None], True)
        return token, logprob

    def keep(self, rows: Tensor) -> None:
        """Continue with these rows only, given by their places among the present ones."""
        if self._seen is not None:
            self._seen = self._seen[rows]


def draw(
    logits: Tensor, params: SamplingParams, generator: torch.Generator, forbidden: int | None = None
) -> tuple[Tensor, Tensor]:
    """Draw one token per row.

    Args:
        logits: [B, V] float32; overwritten.
        params: temperature 0 takes the likeliest token; else only tokens that `top_k`, `top_p` and `min_p` leave are drawn.
        forbidden: a token that is never drawn.

    Returns:
        Tokens [B] (int64), and their log-probs [B] under the distribution drawn from (the unscaled one where greedy).
    """
    logits = forbid(logits, forbidden)
    if params.temperature == 0:
        token = logits.argmax(dim=-1)
        return token, logits.log_softmax(dim=-1).gather(1, token[:, None]).squeeze(1)
    logprobs = (logits / params.temperature).log_softmax(dim=-1)
    if restricts(params):
        logprobs = restrict(logprobs, top_k=params.top_k, top_p=params.top_p, min_p=params.min_p).log_softmax(dim=-1)
    # The Gumbel-max trick in its exponential form: argmax p/e with e ~ Exp(1) is a draw from p, and needs no CPU round trip.
    noise = torch.empty_like(logprobs).exponential_(generator=generator)
    token = (logprobs.exp() / noise).argmax(dim=-1)
    return token, logprobs.gather(1, token[:, None]).squeeze(1)


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Return logits [B, V] with those of the tokens `seen` [B, V] divided by the penalty if they are positive, else multiplied by it."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


# Static batching: all rows are at the same token. For decoders without slots.


class RowsInStep(Protocol):
    """Rows that were started together, in prompt-major order."""

    def advance(self) -> tuple[Tensor, Tensor]:
        """Return the next token of every row: ids [R] int64 and their log-probs [R] float32."""

    def keep(self, rows: Tensor) -> None:
        """Continue with these rows only, given by their places among the present ones, ascending."""


StartInStep = Callable[[Sequence[Sequence[int]], SamplingParams], RowsInStep]
"""Like `Start`, for rows in step."""


class Lockstep:
    """A `Batch` of rows in step; ended rows leave immediately. With `max_rows`, as many whole groups as fit are decoded at a time,
    each time under another seed."""

    ahead = 0

    def __init__(
        self,
        start: StartInStep,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        max_rows: int | None = None,
    ) -> None:
        self._start, self._prompts, self._params = start, prompts, params
        self._prompts_at_once = max(1, max_rows // params.n) if max_rows else len(prompts)
        self._begun = 0  # prompts
        self._rows = torch.empty(0, dtype=torch.long)  # [R] under way
        self._drawn = 0
        self._in_step: RowsInStep

    def advance(self) -> Drawn | None:
        if not len(self._rows):
            if self._begun == len(self._prompts):
                return None
            self._begin()
        rows = self._rows
        ids, logprobs = self._in_step.advance()
        self._drawn += 1
        if self._drawn == self._params.max_new_tokens:
            self._rows = rows[:0]
        return Drawn(rows, ids.cpu()[:, None], logprobs.cpu()[:, None])

    def end(self, rows: Tensor) -> None:
        kept = torch.isin(self._rows, rows, invert=True).nonzero().squeeze(1)
        self._rows = self._rows[kept]
        if len(kept):
            self._in_step.keep(kept)

    def _begin(self) -> None:
        first = self._begun
        prompts = self._prompts[first : first + self._prompts_at_once]
        self._begun += len(prompts)
        self._rows = torch.arange(first * self._params.n, self._begun * self._params.n)
        self._in_step = self._start(prompts, self._params.model_copy(update={"seed": _seed_from(self._params.seed, first)}))
        self._drawn = 0


def _seed_from(seed: int, first: int) -> int:
    """Return the seed of the rows from prompt `first` on: `seed` itself for the first ones, and never a neighbour's (seed + 1)."""
    return derive_seed(seed, first) if first else seed


# Decoding Llama-shaped models with plain torch operations, on any device.


class LlamaBatch:
    """Keys and values are one tensor per layer, [rows at the start, kv_heads, L + T, D]: prompts end at column L, padded on the
    left, so that the token drawn at step t is at column L + t in every row. The first R rows of the cache are in use: when rows
    end, the last ones move into their places, and nothing else is copied."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        forbidden: int | None = None,
    ) -> None:
        device, n = model.device, params.n
        self._draw = Draw(prompts, params, device, forbidden)
        self._shape = Shape.of(model.config)
        self._weights = all_weights(model, compute_dtype(device))
        lengths = [len(prompt) for prompt in prompts]
        self._columns = max(lengths)  # of the cache, in use
        self._capacity = self._columns + params.max_new_tokens
        self._rotaries = rotary_tables(model, self._capacity)
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
        token, logprob = self._draw(self._logits)
        self._token = torch.empty_like(token).index_copy_(0, self._places, token)
        self._logits = None
        return token, logprob

    def keep(self, rows: Tensor) -> None:
        self._draw.keep(rows)
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
        """Run every prompt once and copy its keys and values to its n rows; return the logits [R, V] of the first token."""
        device, shape = self._weights.norm.device, self._shape
        packing = Packing.of([len(prompt) for prompt in prompts], device)
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=device)
        ends = packing.starts[1:].long()
        prompt = torch.repeat_interleave(torch.arange(len(prompts), device=device), packing.starts.diff(), output_size=len(ids))
        column = self._columns - ends[prompt] + torch.arange(len(ids), device=device)

        def attend_in(layer: int) -> Attend:
            return lambda queries, keys, values: attend(queries, keys, values, shape.window_of(layer))

        def attend(queries: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
            for cache, new in ((self._keys, keys), (self._values, values)):
                # Zeros on padding: they are multiplied with a probability of 0, and 0 times NaN would be NaN.
                padded = new.new_zeros((len(prompts), shape.kv_heads, self._columns, shape.head_dim))
                padded[prompt, :, column] = new
                whole = new.new_empty((len(prompts) * n, shape.kv_heads, self._capacity, shape.head_dim))
                whole[:, :, : self._columns] = padded.repeat_interleave(n, dim=0)
                cache.append(whole)
            return causal_attention(queries, keys, values, packing, shape.scale, window)

        hidden = self._run(ids, packing.positions, list(map(attend_in, range(shape.layers))))
        return logits_of(hidden[ends - 1], self._weights.head).repeat_interleave(n, dim=0)

    def _attend_to_cache(self, layer: int) -> Attend:
        def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            used, rows, window = self._columns, len(keys), self._shape.window_of(layer)
            first = max(0, used - window) if window else 0  # of the columns seen: all rows end at the same
            self._keys[layer][:rows, :, used - 1] = keys
            self._values[layer][:rows, :, used - 1] = values
            # The heads that share keys take the place of a sequence of queries, so that no key is ever repeated.
            attended = scaled_dot_product_attention(
                queries.unflatten(1, (self._shape.kv_heads, -1)),
                self._keys[layer][:rows, :, first:used],
                self._values[layer][:rows, :, first:used],
                attn_mask=None if self._mask is None else self._mask[:rows, None, None, first:used],
                scale=self._shape.scale,
            )
            return attended.flatten(1)

        return attend

    def _run(self, ids: Tensor, positions: Tensor, attends: Sequence[Attend]) -> Tensor:
        rotaries = [(cos[positions], sin[positions]) for cos, sin in self._rotaries]
        return cached_hidden_states(ids, self._weights, rotaries, self._shape, attends)


# Decoding with transformers' own forward pass and cache: any causal language model, on any device.


SHARED_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
"""Caches of keys and values alone, whose rows can be repeated and dropped. States of linear attention, of convolutions and of state spaces
cannot, in transformers 5."""


class TransformersBatch:
    """One prefill per prompt, shared by its completions; rows that have ended leave the cache.

    Where the cache holds anything but keys and values, every completion has a prefill of its own, and rows that have ended stay in the
    cache and are computed along, unread.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad: int,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        forbidden: int | None = None,
    ) -> None:
        n, self._model = params.n, model
        self._draw = Draw(prompts, params, model.device, forbidden)
        self._cache = DynamicCache(config=model.config)
        self._cache_name = _cache_argument(model)
        self._shares = all(type(layer) in SHARED_LAYERS for layer in self._cache.layers)
        ids, mask = left_pad(prompts if self._shares else [one for one in prompts for _ in range(n)], pad, model.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        self._logits: Tensor | None = self._forward(ids, mask, positions)  # [R, V]
        if self._shares and n > 1:
            self._logits, mask = self._logits.repeat_interleave(n, dim=0), mask.repeat_interleave(n, dim=0)
            self._cache.batch_repeat_interleave(n)
        self._mask = mask  # [R, L], grows by one column per token
        self._token = ids.new_zeros(len(self._mask))  # [R], of all rows in the cache
        self._live = torch.arange(len(self._mask), device=model.device)  # their places in the cache

    def advance(self) -> tuple[Tensor, Tensor]:
        if self._logits is None:
            self._mask = torch.cat([self._mask, self._mask.new_ones((len(self._mask), 1))], dim=1)
            whole = self._forward(self._token[:, None], self._mask, self._mask.sum(dim=1, keepdim=True) - 1)
            self._logits = whole if self._shares else whole[self._live]
        token, logprob = self._draw(self._logits)
        self._token = token if self._shares else self._token.index_copy(0, self._live, token)
        self._logits = None
        return token, logprob

    def keep(self, rows: Tensor) -> None:
        self._draw.keep(rows)
        if not self._shares:
            self._live = self._live[rows]
            return
        self._token, self._mask = self._token[rows], self._mask[rows]
        self._cache.batch_select_indices(rows)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        # A model without attention reads a mask as one of the new tokens alone, which are no padding.
        unmasked = self._cache_name == "cache_params" and ids.shape[1] == 1
        with autocast(self._model.device):
            output = self._model(
                input_ids=ids,
                attention_mask=None if unmasked else mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{self._cache_name: self._cache},
            )
        logits: Tensor = output.logits[:, -1].float()
        return logits


def _cache_argument(model: PreTrainedModel) -> str:
    """Return the name under which a model takes its cache; under another one it would ignore it, and see the newest token alone.

    Raises:
        EngineError: it takes none.
    """
    parameters = inspect.signature(model.forward).parameters
    for name in ("past_key_values", "cache_params"):
        if name in parameters:
            return name
    raise EngineError(f"{type(model).__name__} takes no cache, so it cannot be sampled token by token; see docs/models.md")
