"""Batched sampling: one prefill a prompt, shared by its completions; finished rows leave the batch and are told of at once."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1env.engines import Sampling
from r1env.types import Completion, Conversation, FinishReason
from r1env_trainers.generate.batches import Drawn, Draws, LlamaBatch, Lockstep, Start, StartInStep, TransformersBatch
from r1env_trainers.model.llama import Shape, is_llama
from r1env_trainers.model.load import LoadedModel, choose_device, has_triton, limit_threads, load_model
from r1env_trainers.model.tokens import encode_prompt
from r1env_trainers.settings import Device


@dataclass(frozen=True, slots=True)
class Samples:
    """Completions of P prompts, n each, in prompt-major order: row `p * n + k` is completion k of prompt p.

    Attributes:
        ids: [P*n, T] token ids, right-padded with the pad token; the end-of-sequence token is included where it was drawn.
        mask: [P*n, T] 1.0 on sampled tokens, 0.0 on padding.
        logprobs: [P*n, T] float32 natural-log probabilities under the distribution that was sampled from; 0 on padding.
        finished: [P*n] True where the model stopped by itself, False where the token limit cut it off.
    """

    ids: Tensor
    mask: Tensor
    logprobs: Tensor
    finished: Tensor

    def to(self, device: torch.device) -> Samples:
        """The same on a device."""
        return Samples(self.ids.to(device), self.mask.to(device), self.logprobs.to(device), self.finished.to(device))


OnFinished = Callable[[Sequence[int], Samples], None]
"""Takes some rows of the result that are complete, by their places, and what was drawn for them, on the CPU."""


class CompletionSampler(Protocol):
    """What a trainer asks of whatever draws its completions."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        n: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: tuple[str, ...] = (),
        seed: int = 0,
        on_finished: OnFinished | None = None,
    ) -> Samples:
        """See `Sampler.sample`."""

    def decode(self, samples: Samples) -> list[str]:
        """The texts of all rows, special tokens removed."""


class Sampler:
    """Draws completions from one model. What it keeps between calls (on a GPU a cache and its graphs) changes no result."""

    def __init__(self, loaded: LoadedModel, max_rows: int | None = None) -> None:
        """
        Args:
            max_rows: completions decoded at once; None for all, on a GPU for as many as memory allows. There further rows take the
                places of ended ones, and what is drawn does not depend on it; on a CPU whole groups wait for the ones before, and
                each batch has a seed of its own.
        """
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self._pad = loaded.pad
        self._start = choose_decoding(loaded, max_rows)
        generation = loaded.model.generation_config
        ends = end_tokens(loaded.tokenizer, generation.eos_token_id if generation else None)
        self._end_tokens = torch.tensor(ends, dtype=torch.long)
        self._stop_tokens: dict[tuple[str, ...], Tensor] = {}

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        n: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        stop: tuple[str, ...] = (),
        seed: int = 0,
        on_finished: OnFinished | None = None,
    ) -> Samples:
        """Draw `n` completions for each prompt.

        Args:
            prompts: P lists of token ids, none empty.
            temperature: 0 is greedy; its log-probs are those of the unscaled distribution.
            stop: texts that end a completion, kept in it.
            seed: of the draws; the result depends on nothing else that is random.
            on_finished: told of every row once, as soon as it is complete; runs while a GPU decodes the others.
        """
        batch = self._start(prompts, n, max_new_tokens, Draws(temperature, top_p, seed))
        completions = _Completions(len(prompts) * n, max_new_tokens, self._pad)
        under_way: deque[Drawn] = deque()
        while True:
            while len(under_way) <= batch.ahead and (drawn := batch.advance()) is not None:
                under_way.append(drawn)
            if not under_way:
                return completions.samples(torch.arange(len(prompts) * n)).to(self.model.device)
            rows, new = completions.append(under_way.popleft())
            stopped, over = completions.cut(rows, new, self._ends(completions.ids, rows, new, completions.lengths[rows], stop))
            if len(stopped):
                batch.end(stopped)
            if len(over) and on_finished is not None:
                on_finished(over.tolist(), completions.samples(over))

    def decode(self, samples: Samples) -> list[str]:
        """The texts of all rows, special tokens removed."""
        return decode_samples(self.tokenizer, samples)

    def _ends(self, so_far: Tensor, rows: Tensor, new: Tensor, before: Tensor, stop: tuple[str, ...]) -> Tensor:
        """[R] how many new tokens [R, K] go up to the first end-of-sequence token or the end of a stop text; K + 1 for no end.

        Args:
            so_far: [N, T] the tokens of all rows, the new ones included.
            rows: [R] to look at. before: [R] their lengths without the new tokens, among which none is an end.
        """
        ending = torch.isin(new, self._end_tokens)
        if stop:
            suspects = torch.isin(new, self._tokens_ending(stop)) & ~ending
            which, columns = suspects.nonzero(as_tuple=True)
            ends = (before[which] + columns + 1).tolist()
            # A stop text is a few tokens; decoding the tail is enough and keeps each check short.
            tails = [so_far[row, max(0, end - 32) : end].tolist() for row, end in zip(rows[which].tolist(), ends, strict=True)]
            found = [any(text in tail for text in stop) for tail in self.tokenizer.batch_decode(tails)]
            ending[which, columns] = torch.tensor(found, dtype=torch.bool)
        first = ending.int().argmax(dim=1)
        return torch.where(ending.any(dim=1), first + 1, new.shape[1] + 1)

    def _tokens_ending(self, stop: tuple[str, ...]) -> Tensor:
        """The tokens whose text holds the last character of a stop text: only these can complete one."""
        if stop not in self._stop_tokens:
            last = {text[-1] for text in stop}
            texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            self._stop_tokens[stop] = torch.tensor([i for i, text in enumerate(texts) if last & set(text)])
        return self._stop_tokens[stop]


class _Completions:
    """What has been drawn so far, on the CPU.

    Attributes:
        ids, logprobs: [N, T]. lengths: [N] tokens that count.
        finished: [N] as in `Samples`. over: [N] True where no token will be added.
    """

    def __init__(self, rows: int, max_new_tokens: int, pad: int) -> None:
        self._pad = pad
        self.ids = torch.full((rows, max_new_tokens), pad, dtype=torch.long)
        self.logprobs = torch.zeros((rows, max_new_tokens))
        self.lengths = torch.zeros(rows, dtype=torch.long)
        self.finished = torch.zeros(rows, dtype=torch.bool)
        self.over = torch.zeros(rows, dtype=torch.bool)

    def append(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Write new tokens behind those that count. Returns the rows [R] that were not over before, and their new tokens [R, K]."""
        drawn.ready()
        going = ~self.over[drawn.rows]
        rows, ids, logprobs = drawn.rows[going], drawn.ids[going], drawn.logprobs[going]
        places = rows[:, None], self.lengths[rows][:, None] + torch.arange(ids.shape[1])
        self.ids[places], self.logprobs[places] = ids, logprobs
        return rows, ids

    def cut(self, rows: Tensor, new: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Count new tokens [R, K] up to the ends [R]. Returns the rows that have stopped, and these with those at the limit."""
        self.lengths[rows] += ends.clamp(max=new.shape[1])
        stopped = ends <= new.shape[1]
        over = stopped | (self.lengths[rows] == self.ids.shape[1])
        self.finished[rows], self.over[rows] = stopped, over
        return rows[stopped], rows[over]

    def samples(self, rows: Tensor) -> Samples:
        """The samples of some rows."""
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
    """The texts of all rows, special tokens removed."""
    lengths = samples.mask.sum(dim=1).long().tolist()
    rows = [row[:length] for row, length in zip(samples.ids.tolist(), lengths, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


def end_tokens(tokenizer: PreTrainedTokenizerBase, named: int | list[int] | None) -> list[int]:
    """The tokens that end a completion, ascending: the tokenizer's, and those that the model's generation settings name."""
    listed = named if isinstance(named, list) else [named]
    return sorted({end for end in (*listed, tokenizer.eos_token_id) if isinstance(end, int)})


# The engine `transformers`: completions from a local model, for evaluation and sampling.


MAX_ROWS = {"cpu": 256, "cuda": 1024}
"""Completions of a batch unless said otherwise: as many as keep the device busy."""


class TransformersEngine:
    """Batched decoding with a model in this process.

    Attributes:
        sampler: decodes at most `max_rows` completions at once, if that is given.
        batch_rows: completions of a batch; each batch has its own seed.
    """

    def __init__(self, loaded: LoadedModel, max_rows: int | None = None) -> None:
        self.loaded = loaded
        self.sampler = Sampler(loaded, max_rows)
        usual = MAX_ROWS[loaded.device.type]
        self.batch_rows = max(usual, max_rows or 0) if loaded.device.type == "cuda" else max_rows or usual

    def generate(self, prompts: Sequence[Conversation], sampling: Sampling) -> list[list[Completion]]:
        encoded = [encode_prompt(self.loaded.tokenizer, prompt, chat=sampling.chat) for prompt in prompts]
        per_batch = max(1, self.batch_rows // sampling.n)
        completions: list[list[Completion]] = []
        for start in range(0, len(encoded), per_batch):
            samples = self.sampler.sample(
                encoded[start : start + per_batch],
                n=sampling.n,
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                stop=sampling.stop,
                seed=sampling.seed + start,
            )
            rows = as_completions(samples, self.sampler.decode(samples))
            completions += [rows[i : i + sampling.n] for i in range(0, len(rows), sampling.n)]
        return completions

    def close(self) -> None:
        """Nothing but memory is held."""


def as_completions(samples: Samples, texts: Sequence[str]) -> list[Completion]:
    """One `Completion` a row of `samples`."""
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
    """The entry of the engine plugin."""
    loaded = load_model(model, device=choose_device(device), seed=seed)
    limit_threads(loaded.parameters, None)
    return TransformersEngine(loaded, max_rows)


# Which way of decoding a model gets.

TILES = (16, 32, 64, 128, 256)
"""Head dimensions that the kernels can work on."""


def choose_decoding(loaded: LoadedModel, max_rows: int | None = None) -> Start:
    """The quickest way that is right for this model on its device.

    Args:
        max_rows: completions decoded at once; None for all of a batch, or on a GPU for as many as memory allows.
    """
    llama = is_llama(loaded.model)
    if llama and loaded.device.type == "cuda" and has_triton() and Shape.of(loaded.model.config).head_dim in TILES:
        from r1env_trainers.generate.graphs import GraphDecoder  # imports Triton, which is only there beside a GPU

        return GraphDecoder(loaded.model, max_rows).start
    in_step: StartInStep = (
        functools.partial(LlamaBatch, loaded.model) if llama else functools.partial(TransformersBatch, loaded.model, loaded.pad)
    )
    return functools.partial(Lockstep, in_step, max_rows=max_rows)
