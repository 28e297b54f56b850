"""`FileTasks`: the rows of a file, a folder or a data set of the hub as tasks, checked before the first one is used."""

from __future__ import annotations

import hashlib
import json
import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from r1env.data.layouts import Example, Examples, Layout, language_of, read_examples
from r1env.data.rows import ColumnMap, Source, where_of
from r1env.errors import DataError, NoSplitError, UsageError
from r1env.types import Task, TaskKind

logger = logging.getLogger(__name__)

Data = Source | Mapping[str, Source]
"""A source (see `read_rows`), or one for each split."""

ReadReference = Callable[[str], str | None]
"""What a reward makes of a reference column; see `Reward.read_reference`."""

CHECKED_ROWS = 20_000
"""Rows that opening checks, in about a second. Beyond them rows are checked when they are used, and by the check before a training."""

REWARD_OF_KIND: Mapping[TaskKind, str] = {
    TaskKind.MATH: "math",
    TaskKind.CHOICE: "choice",
    TaskKind.CODE: "code",
    TaskKind.SHORT: "short_answer",
}
"""The reward that checks tasks of a kind. Logic is checked by the rule of its generator, chat by a judge."""

TEMPLATE_OF_KIND: Mapping[TaskKind, str] = {TaskKind.MATH: "boxed", TaskKind.CHOICE: "boxed", TaskKind.SHORT: "boxed"}
"""The prompt template of tasks of a kind, where it is not `plain`."""

SAMPLED_ROWS = 64  # by which the layout is recognised, where bad rows are skipped and the first may be one
NAMED_ROWS = 5  # in a message


def file_tasks(
    data: Data | None = None,
    split: str | None = None,
    map: str | Iterable[str] | Mapping[str, str] = "",  # noqa: A002 - the option's name
    layout: str | Layout = "",
    kind: str = "",
    question_field: str = "",
    answer_field: str = "",
    options_field: str = "",
    bad_rows: Literal["refuse", "skip"] = "refuse",
    drop_repeated: bool = False,
    part: tuple[float, float] = (0.0, 1.0),
    first_index: int = 0,
    shuffle_seed: int | None = None,
    keep_instruction: bool = False,
    name: str = "data",
) -> FileTasks:
    """Tasks from rows of any data: JSON Lines, JSON, CSV, Parquet, folders, globs, or `hub:owner/name[:config][@split]`.

    Args:
        data: where the rows are, or one source for each split: `{"train": FILE, "test": FILE}`.
        split: of a folder, of a data set of the hub, or a key of `data`. A file is all training data.
        map: what the columns are: `question=problem,answer=reward_model.ground_truth`. Without it the layout is recognised.
        layout: the name of a layout, instead of recognising one.
        kind: take the rows of this kind alone (`math`, `choice`, `code`, `logic`, `short`, `chat`).
        question_field, answer_field, options_field: short for a map.
        bad_rows: what to do with a row that cannot be a task: `refuse` the data, or `skip` it; skipped rows are counted.
        drop_repeated: leave out rows that ask what an earlier row asked.
        part: take the rows whose question has its hash in this part of all hashes: (0, 0.4) and (0.4, 1) share no question.
        first_index, shuffle_seed, keep_instruction: see `r1env.data.layouts.Reading`.
        name: the beginning of each task's id; the split follows, where there is one.

    Raises:
        NoSplitError: the data have no such split.
        DataError: the rows cannot be read, or cannot be tasks.
        UsageError: an option that makes no sense.

    Example:
        >>> env = gymnasium.make("r1env/data", data="train.parquet", map="question=q,answer=a")  # doctest: +SKIP
    """
    if data is None:
        raise UsageError(
            f"environment {name!r} needs data: --data FILE (JSON Lines, JSON, CSV, Parquet, a folder, hub:owner/name)"
        )
    if kind and kind not in list(TaskKind):
        raise UsageError(f"environment {name!r}: kind is {kind!r}; known: {', '.join(TaskKind)}")
    if bad_rows not in ("refuse", "skip"):
        raise UsageError(f"environment {name!r}: bad_rows is {bad_rows!r}; known: refuse, skip")
    if len(part) != 2 or not 0 <= part[0] < part[1] <= 1:
        raise UsageError(f"environment {name!r}: part is {list(part)}; give two shares, such as [0, 0.4]")
    if first_index not in (0, 1):
        raise UsageError(f"environment {name!r}: first_index is {first_index!r}; known: 0, 1")
    if split is not None:
        name = f"{name}-{split}"  # each split numbers its rows from 0, and two tasks must not have one id
    source, split = source_of_split(data, split)
    examples = read_examples(
        source,
        columns=_columns(map, {"question": question_field, "answer": answer_field, "options": options_field}),
        layout=layout,
        split=split,
        sample=SAMPLED_ROWS if bad_rows == "skip" else 1,
        first_index=first_index,
        shuffle_seed=shuffle_seed,
        keep_instruction=keep_instruction,
    )
    return FileTasks(
        examples,
        name,
        kind=TaskKind(kind) if kind else None,
        skip_bad=bad_rows == "skip",
        drop_repeated=drop_repeated,
        part=(part[0], part[1]),
    )


def source_of_split(data: Data, split: str | None) -> tuple[Source, str | None]:
    """Return the source that `data` names for a split, and the split to take of it.

    Raises:
        NoSplitError: it names none.
    """
    if not isinstance(data, Mapping):
        return data, split
    if split is None or split not in data:
        raise NoSplitError(f"data names the splits {', '.join(data)}; {split or 'no split'} was asked for")
    return data[split], None


def _columns(given: str | Iterable[str] | Mapping[str, str], fields: Mapping[str, str]) -> ColumnMap | None:
    columns = dict(given) if isinstance(given, Mapping) else dict(ColumnMap.parse(given)) if given else {}
    columns |= {field: path for field, path in fields.items() if path}
    if not columns:
        return None
    paths = list(columns.values())
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise UsageError(f"question, answer and options are to be different columns; {twice[0]!r} is named twice")
    if fields.get("question") and "answer" not in columns:
        columns["answer"] = "answer"
    if fields.get("answer") and "question" not in columns:
        columns["question"] = "question"
    if "options" in fields and fields["options"] and "answer" not in columns:
        columns["answer"] = "answer"
    return ColumnMap(columns)


class FileTasks:
    """A task source over examples. Tasks are made when they are asked for, so that a million rows open at once.

    Attributes:
        examples: what they are made of.
        kind: of all tasks.
        reward: the name of the reward that checks them; empty where nothing does.
        checker: the reward that checks them and its options, where whoever opened the source chose one; it precedes the environment's own.
    """

    checker: tuple[str, Mapping[str, Any]] | None = None

    def __init__(
        self,
        examples: Examples,
        name: str,
        *,
        kind: TaskKind | None = None,
        skip_bad: bool = False,
        drop_repeated: bool = False,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.examples = examples
        self._name = name
        self._part = part
        self._skip_bad, self._drop_repeated = skip_bad, drop_repeated
        self._read_reference: ReadReference | None = None
        self._kept: array[int] | None = None
        self._kind_given = kind is not None
        self.kind = kind or self._first_kind()
        first = next((one for one in self._readable() if one.kind is self.kind), None)
        self.reward = (first.reward if first else "") or REWARD_OF_KIND.get(self.kind, "")

    @property
    def size(self) -> int:
        return len(self.examples) if self._kept is None else len(self._kept)

    def task(self, index: int, seed: int = 0) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        place = self._place(index)
        example = self.examples[place]
        if fault := self._unfit(example):
            raise DataError(example.where, fault)
        return task_of_example(example, example.id or f"{self._name}-{place}", self._read_reference)

    def where(self, index: int) -> str:
        """Return the file and the row of a task, for messages."""
        return where_of(self.examples.rows[self._place(index)])

    def _place(self, index: int) -> int:
        """Return the place of a task among all rows."""
        return index if self._kept is None else self._kept[index]

    def checked(self, read_reference: ReadReference | None) -> FileTasks:
        """Look at the rows, log what they are and what becomes of them, and return the source.

        Args:
            read_reference: the rule of the reward by which a final answer is read out of a reference column.

        Raises:
            DataError: a row cannot be a task (unless those are skipped), rows are of several kinds, or no task is left.
        """
        self._read_reference = read_reference
        tally = _Tally()
        everything = self._drop_repeated or self._skip_bad or self._part != (0, 1) or len(self.examples) <= CHECKED_ROWS
        kept = array("q")
        for place, example in self._enumerated(tally):
            if not everything and place >= CHECKED_ROWS:
                if not tally.dropped:
                    break
                everything = True  # rows are left out, so all must be looked at to know which stay
            if self._takes(example, tally):
                kept.append(place)
        else:
            self._kept = kept if len(kept) < len(self.examples) else None
            if not kept:
                raise DataError(self.examples.rows.name, f"no row is left to be a task ({tally.said()})")
        self._log(tally, min(len(self.examples), CHECKED_ROWS) if not everything else len(self.examples))
        return self

    def _first_kind(self) -> TaskKind:
        for example in self._readable():
            if not example.left_out and example.kind is not None:
                return example.kind
            if example.kind is None:
                raise DataError(
                    self.examples.rows.name,
                    f"its rows ({example.layout}) are no tasks with something to answer; say what to ask with --map question=COLUMN,answer=COLUMN",
                )
        raise DataError(self.examples.rows.name, "no row can be a task")

    def _readable(self) -> Iterable[Example]:
        """Yield the first examples; those that cannot be read are passed over where bad rows are skipped."""
        for place in range(min(len(self.examples), CHECKED_ROWS)):
            try:
                yield self.examples[place]
            except DataError:
                if not self._skip_bad:
                    raise

    def _enumerated(self, tally: _Tally) -> Iterable[tuple[int, Example]]:
        """Yield every example with its place; rows that cannot be read are counted or refused."""
        for place, row in enumerate(self.examples.rows):
            try:
                yield place, self.examples.example(row, place)
            except DataError as error:
                if not self._skip_bad:
                    raise
                tally.bad.append(error)

    def _takes(self, example: Example, tally: _Tally) -> bool:
        """Return whether an example becomes a task; counts it."""
        if example.left_out:
            tally.left_out[example.left_out] += 1
            return False
        if example.kind is not self.kind:
            if not self._kind_given:
                raise DataError(example.where, self._unfit(example))
            tally.kinds[str(example.kind or "none")] += 1
            return False
        digest = _digest(example)
        if not self._part[0] <= int.from_bytes(digest, "big") / 2**64 < self._part[1]:
            tally.other_part += 1
            return False
        repeated = digest in tally.seen
        tally.seen.add(digest)
        tally.repeated += repeated
        if repeated and self._drop_repeated:
            return False
        if example.answer is not None and self._read_reference is not None:
            answer = self._read_reference(example.answer)
            if answer is None:
                tally.unreadable.append(example)
            elif answer != example.answer.strip():
                tally.worked += 1
        tally.tasks += 1
        return True

    def _unfit(self, example: Example) -> str:
        """Return why an example that was not checked on opening cannot be a task; empty where it can."""
        if example.left_out:
            return f"it is left out, for {example.left_out}; open the data with -o bad_rows=skip, so that all rows are looked at first"
        if example.kind is not self.kind:
            return f"it is a task of the kind {example.kind}, and the rows before are of {self.kind}; take one kind with -o kind={self.kind}"
        return ""

    def _log(self, tally: _Tally, looked_at: int) -> None:
        rows = self.examples.rows
        logger.info("reading %s as %s rows (%s)", rows.name, self.examples.layout.name, self.kind)
        if looked_at < len(rows):
            logger.info("%s: looked at the first %s of %s rows", rows.name, f"{looked_at:,}", f"{len(rows):,}")
        if tally.dropped or tally.bad:
            logger.warning("%s: %s", rows.name, tally.said())
        if tally.other_part:
            low, high = self._part
            logger.info("%s: part %g to %g, %s left to other parts", rows.name, low, high, _rows(tally.other_part))
        if tally.worked:
            logger.info("%s read from worked solutions", _rows(tally.worked, "reference"))
        if tally.repeated and not self._drop_repeated:
            logger.warning(
                "%s: %s of %s rows ask what an earlier row asks (--drop-repeated leaves them out)",
                rows.name, f"{tally.repeated:,}", f"{looked_at:,}",
            )  # fmt: skip
        elif tally.repeated:
            logger.info("%s: %s left out", rows.name, _rows(tally.repeated, "repeated row"))
        if tally.unreadable:
            if len(tally.unreadable) == tally.tasks:
                first = tally.unreadable[0]
                raise DataError(
                    first.where,
                    f"the reference {str(first.answer)[:60]!r} marks no answer that the reward can read, and no other row's does; "
                    "name the column of the short answer with --map answer=COLUMN",
                )
            named = ", ".join(where_of(one.row).rpartition(", ")[2] for one in tally.unreadable[:NAMED_ROWS])
            logger.warning(
                "%s: %s cannot be read and stay unscored: %s%s",
                rows.name, _rows(len(tally.unreadable), "reference"), named, ", …" if len(tally.unreadable) > NAMED_ROWS else "",
            )  # fmt: skip


class _Tally:
    """What became of the rows."""

    def __init__(self) -> None:
        self.tasks = 0
        self.worked = 0
        self.repeated = 0
        self.other_part = 0
        self.seen: set[bytes] = set()
        self.left_out: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.bad: list[DataError] = []
        self.unreadable: list[Example] = []

    @property
    def dropped(self) -> bool:
        return bool(self.left_out or self.kinds or self.bad)

    def said(self) -> str:
        parts = [f"{_rows(count)} left out: {why}" for why, count in self.left_out.most_common()]
        parts += [f"{_rows(count)} of the kind {kind} left out" for kind, count in self.kinds.most_common()]
        parts += [f"{_rows(len(self.bad), 'bad row')} skipped, the first: {self.bad[0]}"] if self.bad else []
        return "; ".join(parts) or "nothing was left out"


def _rows(count: int, noun: str = "row") -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def task_of_example(example: Example, task_id: str, read_reference: ReadReference | None = None) -> Task:
    """Return the task of an example.

    Args:
        read_reference: reads the final answer out of the reference; where it cannot, the reference stays as it is, and the reward will say
            that it cannot be read.
    """
    answer = example.answer
    if answer is not None and read_reference is not None:
        answer = read_reference(answer) or answer
    return Task(
        id=task_id,
        prompt=example.prompt,
        answer=answer,
        tests=example.tests,
        kind=example.kind or TaskKind.CHAT,
        language=language_of(example.row),
        metadata=example.metadata,
    )


def _digest(example: Example) -> bytes:
    """Return what is asked, white space and case aside."""
    asked = json.dumps([" ".join(message["content"].lower().split()) for message in example.prompt])
    return hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=8).digest()
