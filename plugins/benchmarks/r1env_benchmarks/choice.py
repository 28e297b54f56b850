"""Multiple choice: the question with its options by letter, and the letter of the right one."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from typing import Any

from r1env import Task, TaskKind, TaskSource, UsageError
from r1env.data.sources import tasks_from_rows
from r1env_benchmarks.rows import Data, Row, local_rows

LETTERS = string.ascii_uppercase[:10]


def choice_jsonl(
    data: Data | None = None,
    split: str | None = None,
    question_field: str = "question",
    options_field: str = "options",
    answer_field: str = "answer",
    first_index: int = 0,
    shuffle_seed: int | None = None,
) -> TaskSource:
    """Any JSON-lines file whose rows have a question, options and an answer.

    Args:
        data: a JSON-lines file, or one for each split.
        split: of the data.
        question_field, options_field, answer_field: where they stand in a row. Options are a list, an object by label, or
            `{"label": […], "text": […]}`; the answer is a letter or label, an option's text, an index, or a list of these.
        first_index: what the first option's index is, 0 or 1.
        shuffle_seed: shuffle the options of each row; the same seed gives the same order.

    Raises:
        UsageError: `first_index` is neither, or a row has no question, no options, or an answer that is none of them.

    Example:
        >>> env = gymnasium.make("r1env/choice-jsonl", data="questions.jsonl", options_field="choices")  # doctest: +SKIP
    """
    if first_index not in (0, 1):
        raise UsageError(f"environment 'choice-jsonl': first_index is {first_index!r}; known: 0, 1")

    def make(number: int, row: Row) -> Task:
        question = row[question_field]
        if not isinstance(question, str) or not question.strip():
            raise ValueError("it has no question")
        labels, texts = _options(row[options_field])
        if not 2 <= len(texts) <= len(LETTERS):
            raise ValueError(f"its {options_field!r} are {len(texts)} options; from 2 to {len(LETTERS)} can be shown")
        answer = row[answer_field]
        wanted = answer if isinstance(answer, Sequence) and not isinstance(answer, str) else [answer]
        right = {_place(each, labels, texts, first_index) for each in wanted}
        order = list(range(len(texts)))
        if shuffle_seed is not None:
            random.Random(f"{shuffle_seed}/{number}").shuffle(order)
        shown = {letter: texts[place] for letter, place in zip(LETTERS, order, strict=False)}
        lines = "\n".join(f"{letter}) {text}" for letter, text in shown.items())
        return Task(
            id=f"choice-jsonl-{number}",
            prompt=f"{question.strip()}\n\n{lines}",
            answer="".join(letter for letter, place in zip(LETTERS, order, strict=False) if place in right),
            kind=TaskKind.CHOICE,
            metadata={"options": shown},
        )

    return tasks_from_rows(local_rows("choice-jsonl", data, split), make, where=f"choice-jsonl, {data}")


def _options(value: Any) -> tuple[list[str], list[str]]:
    """The labels and the texts of a row's options."""
    if isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
        if isinstance(labels, list) and isinstance(texts, list):
            return [*map(str, labels)], [*map(str, texts)]
        return [*map(str, value)], [*map(str, value.values())]
    texts = [*map(str, value)] if isinstance(value, list) else []
    return list(LETTERS[: len(texts)]), texts


def _place(answer: Any, labels: list[str], texts: list[str], first_index: int) -> int:
    """Where the option that an answer names stands in the row.

    Raises:
        ValueError: it names none.
    """
    named = str(answer).strip()
    for names in (texts, labels):
        if named in names and not isinstance(answer, int):
            return names.index(named)
    if named.isdecimal() and 0 <= int(named) - first_index < len(texts):
        return int(named) - first_index
    raise ValueError(f"its answer {answer!r} names none of its options")
