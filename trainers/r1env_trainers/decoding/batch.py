"""What the sampler asks of a batch of completions that are decoded in step."""

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


class Batch(Protocol):
    """Completions under way. Rows are in prompt-major order at first: row p * n + k is completion k of prompt p.

    Attributes:
        stride: tokens that are cheapest drawn before looking at them.
    """

    stride: int

    def advance(self, count: int) -> tuple[Tensor, Tensor]:
        """The next `count` tokens of every row, whether or not it should have ended on the way.

        Returns:
            ids [R, count] int64 and their log-probs [R, count] float32, under the distribution they were drawn from.
        """

    def keep(self, rows: Tensor) -> None:
        """Go on with only these rows, by their places among the present ones, ascending."""


Start = Callable[[Sequence[Sequence[int]], int, int, Draws], Batch]
"""Begin a batch: P prompts (token ids, none empty), n completions each, the most tokens to draw, and how."""
