"""Decoding with transformers' own forward pass and cache: any causal language model, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from r1env_trainers.decoding.batch import Draws
from r1env_trainers.decoding.draw import draw
from r1env_trainers.devices import autocast
from r1env_trainers.prompts import left_pad


class TransformersBatch:
    """One prefill a prompt, shared by its completions; rows that are let go leave the cache."""

    def __init__(
        self, model: PreTrainedModel, pad: int, prompts: Sequence[Sequence[int]], n: int, max_new_tokens: int, draws: Draws
    ) -> None:
        self._model, self._draws = model, draws
        self._generator = torch.Generator(device=model.device).manual_seed(draws.seed)
        self._cache = DynamicCache(config=model.config)
        ids, mask = left_pad(prompts, pad, model.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        self._logits: Tensor | None = self._forward(ids, mask, positions).repeat_interleave(n, dim=0)  # [R, V]
        if n > 1:
            self._cache.batch_repeat_interleave(n)
        self._mask = mask.repeat_interleave(n, dim=0)  # [R, L], grows by a column a token
        self._token = ids.new_empty(len(self._mask))  # [R]

    def advance(self) -> tuple[Tensor, Tensor]:
        if self._logits is None:
            self._mask = torch.cat([self._mask, self._mask.new_ones((len(self._mask), 1))], dim=1)
            self._logits = self._forward(self._token[:, None], self._mask, self._mask.sum(dim=1, keepdim=True) - 1)
        self._token, logprob = draw(self._logits, self._draws.temperature, self._draws.top_p, self._generator)
        self._logits = None
        return self._token, logprob

    def keep(self, rows: Tensor) -> None:
        self._token, self._mask = self._token[rows], self._mask[rows]
        self._cache.batch_select_indices(rows)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        with autocast(self._model.device):
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits: Tensor = output.logits[:, -1].float()
        return logits
