"""What the columns of a row mean: the layouts of public data sets, recognised by their columns, as one table (`LAYOUTS`).

`read_examples` reads a source as `Example` objects. An example has whatever its row gives: a question with its reference, options or
tests; demonstrations; preference pairs; labels. Every column that became none of these is kept in its metadata.
"""

from __future__ import annotations

import functools
import json
import math
import random
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from typing import Any, overload

from pydantic_core import to_jsonable_python

from r1env.data import programs
from r1env.data.rows import MISSING, ColumnMap, Row, Rows, Source, at_path, describe_columns, read_literal, read_rows, where_of
from r1env.errors import DataError, UnknownNameError, UsageError
from r1env.types import Conversation, Message, TaskKind

LETTERS = string.ascii_uppercase[:10]


@dataclass(frozen=True, slots=True)
class Computed:
    """A field that a function of the row gives; `MISSING` where it gives none.

    Attributes:
        path: what it is made of, for messages; several with `|` between them.
    """

    path: str
    read: Callable[[Mapping[str, Any]], Any]


Field = str | Computed
"""Where something stands in a row: a path (see `ColumnMap`), several with `|` between them (the first that is there), or a function."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a data set are laid out.

    Attributes:
        name: as people call the set.
        when: what a row must have, comma-separated: `column`, `column:shape` (see `SHAPES`), `one|another`, `!column` (absent),
            `column~text` (a text that contains it).
        kind: of the tasks; None where the rows are no tasks.
        question: text or messages.
        answer: the reference as the row has it: a checker's rule reads the final answer out of a worked solution.
        answers: further references that are as good.
        options: of a choice; the answer is then `answer_is`: `auto` (a letter or label, an option's text, or an index from 0), `index`
            or `letter`; `first`, where the first option is right.
        shown: the question shows the options already.
        agrees: another column that names the same option, as an index.
        tests: a function of the row that returns a `programs.Program`.
        completions: demonstrations: texts or messages, one or several.
        chosen, rejected, label, steps, tools, system: as they are called in preference, labelled, stepwise and tool data.
        id: the row's own name, where that is unique.
        skip: path → values for which a row is left out of the tasks, by a rule of the set; each such row is counted.
        leave_out: a function of the row that says why it is left out; empty where it stays.
        same_length: lists that belong together.
        parsed: columns that hold a list or an object, of which a CSV file has the text.
        needs: text that every reference has.
        check: raises `DataError` for faults of its own.
        extra: more metadata, computed.
        reward: that checks it, where that does not follow from the kind.
        weak: a guess from common names, which any other layout precedes.
    """

    name: str
    when: str
    kind: TaskKind | Callable[[Mapping[str, Any]], TaskKind | None] | None = None
    question: Field = ""
    answer: Field = ""
    answers: Field = ""
    options: Field = ""
    answer_is: str = "auto"
    shown: bool = False
    agrees: str = ""
    tests: Callable[[Mapping[str, Any]], programs.Program] | None = None
    completions: Field = ""
    chosen: Field = ""
    rejected: Field = ""
    label: Field = ""
    steps: Field = ""
    tools: Field = ""
    system: Field = ""
    id: Field = ""
    skip: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    leave_out: Callable[[Mapping[str, Any]], str] | None = None
    same_length: tuple[str, ...] = ()
    parsed: tuple[str, ...] = ()
    needs: str = ""
    check: Callable[[Mapping[str, Any]], None] | None = None
    extra: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    reward: str = ""
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A row, by what its columns mean. What the row does not have is empty or None.

    Attributes:
        row: as it was read.
        layout: the name of its layout.
        prompt: what the model is asked, as messages; an instruction about the form of the answer that the set puts there is taken off.
        kind: of the task; None where the row is none.
        answer: the reference as the row has it, as text. A letter, where there are options.
        tests: of a program, as `r1env-sandbox judge` reads them.
        demonstrations: each is what follows the prompt, the assistant's messages and whatever is between them.
        text: of a row that is plain text, without a prompt.
        chosen, rejected: the better and the worse continuation of the prompt.
        label: whether the demonstration is a good one.
        steps: parts of a solution, and whether each is right.
        tools: that the conversation may call, as JSON schemas.
        id: the row's own name; empty where it has none that is unique.
        metadata: every column that is not carried whole by the fields above; `options` by letter; what else the layout knows.
        columns: column → what became of it.
        left_out: why a rule of the set leaves this row out of the tasks; empty where none does.
        reward: that checks the task, where that does not follow from its kind.
    """

    row: Mapping[str, Any]
    layout: str
    prompt: Conversation = ()
    kind: TaskKind | None = None
    answer: str | None = None
    tests: tuple[Mapping[str, Any], ...] = ()
    demonstrations: tuple[Conversation, ...] = ()
    text: str = ""
    chosen: Conversation = ()
    rejected: Conversation = ()
    label: bool | None = None
    steps: tuple[tuple[str, bool], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""
    reward: str = ""

    @property
    def where(self) -> str:
        return where_of(self.row)


def read_examples(
    source: Source | Rows,
    *,
    columns: ColumnMap | None = None,
    layout: str | Layout = "",
    split: str | None = None,
    sample: int = 1,
    **settings: Any,
) -> Examples:
    """Return the rows of `source` as examples, read when they are asked for.

    Args:
        source: see `read_rows`.
        columns: what the columns are; otherwise the layout is recognised by the first row.
        layout: a layout, or the name of one of `LAYOUTS`, instead of recognising one.
        split: see `read_rows`.
        sample: rows by which the layout is recognised, the first ones; the one that most of them have counts. More than one is for files whose
            first row may be bad.
        settings: see `Reading`.

    Raises:
        DataError: no layout fits (the message has the columns and a map to copy), or the first row has a fault.
        UnknownNameError: no layout is called so.

    Example:
        >>> for example in read_examples("gsm8k_test.jsonl"):   # doctest: +SKIP
        ...     print(example.prompt[-1]["content"], example.answer)
    """
    rows = source if isinstance(source, Rows) else read_rows(source, split)
    first = rows.first
    if columns is not None:
        if sample == 1:
            columns.read(first)  # raises now what every row would raise
        chosen = mapped(columns)
    elif isinstance(layout, Layout):
        chosen = layout
    else:
        chosen = layout_named(layout) if layout else recognise(first) if sample == 1 else _commonest(rows, sample)
    first = first if sample == 1 else next((row for row in islice(rows, sample) if _fits(chosen, row)), first)
    return Examples(rows, _bound(chosen, first), Reading(**settings))


def _commonest(rows: Rows, sample: int) -> Layout:
    """Return the layout that most of the first rows have."""
    found = Counter(
        layout.name
        for row in islice(rows, sample)
        if (layout := next((one for one in candidates(row) if _fits(one, row)), None)) is not None
    )
    return layout_named(found.most_common(1)[0][0]) if found else recognise(rows.first)


def _bound(layout: Layout, first: Mapping[str, Any]) -> Layout:
    """Return the layout with the columns of the first row for those it has several names for: a later row must not fall back on another."""
    bound: dict[str, Any] = {}
    for name in ("question", "answer", "options", "completions", "label", "tools"):
        spec = getattr(layout, name)
        if isinstance(spec, str) and "|" in spec:
            there = [path for path in spec.split("|") if at_path(first, path) not in (MISSING, None)]
            bound[name] = there[0] if there else spec
    return replace(layout, **bound) if bound else layout


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read.

    Attributes:
        first_index: what an index says that names the first option, 0 or 1.
        shuffle_seed: shuffle the options of each row; the same seed gives the same order.
        keep_instruction: leave in the prompt what it says about the form of the answer.
        needs_question: refuse a row without a question.
    """

    first_index: int = 0
    shuffle_seed: int | None = None
    keep_instruction: bool = False
    needs_question: bool = True


class Examples(Sequence[Example]):
    """Examples in order, made of their rows when they are asked for.

    Attributes:
        rows: what they are made of.
        layout: of all of them.
    """

    def __init__(self, rows: Rows, layout: Layout, reading: Reading) -> None:
        self.rows = rows
        self.layout = layout
        self._reading = reading

    def __iter__(self) -> Iterator[Example]:
        for place, row in enumerate(self.rows):
            yield self.example(row, place)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.example(self.rows[index], index % len(self))

    def example(self, row: Row, place: int) -> Example:
        """Return the example of a row, which stands at `place` from 0; see `example_of`."""
        if not has_columns(self.layout, row):
            self._refuse(row)
        return example_of(row, self.layout, place, self._reading)

    def _refuse(self, row: Row) -> None:
        """Raise for a row that lacks a column of the layout.

        Raises:
            DataError: it is of another layout, or has a fault.
        """
        other = next((layout for layout in candidates(row) if _fits(layout, row)), None)
        if other is not None and not other.weak and other.name != self.layout.name:
            if row.where == self.rows.first.where:
                raise DataError(
                    row.where,
                    f"it is laid out as {other.name}, and {self.layout.name} rows are wanted; give those, or say which column is which: "
                    "--map question=…,answer=…",
                )
            raise DataError(
                row.where,
                f"the rows disagree: this one is laid out as {other.name}, {self.rows.first.where} as {self.layout.name}; "
                "give each layout a file of its own",
            )
        missing = next(item for item in _items(self.layout) if not item.is_there(row))
        raise DataError(row.where, f"no column {missing.text!r}, which {self.layout.name} rows have; {describe_columns(row)}")


# Recognising.

SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "dict": lambda value: isinstance(value, dict),
    "kind": lambda value: isinstance(value, str) and value in list(TaskKind),
    "messages": lambda value: isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0],
    "speeches": lambda value: isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "from" in value[0],
}


def recognise(row: Mapping[str, Any]) -> Layout:
    """Return the layout of a row: the first of `LAYOUTS` that fits.

    Raises:
        DataError: none does; the message has the row's columns and a map to copy.
    """
    for layout in candidates(row):
        if _fits(layout, row):
            return layout
    raise DataError(where_of(row), f"no known layout; {describe_columns(row)}")


def candidates(row: Mapping[str, Any]) -> Sequence[Layout]:
    """Return the layouts whose columns a row has, whatever is in them."""
    return _candidates(frozenset(name for name, value in row.items() if value is not None))


@functools.lru_cache(maxsize=256)
def _candidates(names: frozenset[str]) -> tuple[Layout, ...]:
    return tuple(layout for layout in LAYOUTS if all(item.may_fit(names) for item in _items(layout)))


def layout_named(name: str) -> Layout:
    """Return the layout of that name, whatever its case.

    Raises:
        UnknownNameError: there is none.
    """
    for layout in LAYOUTS:
        if layout.name.lower() == name.lower():
            return layout
    raise UnknownNameError("layout", name, [layout.name for layout in LAYOUTS])


@dataclass(frozen=True, slots=True)
class _Item:
    """One condition of `Layout.when`."""

    text: str
    paths: tuple[str, ...]
    absent: bool = False
    shape: str = ""
    contains: str = ""

    def may_fit(self, names: frozenset[str]) -> bool:
        there = any(path in names or re.split(r"[.\[]", path)[0] in names for path in self.paths)
        return there is not self.absent or (self.absent and any("." in path for path in self.paths))

    def is_there(self, row: Mapping[str, Any]) -> bool:
        return self.absent or any(path in row or re.split(r"[.\[]", path)[0] in row for path in self.paths)

    def fits(self, row: Mapping[str, Any]) -> bool:
        values = [value for path in self.paths if (value := at_path(row, path)) is not MISSING and value is not None]
        if self.absent or not values:
            return self.absent and not values
        if self.shape:
            return SHAPES[self.shape](values[0])
        return not self.contains or (isinstance(values[0], str) and self.contains in values[0])


@functools.cache
def _parsed(when: str) -> tuple[_Item, ...]:
    items = []
    for text in filter(None, (part.strip() for part in when.split(","))):
        bare = text.removeprefix("!")
        bare, _, contains = bare.partition("~")
        bare, _, shape = bare.partition(":")
        items.append(_Item(bare, tuple(bare.split("|")), text.startswith("!"), shape, contains))
    return tuple(items)


def _items(layout: Layout) -> tuple[_Item, ...]:
    return _parsed(layout.when)


def _fits(layout: Layout, row: Mapping[str, Any]) -> bool:
    return all(item.fits(row) for item in _items(layout))


def has_columns(layout: Layout, row: Mapping[str, Any]) -> bool:
    """Return whether a row has the columns of a layout, whatever is in them."""
    return all(item.is_there(row) for item in _items(layout))


def mapped(columns: ColumnMap) -> Layout:
    """Return a layout that a column map describes. An answer without options or tests is one of mathematics, unless the map has `kind`."""
    known = dict(columns)
    tests = known.get("tests")
    kind: TaskKind | Callable[[Mapping[str, Any]], TaskKind | None] | None = None
    if path := known.get("kind"):
        kind = functools.partial(_kind_at, path)
    elif tests:
        kind = TaskKind.CODE
    elif "options" in known:
        kind = TaskKind.CHOICE
    elif "answer" in known:
        kind = TaskKind.MATH
    elif "question" in known and not {"chosen", "completion"} & known.keys():
        kind = TaskKind.CHAT
    # Not as paths, since a map's may hold any character.
    at = {name: Computed(path, functools.partial(at_path, path=path)) for name, path in known.items()}
    return Layout(
        name=str(columns),
        when="",
        kind=kind,
        question=at.get("question", ""),
        answer=at.get("answer", ""),
        options=at.get("options", ""),
        tests=None if tests is None else functools.partial(_program_at, tests),
        completions=at.get("completion", ""),
        chosen=at.get("chosen", ""),
        rejected=at.get("rejected", ""),
        label=at.get("label", ""),
        tools=at.get("tools", ""),
        system=at.get("system", ""),
        id=at.get("id", ""),
    )


def _kind_at(path: str, row: Mapping[str, Any]) -> TaskKind:
    value = at_path(row, path)
    if value not in list(TaskKind):
        raise _fault(row, path, value, f"write one of {', '.join(TaskKind)}")
    return TaskKind(value)


def _program_at(path: str, row: Mapping[str, Any]) -> programs.Program:
    column = path if path in row else re.split(r"[.\[]", path)[0]
    program = programs.of_tests(at_path(row, path), str(row.get("starter_code") or ""), path)
    return replace(program, columns=(column,))


# From a row to an example.


class _Taken:
    """Reads fields of a row, and remembers what became of its columns."""

    def __init__(self, row: Mapping[str, Any], layout: Layout) -> None:
        self.row, self.layout = row, layout
        self.columns: dict[str, str] = {}

    def __call__(self, field_name: str) -> tuple[Any, str]:
        """Return the value of a field, and the column it came from; `MISSING` where the row has none."""
        spec: Field = getattr(self.layout, field_name)
        if not spec:
            return MISSING, ""
        if isinstance(spec, Computed):
            value, path = spec.read(self.row), spec.path.split("|")[0]
        else:
            value, path = MISSING, spec.split("|")[0]
            for one in spec.split("|"):
                found = at_path(self.row, one)
                if found is not MISSING and value in (MISSING, None):
                    value, path = found, one
        if value is not MISSING and value is not None:
            for one in spec.path.split("|") if isinstance(spec, Computed) else [path]:
                self.note(one, field_name)
        return value, path

    def note(self, path: str, meaning: str) -> None:
        column = path if path in self.row else re.split(r"[.\[]", path)[0]
        if column in self.row:
            self.columns[column] = f"{self.columns[column]}, {meaning}" if column in self.columns else meaning


def example_of(row: Mapping[str, Any], layout: Layout | None = None, place: int = 0, reading: Reading | None = None) -> Example:
    """Return what a row means.

    Args:
        layout: of the row; recognised where it is None.
        place: of the row in its source, from 0; with `Reading.shuffle_seed` it decides the order of the options.

    Raises:
        DataError: a column that the layout needs is missing or empty, or holds something else; with the row, the column, what was found and
            what to write.
    """
    layout = layout or recognise(row)
    try:
        return _example_of(row, layout, place, reading or Reading())
    except UsageError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        # A layout's functions say what they find wrong where people get it wrong. A value of an unheard-of type is refused here.
        raise DataError(
            where_of(row),
            f"a column does not hold what a row of {layout.name} has there ({type(error).__name__}: {' '.join(str(error).split())[:200]}); "
            f"correct the row, or say what the columns are by a map; {describe_columns(row)}",
        ) from error


def _example_of(row: Mapping[str, Any], layout: Layout, place: int, reading: Reading) -> Example:
    row = _with_values(row, layout.parsed)
    taken = _Taken(row, layout)
    if layout.check is not None:
        layout.check(row)
    _check_lengths(row, layout)
    left_out = _left_out(row, layout)
    kind = layout.kind(row) if callable(layout.kind) else layout.kind

    has_tests = layout.tests is not None and (kind is TaskKind.CODE or (layout.name == "r1env" and row.get("tests")))
    program = _program(row, layout, taken) if has_tests and not left_out else None
    tools = _tools(taken)
    answer, options = (None, {}) if left_out else _reference(taken, kind, layout, reading, place)
    prompt, demonstrations, extra = _conversations(taken, kind, program, reading)
    if layout.extra is not None:
        extra = {**extra, **layout.extra(row)}
    if options:
        extra["options"] = options
        if not layout.shown:
            prompt = _with_options(prompt, options)
    answers = taken("answers")[0]
    if answers is not MISSING and answers:
        extra["answers"] = [answer_text(one) for one in answers]
    if program is not None:
        extra = {**extra, **program.metadata}

    chosen, rejected, prompt = _pair(taken, prompt)
    label, (identity, _), steps = taken("label")[0], taken("id"), _steps(taken)
    metadata = {**plain_data({k: v for k, v in row.items() if program is None or k not in program.columns}), **extra}
    taken.columns = {column: taken.columns.get(column, "metadata" if column in metadata else "tests") for column in row}
    text = row["text"] if layout.name == "plain text" else ""
    return Example(
        row=row,
        layout=layout.name,
        prompt=prompt,
        kind=kind,
        answer=answer,
        tests=() if program is None else program.tests,
        demonstrations=demonstrations,
        text=text,
        chosen=chosen,
        rejected=rejected,
        label=None if label is MISSING or label is None else _truth(row, label),
        steps=steps,
        tools=tools,
        id="" if identity is MISSING or identity is None else str(identity),
        metadata=metadata,
        columns=taken.columns,
        left_out=left_out,
        reward=layout.reward,
    )


def _with_values(row: Mapping[str, Any], columns: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the row with the values of columns whose text is that of a list or an object."""
    read = {
        name: value
        for name in columns
        if isinstance(text := row.get(name), str)
        and text.lstrip()[:1] in ("[", "{")
        and (value := read_literal(text)) is not MISSING
    }
    if not read:
        return row
    values = {**row, **read}
    return Row(values, row.file, row.number, row.unit) if isinstance(row, Row) else values


def _program(row: Mapping[str, Any], layout: Layout, taken: _Taken) -> programs.Program:
    assert layout.tests is not None
    try:
        program = layout.tests(row)
    except programs.TestsError as error:
        raise DataError(where_of(row), f"{error.column!r}: {error}" if error.column else str(error)) from error
    for column in program.columns:
        taken.note(column, "tests")
    return program


def _conversations(
    taken: _Taken, kind: TaskKind | None, program: programs.Program | None, reading: Reading
) -> tuple[Conversation, tuple[Conversation, ...], dict[str, Any]]:
    """Return the prompt, the demonstrations that follow it, and what was taken off the prompt."""
    row, layout = taken.row, taken.layout
    question, path = taken("question")
    extra: dict[str, Any] = {}
    if not layout.question:
        return (), (), extra
    if program is not None and program.question:
        question = program.question
    if not reading.needs_question and question in (MISSING, None, "", []):
        question = [{"role": "user", "content": ""}]
    if question is MISSING or question is None or question == "" or question == []:
        raise _fault(row, path, question, "write the question there")
    messages = messages_of(question, row, path)
    system, _ = taken("system")
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        messages = ({"role": "system", "content": system}, *messages)

    spoken: list[Conversation] = []
    last_user = max((place for place, message in enumerate(messages) if message["role"] != "assistant"), default=-1)
    if messages[-1]["role"] == "assistant":
        messages, tail = messages[: last_user + 1], messages[last_user + 1 :]
        spoken.append(tail)
    if reading.needs_question and not any(message["role"] == "user" and message["content"].strip() for message in messages):
        raise _fault(row, path, question, "there is no user's message with text in it")
    if not reading.keep_instruction and kind not in (None, TaskKind.CHAT):
        *earlier, last = messages
        messages = (*earlier, {**last, "content": last["content"].strip()})
        messages, instruction = without_instruction(messages, is_code=program is not None)
        if instruction:
            extra["removed_instruction"] = instruction

    if program is not None and program.ask and "```python" not in messages[-1]["content"]:
        *earlier, last = messages
        messages = (*earlier, {**last, "content": f"{last['content'].strip()}\n\n{program.ask}"})

    given, path = taken("completions")
    if given is not MISSING and given not in (None, ""):
        whole = taken.layout.completions == taken.layout.question
        for one in given if isinstance(given, list) and not _is_conversation(given) else [given]:
            reply = messages_of(one, row, path, role="assistant")
            if not whole and reply[: len(messages)] == messages:
                reply = reply[len(messages) :]
            elif reply[0]["role"] != "assistant":  # the whole conversation once more
                reply = reply[max(place for place, message in enumerate(reply) if message["role"] != "assistant") + 1 :]
            if not reply:
                raise _fault(row, path, given, "it should end with the assistant's message")
            spoken.append(reply)
    return messages, tuple(spoken), extra


def _is_conversation(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], Mapping) and ("role" in value[0] or "from" in value[0])


def _reference(
    taken: _Taken, kind: TaskKind | None, layout: Layout, reading: Reading, place: int
) -> tuple[str | None, dict[str, str]]:
    """Return the reference as text, and the options by letter as they will be shown."""
    row = taken.row
    answer, path = taken("answer")
    if kind in (None, TaskKind.CODE, TaskKind.CHAT) or not layout.answer:
        return None, {}
    if kind is TaskKind.LOGIC and (answer is MISSING or answer is None):
        return None, {}  # checked by a rule of the generator's own, which may need no reference
    if answer is MISSING:
        raise DataError(
            where_of(row), f"no column {path!r}, where {layout.name} rows have the reference; {describe_columns(row)}"
        )
    if kind is TaskKind.CHOICE and layout.options and answer is not None:
        return _choice(taken, answer, path, reading, place)
    text = answer_text(answer, row, path)
    if (
        kind is TaskKind.SHORT and text.startswith('["') and text.endswith('"]')
    ):  # of a CSV file; the reward `math` reads it itself
        listed = read_literal(text)
        text = listed[0].strip() if isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], str) else text
    if not text or text.lower() in _NOTHING:
        raise _fault(row, path, answer, "write the reference answer there")
    if layout.needs and (not isinstance(answer, str) or layout.needs not in answer):
        raise _fault(
            row, path, answer, f"{layout.name} references are worked solutions that mark the answer with {layout.needs!r}"
        )
    if layout.needs and not text.rpartition(layout.needs)[2].strip():
        raise _fault(row, path, answer, f"nothing follows {layout.needs!r}")
    return text, {}


_NOTHING = ("nan", "<na>", "nat")
"""What pandas writes where a table has nothing."""


def _choice(taken: _Taken, answer: Any, path: str, reading: Reading, place: int) -> tuple[str, dict[str, str]]:
    row, layout = taken.row, taken.layout
    given, options_path = taken("options")
    if given is MISSING or given is None:
        raise DataError(where_of(row), f"no column {options_path!r} with the options; {describe_columns(row)}")
    options = _options(given)
    if not 2 <= len(options.texts) <= len(LETTERS):
        raise _fault(row, options_path, given, f"write a list of 2 to {len(LETTERS)} options, none of them empty")
    try:
        right = {options.named(one, layout.answer_is, reading.first_index) for one in options.wanted(answer)}
    except ValueError as error:
        raise _fault(row, path, answer, str(error)) from error
    if layout.agrees and (other := at_path(row, layout.agrees)) not in (MISSING, None, ""):
        if len(right) != 1 or _index_of(other) != next(iter(right)):
            raise _fault(
                row, path, answer, f"{layout.agrees!r} is {other!r}, which is another option or none; correct one of the two"
            )
        taken.note(layout.agrees, "answer")
    order = list(range(len(options.texts)))
    if reading.shuffle_seed is not None or layout.answer_is == "first":
        random.Random(f"{reading.shuffle_seed or 0}/{place}").shuffle(order)
    shown = dict(zip(LETTERS, (options.texts[one] for one in order), strict=False))
    return "".join(letter for letter, one in zip(LETTERS, order, strict=False) if one in right), shown


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of a row.

    Attributes:
        labels: what the row calls them; letters where it does not say.
        texts: without their labels.
        are_numbers: the row has numbers instead of texts.
    """

    labels: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    are_numbers: bool = False

    def wanted(self, answer: Any) -> Sequence[Any]:
        """Return what names the right options: a list may name several, or have a 1 at the right ones and a 0 at the others."""
        if not isinstance(answer, list | tuple):
            return [answer]
        wanted: list[Any] = list(answer)
        if len(wanted) == len(self.texts) and all(one in (0, 1) and not isinstance(one, str) for one in wanted):
            wanted = [self.labels[place] for place, one in enumerate(wanted) if one]
        if not wanted:
            raise ValueError(self._remedy())
        return wanted

    def named(self, answer: Any, answer_is: str, first_index: int) -> int:
        """Return which option an answer names, from 0.

        Raises:
            ValueError: it names none, or one by its text and another by its label or index; the message says what to write.
        """
        if answer_is == "first":
            return 0
        text = " ".join(str(answer).split())
        number = _index_of(answer)
        if answer_is == "index" and (number is None or self.are_numbers):
            answer_is = "auto"
        counts = all(label.isdecimal() for label in self.labels)  # the labels do, and so an index says nothing else
        found = set(self._by_label(text if number is None else str(number), self.labels))
        if counts:
            found.update(self._by_label(text, LETTERS))
        if (answer_is == "index" or (answer_is == "auto" and not counts)) and number is not None:
            found.update({number - first_index} & set(range(len(self.texts))))
        if answer_is == "auto" and (self.are_numbers or isinstance(answer, str | bool)):
            found.update(self._by_text(text))
        if len(found) > 1:
            raise ValueError(f"it names {len(found)} of the options, as a text, a label or an index; write {self._letters()}")
        if not found:
            from_one = number == len(self.texts) and not first_index
            raise ValueError(self._remedy() + (" (or give first_index=1, if they count from 1)" if from_one else ""))
        return found.pop()

    def _by_label(self, text: str, labels: Sequence[str]) -> Iterator[int]:
        """Yield the option with a label: `B`, `(B)`, `B.`, or the label before the option's text."""
        labelled = _LABELLED.fullmatch(text)
        alone = re.fullmatch(r"[(\[]?(\w+)[)\].:]?", text)
        for place, (label, option) in enumerate(zip(labels, self.texts, strict=False)):
            named = alone is not None and alone[1].upper() == label.upper()
            written_out = (
                labelled is not None and (labelled[1] or labelled[2]).upper() == label.upper() and _same(labelled[3], option)
            )
            if text == label or named or written_out:
                yield place

    def _by_text(self, text: str) -> Iterator[int]:
        exact = [place for place, one in enumerate(self.texts) if " ".join(one.split()) == text]
        yield from exact or (place for place, one in enumerate(self.texts) if _same(one, text))

    def _letters(self) -> str:
        return f"a letter from A to {LETTERS[len(self.texts) - 1]}"

    def _remedy(self) -> str:
        return f"it names none of the {len(self.texts)} options; write {self._letters()}, an index, or an option's text"


_LABELLED = re.compile(r"\s*(?:\(([A-Ja-j])\)|([A-Ja-j])\s*[).:])\s*(\S.*?)\s*", re.DOTALL)
"""An option behind its label: `A) …`, `A. …`, `A: …`, `(A) …`."""

_FILLERS = (None, "", "N/A")


def _same(one: str, other: str) -> bool:
    return " ".join(one.casefold().split()) == " ".join(other.casefold().split())


def _index_of(value: Any) -> int | None:
    """Return an index, which may be written `1`, `"1"` or `1.0`; None where it is none."""
    text = str(value).strip().removesuffix(".0")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 and not isinstance(value, bool) else None


def _options(value: Any) -> _Options:
    """Return a row's options, without labels in front of the texts and without fillers at the end (MMLU-Pro); empty where it has none."""
    if isinstance(value, str):  # of a CSV file
        lines = [line for line in value.splitlines() if line.strip()]
        value = read_literal(value) if value.lstrip()[:1] in ("[", "{") else lines if _labelled(lines) else value
    labels: Sequence[Any] | None = None
    if isinstance(value, Mapping):
        columns = next(
            ([value[name] for name in pair] for pair in _LABEL_AND_TEXT if all(name in value for name in pair)), None
        )
        labels, texts = (
            columns if columns and all(isinstance(one, list) for one in columns) else (list(value), list(value.values()))
        )
        if len(labels) != len(texts):
            return _Options()
    elif isinstance(value, list | tuple):
        texts = list(value)
        if texts and all(isinstance(one, Mapping) for one in texts):
            pairs = [_label_and_text(one) for one in texts]
            if any(pair is None for pair in pairs):
                return _Options()
            labels, texts = [pair[0] for pair in pairs if pair], [pair[1] for pair in pairs if pair]
    else:
        return _Options()
    texts = [one.strip() if isinstance(one, str) else one for one in texts]
    while texts and (texts[-1] in _FILLERS or texts[-1] != texts[-1]):  # NaN is not equal to itself
        texts.pop()
    if not all(_is_option(one) for one in texts) or len({isinstance(one, bool) for one in texts}) > 1:
        return _Options()
    are_numbers = any(not isinstance(one, str) for one in texts)
    shown = [_LABELLED.fullmatch(one)[3] for one in texts] if not are_numbers and _labelled(texts) else map(str, texts)  # type: ignore[index]
    labels = LETTERS if labels is None else labels
    return _Options(tuple(map(str, labels[: len(texts)])), tuple(shown), are_numbers)


def _is_option(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and value.lower() not in _NOTHING
    return isinstance(value, int | float) and math.isfinite(value)


_LABEL_AND_TEXT = (
    ("label", "text"),
    ("labels", "texts"),
    ("key", "text"),
    ("key", "value"),
    ("id", "text"),
    ("letter", "text"),
)


def _label_and_text(option: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Return the label and the text of an option that is an object: `{"A": "…"}` or `{"label": "A", "text": "…"}`."""
    if len(option) == 1:
        return next(iter(option.items()))
    return next(((option[one], option[other]) for one, other in _LABEL_AND_TEXT if one in option and other in option), None)


def _labelled(texts: Sequence[str]) -> bool:
    """Return whether every text begins with its label, in order."""
    found = [_LABELLED.fullmatch(text) for text in texts]
    return len(texts) > 1 and [(one[1] or one[2]).upper() if one else "" for one in found] == list(LETTERS[: len(texts)])


def _with_options(prompt: Conversation, options: Mapping[str, str]) -> Conversation:
    *earlier, last = prompt
    lines = "\n".join(f"{letter}) {text}" for letter, text in options.items())
    return (*earlier, {**last, "content": f"{last['content'].strip()}\n\n{lines}"})


def answer_text(answer: Any, row: Mapping[str, Any] | None = None, path: str = "answer") -> str:
    """Return an answer as a person would write it: `145.0` is `145`, and `0.6666666667` is `2/3`, which it was rounded from.

    A list of one text is that text; other lists are separated by commas, as in OlympiadBench's `["$2,-2$"]`.

    Raises:
        DataError: it is an object, or a number that is not finite.
    """
    if answer is None:
        return ""
    if isinstance(answer, float):
        if not math.isfinite(answer):
            raise _fault(row or {}, path, answer, "write a finite number")
        if answer.is_integer():
            return str(int(answer))
        simple = Fraction(answer).limit_denominator(100)
        rounded = len(repr(answer).partition(".")[2]) >= 10
        return str(simple) if rounded and abs(float(simple) - answer) < 1e-9 else repr(answer)
    if isinstance(answer, list | tuple) and answer and all(isinstance(one, str | int | float) for one in answer):
        return ", ".join(answer_text(one, row, path) for one in answer)
    if isinstance(answer, Mapping | list | tuple):
        raise _fault(row or {}, path, answer, "write the reference answer as text or a number")
    return str(answer).strip()


def _pair(taken: _Taken, prompt: Conversation) -> tuple[Conversation, Conversation, Conversation]:
    """Return the better and the worse continuation, and the prompt, which may be what both begin with."""
    row, layout = taken.row, taken.layout
    if not layout.chosen:
        return (), (), prompt
    sides = []
    for name in ("chosen", "rejected"):
        value, path = taken(name)
        if value is MISSING or value is None or value in ("", []):
            raise (
                _fault(row, path, value, "write the response there")
                if path in row
                else DataError(where_of(row), f"no column {path!r}, which {layout.name} rows have; {describe_columns(row)}")
            )
        sides.append(value)
    if isinstance(sides[0], str) is not isinstance(sides[1], str):
        raise DataError(where_of(row), "'chosen' and 'rejected': one is text and the other messages; write both alike")
    if sides[0] == sides[1]:
        raise DataError(where_of(row), "'chosen' and 'rejected' are equal; such a pair says nothing, leave it out")
    dialogue = all(isinstance(side, str) and side.lstrip().startswith("Human:") for side in sides)
    chosen, rejected = (
        _dialogue(side) if dialogue else messages_of(side, row, name, role="assistant")
        for side, name in zip(sides, ("chosen", "rejected"), strict=True)
    )
    if prompt:
        return *(side[len(prompt) :] if side[: len(prompt)] == prompt else side for side in (chosen, rejected)), prompt  # type: ignore[return-value]
    common = next(
        (place for place, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other),
        min(len(chosen), len(rejected)),
    )
    if not common or common == min(len(chosen), len(rejected)):
        raise DataError(
            where_of(row),
            "'chosen' and 'rejected' have no prompt: there is no column 'prompt' with text, and they do not begin with the same messages",
        )
    return chosen[common:], rejected[common:], chosen[:common]


def _dialogue(text: str) -> Conversation:
    """Return the messages of a text of turns `Human: …` and `Assistant: …`."""
    parts = re.split(r"(?:^|\n\n)(Human|Assistant): ?", text.strip("\n"))[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return tuple({"role": roles[who], "content": said.strip()} for who, said in zip(parts[::2], parts[1::2], strict=True))


def _steps(taken: _Taken) -> tuple[tuple[str, bool], ...]:
    if not taken.layout.steps:
        return ()
    steps, path = taken("steps")
    labels = taken.row.get("labels")
    if not isinstance(steps, list) or not isinstance(labels, list) or len(steps) != len(labels):
        raise _fault(taken.row, path, steps, "write a list of texts, and a list 'labels' of the same length")
    taken.note("labels", "steps")
    return tuple((str(step), _truth(taken.row, label)) for step, label in zip(steps, labels, strict=True))


def _truth(row: Mapping[str, Any], value: Any) -> bool:
    if value in (True, False, "true", "false", "True", "False"):
        return value in (True, "true", "True")
    raise _fault(row, "label", value, "write true or false")


def _tools(taken: _Taken) -> tuple[Mapping[str, Any], ...]:
    value, path = taken("tools")
    if isinstance(value, str) and value.strip():
        value = read_literal(value)
        if value is MISSING:
            raise _fault(taken.row, path, taken.row.get(path), "write a list of JSON schemas")
    if value is MISSING or not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise _fault(taken.row, path, value, "write a list of JSON schemas")
    return tuple(value)


def _check_lengths(row: Mapping[str, Any], layout: Layout) -> None:
    lengths = {}
    for column in layout.same_length:
        value = at_path(row, column)
        if value is MISSING or value is None:
            continue
        if not isinstance(value, list):
            raise _fault(row, column, value, "write a list")
        lengths[column] = len(value)
    if len(set(lengths.values())) > 1:
        raise DataError(
            where_of(row),
            f"columns that belong together have different lengths: {', '.join(f'{name} {count}' for name, count in lengths.items())}",
        )


def _left_out(row: Mapping[str, Any], layout: Layout) -> str:
    for path, values in layout.skip.items():
        value = at_path(row, path)
        if value in values and value is not MISSING:
            return f"{path} is {value!r}"
    return layout.leave_out(row) if layout.leave_out is not None else ""


def _fault(row: Mapping[str, Any], path: str, found: Any, remedy: str) -> DataError:
    """`data.jsonl, line 3: column 'answer' holds 7 (int): …`"""
    if found is MISSING:
        return DataError(where_of(row), f"there is no {path!r}: {remedy}")
    shown = json.dumps(plain_data(found), ensure_ascii=False)
    shown = f"{shown[:60]}…" if len(shown) > 60 else shown
    kind = "" if isinstance(found, str) or found is None else f" ({type(found).__name__})"
    return DataError(where_of(row), f"{path!r} is {shown}{kind}: {remedy}")


def language_of(row: Mapping[str, Any]) -> str | None:
    """A row's own `language`, where it is a tag such as `en` or the name of a programming language; OlympiadBench has `English` there."""
    value = row.get("language")
    return value if isinstance(value, str) and re.fullmatch(r"[a-z][\w+#-]{0,11}", value) else None


def plain_data(value: Any) -> Any:
    """Return the value as plain data: arrays as lists, bytes in base 64, None for what is no data (an image)."""
    return to_jsonable_python(value, inf_nan_mode="constants", bytes_mode="base64", fallback=_list_or_none)


def _list_or_none(value: object) -> object:
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else None


# Messages.

ROLES: Mapping[str, str] = {
    **{role: role for role in ("system", "user", "assistant", "tool", "developer")},
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
"""Role as data sets call it → role."""

THINKING_KEYS = ("reasoning_content", "thinking", "reasoning")

_THOUGHT = re.compile(
    r"\s*<\|begin_of_thought\|>(.*?)<\|end_of_thought\|>\s*<\|begin_of_solution\|>(.*?)<\|end_of_solution\|>\s*", re.DOTALL
)


def messages_of(value: Any, row: Mapping[str, Any] | None = None, path: str = "prompt", role: str = "user") -> Conversation:
    """Return messages with text content. A text is one message of `role`; a single message may stand alone.

    Roles and keys may be those of OpenAI, ShareGPT (`from`, `value`) or Harmony (`developer`, `thinking`). Tool calls, their ids and the
    thinking that a source keeps apart stay what they are.

    Raises:
        DataError: it is neither, a message has no known role, or holds something else than text.
    """
    row = row or {}
    if isinstance(value, str):
        return ({"role": role, "content": value},)
    if isinstance(value, Mapping) and ("role" in value or "from" in value):
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        raise _fault(row, path, value, "write text or messages there")
    if all(isinstance(one, str) for one in value):
        columns = "; a file of columns needs one row for each item: DataFrame.to_json(path, orient='records', lines=True)"
        raise _fault(row, path, value, f"it is a list of texts; write one text, or messages{columns if len(row) > 1 else ''}")
    return tuple(_message(one, row, f"{path}[{place}]") for place, one in enumerate(value))


def _message(given: Any, row: Mapping[str, Any], path: str) -> Message:
    if not isinstance(given, Mapping):
        raise _fault(row, path, given, 'write a message there: {"role": "user", "content": "…"}')
    source = given.get("role", given.get("from"))
    role = ROLES.get(str(source))
    if role is None:
        raise _fault(row, path, given, f"its role is {source!r}; known: {', '.join(ROLES)}")
    content = given.get("content", given.get("value"))
    calls = given.get("tool_calls")
    if source == "function_call":
        calls, content = [{"function": _called(row, path, content)}], ""
    message: Message = {"role": role, "content": text_of_content(content, row, path)}
    if calls:
        message["tool_calls"] = [_call(call, place, row, path) for place, call in enumerate(calls)]
    for key in ("tool_call_id", "name"):
        if isinstance(given.get(key), str):
            message[key] = given[key]
    for key in THINKING_KEYS:
        if isinstance(given.get(key), str) and given[key].strip():
            message["reasoning_content"] = given[key]
            break
    if role == "assistant" and (marked := _THOUGHT.fullmatch(message["content"])):  # OpenThoughts
        message["reasoning_content"], message["content"] = marked[1].strip(), marked[2].strip()
    return message


def text_of_content(content: Any, row: Mapping[str, Any] | None = None, path: str = "content") -> str:
    """Return a message's content as text: itself, or its text parts joined; nothing for None.

    Raises:
        DataError: it is, or has a part that is, something else.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping) and isinstance(content.get("answer"), str):  # Arena-Hard
        return str(content["answer"])
    if isinstance(content, list | tuple):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            return "".join(texts)
    raise _fault(
        row or {}, path, content, "its content should be text or a list of text parts; images and audio cannot be read"
    )


def _called(row: Mapping[str, Any], path: str, content: Any) -> Mapping[str, Any]:
    value = read_literal(content) if isinstance(content, str) else content
    if not isinstance(value, Mapping) or "name" not in value:
        raise _fault(row, path, content, 'write a call there: {"name": "…", "arguments": {…}}')
    return value


def _call(call: Any, place: int, row: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _fault(row, f"{path}.tool_calls[{place}]", call, "write a call with a function's name there")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str) and isinstance(found := read_literal(arguments or "{}"), dict):
        arguments = found  # OpenAI writes them as JSON text; chat templates expect the object
    return {"type": "function", "id": f"call_{place}", **call, "function": {**function, "arguments": arguments}}


# What a prompt says about the form of the answer. It is taken off, since the environment's template says it in its own words.

_DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer "
    "(without quotes) where $Answer is the answer to the problem.\n\n"
)

PREFIXES: tuple[str, ...] = (
    _DAPO,
    "Solve the following math problem. Make sure to put the answer (and only answer) inside \\boxed{}.\n\n",
    "Solve. Put the answer inside \\boxed{}.\n\n",
    "You should output your final response letter inside \\boxed{}.\n",
    "Return your final response within \\boxed{}. ",
    "Please reason step by step, and put your final answer within \\boxed{}.\n",
)

SUFFIXES: tuple[str, ...] = (
    '\n\nRemember to put your answer on its own line after "Answer:".',
    ' Let\'s think step by step and output the final answer after "####".',
    " Let's think step by step and output the final answer after `####`.",
    " Let's think step by step and output the final answer within \\boxed{}.",
    "\n\nPresent the answer in LaTex format: \\boxed{Your answer}",
    "\nPlease reason step by step, and put your final answer within \\boxed{}.",
    " Please reason step by step, and put your final answer within \\boxed{}.",
    " Put your answer in \\boxed{}.",
    " Put the answer in \\boxed{}.",
)
"""Exact texts, so that no letter of a question is ever lost. Source: the notes of each set in `docs/data.md`."""

RENDERED: tuple[re.Pattern[str], ...] = (
    re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>\s*<\|im_start\|>assistant\b.*", re.DOTALL),  # Logic-RL
    re.compile(r"^A conversation between User and Assistant\..*?\nUser: (.*)\nAssistant:.*", re.DOTALL),  # TinyZero
    re.compile(r"^A conversation between User and Assistant\..*?User: (.*)\. Assistant:\s*$", re.DOTALL),  # R1-Zero
)
"""Whole chat templates inside one user message, around the question."""

MAX_RENDERED = 200_000  # characters of a message in which a template is looked for


def without_instruction(messages: Conversation, *, is_code: bool = False) -> tuple[Conversation, str]:
    """Return the messages with the last one rid of what it says about the form of the answer, and what that was.

    Args:
        is_code: leave the instruction of a program: it says how the program is to be given, as our own would.
    """
    *earlier, last = messages
    text, taken = last["content"], []
    if len(text) < MAX_RENDERED and ("<|im_start|>" in text or text.startswith("A conversation between")):
        for pattern in RENDERED:
            if found := pattern.search(text):
                taken += [text[: found.start(1)], text[found.end(1) :]]
                text = found[1]
                break
    if not is_code:
        for prefix in PREFIXES:
            if text.startswith(prefix):
                text = text[len(prefix) :]
                taken.append(prefix)
        for suffix in SUFFIXES:
            if text.endswith(suffix):
                text = text[: -len(suffix)]
                taken.append(suffix)
    if not taken or not text.strip():
        return messages, ""
    return (*earlier, {**last, "content": text.strip()}), "\n".join(part.strip() for part in taken if part.strip())


# The table.


def _text_at(row: Mapping[str, Any], *paths: str) -> str:
    return next((value for path in paths if isinstance(value := at_path(row, path), str) and value.strip()), "")


def _computed(path: str) -> Callable[[Callable[[Mapping[str, Any]], Any]], Computed]:
    return functools.partial(Computed, path)


def _joined(separator: str, *paths: str) -> Computed:
    """Texts of several columns as one; empty ones are left out."""
    return Computed(
        "|".join(reversed(paths)), lambda row: separator.join(filter(None, (_text_at(row, path) for path in paths)))
    )


@_computed("instruction|input|history")
def _alpaca_question(row: Mapping[str, Any]) -> Any:
    """Instruction and input, behind earlier turns where the row has some (LLaMA-Factory)."""
    text = "\n".join(filter(None, (_text_at(row, "instruction"), _text_at(row, "input"))))
    history = row.get("history") or []
    if not history or not text:
        return text
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise _fault(row, "history", history, "write a list of pairs: [[question, answer], …]")
    earlier = [
        {"role": role, "content": said} for turn in history for role, said in zip(("user", "assistant"), turn, strict=True)
    ]
    return [*earlier, {"role": "user", "content": text}]


def _thought(thinking: str, attempt: str) -> Computed:
    """Return one demonstration of two columns: the thinking and what follows it."""

    def read(row: Mapping[str, Any]) -> Any:
        reasoning, content = at_path(row, thinking), at_path(row, attempt)
        if not isinstance(content, str) or not isinstance(reasoning, str):
            return MISSING
        return [{"role": "assistant", "content": content, "reasoning_content": reasoning}]

    return Computed(f"{attempt}|{thinking}", read)


@_computed("generations")
def _right_generations(row: Mapping[str, Any]) -> Any:
    """OpenR1's generations that one of its two checks found right; all of them where neither was made."""
    generations = row.get("generations")
    if not isinstance(generations, list):
        return MISSING if generations is None else generations
    verdicts = [row[name] for name in ("correctness_math_verify", "correctness_llama") if isinstance(row.get(name), list)]
    kept = [one for place, one in enumerate(generations) if not verdicts or any(verdict[place] for verdict in verdicts)]
    return kept or MISSING


MATH, CHOICE, CODE, LOGIC, SHORT, CHAT = (
    *(TaskKind.MATH, TaskKind.CHOICE, TaskKind.CODE, TaskKind.LOGIC, TaskKind.SHORT, TaskKind.CHAT),
)


def _verl_truth(row: Mapping[str, Any]) -> Any:
    return at_path(row, "reward_model.ground_truth")


def _verl_kind(row: Mapping[str, Any]) -> TaskKind:
    truth, ability = _verl_truth(row), str(row.get("ability") or "").lower()
    if isinstance(truth, str) and truth.lstrip().startswith("{"):
        truth = read_literal(truth)
    if isinstance(truth, Mapping) and {"inputs", "test_code", "assert_case", "functional"} & truth.keys():
        return CODE
    if isinstance(truth, Mapping) or ability == "logic":
        return LOGIC
    return CODE if ability in ("code", "coding") else MATH


def _verl_check(row: Mapping[str, Any]) -> None:
    if isinstance(row.get("prompt"), str):
        raise _fault(row, "prompt", row["prompt"], 'write messages there: [{"role": "user", "content": "…"}]')
    model = row.get("reward_model")
    if not isinstance(model, Mapping):
        raise _fault(
            row, "reward_model", MISSING if model is None else model, 'write an object: {"style": "rule", "ground_truth": "…"}'
        )
    if model.get("ground_truth") in (None, ""):
        raise _fault(row, "reward_model.ground_truth", model.get("ground_truth"), "write the reference answer there")


def _verification(row: Mapping[str, Any]) -> Any:
    value = row.get("verification_info")
    return read_literal(value) if isinstance(value, str) else value


def _synthetic_kind(row: Mapping[str, Any]) -> TaskKind:
    about = _verification(row)
    if about is MISSING or not isinstance(about, Mapping):
        raise _fault(row, "verification_info", row.get("verification_info"), "write JSON text with ground_truth or test_cases")
    return CODE if "test_cases" in about else MATH if about.get("ground_truth") else CHAT


def _rlvr_kind(row: Mapping[str, Any]) -> TaskKind:
    return CHAT if str(row.get("dataset")).lower().startswith("if") else MATH


@_computed("answer")
def _redux_answer(row: Mapping[str, Any]) -> Any:
    corrected = row.get("correct_answer")
    if row.get("error_type") == "wrong_groundtruth" and isinstance(corrected, str) and corrected.strip() in LETTERS[:4]:
        return LETTERS.index(corrected.strip())
    return row.get("answer", MISSING)


def _drop_answers(row: Mapping[str, Any]) -> list[str]:
    """Return all references of a row of DROP, each a number, a date or spans."""
    given = row.get("answer")
    several = row.get("validated_answers")
    found = [given] if isinstance(given, Mapping) else []
    if isinstance(several, Mapping):
        keys = ("number", "date", "spans")
        found += [dict(zip(keys, one, strict=True)) for one in zip(*(several.get(key) or [] for key in keys), strict=False)]
    texts = []
    for one in found:
        date = one.get("date") or {}
        when = " ".join(str(date.get(key) or "") for key in ("day", "month", "year")).split()
        texts.append(str(one.get("number") or "") or ", ".join(one.get("spans") or []) or " ".join(when))
    return list(dict.fromkeys(filter(None, texts)))


@_computed("answer")
def _first_of_drop(row: Mapping[str, Any]) -> Any:
    return next(iter(_drop_answers(row)), MISSING)


def _alternatives(path: str, place: slice | int) -> Computed:
    """Of a text with `|` between references that are as good: the first, or the others."""

    def read(row: Mapping[str, Any]) -> Any:
        value = at_path(row, path)
        return value.split("|")[place] if isinstance(value, str) else value

    return Computed(path, read)


@_computed("text|target")
def _wsc_question(row: Mapping[str, Any]) -> str:
    target = row.get("target") or {}
    return f"{row.get('text')}\n此处，“{target.get('span2_text')}”是否指代“{target.get('span1_text')}”？"


@_computed("nums|target")
def _countdown_question(row: Mapping[str, Any]) -> str:
    numbers = row.get("nums")
    if not isinstance(numbers, list) or not numbers or not all(isinstance(one, int) for one in numbers):
        raise _fault(row, "nums", numbers, "write a list of whole numbers")
    if not isinstance(row.get("target"), int):
        raise _fault(row, "target", row.get("target"), "write a whole number")
    return (
        f"Use each of the numbers {', '.join(map(str, numbers))} exactly once, with + - * / and parentheses, to make "
        f"{row['target']}. Write only the expression inside <answer></answer>, for example <answer>(1 + 2) / 3</answer>."
    )


def _constraints(row: Mapping[str, Any]) -> None:
    """IFEval: every rule with its arguments, and no rule that is unknown.

    Raises:
        DataError: the lists do not belong together, a rule is unknown or lacks an argument. The original code would take a random one.
    """
    rules, given = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(rules, list) or not rules:
        raise _fault(row, "instruction_id_list", rules, "write a list of rules, not empty")
    if not isinstance(given, list) or len(given) != len(rules):
        raise _fault(row, "kwargs", given, f"write a list of {len(rules)} objects, one for each rule")
    for place, (rule, arguments) in enumerate(zip(rules, given, strict=True)):
        family, _, _ = str(rule).partition(":")
        if not isinstance(arguments, Mapping | None):
            raise _fault(row, f"kwargs[{place}]", arguments, "write an object with the rule's arguments, or null")
        if rule in IFEVAL_RULES:
            found: Mapping[Any, Any] = arguments or {}
            has = {key for key, value in found.items() if value is not None}
            lacks = [name for name in IFEVAL_RULES[rule] if name not in has]
            if lacks:
                raise _fault(row, f"kwargs[{place}]", arguments, f"{rule} needs {', '.join(lacks)}")
            for key in ("relation", "let_relation", "capital_relation"):
                if key in has and found[key] not in ("less than", "at least"):
                    raise _fault(row, f"kwargs[{place}].{key}", found[key], "write 'less than' or 'at least'")
        elif family not in IFBENCH_FAMILIES:
            raise _fault(row, f"instruction_id_list[{place}]", rule, "there is no such rule")


IFEVAL_RULES: Mapping[str, tuple[str, ...]] = {
    "keywords:existence": ("keywords",),
    "keywords:frequency": ("keyword", "frequency", "relation"),
    "keywords:forbidden_words": ("forbidden_words",),
    "keywords:letter_frequency": ("letter", "let_frequency", "let_relation"),
    "language:response_language": ("language",),
    "length_constraints:number_sentences": ("num_sentences", "relation"),
    "length_constraints:number_paragraphs": ("num_paragraphs",),
    "length_constraints:number_words": ("num_words", "relation"),
    "length_constraints:nth_paragraph_first_word": ("num_paragraphs", "nth_paragraph", "first_word"),
    "detectable_content:number_placeholders": ("num_placeholders",),
    "detectable_content:postscript": ("postscript_marker",),
    "detectable_format:number_bullet_lists": ("num_bullets",),
    "detectable_format:constrained_response": (),
    "detectable_format:number_highlighted_sections": ("num_highlights",),
    "detectable_format:multiple_sections": ("section_spliter", "num_sections"),
    "detectable_format:json_format": (),
    "detectable_format:title": (),
    "combination:two_responses": (),
    "combination:repeat_prompt": ("prompt_to_repeat",),
    "startend:end_checker": ("end_phrase",),
    "startend:quotation": (),
    "change_case:capital_word_frequency": ("capital_frequency", "capital_relation"),
    "change_case:english_capital": (),
    "change_case:english_lowercase": (),
    "punctuation:no_comma": (),
}
"""The rules of IFEval, and the arguments that each needs (Zhou et al., 2023, arXiv 2311.07911)."""

IFBENCH_FAMILIES = frozenset({"count", "ratio", "words", "sentence", "format", "repeat", "custom"})
"""IFBench has rules of its own, by these families."""


def _tests_of_ours(row: Mapping[str, Any]) -> programs.Program:
    tests = row.get("tests")
    if isinstance(tests, list) and all(isinstance(test, Mapping) for test in tests):
        program = programs.Program(tuple(tests))
    else:
        program = programs.of_tests(tests)
    known = ("programming_language", "limits", "preamble", "epilogue", "samples")
    return replace(program, columns=("tests",), metadata={name: row[name] for name in known if row.get(name) is not None})


def _verifiers_kind(row: Mapping[str, Any]) -> TaskKind:
    return CHAT if row.get("answer") is None else MATH


def _openthoughts_kind(row: Mapping[str, Any]) -> TaskKind:
    return CODE if row.get("test_cases") else MATH


def _reasoning_gym(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the reward `reasoning-gym` reads. A set made with other settings than the library's says so in its metadata."""
    about = row["metadata"]
    question = row.get("question") or ""
    return {
        "dataset": about["source_dataset"],
        "config": {},
        "entry": {"question": question, "answer": row.get("answer"), "metadata": about},
    }


def _need(*columns: str) -> Callable[[Mapping[str, Any]], None]:
    def check(row: Mapping[str, Any]) -> None:
        for column in columns:
            if row.get(column) is None:
                raise _fault(row, column, row.get(column, MISSING), "rows of this layout have it; write it there")

    return check


def _agree_on_text(row: Mapping[str, Any]) -> None:
    """SuperGPQA: the letter and the text of the answer are the same option."""
    options = _options(row.get("options"))
    letter, text = row.get("answer_letter"), str(row.get("answer")).strip()
    if letter in options.labels and text in options.texts and options.texts[options.labels.index(str(letter))] != text:
        raise _fault(row, "answer_letter", letter, f"'answer' is {text!r}, which is another option; correct one of the two")


_LIKE_A_REFERENCE = re.compile(r"answer|solution|gold|reference|truth|target|label|choices|options", re.IGNORECASE)


def _no_reference_at_all(row: Mapping[str, Any]) -> None:
    """Refuse to take a row for a prompt alone where a column looks like the reference that it should be scored by."""
    alike = [name for name in row if _LIKE_A_REFERENCE.search(name)]
    for name in alike:
        if row[name] is None:
            raise _fault(row, name, None, "write the reference answer there")
    if alike:
        raise DataError(
            where_of(row),
            f"no known layout, and {alike[0]!r} may be the reference; {describe_columns(row)} (or --map question=… alone, for tasks "
            "without a reference)",
        )


def _talks(row: Mapping[str, Any]) -> str:
    return "" if programs.reads_and_prints(row) else "the program talks to another or uses files"


_LETTERED = Computed("A", lambda row: {letter: row[letter] for letter in LETTERS if isinstance(row.get(letter), str)})

_PROOFS = {"answer": ("proof", "notfound", "")}

# fmt: off
LAYOUTS: tuple[Layout, ...] = (
    # Rows that r1env writes and reads.
    Layout("r1env", "prompt, kind:kind", functools.partial(_kind_at, "kind"), "prompt", "answer", tests=_tests_of_ours,
        completions="completion", id="id"),
    # verl's columns. What the ground truth holds says what kind of task it is.
    Layout("DAPO-Math-17k processed", "prompt:text, solution:text, source_prompt, data_source", MATH, "prompt",
        "solution"),
    Layout("verl, Countdown (TinyZero)", "data_source, prompt:messages, reward_model.ground_truth.numbers", LOGIC,
        "prompt", extra=lambda row: {**row["reward_model"]["ground_truth"], "operations": "+-*/"}, reward="countdown"),
    Layout("verl, knights and knaves (Logic-RL)",
        "data_source, prompt:messages, reward_model.ground_truth.solution_text_format", LOGIC, "quiz|prompt",
        "reward_model.ground_truth.solution_text_format"),
    Layout("verl", "data_source, prompt, reward_model|extra_info|ability", _verl_kind, "prompt",
        "reward_model.ground_truth", tests=functools.partial(programs.of_column, column="reward_model.ground_truth"),
        check=_verl_check),
    # Mathematics.
    Layout("GSM8K", "question, answer~####", MATH, "question", "answer", needs="####", completions="answer"),
    Layout("OpenR1-Math-220k", "problem, answer|solution, generations, uuid|correctness_math_verify", MATH, "problem",
        "answer", completions=_right_generations, skip={"answer": ("proof", "notfound")},
        same_length=("generations", "correctness_math_verify", "correctness_llama", "is_reasoning_complete", "finish_reasons"),
        check=_need("messages", "generations")),
    Layout("NuminaMath-1.5", "problem, solution, answer, problem_type, question_type", MATH, "problem", "answer",
        completions="solution", skip=_PROOFS),
    Layout("NuminaMath (CoT, TIR)", "problem, solution, messages, !answer", MATH, "problem", "solution", completions="messages"),
    Layout("Big-Math", "problem, answer, source, domain", MATH, "problem", "answer"),
    Layout("OpenMathReasoning", "problem, expected_answer, generated_solution", MATH, "problem", "expected_answer",
        completions="generated_solution", skip={"expected_answer": ("", "n/a")}),
    Layout("DeepMath-103K", "question, final_answer, r1_solution_1", MATH, "question", "final_answer",
        completions=Computed("r1_solution_1", lambda row: [row[name] for name in (f"r1_solution_{n}" for n in (1, 2, 3)) if row.get(name)])),
    Layout("Open-Reasoner-Zero", "0.value, 1|0.from", MATH, "0.value", "1.ground_truth.value"),
    Layout("Open-Reasoner-Zero evaluation, choice", "prompt:speeches, final_answer, choices", CHOICE, "prompt",
        "final_answer", options="choices", answer_is="letter", shown=True),
    Layout("Open-Reasoner-Zero evaluation", "prompt:speeches, final_answer", MATH, "prompt", "final_answer"),
    Layout("AIME 2024 (capitals)", "ID, Problem, Answer", MATH, "Problem", "Answer", completions="Solution"),
    Layout("OlympiadBench", "question, final_answer|answer_type, is_multiple_answer", MATH,
        _joined("\n", "context", "question"), "final_answer", completions="solution",
        skip={"question_type": ("Theorem proof",)}, parsed=("final_answer",)),
    Layout("SimpleQA", "problem, answer, metadata~answer_type", SHORT, "problem", "answer"),
    Layout("MATH", "problem, solution, !answer, level|type|idx", MATH, "problem", "solution", completions="solution"),
    # Sets of tasks of several kinds.
    Layout("SYNTHETIC-1 and 2", "prompt, verification_info:text", _synthetic_kind, "prompt",
        Computed("verification_info", lambda row: (_verification(row) or {}).get("ground_truth", MISSING)),
        tests=functools.partial(programs.of_column, column="verification_info"), completions="gold_standard_solution"),
    Layout("open-instruct RLVR", "messages:messages, ground_truth, dataset", _rlvr_kind, "messages", "ground_truth"),
    Layout("NeMo Gym, choice", "responses_create_params.input, options, expected_answer", CHOICE,
        "responses_create_params.input", "expected_answer", options="options", answer_is="letter", shown=True),
    Layout("NeMo Gym, code", "responses_create_params.input, verifier_metadata", CODE, "responses_create_params.input",
        tests=functools.partial(programs.of_column, column="verifier_metadata")),
    Layout("NeMo Gym, instructions", "responses_create_params.input, instruction_id_list", CHAT,
        "responses_create_params.input", check=_constraints),
    Layout("NeMo Gym, reasoning-gym", "responses_create_params.input, answer, metadata.source_dataset", LOGIC,
        "responses_create_params.input", "answer", extra=_reasoning_gym, reward="reasoning-gym"),
    Layout("NeMo Gym", "responses_create_params.input, expected_answer", MATH, "responses_create_params.input",
        "expected_answer" ),
    Layout("reasoning-gym", "question, answer, metadata.source_dataset", LOGIC, "question", "answer", extra=_reasoning_gym,
        reward="reasoning-gym"),
    # Logic.
    Layout("Countdown", "target:number, nums:list", LOGIC, _countdown_question, reward="countdown",
        extra=lambda row: {"numbers": row["nums"], "target": row["target"], "operations": "+-*/"}),
    Layout("knights and knaves", "quiz, solution_text_format", LOGIC, "quiz", "solution_text_format"),
    # Programs.
    Layout("HumanEval", "prompt:text, entry_point, test|base_input", CODE, "prompt", tests=programs.humaneval,
        id="task_id"),
    Layout("MBPP", "task_id, text|prompt, test_list", CODE, "text|prompt", tests=programs.mbpp),
    Layout("LiveCodeBench", "question_content, public_test_cases|private_test_cases", CODE, "question_content",
        tests=programs.livecodebench),
    Layout("Codeforces (open-r1)", "description, official_tests", CODE, "description",
        tests=programs.codeforces, leave_out=_talks),
    Layout("CodeContests", "description, public_tests, private_tests", CODE, "description", tests=programs.code_contests),
    Layout("APPS or TACO", "question, input_output, solutions", CODE, "question",
        tests=functools.partial(programs.of_column, column="input_output"), skip={"input_output": ("", None)}),
    Layout("KodCode", "question, test, test_info|style", CODE, "question", tests=programs.kodcode, completions="solution"),
    Layout("BigCodeBench", "instruct_prompt, complete_prompt, test", CODE, "instruct_prompt", tests=programs.bigcodebench),
    Layout("verifiable coding problems", "problem|prompt, verification_info.test_cases", CODE, "problem|prompt",
        tests=functools.partial(programs.of_column, column="verification_info")),
    Layout("problems with tests", "problem|question|prompt, tests", CODE, "problem|question|prompt",
        tests=functools.partial(programs.of_column, column="tests", starter="solutions"), id="id"),
    Layout("SWE-bench", "instance_id, problem_statement, FAIL_TO_PASS", None, "problem_statement", completions="patch",
        id="instance_id"),
    Layout("SWE-bench predictions", "instance_id, model_patch", None),
    # Choice.
    Layout("GPQA", "Question, Correct Answer, Incorrect Answer 1", CHOICE, "Question", "Correct Answer", answer_is="first",
        options=Computed("Correct Answer", lambda row: [row.get(name) for name in ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))])),
    Layout("MMLU-Pro", "question, options, answer_index", CHOICE, "question", "answer", options="options",
        answer_is="letter", agrees="answer_index"),
    Layout("SuperGPQA", "question, options, answer_letter", CHOICE, "question", "answer_letter", options="options",
        answer_is="letter", check=_agree_on_text),
    Layout("MMLU-Redux", "question, choices, answer, error_type", CHOICE, "question", _redux_answer, options="choices",
        answer_is="index",
        skip={"error_type": ("bad_question_clarity", "bad_options_clarity", "no_correct_answer", "multiple_correct_answers", "expert")}),
    Layout("MMLU", "question, choices, answer:number", CHOICE, "question", "answer", options="choices", answer_is="index"),
    Layout("C-Eval", "question, A, B, answer", CHOICE, "question", "answer", options=_LETTERED, answer_is="letter",
        skip={"answer": ("",)}),
    Layout("CMMLU", "Question, A, B, Answer", CHOICE, "Question", "Answer", options=_LETTERED, answer_is="letter"),
    Layout("CLUEWSC", "text, target.span1_text, label", CHOICE, _wsc_question,
        Computed("label", lambda row: "A" if _truth(row, row["label"]) else "B"),
        options=Computed("label", lambda _: {"A": "是", "B": "否"}), answer_is="letter", parsed=("target",)),
    # Short answers.
    Layout("DROP", "passage, question, answer:dict", SHORT, _joined("\n\n", "passage", "question"), _first_of_drop,
        answers=Computed("validated_answers", _drop_answers), parsed=("answer", "validated_answers")),
    Layout("DROP (simple-evals)", "context, completion, ref_text", SHORT, "context", _alternatives("ref_text", 0),
        answers=_alternatives("ref_text", slice(1, None))),
    # Instructions without a reference.
    Layout("IFEval or IFBench", "prompt, instruction_id_list, kwargs", CHAT, "prompt", check=_constraints,
        parsed=("instruction_id_list", "kwargs")),
    Layout("AlpacaEval", "instruction, output, generator", CHAT, "instruction", completions="output"),
    Layout("Arena-Hard judgments", "uid, games, judge", None),
    Layout("Arena-Hard answers", "uid, model, messages", None, "messages", completions=""),
    Layout("Arena-Hard", "uid, category, prompt", CHAT, "prompt", id="uid"),
    Layout("verifiers", "prompt|question, info, !options, !choices", _verifiers_kind, "prompt|question", "answer"),
    # Demonstrations.
    Layout("s1K", "question, solution, attempt, thinking_trajectories", MATH, "question", "solution",
        completions=_thought("thinking_trajectories[0]", "attempt"), skip={"solution": (None,)}),
    Layout("s1K-1.1", "question, solution, deepseek_attempt", MATH, "question", "solution",
        completions=_thought("deepseek_thinking_trajectory", "deepseek_attempt"), skip={"solution": (None,)}),
    Layout("OpenThoughts-114k, metadata", "problem, deepseek_reasoning, deepseek_solution", _openthoughts_kind, "problem",
        "ground_truth_solution", completions=_thought("deepseek_reasoning", "deepseek_solution"),
        tests=functools.partial(programs.of_column, column="test_cases")),
    Layout("KTO (LLaMA-Factory)", "conversations:speeches, kto_tag", None, "conversations", label="kto_tag"),
    Layout("preference pairs (ShareGPT)", "conversations:speeches, chosen", None, "conversations", chosen="chosen",
        rejected="rejected"),
    Layout("ShareGPT", "conversations", CHAT, "conversations", tools="tools", system="system"),
    Layout("preference pairs (Alpaca)", "instruction, chosen, rejected", None, _alpaca_question, chosen="chosen",
        rejected="rejected", system="system"),
    Layout("Alpaca", "instruction, output", CHAT, _alpaca_question, completions="output", system="system"),
    # Preference data.
    Layout("UltraFeedback (binarized)", "prompt:text, chosen:messages, rejected", None, "prompt", chosen="chosen",
        rejected="rejected"),
    Layout("preference pairs", "prompt, chosen|rejected", None, "prompt", chosen="chosen", rejected="rejected"),
    Layout("preference pairs without a prompt", "chosen, rejected", None, chosen="chosen", rejected="rejected"),
    Layout("stepwise", "prompt, completions:list, labels", None, "prompt", steps="completions"),
    Layout("questions with completions", "prompt|question|problem, completion|response|output, answer|ground_truth", MATH,
        "prompt|question|problem", "answer|ground_truth", completions="completion|response|output"),
    Layout("labelled completions", "prompt, completion, label|safe", None, "prompt", completions="completion",
        label="label|safe" ),
    Layout("prompts with completions", "prompt, completion|response|output", CHAT, "prompt",
        completions="completion|response|output", tools="tools"),
    # Guesses from common names.
    Layout("questions with options",
        "question|problem|prompt|Question|input, options|choices, answer|label|target|answer_key|answerKey", CHOICE,
        "question|problem|prompt|Question|input", "answer|label|target|answer_key|answerKey", options="options|choices",
        weak=True),
    Layout("questions with a short answer",
        "problem|question|Problem|Question|prompt|instruction|query|input, ground_truth|answer|final_answer|expected_answer|target|Answer|label|reward_model.ground_truth|reward_spec.ground_truth",
        MATH, "problem|question|Problem|Question|prompt|instruction|query|input",
        "ground_truth|answer|final_answer|expected_answer|target|Answer|label|reward_model.ground_truth|reward_spec.ground_truth",
        completions="solution", weak=True),
    Layout("questions with a solution", "problem|question|prompt, solution", MATH, "problem|question|prompt", "solution",
        completions="solution", weak=True),
    Layout("conversations with an answer", "messages:messages, answer|ground_truth|solution", MATH, "messages",
        "answer|ground_truth|solution", tools="tools|tool_defs", weak=True),
    Layout("conversations", "messages:messages", CHAT, "messages", tools="tools|tool_defs", weak=True),
    Layout("prompts alone", "prompt|instruction|question|problem|input", CHAT, "prompt|instruction|question|problem|input",
        check=_no_reference_at_all, weak=True),
    Layout("plain text", "text:text", None, weak=True),
)
"""The layouts, the special ones first. A row has the first one that fits."""
# fmt: on
