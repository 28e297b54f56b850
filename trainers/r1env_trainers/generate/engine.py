"""The local engine: batched sampling with one prefill per prompt; finished rows leave the batch and are reported immediately."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from r1env.engines import OnFinished, SamplingParams
from r1env.errors import EngineError
from r1env.rollout import encode_prompt
from r1env.types import Completion, Conversation, FinishReason
from r1env_trainers.generate.batches import Drawn, LlamaBatch, Lockstep, Start, StartInStep, TransformersBatch
from r1env_trainers.model.llama import Shape, is_llama
from r1env_trainers.model.load import LoadedModel, check_vocabulary, choose_device, has_triton, limit_threads, load_model
from r1env_trainers.settings import Device


@dataclass(frozen=True, slots=True)
class Samples:
    """Completions of P prompts, n each, in prompt-major order: row `p * n + k` is completion k of prompt p.

    Attributes:
        ids: [P*n, T] token ids, right-padded with the pad token; the end-of-sequence token is included where it was drawn.
        mask: [P*n, T] 1.0 on sampled tokens, 0.0 on padding.
        logprobs: [P*n, T] float32 natural-log probabilities under the distribution that was sampled from; 0 on padding.
        finished: [P*n] True where the model stopped by itself, False where a token limit cut it off.
    """

    ids: Tensor
    mask: Tensor
    logprobs: Tensor
    finished: Tensor

    def to(self, device: torch.device) -> Samples:
        """Return the same on a device."""
        return Samples(self.ids.to(device), self.mask.to(device), self.logprobs.to(device), self.finished.to(device))


OnSamples = Callable[[Sequence[int], Samples], None]
"""Receives some rows of the result that are complete, by their places, and what was drawn for them, on the CPU."""


class CompletionSampler(Protocol):
    """Draws completions as tensors. A `LocalEngine` makes an engine of it.

    Attributes:
        tokenizer: of the model.
        max_length: tokens of prompt and completion together; None for no limit.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int | None

    def sample(self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnSamples | None = None) -> Samples:
        """See `Sampler.sample`."""

    def close(self) -> None:
        """Free what it holds. Calling it twice is fine."""


class Sampler:
    """Draws completions from one model. What it keeps between calls (on a GPU, a cache and graphs) never changes a result."""

    def __init__(self, loaded: LoadedModel, max_rows: int | None = None) -> None:
        """
        Args:
            max_rows: completions decoded at once; None for all, or on a GPU for as many as memory allows. On a GPU further rows
                take the places of ended ones, and results do not depend on it; on a CPU whole groups wait for the ones before,
                and each batch has its own seed.
        """
        self._loaded = loaded
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self.max_length = context_length(loaded.model.config)
        self._pad = loaded.pad
        self._start = choose_decoding(loaded, max_rows)
        self._end_tokens = torch.tensor(loaded.ends, dtype=torch.long)
        self._stop_tokens: dict[tuple[str, ...], Tensor] = {}

    @torch.no_grad()
    def sample(self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnSamples | None = None) -> Samples:
        """Draw `params.n` completions for each prompt.

        Log-probs are those of the distribution that was sampled from; of greedy ones, those of the unscaled distribution. The pad token is
        never drawn, unless it ends completions. The result depends on nothing random but `params.seed`.

        Args:
            prompts: P lists of token ids, none empty, each shorter than `max_length`.
            on_finished: told of every row once, as soon as it is complete; runs while a GPU decodes the others.

        Raises:
            EngineError: a prompt leaves no room for a token.
            UsageError: a prompt has a token that the model does not know.
        """
        limits = rooms(prompts, params, self.max_length)
        check_vocabulary(self._loaded, prompts, "a prompt")
        params = params.model_copy(update={"max_new_tokens": max(limits)})
        batch = self._start(prompts, params)
        completions = _Completions(torch.tensor(limits).repeat_interleave(params.n), self._pad)
        under_way: deque[Drawn] = deque()
        while True:
            while len(under_way) <= batch.ahead and (drawn := batch.advance()) is not None:
                under_way.append(drawn)
            if not under_way:
                return completions.samples(torch.arange(len(prompts) * params.n)).to(self.model.device)
            rows, new = completions.append(under_way.popleft())
            ends = self._ends(completions.ids, rows, new, completions.lengths[rows], params)
            leaving, over = completions.cut(rows, new, ends)
            if len(leaving):
                batch.end(leaving)
            if len(over) and on_finished is not None:
                on_finished(over.tolist(), completions.samples(over))

    def close(self) -> None:
        """Do nothing: only memory is held."""

    def _ends(self, so_far: Tensor, rows: Tensor, new: Tensor, before: Tensor, params: SamplingParams) -> Tensor:
        """Return [R], how many of the new tokens [R, K] come up to and including the first end token or stop text; K + 1 for no end.

        Args:
            so_far: [N, T] the tokens of all rows, including the new ones.
            rows: [R] to look at. before: [R] their lengths without the new tokens; they contain no end.
        """
        ending = torch.zeros_like(new, dtype=torch.bool) if params.ignore_eos else torch.isin(new, self._end_tokens)
        if stop := params.stop:
            suspects = torch.isin(new, self._tokens_ending(stop)) & ~ending
            which, columns = suspects.nonzero(as_tuple=True)
            ends = (before[which] + columns + 1).tolist()
            # A token is a byte at least, so the tail that can hold a stop text is short, and decoding it quick.
            longest = max(32, *(len(text.encode()) for text in stop))
            tails = [
                so_far[row, max(0, end - longest) : end].tolist() for row, end in zip(rows[which].tolist(), ends, strict=True)
            ]
            found = [any(text in tail for text in stop) for tail in self.tokenizer.batch_decode(tails)]
            ending[which, columns] = torch.tensor(found, dtype=torch.bool)
        first = ending.int().argmax(dim=1)
        return torch.where(ending.any(dim=1), first + 1, new.shape[1] + 1)

    def _tokens_ending(self, stop: tuple[str, ...]) -> Tensor:
        """Return the tokens that can complete a stop text: those whose text contains its last character.

        By itself a token of the bytes of one character decodes to a replacement character, and one of a space to nothing.
        """
        if stop not in self._stop_tokens:
            last = {text[-1] for text in stop}
            if not all(char.isascii() for char in last):
                last.add("\N{REPLACEMENT CHARACTER}")
            spaces = any(char.isspace() for char in last)
            texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            found = [i for i, text in enumerate(texts) if last & set(text) or (spaces and not text.strip())]
            self._stop_tokens[stop] = torch.tensor(found, dtype=torch.long)
        return self._stop_tokens[stop]


def rooms(prompts: Sequence[Sequence[int]], params: SamplingParams, max_length: int | None) -> list[int]:
    """Return how many tokens each prompt's completions may have: as the settings say, and no more than the context has room for.

    Raises:
        EngineError: a prompt leaves no room for a token.
    """
    longest = max(len(prompt) for prompt in prompts)
    if max_length is not None and longest >= max_length:
        raise EngineError(f"a prompt of {longest} tokens leaves no room in the model's context of {max_length} tokens")
    return [
        min(params.max_new_tokens, params.max_new_tokens if max_length is None else max_length - len(one)) for one in prompts
    ]


def context_length(config: PretrainedConfig) -> int | None:
    """Return how many tokens the model was made for; None where its configuration does not say."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


class _Completions:
    """What has been drawn so far, on the CPU.

    Attributes:
        ids, logprobs: [N, T]. lengths: [N] tokens that count. limits: [N] the most of them.
        finished: [N] as in `Samples`. over: [N] True where no token will be added.
    """

    def __init__(self, limits: Tensor, pad: int) -> None:
        rows, width = len(limits), int(limits.max())
        self._pad = pad
        self.limits = limits
        self.ids = torch.full((rows, width), pad, dtype=torch.long)
        self.logprobs = torch.zeros((rows, width))
        self.lengths = torch.zeros(rows, dtype=torch.long)
        self.finished = torch.zeros(rows, dtype=torch.bool)
        self.over = torch.zeros(rows, dtype=torch.bool)

    def append(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Append new tokens. Return the rows [R] that were not over before, and their new tokens [R, K]."""
        drawn.ready()
        going = ~self.over[drawn.rows]
        rows, ids, logprobs = drawn.rows[going], drawn.ids[going], drawn.logprobs[going]
        places = rows[:, None], self.lengths[rows][:, None] + torch.arange(ids.shape[1])
        self.ids[places], self.logprobs[places] = ids, logprobs
        return rows, ids

    def cut(self, rows: Tensor, new: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Count new tokens [R, K] up to the ends [R] or the rows' limits.

        Returns:
            The rows that leave before the batch's own limit, and all that are over now.
        """
        limits = self.limits[rows]
        counted = torch.minimum(ends.clamp(max=new.shape[1]), limits - self.lengths[rows])
        self.lengths[rows] += counted
        stopped = ends == counted
        over = stopped | (self.lengths[rows] == limits)
        self.finished[rows], self.over[rows] = stopped, over
        return rows[stopped | (over & (limits < self.ids.shape[1]))], rows[over]

    def samples(self, rows: Tensor) -> Samples:
        """Return the samples of some rows."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        mask = torch.arange(longest) < lengths[:, None]
        return Samples(
            self.ids[rows, :longest].masked_fill(~mask, self._pad),
            mask.float(),
            self.logprobs[rows, :longest].masked_fill(~mask, 0.0),
            self.finished[rows],
        )


def decode_samples(tokenizer: PreTrainedTokenizerBase, samples: Samples) -> list[str]:
    """Return the texts of all rows without special tokens."""
    lengths = samples.mask.sum(dim=1).long().tolist()
    rows = [row[:length] for row, length in zip(samples.ids.tolist(), lengths, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


# Engines over a sampler.


class LocalEngine:
    """A `TokenEngine` of a sampler in this process."""

    def __init__(self, sampler: CompletionSampler) -> None:
        self.sampler = sampler

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.sampler.tokenizer

    @property
    def max_length(self) -> int | None:
        return self.sampler.max_length

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        rows = self.generate_tokens([encode_prompt(self.tokenizer, prompt, chat=params.chat) for prompt in prompts], params)
        return [rows[start : start + params.n] for start in range(0, len(rows), params.n)]

    def generate_tokens(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnFinished | None = None
    ) -> list[Completion]:
        found: dict[int, Completion] = {}

        def take(rows: Sequence[int], samples: Samples) -> None:
            completions = as_completions(samples, decode_samples(self.tokenizer, samples))
            found.update(zip(rows, completions, strict=True))
            if on_finished is not None:
                on_finished(rows, completions)

        self.sampler.sample(prompts, params, take)
        return [found[row] for row in range(len(prompts) * params.n)]

    def close(self) -> None:
        self.sampler.close()


MAX_ROWS = {"cpu": 256, "cuda": 1024}
"""Completions decoded at once unless said otherwise: as many as keep the device busy."""


class TransformersEngine(LocalEngine):
    """The engine `transformers`: a local model, for evaluation and sampling. Decodes at most `max_rows` completions at once."""

    def __init__(self, loaded: LoadedModel, max_rows: int | None = None) -> None:
        super().__init__(Sampler(loaded, max_rows or MAX_ROWS[loaded.device.type]))


def as_completions(samples: Samples, texts: Sequence[str]) -> list[Completion]:
    """Return one `Completion` per row of `samples`."""
    lengths = samples.mask.sum(dim=1).long().tolist()
    rows = zip(texts, samples.ids.tolist(), samples.logprobs.tolist(), lengths, samples.finished.tolist(), strict=True)
    return [
        Completion(
            text=text,
            finish_reason=FinishReason.STOP if finished else FinishReason.LENGTH,
            token_ids=tuple(ids[:length]),
            logprobs=tuple(logprobs[:length]),
        )
        for text, ids, logprobs, length, finished in rows
    ]


def make_transformers(model: str, *, device: Device = "auto", max_rows: int | None = None, seed: int = 0) -> TransformersEngine:
    """Return the entry of the engine plugin."""
    loaded = load_model(model, device=choose_device(device), seed=seed)
    limit_threads(loaded.parameters, None)
    return TransformersEngine(loaded, max_rows)


# The choice of a decoder.

TILES = (16, 32, 64, 128, 256)
"""Head dimensions that the kernels support."""


def choose_decoding(loaded: LoadedModel, max_rows: int | None = None) -> Start:
    """Return the fastest decoder that supports this model on its device.

    Args:
        max_rows: see `Sampler`.
    """
    llama, forbidden = is_llama(loaded.model), loaded.never_drawn
    in_step: StartInStep = (
        functools.partial(LlamaBatch, loaded.model, forbidden=forbidden)
        if llama
        else functools.partial(TransformersBatch, loaded.model, loaded.pad, forbidden=forbidden)
    )
    plain: Start = functools.partial(Lockstep, in_step, max_rows=max_rows)
    if llama and loaded.device.type == "cuda" and has_triton() and Shape.of(loaded.model.config).head_dim in TILES:
        from r1env_trainers.generate.graphs import GraphDecoder  # imports Triton, which is only there beside a GPU

        graphs = GraphDecoder(loaded.model, max_rows, forbidden).start
        # Graphs know the newest tokens of their rows only, and the penalty depends on all of them.
        return lambda prompts, params: (graphs if params.repetition_penalty == 1 else plain)(prompts, params)
    return plain
