"""Completions that are all at the same token, for decoders without slots: what they offer, and a `Batch` made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from r1env_trainers.decoding.batch import Drawn, Draws


class RowsInStep(Protocol):
    """Rows that were begun together, in prompt-major order."""

    def advance(self) -> tuple[Tensor, Tensor]:
        """The next token of every row: ids [R] int64 and their log-probs [R] float32."""

    def keep(self, rows: Tensor) -> None:
        """Go on with only these rows, by their places among the present ones, ascending."""


StartInStep = Callable[[Sequence[Sequence[int]], int, int, Draws], RowsInStep]
"""As `Start`, of rows in step."""


class Lockstep:
    """A `Batch` of rows in step; ended rows leave at once. With `max_rows`, as many whole groups as fit go one after another, each
    time with a seed of its own."""

    ahead = 0

    def __init__(
        self,
        start: StartInStep,
        prompts: Sequence[Sequence[int]],
        n: int,
        max_new_tokens: int,
        draws: Draws,
        max_rows: int | None = None,
    ) -> None:
        self._start, self._prompts, self._n, self._draws = start, prompts, n, draws
        self._max_new_tokens = max_new_tokens
        self._prompts_at_once = max(1, max_rows // n) if max_rows else len(prompts)
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
        if self._drawn == self._max_new_tokens:
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
        self._rows = torch.arange(first * self._n, self._begun * self._n)
        self._in_step = self._start(prompts, self._n, self._max_new_tokens, replace(self._draws, seed=self._draws.seed + first))
        self._drawn = 0
