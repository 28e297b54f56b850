"""Training rows that share text with a benchmark, found by word n-grams as DeepSeek-R1's authors did (10-grams of questions and solutions).

A paraphrase shares no n-gram and is not found; the paper says the same of its own filter.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

WORD = re.compile(r"\w+")
FEWEST_WORDS = 5
"""A shorter question, such as "2 + 2?", is no evidence of anything."""
COMMON_SHARE, COMMON_COUNT = 0.05, 5
"""An n-gram in so many texts of one benchmark is an instruction that all of them have, not a question."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a benchmark or of a training row, with what to call it in a report."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """What a training row shares with a benchmark.

    Attributes:
        benchmark, task: where the text is from.
        shared: the first n-gram in common.
    """

    benchmark: str
    task: str
    shared: str


@dataclass
class Index:
    """The n-grams of benchmarks.

    Texts with fewer words than an n-gram are found where a training row contains all their words in order. N-grams that many texts of a
    benchmark have in common are left out.

    Args:
        n: words of an n-gram.

    Example:
        >>> index = Index(n=5)
        >>> index.add("quiz", [Text("q1", "How many legs do seven spiders have?")])
        >>> [hit.task for hit in index.find("Q: how many LEGS do seven spiders have ?")]
        ['q1']
    """

    n: int = 10
    _grams: dict[int, tuple[str, str]] = field(default_factory=dict, repr=False)
    _short: dict[int, dict[int, tuple[str, str]]] = field(default_factory=dict, repr=False)  # by number of words
    tasks: Counter[str] = field(default_factory=Counter)
    common: Counter[str] = field(default_factory=Counter)

    def add(self, benchmark: str, texts: Iterable[Text]) -> None:
        """Add the texts of a benchmark, which are held until their common n-grams are known."""
        found: dict[int, tuple[str, str]] = {}
        counts: Counter[int] = Counter()
        total = 0
        for text in texts:
            total += 1
            words = words_of(text.text)
            if len(words) < self.n:
                if len(words) >= FEWEST_WORDS:
                    known = self._short.setdefault(len(words), {})
                    known.update({gram: (benchmark, text.name) for _, gram in _grams(words, len(words)) if gram not in known})
                continue
            grams = {gram for _, gram in _grams(words, self.n)}
            counts.update(grams)
            for gram in grams:
                found.setdefault(gram, (benchmark, text.name))
        common = {gram for gram, count in counts.items() if count >= max(COMMON_COUNT, COMMON_SHARE * total)}
        for gram, source in found.items():
            if gram not in common:
                self._grams.setdefault(gram, source)
        self.tasks[benchmark] += total
        self.common[benchmark] += len(common)

    def find(self, text: str) -> list[Hit]:
        """Return a hit for every benchmark task that the text shares an n-gram with, in the order of the text."""
        words = words_of(text)
        hits: dict[tuple[str, str], Hit] = {}
        for size, known in ((self.n, self._grams), *self._short.items()):
            if not known:
                continue
            for start, gram in _grams(words, size):
                source = known.get(gram)
                if source is not None and source not in hits:
                    hits[source] = Hit(*source, " ".join(words[start : start + size]))
        return list(hits.values())


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, compatibility forms unified: spacing, case and signs do not matter.

    >>> words_of("Let $x=2$,  THEN…")
    ['let', 'x', '2', 'then']
    """
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _grams(words: Sequence[str], n: int) -> Iterator[tuple[int, int]]:
    """Yield place and hash of every n-gram of which at least half are words: `48 / 2 = 24` is in many solutions by chance.

    The hash is the same within this process only.
    """
    letters = list(accumulate((word.isalpha() for word in words), initial=0))
    for start in range(len(words) - n + 1):
        if 2 * (letters[start + n] - letters[start]) >= n:
            yield start, hash(tuple(words[start : start + n]))
