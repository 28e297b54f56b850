"""The reward `repetition`: a penalty for saying the same thing again."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

import r1env
from r1env_format.tokens import split_tokens

Unit = Literal["words", "characters"]
MAX_N = 256  # far beyond what is used (3 to 40)


@r1env.reward(name="repetition", isolation="inline", parts=("repeated",))
class Repetition:
    """0 when no n-gram comes twice, down to `max_penalty` as ever more of them are repeats; 0 for a text of fewer than n.

    The penalty is `max_penalty` times the share of n-grams that are not the first of their kind, the form in which open-r1
    carries the n-gram penalty of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (Yeo et al., 2025, arXiv 2502.03373;
    there N = 40 and -0.05 a repeated token). The part `repeated` is that share.

    Args:
        n: length of the n-grams. Short ones come back in honest text too: the share is small there, not nil.
        max_penalty: what a text earns that is nothing but repetition; 0 or below.
        unit: `words` (upper and lower case alike; a Chinese or Japanese character, or a punctuation mark, is a word), or
            `characters`, which also sees one endless word and wants a larger n, say 20.
    """

    def __init__(self, n: int = 3, max_penalty: float = -1.0, unit: Unit = "words") -> None:
        if not 1 <= n <= MAX_N:
            raise r1env.UsageError(f"repetition: n is {n}; it must be from 1 to {MAX_N}")
        if not max_penalty <= 0:
            raise r1env.UsageError(f"repetition: max_penalty is {max_penalty}; a penalty is 0 or below")
        if unit not in ("words", "characters"):
            raise r1env.UsageError(f"unknown unit {unit!r}; known: words, characters")
        self.n, self.max_penalty, self.unit = n, max_penalty, unit

    def __call__(self, completion: str) -> r1env.Score:
        text = completion.lower()
        numbers = _numbers_of_words(text) if self.unit == "words" else _numbers_of_characters(text)
        share = repeated_share(numbers, self.n)
        penalty = self.max_penalty * share if share else 0.0  # no negative zero
        return r1env.Score(
            value=penalty,
            parts={"repeated": share},
            status=r1env.Status.OK,
            reason=f"{share:.0%} of the {self.n}-grams are repeats" if share else "",
        )


def repeated_share(tokens: npt.NDArray[np.int64], n: int) -> float:
    """The share of n-grams that stood before, in [0, 1). Takes time N log N log n for N tokens, whatever they are.

    N-grams are numbered by doubling: one of length a + b is a pair of the numbers of two shorter ones, which may overlap.

    Args:
        tokens: a number for each token, equal where the tokens are.  # [N]
    """
    count = len(tokens) - n + 1
    if count < 1:
        return 0.0
    numbers = _renumbered(tokens)
    width = 1
    while width < n:
        step = min(width, n - width)
        numbers = _renumbered(numbers[:-step] * len(tokens) + numbers[step:])  # N is 2^31 at most, so this fits 64 bits
        width += step
    return 1.0 - (int(numbers.max()) + 1) / count


def _renumbered(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Equal numbers stay equal, different ones different; from 0 on without gaps."""
    return np.unique(numbers, return_inverse=True)[1].reshape(-1)


def _numbers_of_words(text: str) -> npt.NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(token, len(seen)) for token in split_tokens(text)], dtype=np.int64)


def _numbers_of_characters(text: str) -> npt.NDArray[np.int64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
