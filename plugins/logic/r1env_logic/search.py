"""`search`: questions about a collection of texts, which the model searches with a tool.

Texts and questions may be files of the user's. Without them, both are made up: a chronicle of towns, their founders and their bridges, which no model has seen
before, and in which three questions of four take two searches.

Texts are ranked by BM25, with the library bm25s: `pip install 'r1env-logic[search]'`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1env import Task, TaskKind, TaskSource, UsageError
from r1env.data.rows import read_rows
from r1env.data.sources import ListSource, Split, split_of
from r1env.data.tasks import file_tasks
from r1env.envs.conversation import ToolEnv

MAX_HITS = 10
SHOWN_CHARACTERS = 600  # of a text in a list of hits
CHRONICLE = "chronicle"  # the name of the made-up texts, where a file could stand
REFERENCES = ("answers", "golden_answers", "answer")  # columns that may have several answers, any of which is right
MAX_QUERY = 2000  # characters of a query
HINT = (
    "Use the tool `search` to find texts, and `read` for the whole of one. When you know the answer, write only the answer, in a few words, without calling a "
    "tool."
)


def search_tasks(corpus: str | None = None, data: str | None = None, split: Split | None = None, **options: Any) -> TaskSource:
    """Return questions about a collection of texts.

    Args:
        corpus: the texts: rows (see `r1env.data.rows`) with `text` and perhaps `title`. None for the chronicle, and questions about it.
        data: the questions: rows with a question and a short answer, or a list of answers, any of which is right. Needed with `corpus`.
        split: of the chronicle's questions or of the rows.
        options: for the rows of `data`, such as `map`.

    Raises:
        UsageError: one of `corpus` and `data` is missing, the texts cannot be read, or bm25s is not installed.
    """
    if (corpus is None) != (data is None):
        raise UsageError("search: corpus=FILE, the texts, and data=FILE, the questions about them, belong together")
    if corpus is None or data is None:
        if options:
            raise UsageError(f"search: {', '.join(options)} is for the rows of data=FILE")
        index_of(CHRONICLE)  # a missing library is reported now
        return ListSource([task for task in _questions() if split in (None, "all", split_of(task.id))])
    index_of(corpus)  # and so is what is wrong with the texts
    return _Questions(file_tasks(data, split=split, **options), corpus)


class _Questions:
    """A file's questions.

    Attributes:
        other: makes the tools that search the texts that they are about.
    """

    def __init__(self, source: TaskSource, corpus: str) -> None:
        self._source = source
        self.other = functools.partial(Searcher, corpus)

    @property
    def size(self) -> int | None:
        return self._source.size

    def task(self, index: int, seed: int = 0) -> Task:
        task = self._source.task(index, seed)
        *before, last = task.prompt
        changes: dict[str, Any] = {
            "kind": TaskKind.SHORT,
            "prompt": (*before, {**last, "content": f"{last['content']}\n\n{HINT}"}),
            "metadata": dict(task.metadata),
        }
        lists = [value for column in REFERENCES if isinstance(value := task.metadata.get(column), list) and value]
        if lists:  # each is an answer; a list is one answer with several elements for other environments
            changes["answer"] = str(lists[0][0])
            changes["metadata"]["answers"] = [str(one) for one in lists[0]]
        return task.model_copy(update=changes)


class Searcher(ToolEnv):
    """Gives the model the tools `search` and `read`. The episode is over when it calls no tool."""

    def __init__(self, corpus: str = CHRONICLE) -> None:
        super().__init__([self.search, self.read])
        self._index = index_of(corpus)

    def search(self, query: str, count: int = 3) -> str:
        """Return the texts that match the words of a query best, at most `count` of them, each with its title and its beginning."""
        found = self._index.search(query, min(max(count, 1), MAX_HITS))
        return "\n\n".join(f"[{title}]\n{_beginning(text)}" for title, text in found) or "no text has any of these words"

    def read(self, title: str) -> str:
        """Return the whole text with a title."""
        if title not in self._index.texts:
            raise LookupError(f"no text has the title {title!r}")
        return self._index.texts[title]


def _beginning(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} … (read it for the rest)"


class Index:
    """Texts by title, ranked by BM25 (Robertson & Zaragoza 2009).

    Example:
        >>> index = Index({"a": "The cat sat.", "b": "A dog ran."})
        >>> index.search("dogs and a dog", 3)
        [('b', 'A dog ran.')]
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        try:
            import bm25s
        except ImportError as error:
            raise UsageError("the environment 'search' needs the library bm25s: pip install 'r1env-logic[search]'") from error
        self.texts = dict(texts)
        self._titles = list(self.texts)
        self._tokenize = bm25s.tokenize
        self._ranking = bm25s.BM25()
        words = self._tokenize([f"{title} {text}" for title, text in self.texts.items()], stopwords="en", show_progress=False)
        if not words.vocab:
            raise UsageError("search: the texts have no word to search for, only such as `the` and `of`")
        self._ranking.index(words, show_progress=False)

    def search(self, query: str, count: int) -> list[tuple[str, str]]:
        """Return the titles and texts that have a word of the query, the best first."""
        tokens = self._tokenize([query[:MAX_QUERY]], stopwords="en", show_progress=False, return_ids=False)
        if not tokens[0]:
            return []
        places, scores = self._ranking.retrieve(tokens, k=min(count, len(self._titles)), show_progress=False)
        hits = [self._titles[place] for place, score in zip(places[0].tolist(), scores[0].tolist(), strict=True) if score > 0]
        return [(title, self.texts[title]) for title in hits]


@functools.cache
def index_of(corpus: str) -> Index:
    """Return the index of a collection of texts: of the chronicle, or of a file. It is made once in a process."""
    return Index(_chronicle() if corpus == CHRONICLE else read_texts(corpus))


def read_texts(corpus: str | Path) -> dict[str, str]:
    """Return the texts of a file's rows by their titles; a row without a title has its number.

    Raises:
        UsageError: a row has no text, or two have one title.
    """
    texts: dict[str, str] = {}
    for number, row in enumerate(read_rows(str(corpus))):
        title, text = str(row.get("title") or number), row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{row.where}: a text to search needs the column `text`; its columns: {', '.join(row)}")
        if title in texts:
            raise UsageError(f"{row.where}: another text has the title {title!r} too")
        texts[title] = text
    return texts


# The chronicle.

TOWNS = 40
_SYLLABLES = ("bel", "cor", "dan", "fer", "gol", "har", "lin", "mor", "nav", "pel", "rud", "sil", "tor", "val", "wen", "zor")
_TRADES = (
    "a miller",
    "a weaver",
    "a surveyor",
    "a glass maker",
    "a ship's carpenter",
    "a midwife",
    "a bell founder",
    "a beekeeper",
)


@functools.cache
def _towns() -> Sequence[Mapping[str, str]]:
    """Return the towns, each with its founder, who was born in another, and its bridge. They are always the same."""
    rng = np.random.default_rng(20)
    names = _names(rng, 3 * TOWNS)
    towns, founders, bridges = names[:TOWNS], names[TOWNS : 2 * TOWNS], names[2 * TOWNS :]
    circle = rng.permutation(TOWNS).tolist()  # everybody was born in the next town of the circle
    born = {place: circle[(position + 1) % TOWNS] for position, place in enumerate(circle)}
    return [
        {
            "town": towns[place],
            "founder": f"{founders[place]} {founders[(place + 7) % TOWNS]}",
            "born": towns[born[place]],
            "trade": _TRADES[int(rng.integers(len(_TRADES)))],
            "founded": str(rng.integers(1100, 1400)),
            "bridge": f"{bridges[place]} Bridge",
            "built": str(rng.integers(1500, 1800)),
        }
        for place in range(TOWNS)
    ]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    found: dict[str, None] = {}  # a set in the order of its members
    while len(found) < count:
        found["".join(_SYLLABLES[int(place)] for place in rng.integers(len(_SYLLABLES), size=3)).capitalize()] = None
    return list(found)


def _chronicle() -> dict[str, str]:
    texts = {}
    for one in _towns():
        texts[one["town"]] = (
            f"{one['town']} is a town. It was founded in {one['founded']} by {one['founder']}. Its river is crossed by {one['bridge']}."
        )
        texts[one["founder"]] = f"{one['founder']}, {one['trade']}, was born in {one['born']} and founded a town."
        texts[one["bridge"]] = f"{one['bridge']} was opened in {one['built']}. Before, there was only a ferry."
    return texts


def _questions() -> list[Task]:
    asked = []
    for one in _towns():
        asked += [
            ("founder", one, f"Who founded the town {one['town']}?", one["founder"]),
            ("born", one, f"In which town was the founder of {one['town']} born?", one["born"]),
            ("built", one, f"In which year was the bridge of {one['town']} opened?", one["built"]),
            ("trade", one, f"What was the trade of the founder of {one['town']}?", one["trade"]),
        ]
    return [
        Task(
            id=f"search-{what}-{one['town']}",
            prompt=f"{question} {HINT}",
            answer=answer,
            kind=TaskKind.SHORT,
        )
        for what, one, question, answer in asked
    ]
