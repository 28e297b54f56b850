"""The rows of `r1env score` and `r1env sample`: rows in, rollouts; rollouts, JSON objects out; and the files that hold them."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from r1env.data.layouts import Layout, Reading, example_of, layout_named, mapped, recognise
from r1env.data.rows import FORMATS, HUB, MISSING, ColumnMap, Row, at_path, import_pyarrow, read_rows
from r1env.data.tasks import ReadReference, task_of_example
from r1env.errors import DataError, UsageError
from r1env.rewards import Reward, Scope, task_key
from r1env.rubrics import Rubric
from r1env.runs.files import json_ready, to_json
from r1env.scoring import ScoringPool, score
from r1env.types import Rollout, Score, Status, Task

if sys.platform != "win32":
    import fcntl

TASK_FIELDS = ("id", "prompt", "answer", "tests", "language", "kind")
"""Fields of a row that are fields of its task; `completion` is the rollout's, all others go to the task's metadata."""


class MalformedRowError(ValueError):
    """A line that is no rollout. `row_id` is the id it carries, where that could be read."""

    def __init__(self, reason: str, row_id: str | int | None = None) -> None:
        super().__init__(reason)
        self.row_id = row_id


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How a row becomes a rollout. It travels to the nodes of a cluster.

    Attributes:
        columns: a column map (see `r1env.data.rows.ColumnMap`); empty for none.
        layout: the name of a recognised layout (see `r1env.data.layouts`); empty for rows with the fields of `TASK_FIELDS`.
        carry: write the columns of the row beside its score.
    """

    columns: str = ""
    layout: str = ""
    carry: bool = False

    @property
    def plain(self) -> bool:
        """True for rows with the fields of `TASK_FIELDS`."""
        return not (self.columns or self.layout)


PLAIN = RowFormat()


def parse_row(
    line: bytes, number: int, form: RowFormat = PLAIN, read_reference: ReadReference | None = None
) -> tuple[str | int | None, Rollout]:
    """Return the id as it stands in the line, and the rollout.

    Args:
        number: of the line, from 1; the task's id where the row has none.
        read_reference: of the reward: reads the final answer out of a worked solution, where the row is not plain.

    Raises:
        MalformedRowError: the line is not a JSON object with a text `completion`, or a field has the wrong type.
    """
    return rollout_of(_load(line, number), number, form, read_reference)


def rollout_of(
    row: dict[str, Any], number: int, form: RowFormat = PLAIN, read_reference: ReadReference | None = None
) -> tuple[str | int | None, Rollout]:
    """`parse_row` for a row that was read already."""
    row_id = row.get("id")
    if not isinstance(row_id, str | int | None) or isinstance(row_id, bool):
        raise MalformedRowError(f"line {number}: the id must be text or a number, not {type(row_id).__name__}")
    if not form.plain:
        return _mapped_rollout(row, row_id, number, form, read_reference)
    if not isinstance(row.get("completion"), str):
        given = f"not {type(row['completion']).__name__}" if "completion" in row else "and is missing"
        raise MalformedRowError(f"line {number}: the completion must be text, {given}", row_id)
    fields = {key: row[key] for key in TASK_FIELDS if row.get(key) is not None}
    fields["id"] = str(number if row_id is None else row_id)
    fields.setdefault("prompt", "")
    if isinstance(fields.get("answer"), int | float) and not isinstance(fields["answer"], bool):
        fields["answer"] = str(fields["answer"])
    metadata = {key: value for key, value in row.items() if key not in TASK_FIELDS and key != "completion"}
    try:
        return row_id, Rollout(task=Task(**fields, metadata=metadata), completion=row["completion"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MalformedRowError(f"line {number}: {where}: {first['msg']}", row_id) from error


def _mapped_rollout(
    row: Mapping[str, Any], row_id: str | int | None, number: int, form: RowFormat, read_reference: ReadReference | None
) -> tuple[str | int | None, Rollout]:
    layout, path = _layout_of(form)
    completion = at_path(row, path)
    if isinstance(completion, list) and completion and isinstance(completion[-1], Mapping):  # messages: the last is the model's
        completion = completion[-1].get("content")
    if not isinstance(completion, str):
        given = "and is missing" if completion is MISSING else f"not {type(completion).__name__}"
        raise MalformedRowError(f"line {number}: the completion ({path!r}) must be text, {given}", row_id)
    rest = Row({key: value for key, value in row.items() if key != path}, number=number, unit="line")
    try:
        example = example_of(rest, layout, number - 1, Reading(needs_question=False))
        found = row_id if example.id == "" or row_id is not None else example.id
        task = task_of_example(example, str(number if found is None else found), read_reference)
    except (DataError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise MalformedRowError(reason if reason.startswith("line ") else f"line {number}: {reason}", row_id) from error
    return found, Rollout(task=task, completion=completion)


@functools.lru_cache(maxsize=8)
def _layout_of(form: RowFormat) -> tuple[Layout, str]:
    """Return the layout of the rows without their completions, and the path of the completion."""
    columns = dict(ColumnMap.parse(form.columns)) if form.columns else {}
    path = columns.pop("completion", "completion")
    return (mapped(ColumnMap(columns)) if columns or not form.layout else layout_named(form.layout)), path


def recognised_format(first: Mapping[str, Any] | None, columns: str, *, carry: bool) -> RowFormat:
    """Return the format of rows like the first one: by the map, plain, or of a layout that is recognised by its columns.

    Raises:
        DataError: the map names a column that the first row does not have.
    """
    if columns:
        parsed = ColumnMap.parse(columns)
        if first is not None:
            parsed.read(first)
        return RowFormat(columns=columns, carry=carry)
    if first is None or not isinstance(first.get("completion"), str) or any(first.get(key) for key in ("answer", "tests")):
        return RowFormat(carry=carry)
    try:
        layout = recognise({key: value for key, value in first.items() if key != "completion"})
    except DataError:
        return RowFormat(carry=carry)
    known = layout.kind is not None and bool(layout.answer or layout.tests) and layout.name != "r1env"
    return RowFormat(layout=layout.name if known else "", carry=carry)


def malformed_result(error: MalformedRowError) -> dict[str, Any]:
    """Return what is written for a line that could not be read."""
    return {**scored_result(error.row_id, Score.failure(Status.ERROR, str(error))), "seconds": 0}


def scored_result(row_id: str | int | None, result: Score) -> dict[str, Any]:
    """Return what is written for a scored line."""
    written = result.model_dump(mode="json")
    if not result.turns:
        del written["turns"]
    return {"id": row_id, **written}


RESULT_FIELDS = ("id", "value", "parts", "status", "reason", "seconds", "turns")


def with_columns(result: dict[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Add the columns of the input to a result. One that is called like a field of the result comes as `input.NAME`."""
    for key, value in row.items():
        if key != "id":
            result[f"input.{key}" if key in RESULT_FIELDS else key] = value
    return result


def sampled_row(rollout: Rollout, sample: int) -> dict[str, Any]:
    """Return a row that `r1env score` reads back to the same task and completion."""
    task = rollout.task
    optional: Mapping[str, Any] = {"answer": task.answer, "tests": list(task.tests), "language": task.language}
    return {
        "id": task.id,
        "prompt": task.question if task.prompt == _as_user(task.question) else [dict(message) for message in task.prompt],
        "completion": rollout.completion,
        **{key: value for key, value in optional.items() if value},
        "kind": task.kind.value,
        "sample": sample,
        "finish_reason": rollout.finish_reason.value,
        **{key: value for key, value in task.metadata.items() if key not in TASK_FIELDS},
    }


def _as_user(text: str) -> tuple[dict[str, str]]:
    return ({"role": "user", "content": text},)


def id_of(line: bytes) -> Any:
    """Return the id that a line carries; None where it has none or cannot be read."""
    try:
        return _load(line, 0).get("id")
    except MalformedRowError:
        return None


def _load(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MalformedRowError(f"line {number}: not UTF-8 ({error.reason})") from error
    except RecursionError as error:
        raise MalformedRowError(f"line {number}: nested too deeply") from error
    except ValueError as error:  # not JSON, or a number longer than Python reads
        raise MalformedRowError(f"line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise MalformedRowError(f"line {number}: expected an object, got {type(row).__name__}")
    return row


# Lines in, scored rows out, a bounded number at a time. The same on this machine and on a node of a cluster.

CHUNK_LINES = 512  # scored in one call: enough to keep the workers busy
CHUNK_BYTES = 8 << 20  # … unless the lines are long: bounds the memory whatever the file

Chunk = Sequence[tuple[int, bytes]]
"""Numbered lines, the first of the input is 1."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of a chunk.

    Attributes:
        first: number of the first line.
        rows: one a line, in order.
        malformed: places among the rows of those whose lines could not be read.
        size: of the lines, in bytes.
    """

    first: int
    rows: list[dict[str, Any]]
    malformed: frozenset[int]
    size: int

    def after(self, number: int) -> Scored:
        """Return the part behind the line of that number."""
        skip = max(0, number + 1 - self.first)
        malformed = frozenset(place - skip for place in self.malformed if place >= skip)
        return Scored(self.first + skip, self.rows[skip:], malformed, self.size) if skip else self


def has_groups(scorer: Reward | Rubric) -> bool:
    """Return True if some reward needs all rows of a task at once."""
    rewards = [scorer] if isinstance(scorer, Reward) else [item.reward for item in scorer.rewards]
    return any(reward.scope is Scope.GROUP for reward in rewards)


def chunks(lines: Iterable[bytes], *, start: int = 0) -> Iterator[Chunk]:
    """Yield numbered lines, gathered until there are enough of them or of their bytes, or until no more have arrived.

    An empty chunk says that the source is idle.

    Args:
        lines: the rows; an empty one says that the source is idle (a line has its line end, so no line is empty).
        start: lines that were before them.
    """
    chunk: list[tuple[int, bytes]] = []
    size, number = 0, start
    for line in lines:
        if line:
            number += 1
            chunk.append((number, line))
            size += len(line)
        if chunk and (not line or len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        if not line:
            yield []
    if chunk:
        yield chunk


def group_chunks(lines: Iterable[bytes], scorer: Reward | Rubric, form: RowFormat = PLAIN, *, done: int = 0) -> Iterator[Chunk]:
    """Yield numbered lines in chunks over which no task is spread, for rewards that need all rows of a task.

    Rows of a task may stand anywhere, so all lines are read first. Where those of a task stand together, chunks are as small as those of
    `chunks`.

    Args:
        done: so many lines were scored before. Chunks that hold no others are left out.
    """
    rule = _reference_rule(scorer)
    numbered = list(enumerate(filter(None, lines), start=1))
    tasks = [_task_of(number, line, form, rule) for number, line in numbered]
    last = {task: number for (number, _), task in zip(numbered, tasks, strict=True)}
    chunk: list[tuple[int, bytes]] = []
    size, whole = 0, 0  # the last line of the tasks so far
    for (number, line), task in zip(numbered, tasks, strict=True):
        chunk.append((number, line))
        size += len(line)
        whole = max(whole, last[task])
        if number == whole and (number in (done, len(numbered)) or len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES):
            if number > done:
                yield chunk
            chunk, size = [], 0


def _task_of(number: int, line: bytes, form: RowFormat, rule: ReadReference | None) -> int:
    """Return a number that rows of one task share; a malformed row shares it with no other on purpose."""
    rollout = _parsed(number, line, form, rule, needs_id=True).rollout
    return number if rollout is None else hash(task_key(rollout.task))


def score_chunk(chunk: Chunk, scorer: Reward | Rubric, pool: ScoringPool | None = None, form: RowFormat = PLAIN) -> Scored:
    """Score every line that can be read. For a reward of scope `group`, rows with one `id`, prompt and answer are a group.

    Args:
        pool: see `score`.
        form: how the rows are laid out, and what is written beside the scores.
    """
    grouped, rule = has_groups(scorer), _reference_rule(scorer)
    parsed = [_parsed(number, line, form, rule, needs_id=grouped) for number, line in chunk]
    good = [item.rollout for item in parsed if item.rollout is not None]
    scores = iter(score(good, scorer, pool=pool))
    rows: list[dict[str, Any]] = []
    for item in parsed:
        written = malformed_result(item.error) if item.error is not None else scored_result(item.row_id, next(scores))
        rows.append(with_columns(written, item.row) if form.carry else written)
    malformed = frozenset(place for place, item in enumerate(parsed) if item.error is not None)
    return Scored(chunk[0][0], rows, malformed, sum(len(line) for _, line in chunk))


@dataclass(slots=True)
class _Parsed:
    """A line: its columns, and the rollout or why there is none."""

    row: Mapping[str, Any]
    row_id: str | int | None = None
    rollout: Rollout | None = None
    error: MalformedRowError | None = None


def _parsed(number: int, line: bytes, form: RowFormat, rule: ReadReference | None, *, needs_id: bool) -> _Parsed:
    parsed = _Parsed({})
    try:
        parsed.row = row = _load(line, number)
        parsed.row_id, parsed.rollout = rollout_of(row, number, form, rule)
        if needs_id and parsed.row_id is None:
            parsed.rollout = None
            raise MalformedRowError(
                f"line {number}: no id; a reward of scope group needs it to tell which task the row belongs to"
            )
    except MalformedRowError as error:
        parsed.error = error
    return parsed


def _reference_rule(scorer: Reward | Rubric) -> ReadReference | None:
    rewards = [scorer] if isinstance(scorer, Reward) else [item.reward for item in scorer.rewards]
    return next((rule for reward in rewards if (rule := reward.read_reference) is not None), None)


# The rows that `r1env score` reads, as JSON lines whatever they came from, and the files that it writes. Both are streams.

IDLE_SECONDS = 0.05
"""After so long without another row from a pipe, those that have arrived are scored: a program may wait for them."""


class Input:
    """The rows of `--input`.

    Attributes:
        first: the first row, for recognising its columns; None where it is no object or there is no row.
        size: of the file in bytes; 0 where it is not known.

    Raises:
        UsageError: it cannot be read.
    """

    def __init__(self, stack: ExitStack, name: str) -> None:
        self.size = 0
        self.first: Mapping[str, Any] | None = None
        if name == "-":
            self.lines: Iterator[bytes] = _arriving(sys.stdin.buffer)
        elif _is_plain_lines(name):
            try:
                file = stack.enter_context(Path(name).open("rb"))  # noqa: SIM115 - the stack closes it
                status = os.fstat(file.fileno())
                self.size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            except OSError as error:
                raise UsageError(f"cannot read {name}: {error.strerror or error}") from error
            self.lines = iter(file) if self.size else _arriving(file)
        else:
            self.lines = (to_line(row) for row in read_rows(name))
        early = list(itertools.islice((line for line in self.lines if line), 1))
        if early:
            try:
                self.first = _load(early[0], 1)
            except MalformedRowError:
                self.first = None
        self.lines = itertools.chain(early, self.lines)


def to_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a JSON line: what JSON has no type for (times, bytes, arrays) as text or lists."""
    plain = to_jsonable_python(dict(row), inf_nan_mode="constants", bytes_mode="base64", fallback=_plain)
    return json.dumps(plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _is_plain_lines(name: str) -> bool:
    """Return True for files whose lines are read as they are, so that a malformed one is a row like any other."""
    path = Path(name)
    if path.suffix in (".jsonl", ".ndjson"):
        return True
    return not (path.is_dir() or path.suffix in (*FORMATS, ".gz") or name.startswith(HUB) or not path.exists())


def _arriving(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines as they arrive, and an empty one whenever no other has come for `IDLE_SECONDS`."""
    try:
        descriptor = stream.fileno()
        select.select([descriptor], [], [], 0)
    except (OSError, ValueError):  # no file, or one that cannot be waited for: whatever is there is there at once
        yield from stream
        return
    pieces: list[bytes] = []  # of a line that has not arrived whole; a line may have a hundred megabytes
    idle = True
    while True:
        if not idle and not select.select([descriptor], [], [], IDLE_SECONDS)[0]:
            idle = True
            yield b""
            continue
        data = os.read(descriptor, 1 << 16)
        if not data:
            break
        first, *others = data.split(b"\n")
        pieces.append(first)
        for other in others:
            idle = False
            yield b"".join(pieces) + b"\n"
            pieces = [other]
    if any(pieces):
        yield b"".join(pieces)


class Output:
    """What takes the results, in order: a stream, or a file that has its name only when it is complete.

    A file is written as `NAME.partial` and renamed by `finish`. The partial file is locked meanwhile, so that two programs never write
    one output; it stays where the program is killed, and `resume` continues it.

    Attributes:
        done: rows that were there already.
        extends: they are those of a complete file, to which rows are added.

    Raises:
        UsageError: it cannot be written, is the input, or another program is writing it.
    """

    def __init__(self, name: str, input_name: str, *, resume: bool = False) -> None:
        self.done = 0
        self.extends = False
        self.last: Mapping[str, Any] | None = None  # row of the partial file
        self._name = name
        self._path = Path(name)
        self._form = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}.get(self._path.suffix, "lines")
        self._partial: Path | None = None
        self._writer: Any = None
        self._fields: list[str] = []
        if resume and (name == "-" or self._form == "parquet"):
            raise UsageError("--resume needs an --output file of JSON lines or CSV")
        if name == "-":
            self._sink: IO[Any] = sys.stdout
            return
        if input_name != "-" and self._path.exists() and Path(input_name).exists() and self._path.samefile(input_name):
            raise UsageError(f"--output {name} is the input file itself; name another")
        try:
            if self._path.exists() and not self._path.is_file():  # a device or a pipe
                self._sink = self._path.open("w", encoding="utf-8", newline="")
                return
            self._partial = self._path.with_name(self._path.name + ".partial")
            self._sink = self._locked(resume)
        except OSError as error:
            raise UsageError(f"cannot write {name}: {error.strerror or error}") from error

    def _locked(self, resume: bool) -> IO[Any]:
        """Open the partial file as its only writer."""
        partial = cast(Path, self._partial)
        sink = partial.open("ab+")
        try:
            fcntl.flock(sink, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            sink.close()
            raise UsageError(f"another program is writing {self._name} (it holds {partial})") from error
        if not partial.exists() or partial.stat().st_ino != os.fstat(sink.fileno()).st_ino:  # it was finished meanwhile
            sink.close()
            raise UsageError(f"another program has just written {self._name}")
        if not resume:
            sink.truncate(0)
        elif sink.tell() == 0 and self._path.exists():
            sink.write(self._path.read_bytes())  # complete as far as it goes: the input may have grown
            self.extends = True
            self._count(sink)
        else:
            self._count(sink)
        if self._form == "parquet":
            return sink
        return io.TextIOWrapper(sink, encoding="utf-8", newline="")

    def _count(self, sink: IO[bytes]) -> None:
        """Count the rows of the partial file, and cut off one that was not written whole."""
        sink.seek(0)
        whole = 0
        if self._form == "csv":
            text = sink.read().decode("utf-8", "replace")
            whole_text = text[: text.rfind("\r\n") + 2] if "\r\n" in text else ""
            rows = list(csv.DictReader(io.StringIO(whole_text, newline=""), delimiter=self._delimiter))
            if whole_text:
                self._fields = next(csv.reader(io.StringIO(whole_text, newline=""), delimiter=self._delimiter))
            self.done, self.last, whole = len(rows), rows[-1] if rows else None, len(whole_text.encode())
        else:
            last = b""
            for line in sink:
                if line.endswith(b"\n"):
                    self.done, whole, last = self.done + 1, whole + len(line), line
            self.last = _load(last, self.done) if last else None
        sink.truncate(whole)
        sink.seek(0, os.SEEK_END)

    @property
    def _delimiter(self) -> str:
        return "\t" if self._path.suffix == ".tsv" else ","

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append result rows.

        Raises:
            UsageError: the disk is full, or a row does not fit the columns of a table.
        """
        try:
            if self._form == "lines":
                self._sink.write("".join(to_json(row) + "\n" for row in rows))
            elif self._form == "csv":
                self._write_csv(rows)
            else:
                self._write_parquet(rows)
            self._sink.flush()
        except BrokenPipeError:  # nobody reads any more, which is no fault
            raise
        except OSError as error:
            where = "the standard output" if self._name == "-" else str(self._partial or self._name)
            raise UsageError(f"cannot write {where}: {error.strerror or error}") from error

    def finish(self) -> None:
        """Give a complete file its name."""
        try:
            if self._form == "parquet" and self._partial is not None:
                if self._writer is None:
                    self._write_parquet([])
                self._writer.close()
            if self._partial is not None:
                self._sink.flush()
                os.fsync(self._sink.fileno())
                self._partial.replace(self._path)  # before the lock goes with the file
        except OSError as error:
            raise UsageError(f"cannot write {self._name}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file, whatever has become of it; that ends the lock."""
        with suppress(OSError, ValueError):  # what cannot be written any more was told by `write`
            if self._form == "parquet" and self._writer is not None:
                self._writer.close()
            if self._name != "-":
                self._sink.close()

    def abandon(self) -> None:
        """Leave nothing of a file that was not worth beginning."""
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    def _write_csv(self, rows: Sequence[Mapping[str, Any]]) -> None:
        plain = [{key: _cell(value) for key, value in json_ready(row).items()} for row in rows]
        if self._writer is None:
            fields = self._fields or list(dict.fromkeys(key for row in plain for key in row))
            self._writer = csv.DictWriter(self._sink, fields, delimiter=self._delimiter)
            if not self._fields:
                self._writer.writeheader()
        try:
            self._writer.writerows(plain)
        except ValueError as error:
            raise UsageError(
                f"cannot write {self._name}: a row has columns that the first have not ({error}); write JSON lines"
            ) from error

    def _write_parquet(self, rows: Sequence[Mapping[str, Any]]) -> None:
        arrow = import_pyarrow()
        plain = [_parquet_row(row) for row in rows]
        if self._writer is None:
            extra = list(dict.fromkeys(key for row in plain for key in row if key not in RESULT_FIELDS or key == "turns"))
            self._schema = arrow.schema(
                [
                    ("id", arrow.string()),  # a number is written as text: one column has one type
                    ("value", arrow.float64()),
                    ("parts", arrow.map_(arrow.string(), arrow.float64())),
                    ("status", arrow.string()),
                    ("reason", arrow.string()),
                    ("seconds", arrow.float64()),
                    *((key, _column_type(arrow, [row.get(key) for row in plain])) for key in extra),
                ]
            )
            self._writer = arrow.parquet.ParquetWriter(self._sink, self._schema)
        for row in plain:
            for key in row.keys() - set(self._schema.names):
                raise UsageError(
                    f"cannot write {self._name}: a row has the column {key!r}, which the first have not; write JSON lines"
                )
        try:
            self._writer.write_table(arrow.Table.from_pylist(plain, schema=self._schema))
        except (ValueError, TypeError) as error:  # pyarrow's ArrowInvalid and ArrowTypeError
            raise UsageError(
                f"cannot write {self._name}: a column has values of another type than in the first rows ({error}); write JSON lines"
            ) from error


def _cell(value: Any) -> Any:
    """Return a value for CSV: what is no plain value is written as JSON."""
    return to_json(value) if isinstance(value, list | dict) else _writable(value)


def _parquet_row(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: _writable(value) for key, value in json_ready(row).items()}
    plain["id"] = None if row["id"] is None else _writable(str(row["id"]))
    plain["parts"] = list(plain["parts"].items())
    return plain


def _column_type(arrow: Any, values: list[Any]) -> Any:
    """Return the type of a column by its first values; text where they say nothing."""
    try:
        found = arrow.array(values).type
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"a column has values of different types ({error}); write JSON lines, or leave it out with --no-carry"
        ) from error
    return arrow.string() if found == arrow.null() else found


def _writable(value: Any) -> Any:
    """Lone surrogates, which these files cannot hold, become `?`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return list(map(_writable, value))
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    return value
