"""Log-probabilities (and entropies) of given completions under a model: the forward pass of every trainer."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from r1env.engines import SamplingParams
from r1env_trainers.model.attention import Packing, pack_prompts_once
from r1env_trainers.model.batching import micro_batches
from r1env_trainers.model.llama import Shape, compute_dtype, is_llama, packed_hidden_states
from r1env_trainers.model.load import FORWARD_PASSES, autocast, has_triton


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Prompts and completions side by side: prompts padded on the left, completions on the right.

    Attributes:
        prompt_ids, prompt_mask: [B, L] int64.
        completion_ids: [B, T] int64.
        completion_mask: [B, T] float32, 1 on tokens that count.
        context_mask: [B, T] bool, True on tokens that are read but do not count: what an environment said between the model's
            turns. None where there are none.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    context_mask: Tensor | None = None

    def __len__(self) -> int:
        return self.prompt_ids.shape[0]

    @property
    def present(self) -> Tensor:
        """[B, T] bool, True on every token, False on padding."""
        counting = self.completion_mask > 0
        return counting if self.context_mask is None else counting | self.context_mask

    @property
    def lengths(self) -> Tensor:
        """[B] number of tokens of each row, prompt and completion."""
        return self.prompt_mask.sum(dim=1) + self.present.sum(dim=1)

    def prompt_numbers(self) -> list[int]:
        """Return the number of each row's prompt; equal prompts have equal numbers."""
        numbers: dict[bytes, int] = {}
        ids = self.prompt_ids.masked_fill(self.prompt_mask == 0, -1).cpu().numpy()
        return [numbers.setdefault(row.tobytes(), len(numbers)) for row in ids]

    def select(self, rows: Tensor) -> TokenBatch:
        """Return some rows, without columns that are padding in all of them."""
        prompt_mask = self.prompt_mask[rows]
        prompt = int(prompt_mask.sum(dim=1).max())
        used = self.present[rows].any(dim=0).nonzero()
        completion = int(used.max()) + 1 if len(used) else 1
        return TokenBatch(
            self.prompt_ids[rows][:, self.prompt_ids.shape[1] - prompt :],
            prompt_mask[:, self.prompt_mask.shape[1] - prompt :],
            self.completion_ids[rows][:, :completion],
            self.completion_mask[rows][:, :completion],
            None if self.context_mask is None else self.context_mask[rows][:, :completion],
        )


def completion_logprobs(
    model: PreTrainedModel, batch: TokenBatch, temperature: float = 1.0, forbidden: int | None = None
) -> Tensor:
    """Return [B, T] float32 natural-log probabilities of the completion tokens that count; 0 elsewhere.

    Args:
        temperature: that they were sampled with; logits are divided by it.
        forbidden: a token that the sampler never draws (`LoadedModel.never_drawn`), which therefore has no probability.
    """
    found = predicted(model, batch)
    if found.head is not None:
        return _in_place(batch, linear_logprobs(found.features, found.head, found.ids, temperature, forbidden))
    return _in_place(batch, chosen(log_softmax(found.features, temperature, forbidden), found.ids))


def completion_logprobs_and_entropies(
    model: PreTrainedModel, batch: TokenBatch, temperature: float = 1.0, forbidden: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return `completion_logprobs`, and the entropies [B, T] (nats) of the distributions sampled from; both have gradients."""
    found = predicted(model, batch)
    if found.head is not None:
        logprobs, entropies = linear_logprobs_and_entropies(found.features, found.head, found.ids, temperature, forbidden)
    else:
        whole = log_softmax(found.features, temperature, forbidden)
        logprobs, entropies = chosen(whole, found.ids), entropies_of(whole)
    return _in_place(batch, logprobs), _in_place(batch, entropies)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a model predicts for the C tokens of a batch that count, row by row.

    Attributes:
        features: [C, H] hidden states to be multiplied by `head`, or [C, V] logits where there is none.
        head: [V, H].
        ids: [C] the tokens themselves.
    """

    features: Tensor
    head: Tensor | None
    ids: Tensor

    @property
    def vocabulary(self) -> int:
        return (self.features if self.head is None else self.head).shape[1 if self.head is None else 0]


def predicted(model: PreTrainedModel, batch: TokenBatch) -> Predicted:
    """Run the model over a batch in the cheapest way it offers: packed, or padded and without the logits of all tokens."""
    head = model.get_output_embeddings()
    if is_llama(model):
        hidden, ids = packed_predictors(model, batch)
        return Predicted(hidden, head.weight, ids)
    if has_plain_head(model):
        return Predicted(padded_hidden_states(model, batch), head.weight, packed_ids(batch))
    return Predicted(padded_logits(model, batch), None, packed_ids(batch))


def packed_logprobs(model: PreTrainedModel, batch: TokenBatch, temperature: float) -> Tensor:
    """Compute `completion_logprobs` of a Llama-shaped model: without padding, and with the logits of a chunk of tokens at a time."""
    hidden, ids = packed_predictors(model, batch)
    return _in_place(batch, linear_logprobs(hidden, model.get_output_embeddings().weight, ids, temperature))


def padded_logprobs(model: PreTrainedModel, batch: TokenBatch, temperature: float) -> Tensor:
    """Compute `completion_logprobs` of any model by transformers' forward pass and its own head, holding the logits of all tokens."""
    logprobs = (padded_logits(model, batch) / temperature).log_softmax(dim=-1)
    return _in_place(batch, chosen(logprobs, packed_ids(batch)))


def packed_predictors(model: PreTrainedModel, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """Return the hidden states [C, H] that predict the C tokens that count, row by row, and these tokens [C].

    On a CPU a prompt that several rows share goes through the model once.
    """
    no_prompt = torch.zeros_like(batch.prompt_mask, dtype=torch.bool)
    real = torch.cat([batch.prompt_mask > 0, batch.present], dim=1)  # [B, L + T]
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)[real]  # [M]
    counting = torch.cat([no_prompt, batch.completion_mask > 0], dim=1)[real]  # [M]
    predicting = counting.nonzero().squeeze(1) - 1  # the token before predicts a token, and no prompt is empty
    if not shares_prompts(model):
        packing = Packing.of(real.sum(dim=1).tolist(), ids.device)
        return packed_hidden_states(model, ids, packing)[predicting], ids[counting]
    prompts, completions = (mask.sum(dim=1).tolist() for mask in (batch.prompt_mask, batch.present))
    packing, places = pack_prompts_once(prompts, completions, batch.prompt_numbers(), ids.device)
    packed = ids.new_empty(len(packing.positions)).index_copy(0, places, ids)  # what falls on one place is one token
    return packed_hidden_states(model, packed, packing).index_select(0, places[predicting]), ids[counting]


def shares_prompts(model: PreTrainedModel) -> bool:
    """Return whether rows share one copy of their prompt in the forward pass: Llama-shaped models without windows on a CPU.

    On a GPU attention needs the keys of a row in one piece, and its backward pass would have to sum those of the copies.
    """
    return model.device.type == "cpu" and is_llama(model) and not Shape.of(model.config).window


def micro_batches_of(batch: TokenBatch, model: PreTrainedModel, rows: int | None) -> list[list[int]]:
    """Return the rows of each forward pass over a batch, see `micro_batches`; rows that share a prompt stay together."""
    groups = batch.prompt_numbers() if shares_prompts(model) else None
    return micro_batches(batch.lengths.tolist(), model, rows, groups, recomputing=is_llama(model))


def _in_place(batch: TokenBatch, values: Tensor) -> Tensor:
    """Return [B, T] with the values of the C tokens that count in their places, 0 elsewhere."""
    return torch.zeros_like(batch.completion_mask).masked_scatter(batch.completion_mask > 0, values)


def packed_ids(batch: TokenBatch) -> Tensor:
    """Return [C], the completion tokens that count, row by row."""
    return batch.completion_ids[batch.completion_mask > 0]


# transformers' forward pass. Rows are padded on the right and need no mask: a causal model looks at nothing behind a token, and every
# token, padding too, sees itself. With padding on the left its tokens see nothing at all, in every layer, and so do those that lie more
# than a sliding window behind a row's end; what attention makes of a row of scores that are all minus infinity is up to the kernel,
# and NaN times a probability of 0 is NaN. Without a mask attention is also free to take its fastest kernel.


def right_padded(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """Return ids [B, W], each row's prompt and completion in one piece from column 0 on, and [B, T] the columns of the completion."""
    prompts = batch.prompt_mask.sum(dim=1, keepdim=True)  # [B, 1]
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)
    columns = torch.arange(int(batch.lengths.max()), device=ids.device)
    shifted = (columns + batch.prompt_ids.shape[1] - prompts).clamp(max=ids.shape[1] - 1)
    return ids.gather(1, shifted), prompts + torch.arange(batch.completion_ids.shape[1], device=ids.device)


def padded_hidden_states(model: PreTrainedModel, batch: TokenBatch) -> Tensor:
    """Return [C, H] hidden states that predict the tokens that count, by transformers' forward pass, ready for the head."""
    ids, columns = right_padded(batch)
    with autocast(model.device):
        hidden: Tensor = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    rows, places = (batch.completion_mask > 0).nonzero(as_tuple=True)
    return hidden[rows, columns[rows, places] - 1].to(compute_dtype(model.device))


def padded_logits(model: PreTrainedModel, batch: TokenBatch) -> Tensor:
    """Return [C, V] float32 logits that predict the tokens that count."""
    ids, columns = right_padded(batch)
    first = int(columns[:, 0].min()) - 1  # nothing before it predicts a token of a completion
    with autocast(model.device):
        output = model(input_ids=ids, logits_to_keep=ids.shape[1] - first, use_cache=False)
    rows, places = (batch.completion_mask > 0).nonzero(as_tuple=True)
    logits: Tensor = output.logits[rows, columns[rows, places] - 1 - first].float()
    return logits


_plain: weakref.WeakKeyDictionary[PreTrainedModel, bool] = weakref.WeakKeyDictionary()
FORWARD_PASSES.append(_plain)


def has_plain_head(model: PreTrainedModel) -> bool:
    """Return whether a model's logits are its last hidden states times its head and nothing else: no bias, cap or scale.

    Tried once per model on a few tokens, like `is_llama`.
    """
    if model not in _plain:
        head = model.get_output_embeddings()
        _plain[model] = type(head) is nn.Linear and head.bias is None and _is_all_there_is(head, model)
    return _plain[model]


@torch.no_grad()
def _is_all_there_is(head: nn.Linear, model: PreTrainedModel) -> bool:
    """Return whether the head reads what the body returns, and what it returns is what the model does, in one forward pass of each."""
    ids = torch.arange(2, 10, device=model.device)[None] % head.out_features
    seen: list[tuple[Tensor, Tensor]] = []
    hook = head.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    hidden = model.base_model(input_ids=ids, use_cache=False)[0]
    return len(seen) == 1 and torch.equal(seen[0][1].to(logits.dtype), logits) and torch.allclose(seen[0][0], hidden)


# Log-probabilities of given tokens under a linear head, without ever holding the logits of all tokens.

CHUNK_ELEMENTS = {"cuda": 2**28, "cpu": 2**24}
"""Logits held at once: 1 GB on a GPU, enough to fill it; 64 MB on a CPU."""
LEAST_ROWS = {"cuda": 1, "cpu": 256}
"""Tokens of a chunk, whatever the vocabulary: every chunk reads and writes the whole gradient of the head, which takes a CPU longer than
the products of few tokens."""


def linear_logprobs(
    hidden: Tensor, head: Tensor, ids: Tensor, temperature: float = 1.0, forbidden: int | None = None
) -> Tensor:
    """Return [N] natural-log probabilities of `ids` under softmax(hidden @ head.T / temperature), float32.

    Logits are computed in chunks, in float32, and again in the backward pass: 2 * V * H more operations per token, 4 * V bytes less.
    Few logits on a CPU are kept instead (`keeps_logits`).

    Args:
        hidden: [N, H], float32 or bfloat16.
        head: [V, H] in any format; products are computed in that of `hidden`, the gradient is summed in float32.
        ids: [N] int64.
        forbidden: a token without probability.
    """
    if keeps_logits(hidden, head):
        return chosen(whole_logprobs(hidden, head, temperature, forbidden), ids)
    result: Tensor = _LinearLogprobs.apply(hidden, head, ids, temperature, forbidden)  # type: ignore[no-untyped-call]
    return result


def keeps_logits(hidden: Tensor, head: Tensor) -> bool:
    """Return whether to keep all logits for the backward pass: in float32 on a CPU, where products are slow, if they fit into one chunk."""
    usual = hidden.device.type == "cpu" and hidden.dtype == torch.float32
    return usual and len(hidden) * len(head) <= CHUNK_ELEMENTS["cpu"]


def whole_logprobs(hidden: Tensor, head: Tensor, temperature: float, forbidden: int | None = None) -> Tensor:
    """Return [N, V] natural-log probabilities of all tokens under softmax(hidden @ head.T / temperature), from float32 hidden states."""
    return forbid(logits_of(hidden / temperature, head.to(hidden.dtype)), forbidden).log_softmax(dim=-1)


def log_softmax(logits: Tensor, temperature: float, forbidden: int | None = None) -> Tensor:
    """Return [..., V] natural-log probabilities of all tokens under softmax(logits / temperature)."""
    return forbid(logits / temperature, forbidden).log_softmax(dim=-1)


NEVER = -1e30
"""The logit of a token that has no probability. Not minus infinity: the entropy multiplies log-probs with probabilities, and 0 times
infinity is NaN."""


def forbid(logits: Tensor, token: int | None) -> Tensor:
    """Take all probability from a token of logits [..., V], in place; None for no token."""
    if token is not None:
        logits[..., token] = NEVER
    return logits


def chosen(logprobs: Tensor, ids: Tensor) -> Tensor:
    """Return [N], the entries of [N, V] log-probs at `ids`."""
    return logprobs.gather(1, ids[:, None]).squeeze(1)


def logits_of(hidden: Tensor, head: Tensor) -> Tensor:
    """Return [N, V] float32 hidden @ head.T of two tensors in one format; the sum is never rounded to bfloat16."""
    return _product(hidden, head.T)


class _LinearLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, ids: Tensor, temperature: float, forbidden: int | None) -> Tensor:
        weight = head.to(hidden.dtype)
        logprobs, normalisers = [], []
        for rows in _chunks(hidden, head):
            logits = forbid(logits_of(hidden[rows], weight), forbidden)
            logprob, normaliser = _chunk_functions(hidden.device.type)[0](logits, ids[rows], temperature)
            logprobs.append(logprob)
            normalisers.append(normaliser)
        ctx.save_for_backward(hidden, head, ids, torch.cat(normalisers))
        ctx.temperature, ctx.forbidden = temperature, forbidden
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        hidden, head, ids, normalisers = ctx.saved_tensors
        weight = head.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None  # frozen under adapters
        for rows in _chunks(hidden, head):
            logits = forbid(logits_of(hidden[rows], weight), ctx.forbidden)
            slope = _chunk_functions(hidden.device.type)[1](
                logits, ids[rows], normalisers[rows], grad[rows], ctx.temperature, hidden.dtype
            )
            grad_hidden[rows] = slope @ weight
            if grad_head is None:
                continue
            if slope.dtype == torch.float32:  # without a second matrix of the head's size, which is most of the time on a CPU
                grad_head.addmm_(slope.T, hidden[rows])
            else:
                grad_head += _product(slope.T, hidden[rows])
        return grad_hidden, None if grad_head is None else grad_head.to(head.dtype), None, None, None


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right, summed and returned in float32."""
    if left.dtype == torch.float32:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _chunks(hidden: Tensor, head: Tensor) -> list[slice]:
    size = max(LEAST_ROWS[hidden.device.type], CHUNK_ELEMENTS[hidden.device.type] // head.shape[0])
    return [slice(start, start + size) for start in range(0, max(1, len(hidden)), size)]


def _chunk_logprobs(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return [n] log-probs of `ids`, and the log of the sum of exponentials that normalises each row of [n, V] logits."""
    scaled = logits / temperature
    normaliser = scaled.logsumexp(dim=-1)
    return scaled.gather(1, ids[:, None]).squeeze(1) - normaliser, normaliser


def _chunk_slope(
    logits: Tensor, ids: Tensor, normaliser: Tensor, grad: Tensor, temperature: float, dtype: torch.dtype
) -> Tensor:
    """Return [n, V], the gradient of the logits: grad * (1[column = id] - p) / temperature."""
    probabilities = (logits / temperature - normaliser[:, None]).exp()
    chosen = torch.arange(logits.shape[1], device=logits.device) == ids[:, None]
    return ((chosen.float() - probabilities) * (grad / temperature)[:, None]).to(dtype)


@functools.cache
def _chunk_functions(device_type: str) -> tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]:
    """Return both functions of a chunk; compiled on a GPU, where each then takes one or two passes over the logits."""
    if device_type == "cuda" and has_triton():
        return torch.compile(_chunk_logprobs), torch.compile(_chunk_slope)
    return _chunk_logprobs, _chunk_slope


# Entropies of a model's next-token distributions, with gradients, for the entropy bonus.


def entropies_of(logprobs: Tensor) -> Tensor:
    """Return the entropies [...] (nats) of distributions given by log-probs [..., V]."""
    return -(logprobs.exp() * logprobs).sum(dim=-1)


def linear_logprobs_and_entropies(
    hidden: Tensor, head: Tensor, ids: Tensor, temperature: float = 1.0, forbidden: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return `linear_logprobs` and `linear_entropies`; logits that are kept are computed once for both."""
    if not keeps_logits(hidden, head):
        logprobs = linear_logprobs(hidden, head, ids, temperature, forbidden)
        return logprobs, linear_entropies(hidden, head, temperature, forbidden)
    whole = whole_logprobs(hidden, head, temperature, forbidden)
    return chosen(whole, ids), entropies_of(whole)


def linear_entropies(hidden: Tensor, head: Tensor, temperature: float = 1.0, forbidden: int | None = None) -> Tensor:
    """Return the entropies [N] (nats) of softmax(hidden @ head.T / temperature), float32, a chunk of logits at a time, forward and backward.

    Args:
        hidden: [N, H].
        head: [V, H].
        forbidden: a token without probability.
    """
    rows = max(1, CHUNK_ELEMENTS[hidden.device.type] // head.shape[0])
    chunks = [
        checkpoint(_chunk_entropies, part, head, temperature, forbidden, use_reentrant=False) for part in hidden.split(rows)
    ]
    return torch.cat(chunks)


def _chunk_entropies(hidden: Tensor, head: Tensor, temperature: float, forbidden: int | None) -> Tensor:
    return entropies_of(log_softmax(logits_of(hidden, head.to(hidden.dtype)), temperature, forbidden))


# Restricted distributions: what top_k, top_p and min_p leave of a distribution.


def restricts(params: SamplingParams) -> bool:
    """Return whether completions are drawn from a part of the distribution at their temperature. Greedy ones are not drawn."""
    return params.temperature > 0 and (params.top_k > 0 or params.top_p < 1 or params.min_p > 0)


def restrict(logprobs: Tensor, *, top_k: int = 0, top_p: float | Tensor = 1.0, min_p: float = 0.0) -> Tensor:
    """Return log-probs [N, V] with -inf outside the tokens that may be drawn; they are not normalised anew.

    The order is that of transformers: `top_k` leaves the k likeliest tokens (and those exactly as likely as the last of them);
    `top_p` the smallest set of these whose share of what `top_k` left reaches it (nucleus sampling, arXiv 1904.09751); `min_p` those
    at least so likely, relative to the likeliest (arXiv 2407.01082).

    Args:
        logprobs: at the sampling temperature.
        top_k: 0 for all tokens.
        top_p: a tensor [1] is taken as below 1.
        min_p: 0 for all tokens.

    >>> restrict(torch.tensor([[0.5, 0.3, 0.2]]).log(), top_k=2).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    if 0 < top_k < logprobs.shape[-1]:
        logprobs = logprobs.masked_fill(logprobs < logprobs.topk(top_k, dim=-1).values[:, -1:], float("-inf"))
        kept = logprobs.log_softmax(dim=-1)
    else:
        kept = logprobs
    if isinstance(top_p, Tensor) or top_p < 1:
        logprobs = logprobs.masked_fill(outside_nucleus(kept, top_p), float("-inf"))
    if min_p > 0:
        least = logprobs.max(dim=-1, keepdim=True).values + math.log(min_p)
        logprobs = logprobs.masked_fill(logprobs < least, float("-inf"))
    return logprobs


LIKELIEST = 1024
"""Tokens of a row that a CPU orders first. Nearly all nuclei are smaller, and to order a whole vocabulary takes ten times as long."""


def outside_nucleus(logprobs: Tensor, top_p: float | Tensor) -> Tensor:
    """Return [N, V] bool, True on the tokens outside the smallest set whose probability reaches `top_p`."""
    if logprobs.device.type != "cpu" or logprobs.shape[1] <= 2 * LIKELIEST:
        return _outside_nucleus(*logprobs.sort(dim=-1, descending=True), top_p, logprobs.shape[1])
    ordered, order = logprobs.topk(LIKELIEST, dim=-1)
    outside = _outside_nucleus(ordered, order, top_p, logprobs.shape[1])
    larger = (ordered.exp().cumsum(dim=-1)[:, -1] < top_p).nonzero().squeeze(1)  # rows whose nucleus has more tokens
    if len(larger):
        ordered, order = logprobs[larger].sort(dim=-1, descending=True)
        outside[larger] = _outside_nucleus(ordered, order, top_p, logprobs.shape[1])
    return outside


def _outside_nucleus(ordered: Tensor, order: Tensor, top_p: float | Tensor, vocabulary: int) -> Tensor:
    """Return `outside_nucleus` from the likeliest tokens [N, K] of each row, in descending order; all others are outside."""
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()  # probability of all likelier tokens
    outside = torch.ones((len(order), vocabulary), dtype=torch.bool, device=order.device)
    return outside.scatter_(1, order, before >= top_p)


@torch.no_grad()
def restricted_mass(model: PreTrainedModel, batch: TokenBatch, params: SamplingParams, forbidden: int | None = None) -> Tensor:
    """Return [B, T] the log of the share of the model's distribution that each token was drawn from; 0 where the mask is 0.

    A sampler with top_k, top_p or min_p reports log-probs of the renormalised rest. Added to them, this gives those of the whole
    distribution, in which trainers compute: compared as they are, equal policies would seem to differ by that share, token by token.

    Args:
        params: how the tokens were drawn.
        forbidden: as for `completion_logprobs`.
    """
    found = predicted(model, batch)
    rows = max(1, CHUNK_ELEMENTS[found.features.device.type] // found.vocabulary)
    masses = [torch.zeros(0, device=found.features.device)]
    for features in found.features.split(rows):
        logits = features if found.head is None else logits_of(features, found.head.to(features.dtype))
        logprobs = log_softmax(logits, params.temperature, forbidden)
        masses.append(restrict(logprobs, top_k=params.top_k, top_p=params.top_p, min_p=params.min_p).logsumexp(dim=-1))
    return _in_place(batch, torch.cat(masses))
