"""The files of `r1env score`: JSON lines, or Parquet by the name's ending. Read and written as streams."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from r1env.errors import UsageError
from r1env.runs.jsonable import json_ready, to_json

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
