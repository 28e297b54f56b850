"""Batched sampling with a key-value cache: one prefill a prompt, shared by its completions; finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from r1env_trainers.devices import autocast
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.prompts import left_pad


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


class Sampler:
    """Draws completions from one model. Holds no state between calls but what it has learnt of the vocabulary."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self._pad = loaded.pad
        self._end_tokens = _end_tokens(loaded)
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
        generator = torch.Generator(device=device).manual_seed(seed)
        prompt_ids, prompt_mask = left_pad(prompts, self._pad, device)
        with autocast(device):
            cache = DynamicCache(config=self.model.config)
            output = self.model(
                input_ids=prompt_ids,
                attention_mask=prompt_mask,
                position_ids=_positions(prompt_mask),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            if n > 1:
                cache.batch_repeat_interleave(n)
            logits = output.logits[:, -1].repeat_interleave(n, dim=0).float()  # [B, V]
            attention = prompt_mask.repeat_interleave(n, dim=0)  # [B, L], grows by one column a step
            batch = logits.shape[0]
            ids = torch.full((batch, max_new_tokens), self._pad, dtype=torch.long, device=device)
            logprobs = torch.zeros((batch, max_new_tokens), dtype=torch.float32, device=device)
            finished = torch.zeros(batch, dtype=torch.bool, device=device)
            lengths = torch.zeros(batch, dtype=torch.long, device=device)
            rows = torch.arange(batch, device=device)  # which row of the result each live row is
            for step in range(max_new_tokens):
                token, logprob = draw(logits, temperature, top_p, generator)
                ids[rows, step], logprobs[rows, step] = token, logprob
                lengths[rows] = step + 1
                ended = self._ended(token, ids[rows, : step + 1], stop)
                finished[rows[ended]] = True
                live = ~ended
                if not bool(live.any()) or step + 1 == max_new_tokens:
                    break
                attention = torch.cat([attention, attention.new_ones((len(rows), 1))], dim=1)
                if not bool(live.all()):
                    keep = live.nonzero().squeeze(1)
                    rows, token, attention = rows[keep], token[keep], attention[keep]
                    cache.batch_select_indices(keep)
                output = self.model(
                    input_ids=token[:, None],
                    attention_mask=attention,
                    position_ids=attention.sum(dim=1, keepdim=True) - 1,
                    past_key_values=cache,
                    use_cache=True,
                )
                logits = output.logits[:, -1].float()
        longest = int(lengths.max())
        mask = (torch.arange(longest, device=device)[None] < lengths[:, None]).float()
        return Samples(ids[:, :longest].clone(), mask, logprobs[:, :longest].clone(), finished)

    def decode(self, samples: Samples) -> list[str]:
        """The texts of all rows, special tokens removed."""
        lengths = samples.mask.sum(dim=1).long().tolist()
        rows = [row[:length] for row, length in zip(samples.ids.tolist(), lengths, strict=True)]
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)

    def _ended(self, token: Tensor, so_far: Tensor, stop: tuple[str, ...]) -> Tensor:
        """[B] True where the row just drew an end-of-sequence token or completed a stop text."""
        ended = torch.isin(token, self._end_tokens)
        if stop:
            suspects = torch.isin(token, self._tokens_ending(stop)) & ~ended
            for row in suspects.nonzero().squeeze(1).tolist():
                # A stop text is a few tokens; decoding the tail is enough and keeps each check short.
                tail = self.tokenizer.decode(so_far[row, -32:].tolist())
                ended[row] = any(text in tail for text in stop)
        return ended

    def _tokens_ending(self, stop: tuple[str, ...]) -> Tensor:
        """The tokens whose text holds the last character of a stop text: only these can complete one."""
        if stop not in self._stop_tokens:
            last = {text[-1] for text in stop}
            texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            self._stop_tokens[stop] = torch.tensor(
                [i for i, text in enumerate(texts) if last & set(text)], device=self._end_tokens.device
            )
        return self._stop_tokens[stop]


def _end_tokens(loaded: LoadedModel) -> Tensor:
    """The tokens that end a completion: the tokenizer's, and those that the model names beside it."""
    named = loaded.model.generation_config.eos_token_id if loaded.model.generation_config else None
    listed = named if isinstance(named, list) else [named]
    ends = {end for end in (*listed, loaded.tokenizer.eos_token_id) if isinstance(end, int)}
    return torch.tensor(sorted(ends), dtype=torch.long, device=loaded.device)


def draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token a row.

    Args:
        logits: [B, V] float32.
        temperature: 0 takes the likeliest token.
        top_p: keeps the smallest set of tokens whose probability reaches it.

    Returns:
        tokens [B] (int64), and their log-probs [B] under the distribution drawn from (the plain one where greedy).
    """
    if temperature == 0:
        token = logits.argmax(dim=-1)
        return token, logits.log_softmax(dim=-1).gather(1, token[:, None]).squeeze(1)
    logprobs = (logits / temperature).log_softmax(dim=-1)
    if top_p < 1:
        ordered, order = logprobs.sort(dim=-1, descending=True)
        before = ordered.exp().cumsum(dim=-1) - ordered.exp()  # probability of all likelier tokens
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(1, order, before >= top_p)
        logprobs = logprobs.masked_fill(outside, float("-inf")).log_softmax(dim=-1)
    # The Gumbel-max trick in its exponential form: argmax p/e with e ~ Exp(1) is a draw from p, and needs no CPU round trip.
    noise = torch.empty_like(logprobs).exponential_(generator=generator)
    token = (logprobs.exp() / noise).argmax(dim=-1)
    return token, logprobs.gather(1, token[:, None]).squeeze(1)


def _positions(mask: Tensor) -> Tensor:
    """[B, L] position of each token among the real ones of its row; 0 on padding."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
