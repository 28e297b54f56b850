"""`read_rows`: the rows of files and of data sets on the hub, one at a time; and `ColumnMap`, which says what their columns are.

What the columns mean is not known here; see `r1env.data.layouts`.
"""

from __future__ import annotations

import ast
import bisect
import bz2
import csv
import functools
import glob
import gzip
import io
import itertools
import json
import lzma
import os
import re
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, AnyStr, overload

from r1env.errors import DataError, NoSplitError, UsageError

Source = str | Path | Sequence[str | Path]
"""A file, a folder, a glob, `hub:owner/name[:config][@split]`, or several of them."""

HUB = "hub:"

MAX_LINE = 256 << 20
"""Bytes of one row of text; a longer one is a file without line ends, or a bomb."""

_HEAD = 16 << 20  # bytes of a first line that are read to tell the format


class Row(dict[str, Any]):
    """One row: its columns by name, and where it stands. A row that is an array has the columns `0`, `1`, …

    Attributes:
        file: as the user named it.
        number: of the row in its file, from 1; of the line in JSON Lines, where empty lines count.
        unit: `line` or `row`.
    """

    __slots__ = ("file", "number", "unit")

    def __init__(self, values: Mapping[str, Any], file: str = "", number: int = 0, unit: str = "row") -> None:
        super().__init__(values)
        self.file = file
        self.number = number
        self.unit = unit

    @property
    def where(self) -> str:
        return f"{self.file}, {self.unit} {self.number}" if self.file else f"{self.unit} {self.number}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Row, (dict(self), self.file, self.number, self.unit))


def read_rows(source: Source, split: str | None = None) -> Rows:
    """Return the rows of `source`. Opening it reads the first row and no more; nothing is kept in memory.

    The format follows from the name (`.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, `.arrow`; texts also with `.gz`, `.bz2`, `.xz`
    or `.zst`), or else from the content. Text is UTF-8, with or without a byte order mark. A folder that `Dataset.save_to_disk` wrote is
    read as well.

    Args:
        source: a file, a folder, a glob, `hub:owner/name[:config][@split]`, or a sequence of these, or some separated by commas. The files of
            a folder must have one format; where their names say different splits (`train-00000.parquet`, `test.jsonl`), one must be named,
            as `folder@train` or with `split`.
        split: of a folder or of a data set on the hub; `all` takes all. A file without splits is all training data.

    Raises:
        DataError: there is no such source, it has no rows, or its first row cannot be read. A later row that cannot be read raises it when
            the reading comes to it.
        NoSplitError: no such split, or several where none was named.

    Example:
        >>> for row in read_rows("gsm8k_test.jsonl"):   # doctest: +SKIP
        ...     print(row.where, row["question"])
        gsm8k_test.jsonl, line 1 …
    """
    parts = list(itertools.chain.from_iterable(_open(one, split) for one in _sources(source)))
    return Rows(_name_of(source), parts)


class Rows(Sequence[Row]):
    """Rows in order, read when they are asked for. What `read_rows` returns.

    Iterating streams. `len(rows)` and `rows[i]` look for the line ends of JSON Lines once, and use the row groups of Parquet; other formats
    are then held in memory.

    Attributes:
        name: what the user called the source, for messages.
        first: the first row.
        columns: its columns.
    """

    def __init__(self, name: str, parts: Sequence[_Part]) -> None:
        self.name = name
        self._parts = parts
        first = next(iter(self), None)
        if first is None:
            raise DataError(name, "there are no rows")
        self.first = first
        self.columns = tuple(first)

    def __iter__(self) -> Iterator[Row]:
        for part in self._parts:
            yield from part

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part].at(index - (self._ends[part - 1] if part else 0))

    @functools.cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(map(len, self._parts)))


# From a source to its files.

FORMATS = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}

_COMPRESSED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
"""The ends of the names of compressed files, and the bytes they begin with."""

_OF_DATASETS = ("state.json", "dataset_info.json", "dataset_dict.json")
"""Files that the library `datasets` writes beside the rows."""

_TO_ROWS = "write them with DataFrame.to_json(path, orient='records', lines=True) or Dataset.to_parquet(path)"

_WHOLE = (None, "train", "all")
"""What may be asked of rows without splits, which are all for training."""

_SPLIT_OF_NAME = re.compile(r"(?<![a-z])(train|training|test|testing|validation|valid|val|dev|eval)(?![a-z])", re.IGNORECASE)
_SPLITS = {
    "training": "train",
    "testing": "test",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "test",
}


def _sources(source: Source) -> list[str]:
    if not isinstance(source, str | Path):
        return [str(one) for one in source]
    text = str(source)
    return text.split(",") if "," in text and not Path(text).exists() else [text]


def _name_of(source: Source) -> str:
    return ", ".join(map(str, source)) if not isinstance(source, str | Path) else str(source)


def _open(source: str, split: str | None) -> list[_Part]:
    if source.startswith(HUB):
        return [_HubPart(source, split)]
    path, at, named = source.rpartition("@")
    if at and not Path(source).exists() and Path(path).is_dir():
        source, split = path, named
    if split not in _WHOLE and not Path(source).is_dir():
        raise NoSplitError(
            f"{source} is one set of rows without a split {split!r}; hold_out=0.1 divides it, or give data.train=FILE and data.test=FILE"
        )
    found = Path(source)
    if found.is_dir():
        return [_file_part(file) for file in _files_of_folder(found, split)]
    if found.exists():
        return [_file_part(found)]
    if glob.has_magic(source):
        files = sorted(file for file in map(Path, glob.glob(source, recursive=True)) if file.is_file())
        if not files:
            raise DataError(source, "no file matches")
        return [_file_part(file) for file in files]
    hint = f"; a data set of the hub is written {HUB}{source}" if re.fullmatch(r"[\w.-]+/[\w.-]+", source) else ""
    raise DataError(source, f"cannot read it: there is no such file or folder{hint}")


def _files_of_folder(folder: Path, split: str | None) -> list[Path]:
    """Return the data files of a folder and of the folders in it, by name.

    Raises:
        DataError: there are none, or of more than one format.
        NoSplitError: they belong to several splits and none was named, or none belongs to the one that was.
    """
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and _suffix(file) in FORMATS
        and file.name not in _OF_DATASETS
        and not file.name.startswith("cache-")  # what Dataset.map leaves in such a folder
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_of(file.relative_to(folder)), []).append(file)
    names = ", ".join(name or "(none)" for name in by_split)
    if split in by_split:
        files = by_split[split]
    elif split not in _WHOLE or (split == "train" and any(by_split)):
        raise NoSplitError(f"{folder} has no split {split!r}; its files belong to: {names}")
    elif split is None and len(by_split) > 1:
        named = next(filter(None, by_split))
        raise NoSplitError(f"the files of {folder} belong to the splits {names}; name one: {folder}@{named}, or {folder}@all")
    formats = sorted({_suffix(file) for file in files})
    if not files:
        raise DataError(str(folder), f"there is no data file in it (known: {', '.join(FORMATS)})")
    if len(formats) > 1:
        raise DataError(
            str(folder), f"it holds files of several formats ({', '.join(formats)}); name one: '{folder}/**/*{formats[0]}'"
        )
    return files


def _split_of(path: Path) -> str:
    """Return the split that the name of a file, or of a folder above it, says; empty where none does."""
    for part in reversed(path.parts):
        if found := _SPLIT_OF_NAME.search(part):
            return _SPLITS.get(found[1].lower(), found[1].lower())
    return ""


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(next((end for end in _COMPRESSED if name.endswith(end)), ""))).suffix


# One class a format. Each can be iterated, and knows its length and its rows by index.


class _Part:
    """The rows of one file. Formats that cannot be entered in the middle are held in memory once a row is asked for by its index."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def __iter__(self) -> Iterator[Row]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._held)

    def at(self, index: int) -> Row:
        return self._held[index]

    @functools.cached_property
    def _held(self) -> list[Row]:
        return list(iter(self))  # not list(self), which would ask for the length

    def open(self) -> IO[bytes]:
        """Open the file for reading, decompressed by its first bytes, whatever its name."""
        file = self.path.open("rb")
        head = file.peek(6)[:6]
        kind = next((end for end, mark in _COMPRESSED.items() if head.startswith(mark)), "")
        if kind == ".zst":
            file.close()
            stream = import_pyarrow().input_stream(str(self.path), compression="zstd")
            return io.BufferedReader(stream)
        opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
        return opened[kind](file, "rb") if kind else file  # type: ignore[operator]  # they share no type

    def _not_json(self, place: str, why: str) -> DataError:
        """Return the error for text that is not JSON, which says so where a file is not compressed as its name promises."""
        end = self.path.suffix.lower()
        with self.path.open("rb") as file:
            disguised = end in _COMPRESSED and not file.read(6).startswith(_COMPRESSED[end])
        hint = (
            f"; its name ends in {end}, and it is not compressed like that: rename it, or fetch it again" if disguised else ""
        )
        return DataError(f"{self.name}, {place}" if place else self.name, f"not JSON ({why}){hint}")

    def text(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(self.open(), encoding="utf-8-sig", newline="")


def _file_part(path: Path) -> _Part:
    """Return the reader of a file, by its name and its first bytes.

    Raises:
        DataError: it is in no format that we read.
    """
    name, kind = str(path), FORMATS.get(_suffix(path))
    with _reading(name), _Part(path).open() as file:
        head = file.readline(_HEAD)
        rest = b"" if kind == "lines" else file.read(1 << 16)
    if head[:4] == b"PAR1":
        return _ParquetPart(path)
    if kind == "parquet":
        raise DataError(name, "it is no Parquet file (it does not begin with PAR1)")
    if kind == "arrow" or head.startswith(_ARROW_FILE):
        return _ArrowPart(path)
    if head.startswith(b"PK\x03\x04"):
        raise DataError(name, "it is a ZIP archive or a spreadsheet; unpack it, or save it as CSV")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(name, "it is UTF-16; write it as UTF-8")
    if kind == "csv":
        return _CsvPart(path)
    start = (head + rest).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if kind == "lines" or start not in (b"[", b"{"):
        if kind is None and start and start not in (b"[", b"{"):
            raise DataError(
                name, f"neither its name nor its content says what format it has; known: {', '.join(FORMATS)}; {_TO_ROWS}"
            )
        return _LinesPart(path)
    # What is called .json, or nothing, may still be JSON Lines: then its first line is a value.
    line = head.removeprefix(b"\xef\xbb\xbf")
    if _is_json(line) and (rest.strip() or (start == b"{" and _is_row(json.loads(line)))):
        return _LinesPart(path)
    return _JsonPart(path)


def _is_row(value: Any) -> bool:
    """Return whether an object that is a whole document is one row, and neither holds rows nor columns."""
    return _rows_in(value) is None and not all(isinstance(one, list | dict) for one in value.values())


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _rows_in(value: Any) -> list[Any] | None:
    """Return the rows of a document that is one object around a list of objects, such as `{"examples": [{…}, …]}`."""
    if not isinstance(value, dict):
        return None
    lists = [one for one in value.values() if isinstance(one, list) and one and all(isinstance(row, dict) for row in one)]
    return (
        lists[0]
        if len(lists) == 1 and all(not isinstance(one, list | dict) or one is lists[0] for one in value.values())
        else None
    )


class _LinesPart(_Part):
    """JSON Lines. Rows by index are found by the places of their lines, 8 bytes a row."""

    def __iter__(self) -> Iterator[Row]:
        with _reading(self.name), self.open() as file:
            for number, line in enumerate(_lines(file, self.name), start=1):
                if (row := self._row(line, number)) is not None:
                    yield row

    def __len__(self) -> int:
        return len(self._places[0]) - 1 if self._is_plain else len(self._held)

    def at(self, index: int) -> Row:
        if not self._is_plain:
            return self._held[index]
        places, numbers = self._places
        with _reading(self.name):
            # Not seek and read: a file is read from several threads.
            line = os.pread(self._file.fileno(), places[index + 1] - places[index], places[index])
            row = self._row(line, numbers[index] if numbers else index + 1)
        assert row is not None  # empty lines have no place
        return row

    @functools.cached_property
    def _is_plain(self) -> bool:
        with _reading(self.name), self.path.open("rb") as file:
            return not file.read(6).startswith(tuple(_COMPRESSED.values()))

    @functools.cached_property
    def _file(self) -> IO[bytes]:
        return self.path.open("rb")

    @functools.cached_property
    def _places(self) -> tuple[array[int], array[int]]:
        """Where each row begins, with the end of the last; and the numbers of their lines, which are left out where no line is empty."""
        places, numbers = array("q"), array("q")
        position, empty = 0, False
        with _reading(self.name), self.open() as file:
            for number, line in enumerate(_lines(file, self.name), start=1):
                if line.strip():
                    places.append(position)
                    numbers.append(number)
                else:
                    empty = True
                position += len(line)
        places.append(position)
        return places, numbers if empty else array("q")

    def _row(self, line: bytes, number: int) -> Row | None:
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.isspace() or not line:
            return None
        try:
            value = json.loads(line.decode())
        except (ValueError, RecursionError) as error:  # also a number longer than Python reads, and bytes that are not UTF-8
            raise self._not_json(f"line {number}", _why(error)) from error
        return _as_row(value, self.name, number, "line")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name}  # an open file cannot be sent to another process


def _lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(f"{name}, line {number}", f"it is longer than {MAX_LINE >> 20} MB")
        yield line


class _JsonPart(_Part):
    """One JSON document: an array of rows, read a piece at a time, or an object around one."""

    piece = 1 << 20

    def __iter__(self) -> Iterator[Row]:
        with _reading(self.name), self.text() as file:
            text = file.read(self.piece).lstrip()
            if text[:1] == "[":
                yield from self._items(file, text[1:])
                return
            try:
                value = json.loads(text + file.read())
            except (ValueError, RecursionError) as error:
                raise self._not_json("", _why(error)) from error
            rows = _rows_in(value)
            if rows is None:
                raise DataError(
                    self.name,
                    f"it is one JSON object with {_listed(value)}; a data file is an array of objects, or one object a line: {_TO_ROWS}",
                )
            for number, row in enumerate(rows, start=1):
                yield _as_row(row, self.name, number, "row")

    def _items(self, file: io.TextIOWrapper, text: str) -> Iterator[Row]:
        """Yield the items of an array, of which `text` is the beginning. An item is complete when what ends it is in sight."""
        decode = json.JSONDecoder().raw_decode
        number, wanted = 1, self.piece
        while True:
            text = text.lstrip(" \t\r\n")
            end, failure = -1, None
            if text[:1] == "]":
                if text[1:].strip() or file.read().strip():
                    raise DataError(self.name, "there is more after the end of the array")
                return
            try:
                value, end = decode(text)
                rest = text[end:].lstrip(" \t\r\n")
            except (ValueError, RecursionError) as error:
                failure, rest = error, ""
            if failure is None and rest[:1] in (",", "]"):
                yield _as_row(value, self.name, number, "row")
                text, wanted = (rest[1:] if rest[0] == "," else rest), self.piece
                number += 1
                continue
            more = file.read(wanted)
            if not more or len(text) > MAX_LINE:
                why = _why(failure) if failure else "expected ',' or ']' after it"
                raise self._not_json(f"row {number}", why)
            text, wanted = text + more, 2 * wanted  # doubled, so that a long row costs linear time


class _CsvPart(_Part):
    """Comma-separated values, with the names of the columns in the first line. Every value is text."""

    def __iter__(self) -> Iterator[Row]:
        csv.field_size_limit(MAX_LINE)  # of the whole process, but only ever larger than the default of 128 kB
        with _reading(self.name), self.text() as file:
            lines = _lines(file, self.name)
            first = next(lines, "")
            delimiter = "\t" if _suffix(self.path) == ".tsv" else max(",;\t", key=first.count)
            reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
            try:
                header = [name.strip() for name in next(reader, [])]
                if len(set(header)) < len(header):
                    raise DataError(self.name, f"two columns have the same name: {', '.join(header)}")
                number = 0
                for values in reader:
                    if not values:
                        continue
                    number += 1
                    if len(values) != len(header):
                        raise DataError(
                            f"{self.name}, row {number}",
                            f"it has {len(values)} fields, the header {len(header)} (line {reader.line_num}); quote fields that hold a {delimiter!r}",
                        )
                    yield Row(dict(zip(header, values, strict=True)), self.name, number)
            except csv.Error as error:
                raise DataError(f"{self.name}, line {reader.line_num}", f"not CSV ({error})") from error


class _ParquetPart(_Part):
    """Parquet. Rows by index come from row groups, of which the last ones used stay in memory, up to `keep` bytes."""

    keep = 512 << 20
    batch = 1_000

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._groups: OrderedDict[int, Any] = OrderedDict()

    def __iter__(self) -> Iterator[Row]:
        number = 0
        with _reading(self.name):
            file = self._open()
            for batch in file.iter_batches(batch_size=self.batch):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, self.name, number)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def at(self, index: int) -> Row:
        group = bisect.bisect_right(self._ends, index)
        with _reading(self.name):
            table = self._group(group)
            (values,) = table.slice(index - (self._ends[group - 1] if group else 0), 1).to_pylist()
        return Row(values, self.name, index + 1)

    def _group(self, group: int) -> Any:
        if group in self._groups:
            self._groups.move_to_end(group)
            return self._groups[group]
        self._groups[group] = self._file.read_row_group(group)
        while len(self._groups) > 1 and sum(table.nbytes for table in self._groups.values()) > self.keep:
            self._groups.popitem(last=False)
        return self._groups[group]

    @functools.cached_property
    def _file(self) -> Any:
        return self._open()

    @functools.cached_property
    def _ends(self) -> list[int]:
        with _reading(self.name):
            data = self._file.metadata
            return list(itertools.accumulate(data.row_group(group).num_rows for group in range(data.num_row_groups)))

    def _open(self) -> Any:
        return import_pyarrow().parquet.ParquetFile(self.path, memory_map=True)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name, "_groups": OrderedDict()}


_ARROW_FILE = b"ARROW1"


class _ArrowPart(_Part):
    """Arrow, as files or streams: what `datasets` keeps on disk, and Feather. The file is mapped into memory, not read."""

    def __iter__(self) -> Iterator[Row]:
        number = 0
        with _reading(self.name):
            for batch in self._table.to_batches(max_chunksize=_ParquetPart.batch):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, self.name, number)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def at(self, index: int) -> Row:
        with _reading(self.name):
            (values,) = self._table.slice(index, 1).to_pylist()
        return Row(values, self.name, index + 1)

    @functools.cached_property
    def _table(self) -> Any:
        arrow = import_pyarrow()
        with _reading(self.name), self.path.open("rb") as file:
            is_file = file.read(len(_ARROW_FILE)) == _ARROW_FILE
            source = arrow.memory_map(str(self.path))
            return (arrow.ipc.open_file(source) if is_file else arrow.ipc.open_stream(source)).read_all()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name}


class _HubPart(_Part):
    """One split of a data set on the hub, through the library `datasets`, which downloads it once and keeps it on disk."""

    def __init__(self, source: str, split: str | None) -> None:
        self.name = source
        name, _, named = source.removeprefix(HUB).partition("@")
        self._repository, _, config = name.partition(":")
        self._config = config or None
        self._split = named or split
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self._repository):
            raise DataError(source, f"a data set of the hub is written {HUB}owner/name[:config][@split]")

    def __iter__(self) -> Iterator[Row]:
        for number, values in enumerate(self._data, start=1):
            yield Row(values, self.name, number)

    def __len__(self) -> int:
        return len(self._data)

    def at(self, index: int) -> Row:
        return Row(self._data[index], self.name, index + 1)

    @functools.cached_property
    def _data(self) -> Any:
        try:
            import datasets
        except ImportError as error:
            raise DataError(self.name, "reading from the hub needs the library datasets: pip install 'r1env[hub]'") from error
        try:
            split = self._split or self._only_split(datasets)
            return datasets.load_dataset(self._repository, self._config, split=split)
        except NoSplitError:
            raise
        except ValueError as error:  # an unknown split, or an unknown or missing config
            cause = " ".join(str(error).split())[:200]
            kind = NoSplitError if "split" in cause.lower() else UsageError
            raise kind(f"{self.name}: cannot read it from the hub ({cause}); write {HUB}owner/name[:config][@split]") from error
        except OSError as error:  # unreachable or unknown
            cause = " ".join(str(error).split())[:200]
            raise DataError(self.name, f"cannot read it from the hub ({cause}); check the name and the network") from error

    def _only_split(self, datasets: Any) -> str:
        names = [str(name) for name in datasets.get_dataset_split_names(self._repository, self._config)]
        if len(names) == 1:
            return names[0]
        raise NoSplitError(f"{self.name} has the splits {', '.join(names)}; name one: {self.name}@{names[0]}")


def import_pyarrow() -> Any:
    """Return pyarrow with its readers of Parquet and of Arrow files.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("Parquet, Arrow and .zst files need pyarrow: pip install 'r1env[parquet]'") from error
    return pyarrow


class _reading:  # noqa: N801 - it is used like a function
    """Turns what the operating system, a codec or Arrow raise into a `DataError` that names the file."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, UsageError | GeneratorExit):
            return
        if isinstance(error, UnicodeDecodeError):
            raise DataError(self._name, f"not UTF-8 ({error.reason} at byte {error.start})") from error
        if isinstance(error, OSError):  # also a damaged gzip file, and Arrow's
            raise DataError(self._name, f"cannot read it: {error.strerror or error}") from error
        if isinstance(error, EOFError | zlib.error | lzma.LZMAError):
            raise DataError(self._name, f"its compressed data are damaged ({error})") from error
        if type(error).__module__.startswith("pyarrow"):
            raise DataError(self._name, f"Arrow cannot read it ({_why(error)})") from error


def _as_row(value: Any, file: str, number: int, unit: str) -> Row:
    if isinstance(value, list):
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, dict):
        raise DataError(f"{file}, {unit} {number}", f"expected an object, got {type(value).__name__}")
    return Row(value, file, number, unit)


def _why(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return " ".join(str(getattr(error, "msg", "") or error).split())[:200]


def _listed(names: Iterable[str], most: int = 12) -> str:
    shown = list(map(str, names))
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


# Columns by name.

FIELDS: Mapping[str, tuple[str, ...]] = {
    "question": (
        "question",
        "problem",
        "prompt",
        "instruction",
        "query",
        "input",
        "text",
        "task",
        "messages",
        "quiz",
        "description",
        "body",
        "question_text",
        "question_content",
        "q",
    ),
    "answer": (
        "answer",
        "final_answer",
        "expected_answer",
        "ground_truth",
        "reward_model",
        "target",
        "label",
        "gold",
        "reference",
        "correct_answer",
        "correct",
        "answer_key",
        "answerkey",
        "answers",
        "groundtruth",
        "solution",
        "a",
    ),
    "options": ("options", "choices"),
    "tests": ("tests", "test_list", "test_cases", "input_output", "test"),
    "completion": ("completion", "response", "output"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "label": ("label", "safe"),
    "system": ("system",),
    "tools": ("tools",),
    "id": ("id", "task_id", "uuid", "index"),
    "kind": ("kind",),
    "language": ("language",),
}
"""What a column map can say, each with the names that such a column usually has, for suggestions."""

MISSING: Any = type("_Missing", (), {"__repr__": lambda _: "MISSING", "__bool__": lambda _: False})()
"""What `at_path` returns where there is nothing. None is a value: a column that is null."""

MAX_LITERAL = 4 << 20  # characters of JSON or Python text inside a column that a path leads into


class ColumnMap(Mapping[str, str]):
    """Which column of a row is what: a field of `FIELDS` → the path of a column.

    A path is a column's name, and may go on into what the column holds, by names and list indices: `reward_model.ground_truth`,
    `prompt[-1].content`. A column whose own name has dots is found first. Text that holds JSON or a Python literal is read on the way.

    Example:
        >>> columns = ColumnMap.parse("question=problem,answer=reward_model.ground_truth")
        >>> columns.read({"problem": "1 + 1?", "reward_model": {"ground_truth": "2"}, "level": 3})
        {'question': '1 + 1?', 'answer': '2'}
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        for field, path in columns.items():
            if field not in FIELDS:
                raise UsageError(f"--map {field}={path}: unknown field {field!r}; known: {', '.join(FIELDS)}")
            if not path:
                raise UsageError(f"--map {field}=: the name of the column is missing")
        self._columns = dict(columns)

    @classmethod
    def parse(cls, text: str | Iterable[str]) -> ColumnMap:
        """Read `field=path,field=path`, or several such texts.

        Raises:
            UsageError: it is not that, or names an unknown field or one field twice.
        """
        columns: dict[str, str] = {}
        for pair in itertools.chain.from_iterable(one.split(",") for one in ([text] if isinstance(text, str) else text)):
            field, equals, path = (part.strip() for part in pair.partition("="))
            if not equals:
                raise UsageError(
                    f"--map {pair}: expected FIELD=COLUMN, such as question=problem,answer=reward_model.ground_truth"
                )
            field = "question" if field == "prompt" else field
            if field in columns:
                raise UsageError(f"--map names {field!r} twice: {columns[field]} and {path}")
            columns[field] = path
        return cls(columns)

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the row has for each field.

        Raises:
            DataError: a path leads nowhere.
        """
        values = {}
        for field, path in self.items():
            value = at_path(row, path)
            if value is MISSING:
                raise DataError(where_of(row), f"no {path!r} (--map {field}={path}); {describe_columns(row)}")
            values[field] = value
        return values

    def __getitem__(self, field: str) -> str:
        return self._columns[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __str__(self) -> str:
        return ",".join(f"{field}={path}" for field, path in self.items())

    def __repr__(self) -> str:
        return f"ColumnMap({str(self)!r})"


def where_of(row: Mapping[str, Any]) -> str:
    """Return the file and the number of a row; `the row` where it came from no file."""
    return row.where if isinstance(row, Row) else "the row"


def describe_columns(row: Mapping[str, Any]) -> str:
    """Return the columns of a row, and a map to copy and change: `its columns: a, b; map them: --map question=a,answer=b`."""
    names = {str(name).strip().lower(): str(name) for name in row}
    for column, value in row.items():  # of an object inside a column, whose own names come second
        inner = read_literal(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
        if isinstance(inner, Mapping):
            for name in inner:
                names.setdefault(str(name).lower(), f"{column}.{name}")
    known = {
        field: name
        for field in ("question", "answer", "options", "tests")
        if (name := next((names[one] for one in FIELDS[field] if one in names), None)) is not None
    }
    spare = [name for name in row if name not in known.values() and str(name).lower() not in ("", *FIELDS["id"], "idx")]
    for field in ("question", "answer"):
        if field not in known and len(row) <= 2:  # in more columns it would be a guess out of the air
            known[field] = spare.pop(0) if spare else "COLUMN"
        known.setdefault(field, "COLUMN")
    ordered = {field: known[field] for field in ("question", "answer", "options", "tests") if field in known}
    example = ",".join(f"{field}={name}" for field, name in ordered.items()) or "question=COLUMN,answer=COLUMN"
    return f"its columns: {_listed(row) or 'none'}; say which is which: --map {example}"


def at_path(row: Any, path: str) -> Any:
    """Return what stands at a path (see `ColumnMap`); `MISSING` where nothing does."""
    if isinstance(row, Mapping):
        if path in row:
            return row[path]
        if not _COMPOUND.search(path):
            return MISSING
        # The longest name that the row has: names may hold dots, slashes and brackets.
        for name in sorted(
            (key for key in row if isinstance(key, str) and key and path.startswith(key)), key=len, reverse=True
        ):
            rest = path[len(name) :]
            if rest[:1] in (".", "["):
                return at_path(row[name], rest.removeprefix("."))
        if (index := _index(path)) is not None and str(index[0]) in row:  # of a row that was an array
            return at_path(row[str(index[0])], index[1]) if index[1] else row[str(index[0])]
        return MISSING
    if isinstance(row, str) and row.lstrip()[:1] in ("{", "[", "("):
        value = read_literal(row)
        return at_path(value, path) if isinstance(value, list | tuple | dict) else MISSING
    index = _index(path)
    if index is None or not isinstance(row, Sequence) or isinstance(row, str | bytes):
        return MISSING
    number, rest = index
    if not -len(row) <= number < len(row):
        return MISSING
    return at_path(row[number], rest) if rest else row[number]


_COMPOUND = re.compile(r"[.\[]|^\d+$")  # what leads into a value, and what may be an index
_INDEX = re.compile(r"(?:\[(-?\d{1,9})\]|(-?\d{1,9}))(?:\.(?=.)|(?=\[)|$)")


def _index(path: str) -> tuple[int, str] | None:
    """Return the list index that a path begins with, and the rest of the path."""
    found = _INDEX.match(path)
    return (int(found[1] or found[2]), path[found.end() :]) if found else None


def read_literal(text: str) -> Any:
    """Return the value of a text that holds JSON or a Python literal; `MISSING` where it holds neither. Nothing is executed."""
    if len(text) > MAX_LITERAL:
        return MISSING
    readers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for read in readers:
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return MISSING
