"""The reward `repetition`, a penalty for repeated n-grams, and `split_tokens`, which splits text into words without a tokenizer."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt

import r1env

Unit = Literal["words", "characters"]
MAX_N = 256  # far beyond what is used (3 to 40)

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
"""Kana and Han: written without spaces, so each character counts as a word."""

LEAST_LOOP = 10
"""Characters of a repetition inside one word ("hahahahaha") from which on each round counts as a word."""

_TOKEN = re.compile(rf"[{CJK}]|[^\W{CJK}]+|[^\w\s]")
_WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+")
# Up to 16 characters, at least four times in a row. The bounds keep the time linear: a failed start costs 16 short comparisons.
_LOOP = re.compile(r"(\w{1,16}?)\1{3,}")
_BLANK_RUN = re.compile(r"\n(?:[^\S\n]*\n){3,}|[^\S\n]{33,}")  # more than two empty lines, or than a deep indentation


@r1env.reward(name="repetition", isolation="inline", parts=("repeated",))
class Repetition:
    """Return a penalty from 0, if no n-gram occurs twice, down to `max_penalty`; 0 for fewer than n tokens.

    The penalty is `max_penalty` times the share of n-grams that occurred before, as in open-r1's version of the n-gram penalty of
    "Demystifying Long Chain-of-Thought Reasoning in LLMs" (Yeo et al., 2025, arXiv 2502.03373, which uses N = 40 and -0.05 per
    repeated token). The part `repeated` is that share.

    Args:
        n: length of the n-grams. A few short n-grams are also repeated in ordinary text.
        max_penalty: the value for a text that consists only of repetition; 0 or below.
        unit: `words` as in `split_tokens`, ignoring case, or `characters`, which needs a larger n, for example 20.

    Example:
        >>> round(Repetition("wait wait wait wait wait wait").value, 2)
        -0.75
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
    """Return the share of n-grams that occurred before, in [0, 1). The time is N log N log n for any N tokens.

    N-grams are numbered by doubling: one of length a + b is a pair of the numbers of two shorter ones, which may overlap.

    Args:
        tokens: a number for each token, equal for equal tokens.  # [N]
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
    """Renumber from 0 without gaps, so that equal numbers stay equal and different ones different."""
    return np.unique(numbers, return_inverse=True)[1].reshape(-1)


def split_tokens(text: str) -> list[str]:
    """Return the words, single Chinese and Japanese characters, and single punctuation marks of a text, in order. Linear.

    A word that consists of repeated characters is split into its repetitions, and each line or space in a long run of blank lines or
    spaces counts as a word, so that a text that contains nothing else counts as repetitive.

    Example:
        >>> split_tokens("No, hahahahaha!")
        ['No', ',', 'ha', 'ha', 'ha', 'ha', 'ha', '!']
    """
    tokens: list[str] = []
    place = 0
    for run in _BLANK_RUN.finditer(text):
        tokens += _tokens_between(text[place : run.start()])
        tokens += list(run[0].replace(" ", "") if "\n" in run[0] else run[0])
        place = run.end()
    return tokens + _tokens_between(text[place:])


def split_words(text: str) -> list[str]:
    """Return the words of a text, and its single Chinese and Japanese characters, without punctuation."""
    return _WORD.findall(text)


def _tokens_between(text: str) -> list[str]:
    tokens = []
    for token in _TOKEN.findall(text):
        if len(token) < LEAST_LOOP:
            tokens.append(token)
            continue
        place = 0
        for loop in _LOOP.finditer(token):
            if len(loop[0]) < LEAST_LOOP:
                continue
            if loop.start() > place:
                tokens.append(token[place : loop.start()])
            tokens += [loop[1]] * (len(loop[0]) // len(loop[1]))
            place = loop.end()
        if place < len(token):
            tokens.append(token[place:])
    return tokens


def _numbers_of_words(text: str) -> npt.NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(token, len(seen)) for token in split_tokens(text)], dtype=np.int64)


def _numbers_of_characters(text: str) -> npt.NDArray[np.int64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
