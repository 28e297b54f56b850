"""The rows of `r1env score` and `r1env sample`: JSON lines in, rollouts; rollouts, JSON objects out."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from r1env.errors import UsageError
from r1env.rewards import Reward, Scope
from r1env.rubrics import Rubric
from r1env.runs.files import json_ready, to_json
from r1env.scoring import ScoringPool, score
from r1env.types import Rollout, Score, Status, Task

TASK_FIELDS = ("id", "prompt", "answer", "tests", "language", "kind")
"""Fields of a row that are fields of its task; `completion` is the rollout's, all others go to the task's metadata."""


class MalformedRowError(ValueError):
    """A line that is no rollout. `row_id` is the id it carries, where that could be read."""

    def __init__(self, reason: str, row_id: str | int | None = None) -> None:
        super().__init__(reason)
        self.row_id = row_id


def parse_row(line: bytes, number: int) -> tuple[str | int | None, Rollout]:
    """The id as it stands in the line, and the rollout.

    Args:
        number: of the line, from 1; the task's id where the row has none.

    Raises:
        MalformedRowError: the line is not a JSON object with a text `completion`, or a field has the wrong type.
    """
    row = _load(line, number)
    row_id = row.get("id")
    if not isinstance(row_id, str | int | None) or isinstance(row_id, bool):
        raise MalformedRowError(f"line {number}: the id must be text or a number, not {type(row_id).__name__}")
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


def malformed_result(error: MalformedRowError) -> dict[str, Any]:
    """What is written for a line that could not be read."""
    return {**scored_result(error.row_id, Score.failure(Status.ERROR, str(error))), "seconds": 0}


def scored_result(row_id: str | int | None, result: Score) -> dict[str, Any]:
    """What is written for a scored line."""
    written = result.model_dump(mode="json")
    if not result.turns:
        del written["turns"]
    return {"id": row_id, **written}


def sampled_row(rollout: Rollout, sample: int) -> dict[str, Any]:
    """A row that `r1env score` reads back to the same task and completion."""
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
        rows: one a line, in order.
        malformed: lines that could not be read.
        unscored: the statuses of rollouts without a value.
        size: of the lines, in bytes.
    """

    rows: list[dict[str, Any]]
    malformed: int
    unscored: Counter[str]
    size: int


def has_groups(scorer: Reward | Rubric) -> bool:
    """Return True if some reward needs all rows of a task at once."""
    rewards = [scorer] if isinstance(scorer, Reward) else [item.reward for item in scorer.rewards]
    return any(reward.scope is Scope.GROUP for reward in rewards)


def chunks(lines: Iterable[bytes], *, whole: bool = False) -> Iterator[Chunk]:
    """Yield numbered lines, gathered until there are enough of them or of their bytes.

    Args:
        whole: yield all lines at once, for rewards that need all rows of a task, which may stand anywhere in the file.
    """
    if whole:
        yield list(enumerate(lines, start=1))
        return
    chunk: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        chunk.append((number, line))
        size += len(line)
        if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def score_chunk(chunk: Chunk, scorer: Reward | Rubric, pool: ScoringPool | None = None) -> Scored:
    """Score every line that can be read. For a reward of scope `group`, rows with one `id`, prompt and answer are a group.

    Args:
        pool: see `score`.
    """
    grouped = has_groups(scorer)
    parsed = [_parsed(number, line, needs_id=grouped) for number, line in chunk]
    good = [item[1] for item in parsed if not isinstance(item, MalformedRowError)]
    scores = iter(score(good, scorer, pool=pool))
    rows: list[dict[str, Any]] = []
    unscored: Counter[str] = Counter()
    for item in parsed:
        if isinstance(item, MalformedRowError):
            rows.append(malformed_result(item))
            continue
        result: Score = next(scores)
        rows.append(scored_result(item[0], result))
        if result.value is None:
            unscored[result.status] += 1
    return Scored(rows, len(parsed) - len(good), unscored, sum(len(line) for _, line in chunk))


def _parsed(number: int, line: bytes, *, needs_id: bool) -> tuple[str | int | None, Rollout] | MalformedRowError:
    try:
        row_id, rollout = parse_row(line, number)
    except MalformedRowError as error:
        return error
    if needs_id and row_id is None:
        return MalformedRowError(
            f"line {number}: no id; a reward of scope group needs it to tell which task the row belongs to"
        )
    return row_id, rollout


# The files of `r1env score`: JSON lines, or Parquet by the name's ending. Read and written as streams.

PARQUET_ROWS = 512  # read at once; columns of a row group are decompressed whole beside them

Write = Callable[[Sequence[Mapping[str, Any]]], None]
"""Appends result rows."""


def open_rows(stack: ExitStack, name: str) -> tuple[Iterable[bytes], int]:
    """The rows as JSON lines, and their size in bytes (0 where it is not known).

    Raises:
        UsageError: it cannot be read.
    """
    if name == "-":
        return sys.stdin.buffer, 0
    path = Path(name)
    try:
        source = stack.enter_context(path.open("rb"))
        if path.suffix == ".parquet":
            return _parquet_lines(_pyarrow().parquet.ParquetFile(source)), 0
        return source, path.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from error
    except ValueError as error:  # pyarrow's ArrowInvalid
        raise UsageError(f"cannot read {name} as Parquet: {error}") from error


def open_results(stack: ExitStack, name: str, input_name: str) -> Write:
    """What takes the results, in order.

    Raises:
        UsageError: it cannot be written, or is the input.
    """
    if name == "-":
        return lambda rows: _write_lines(sys.stdout, rows)
    path = Path(name)
    if input_name != "-" and path.exists() and path.samefile(input_name):
        raise UsageError(f"--output {name} is the input file itself; name another")
    try:
        if path.suffix == ".parquet":
            return _parquet_writer(stack, path)
        sink = stack.enter_context(path.open("w", encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror or error}") from error
    return lambda rows: _write_lines(sink, rows)


def _write_lines(sink: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    sink.write("".join(to_json(row) + "\n" for row in rows))
    sink.flush()


def _parquet_lines(file: Any) -> Iterator[bytes]:
    for batch in file.iter_batches(batch_size=PARQUET_ROWS):
        for row in batch.to_pylist():
            yield json.dumps(to_jsonable_python(row, inf_nan_mode="constants", bytes_mode="base64", fallback=str)).encode()


def _parquet_writer(stack: ExitStack, path: Path) -> Write:
    arrow = _pyarrow()
    schema = arrow.schema(
        [
            ("id", arrow.string()),  # a number is written as text: one column has one type
            ("value", arrow.float64()),
            ("parts", arrow.map_(arrow.string(), arrow.float64())),
            ("status", arrow.string()),
            ("reason", arrow.string()),
            ("seconds", arrow.float64()),
        ]
    )
    writer = stack.enter_context(arrow.parquet.ParquetWriter(path, schema))

    def write(rows: Sequence[Mapping[str, Any]]) -> None:
        columns = [
            {
                **json_ready(row),
                "id": None if row["id"] is None else _writable(str(row["id"])),
                "reason": _writable(row["reason"]),
                "parts": list(json_ready(row["parts"]).items()),
            }
            for row in rows
        ]
        writer.write_table(arrow.Table.from_pylist(columns, schema=schema))

    return write


def _writable(text: str) -> str:
    """Lone surrogates, which Parquet cannot hold, become `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("Parquet files need pyarrow: pip install 'r1env[parquet]'") from error
    return pyarrow
