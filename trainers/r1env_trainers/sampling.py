"""Batched sampling: one prefill a prompt, shared by its completions; finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1env_trainers.decoding.batch import Draws
from r1env_trainers.decoding.choose import choose_decoding
from r1env_trainers.models.load import LoadedModel


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
    ) -> Samples:
        """See `Sampler.sample`."""

    def decode(self, samples: Samples) -> list[str]:
        """The texts of all rows, special tokens removed."""


class Sampler:
    """Draws completions from one model. What it keeps between calls (on a GPU a cache and its graphs) changes no result."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self._pad = loaded.pad
        self._start = choose_decoding(loaded)
        generation = loaded.model.generation_config
        ends = end_tokens(loaded.tokenizer, generation.eos_token_id if generation else None)
        self._end_tokens = torch.tensor(ends, dtype=torch.long, device=loaded.device)
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
    ) -> Samples:
        """Draw `n` completions for each prompt.

        Args:
            prompts: P lists of token ids, none empty.
            temperature: 0 is greedy; its log-probs are those of the unscaled distribution.
            stop: texts that end a completion, kept in it.
            seed: of the draws; the result depends on nothing else that is random.
        """
        device = self.model.device
        batch = self._start(prompts, n, max_new_tokens, Draws(temperature, top_p, seed))
        rows = torch.arange(len(prompts) * n, device=device)  # which row of the result each live row is
        ids = torch.full((len(rows), max_new_tokens), self._pad, dtype=torch.long, device=device)
        logprobs = torch.zeros((len(rows), max_new_tokens), dtype=torch.float32, device=device)
        finished = torch.zeros(len(rows), dtype=torch.bool, device=device)
        lengths = torch.zeros(len(rows), dtype=torch.long, device=device)
        drawn = 0
        while drawn < max_new_tokens and len(rows):
            count = min(batch.stride, max_new_tokens - drawn)
            ids[rows, drawn : drawn + count], logprobs[rows, drawn : drawn + count] = batch.advance(count)
            ends = self._ends(ids[rows, : drawn + count], drawn, stop)  # [R]
            drawn += count
            lengths[rows] = ends.clamp(max=drawn)
            if len(ended := (ends <= drawn).nonzero().squeeze(1)):
                finished[rows[ended]] = True
                live = (ends > drawn).nonzero().squeeze(1)
                rows = rows[live]
                if len(rows) and drawn < max_new_tokens:
                    batch.keep(live)
        longest = int(lengths.max())
        mask = torch.arange(longest, device=device)[None] < lengths[:, None]
        return Samples(
            ids[:, :longest].masked_fill(~mask, self._pad),
            mask.float(),
            logprobs[:, :longest].masked_fill(~mask, 0.0),
            finished,
        )

    def decode(self, samples: Samples) -> list[str]:
        """The texts of all rows, special tokens removed."""
        return decode_samples(self.tokenizer, samples)

    def _ends(self, so_far: Tensor, checked: int, stop: tuple[str, ...]) -> Tensor:
        """[R] length of each row at its end-of-sequence token or the end of a stop text; past all columns where there is none.

        Args:
            so_far: [R, N] tokens; the first `checked` of each row hold no end.
        """
        new = so_far[:, checked:]
        ending = torch.isin(new, self._end_tokens)
        if stop:
            suspects = torch.isin(new, self._tokens_ending(stop)) & ~ending
            rows, columns = suspects.nonzero(as_tuple=True)
            ends = (checked + columns + 1).tolist()
            # A stop text is a few tokens; decoding the tail is enough and keeps each check short. All rows leave the GPU in
            # one transfer: one each would cost more than the decoding itself.
            tails = [ids[max(0, end - 32) : end] for ids, end in zip(so_far[rows].tolist(), ends, strict=True)]
            found = [any(text in tail for text in stop) for tail in self.tokenizer.batch_decode(tails)]
            ending[rows, columns] = torch.tensor(found, dtype=torch.bool, device=ending.device)
        first = ending.int().argmax(dim=1)
        return torch.where(ending.any(dim=1), checked + first + 1, so_far.shape[1] + 1)

    def _tokens_ending(self, stop: tuple[str, ...]) -> Tensor:
        """The tokens whose text holds the last character of a stop text: only these can complete one."""
        if stop not in self._stop_tokens:
            last = {text[-1] for text in stop}
            texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            self._stop_tokens[stop] = torch.tensor(
                [i for i, text in enumerate(texts) if last & set(text)], device=self._end_tokens.device
            )
        return self._stop_tokens[stop]


def decode_samples(tokenizer: PreTrainedTokenizerBase, samples: Samples) -> list[str]:
    """The texts of all rows, special tokens removed."""
    lengths = samples.mask.sum(dim=1).long().tolist()
    rows = [row[:length] for row, length in zip(samples.ids.tolist(), lengths, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


def end_tokens(tokenizer: PreTrainedTokenizerBase, named: int | list[int] | None) -> list[int]:
    """The tokens that end a completion, ascending: the tokenizer's, and those that the model's generation settings name."""
    listed = named if isinstance(named, list) else [named]
    return sorted({end for end in (*listed, tokenizer.eos_token_id) if isinstance(end, int)})
