"""What the sampler asks of completions that are under way, and how their tokens are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Draws:
    """How tokens are drawn.

    Attributes:
        temperature: 0 is greedy; its log-probs are those of the unscaled distribution.
        top_p: keeps the smallest set of tokens whose probability reaches it.
        seed: the draws depend on nothing else that is random.
    """

    temperature: float
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """The next K tokens of R rows, all on the CPU.

    Attributes:
        rows: [R] int64, ascending.
        ids: [R, K] int64. Rows that should have ended on the way have been drawn on.
        logprobs: [R, K] float32, under the distribution they were drawn from.
        ready: returns once `ids` and `logprobs` have arrived; they may not be read before.
    """

    rows: Tensor
    ids: Tensor
    logprobs: Tensor
    ready: Callable[[], object] = lambda: None


class Batch(Protocol):
    """Completions under way: row p * n + k is completion k of prompt p. Rows may wait until others have ended.

    Attributes:
        ahead: how many more `Drawn` should be asked for before looking at the first, so that a device never waits for its host.
    """

    ahead: int

    def advance(self) -> Drawn | None:
        """The next tokens of some rows; None when every row has ended or has all its tokens."""

    def end(self, rows: Tensor) -> None:
        """These rows [R] are complete; no token of them is drawn from now on."""


Start = Callable[[Sequence[Sequence[int]], int, int, Draws], Batch]
"""Begin a batch: P prompts (token ids, none empty), n completions each, the most tokens to draw, and how."""
