"""Runs and evaluations as the page asks for them: metrics since a position, and rollouts by filter.

What filters need of a rollout, numbers and names, is in an in-memory DuckDB table; texts stay in the Parquet shards and are read of
the rollouts that are shown. Rows that are in no shard yet, and those of evaluations, are held in memory whole.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from r1env.errors import R1EnvError, UsageError
from r1env.evaluation.run import ROWS, is_evaluation
from r1env.overview import Overview, find_folders, is_run, overview
from r1env.runs.files import read_gzip_members
from r1env.runs.rollouts import COLUMNS as STORED
from r1env.runs.rollouts import OPEN, RolloutRow, RolloutStore, schema
from r1env.runs.run import EVENTS, METRICS, ROLLOUTS

logger = logging.getLogger(__name__)

PAGE = 50  # rollouts in a list
SEARCH_SECONDS = 0.35  # of one request's text search; the page asks again for the rest
RESCAN_SECONDS = 5.0  # between two looks for new runs in the folders

COLUMNS: Mapping[str, str] = {
    "row": "BIGINT",
    "stage": "VARCHAR",
    "step": "INTEGER",
    "kind": "VARCHAR",
    "model": "VARCHAR",
    "environment": "VARCHAR",
    "task_id": "VARCHAR",
    "group": "INTEGER",
    "sample": "INTEGER",
    "turns": "INTEGER",
    "tokens": "INTEGER",
    "reward": "DOUBLE",
    "correct": "BOOLEAN",
    "status": "VARCHAR",
    "seconds": "DOUBLE",
    "advantage": "DOUBLE",
    "truncated": "BOOLEAN",
}
"""Columns that are held in memory of every rollout."""

VERDICTS: Mapping[str, str] = {
    "right": "correct",
    "wrong": "NOT correct",
    "paid though wrong": "NOT correct AND reward > 0",
    "unscored": "reward IS NULL",
    "timed out": "status = 'timeout'",
    "cut off": "truncated",
}
"""Name of a verdict → the condition. One rollout can have several."""

SORTS: Mapping[str, str] = {
    "newest": "source, row DESC",
    "oldest": "source, row",
    "highest reward": "reward DESC NULLS LAST, source, row DESC",
    "lowest reward": "reward NULLS LAST, source, row DESC",
    "highest advantage": "advantage DESC NULLS LAST, source, row DESC",
    "lowest advantage": "advantage NULLS LAST, source, row DESC",
    "longest": "tokens DESC NULLS LAST, source, row DESC",
    "shortest": "tokens NULLS LAST, source, row DESC",
    "slowest to score": "seconds DESC NULLS LAST, source, row DESC",
}

FACETS = ("stage", "kind", "environment", "model", "status")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rollouts are meant. Empty fields do not filter.

    Attributes:
        runs: names of sources.
        verdict: a key of `VERDICTS`.
        step_from, step_to: the first and the last step.
        text: must occur in the question, the completion, the reason or the task's id, in upper or lower case.
        sort: a key of `SORTS`.
    """

    runs: tuple[str, ...] = ()
    stage: str = ""
    kind: str = ""
    environment: str = ""
    model: str = ""
    status: str = ""
    verdict: str = ""
    task: str = ""
    step_from: int | None = None
    step_to: int | None = None
    group: int | None = None
    reward_min: float | None = None
    reward_max: float | None = None
    text: str = ""
    sort: str = "newest"


@dataclass(slots=True)
class Source:
    """A run or an evaluation on disk, and how far it has been read.

    Attributes:
        shards: of a run: name → modification time of each shard that was read.
        loose: rows that are in no shard, as `RolloutRow.record`, by row number.
        offset: of an evaluation: bytes of `rows.jsonl` that were read.
    """

    number: int
    name: str
    path: Path
    evaluation: bool
    shards: dict[str, float] = field(default_factory=dict)
    loose: dict[int, dict[str, Any]] = field(default_factory=dict)
    offset: int = 0
    identity: tuple[int, int] = (0, 0)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rollouts.

    Attributes:
        rows: the columns of `COLUMNS`, and `run`.
        total: how many the filter has; of a text search, among those it has searched.
        searched: how many rollouts the search has read; None without one.
        next: position from which the search goes on; None at its end.
    """

    rows: list[dict[str, Any]]
    total: int
    searched: int | None = None
    next: int | None = None


class Store:
    """All that the page knows. Safe to use from several threads.

    Args:
        places: run and evaluation folders, and folders of them.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = tuple(places)
        self._sources: dict[str, Source] = {}
        self._lock = threading.RLock()
        self._scanned = 0.0
        self._overviews: dict[str, tuple[float, Overview]] = {}
        self._db = duckdb.connect(":memory:")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        self._db.execute(f"CREATE TABLE rollouts (source USMALLINT, loose BOOLEAN, {columns})")
        self.refresh()

    # Which sources there are.

    @property
    def sources(self) -> dict[str, Source]:
        """The sources by name."""
        return self._sources

    def source(self, name: str) -> Source:
        """Return the source of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self._sources:
            raise UsageError(f"there is no run {name!r} here; there are {', '.join(self._sources) or 'none'}")
        return self._sources[name]

    def overview(self, name: str) -> Overview | None:
        """Return the numbers of a source, at most two seconds old; None where it cannot be read."""
        when, known = self._overviews.get(name, (0.0, None))
        if known is None or time.monotonic() - when > 2.0:
            try:
                known = overview(self.source(name).path)
            except (R1EnvError, OSError, ValueError, KeyError) as error:
                self.source(name).fault = str(error)
                return None
            self._overviews[name] = (time.monotonic(), known)
        return known

    def refresh(self) -> None:
        """Read what is new on disk."""
        with self._lock:
            if time.monotonic() - self._scanned > RESCAN_SECONDS or not self._scanned:
                self._scan()
            for source in self._sources.values():
                try:
                    if source.evaluation:
                        self._read_evaluation(source)
                    else:
                        self._read_run(source)
                    source.fault = ""
                except (R1EnvError, OSError, ValueError, KeyError, duckdb.Error) as error:
                    # Such as a shard that is rewritten at this moment: shown on the page, and tried again at the next tick.
                    source.fault = f"{type(error).__name__}: {error}".splitlines()[0]
                    logger.warning("cannot read rollouts of %s: %s", source.path, source.fault)

    def _scan(self) -> None:
        self._scanned = time.monotonic()
        known = {source.path for source in self._sources.values()}
        for path in find_folders(self._places):
            if path.resolve() in known:
                continue
            number = len(self._sources)
            stem = path.resolve().name
            names = (stem if place == 1 else f"{stem}-{place}" for place in range(1, 10_000))
            name = next(name for name in names if name not in self._sources)
            self._sources[name] = Source(number, name, path.resolve(), evaluation=is_evaluation(path) and not is_run(path))

    def _read_run(self, source: Source) -> None:
        store = RolloutStore(source.path / ROLLOUTS)
        loose = {
            row["row"]: row for row in read_gzip_members(store.folder / OPEN)
        }  # before the shards: see `RolloutStore.read`
        shards = store.shards()
        times = {path.name: path.stat().st_mtime for path, _, _ in shards}
        if any(times.get(name) != when for name, when in source.shards.items()):  # rewound by a resumed run
            self._forget(source)
        new = [path for path, _, _ in shards if path.name not in source.shards]
        if new:
            names = ", ".join(f'"{name}"' for name in COLUMNS)
            self._db.execute(
                f"INSERT INTO rollouts SELECT ?, false, {names} FROM read_parquet(?)",
                [source.number, [str(path) for path in new]],
            )
            source.shards |= {path.name: times[path.name] for path in new}
        sealed = store.sealed()
        self._replace_loose(source, {number: row for number, row in loose.items() if number >= sealed})

    def _read_evaluation(self, source: Source) -> None:
        path = source.path / ROWS
        if not path.exists():
            return
        stat = path.stat()
        if (stat.st_dev, stat.st_ino) != source.identity or stat.st_size < source.offset:  # put in order, or begun again
            self._forget(source)
            source.identity, source.offset = (stat.st_dev, stat.st_ino), 0
        if stat.st_size == source.offset:
            return
        with path.open("rb") as file:
            file.seek(source.offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        source.offset += len(data)
        loose = dict(source.loose)
        for line in data.splitlines():
            number = len(loose)
            place = {"row": number, "stage": "evaluation", "step": 0}
            loose[number] = place | RolloutRow.of_evaluation(json.loads(line)).record()
        self._replace_loose(source, loose)

    def _replace_loose(self, source: Source, loose: dict[int, dict[str, Any]]) -> None:
        if loose.keys() == source.loose.keys():
            return
        new = {number: row for number, row in loose.items() if number not in source.loose}
        gone = source.loose.keys() - loose.keys()
        if gone:
            new = loose
            self._db.execute("DELETE FROM rollouts WHERE source = ? AND loose", [source.number])
        if new:
            table = pa.Table.from_pylist([{name: row.get(name) for name in COLUMNS} for row in new.values()], schema=_arrow())
            self._db.register("new_rows", table)
            names = ", ".join(f'"{name}"' for name in COLUMNS)
            self._db.execute(f"INSERT INTO rollouts SELECT ?, true, {names} FROM new_rows", [source.number])
            self._db.unregister("new_rows")
        source.loose = loose

    def _forget(self, source: Source) -> None:
        self._db.execute("DELETE FROM rollouts WHERE source = ?", [source.number])
        source.shards, source.loose = {}, {}

    # Rollouts.

    def find(self, wanted: Filter, *, page: int = 0, search_from: int = 0) -> Found:
        """Return a page of the rollouts that a filter has.

        Args:
            page: number of the page, from 0; without a text search.
            search_from: where a text search goes on: `Found.next` of the result before.
        """
        where, values = self._condition(wanted)
        if wanted.text:
            return self._search(wanted, where, values, search_from)
        order = SORTS.get(wanted.sort, SORTS["newest"])
        total = self._count(where, values)
        rows = self._rows(f"WHERE {where} ORDER BY {order} LIMIT {PAGE} OFFSET {max(0, page) * PAGE}", values)
        return Found(rows, total)

    def all(self, wanted: Filter, limit: int = 20_000) -> list[dict[str, Any]]:
        """Return the rollouts that a filter has, its text aside, at most `limit`."""
        where, values = self._condition(wanted)
        return self._rows(f"WHERE {where} ORDER BY {SORTS[wanted.sort]} LIMIT {limit}", values)

    def group_of(self, name: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rollouts of a rollout's group, in the order of their samples. One without a group is alone."""
        if row["group"] is None:
            return [dict(row)]
        conditions = ['source = ? AND stage = ? AND step = ? AND kind = ? AND "group" = ? AND task_id = ?']
        values: list[Any] = [self.source(name).number, *(row[key] for key in ("stage", "step", "kind", "group", "task_id"))]
        for key in ("environment", "model"):
            if row[key]:
                conditions.append(f"{key} = ?")
                values.append(row[key])
        return self._rows(f"WHERE {' AND '.join(conditions)} ORDER BY sample, row", values)

    def facets(self, wanted: Filter) -> dict[str, list[tuple[str, int]]]:
        """Return for each of `FACETS` its values and how many rollouts have them, under the rest of the filter; and `verdict` alike."""
        found: dict[str, list[tuple[str, int]]] = {}
        for name in FACETS:
            without: dict[str, Any] = {name: ""}
            where, values = self._condition(replace(wanted, **without))
            query = f'SELECT "{name}", count(*) FROM rollouts WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 30'
            found[name] = [(value, count) for value, count in self._fetch(query, values) if value]
        where, values = self._condition(replace(wanted, verdict=""))
        counts = ", ".join(f"count(*) FILTER ({condition})" for condition in VERDICTS.values())
        (row,) = self._fetch(f"SELECT {counts} FROM rollouts WHERE {where}", values)
        found["verdict"] = [(name, count) for name, count in zip(VERDICTS, row, strict=True) if count]
        return found

    def rewards(self, wanted: Filter) -> list[tuple[float, int]]:
        """Return a histogram of the rewards, 21 bars from the lowest to the highest: (lower end, count). Empty if all are alike."""
        where, values = self._condition(replace(wanted, reward_min=None, reward_max=None))
        query = f"SELECT min(reward), max(reward) FROM rollouts WHERE {where}"
        ((low, high),) = self._fetch(query, values)
        if low is None or low == high:
            return []
        width = (high - low) / 20
        query = (
            f"SELECT floor((reward - ?) / ?), count(*) FROM rollouts WHERE {where} AND reward IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        counts = dict(self._fetch(query, [low, width, *values]))
        return [(low + place * width, counts.get(place, 0)) for place in range(21)]

    def rollouts(self, name: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return rollouts of a source whole, as `RolloutRow.record` with `row`, `stage`, `step` and `run`, in the order asked for.

        Raises:
            UsageError: there is no such rollout.
        """
        source = self.source(name)
        with self._lock:
            found = {number: source.loose[number] for number in numbers if number in source.loose}
        missing = [number for number in numbers if number not in found]
        if missing:
            store = RolloutStore(source.path / ROLLOUTS)
            found |= {row["row"]: row for row in store.read(rows=frozenset(missing))}
        for number in numbers:
            if number not in found:
                raise UsageError(f"run {name!r} has no rollout {number}")
        return [{**dict.fromkeys(STORED), **found[number], "run": name} for number in numbers]

    def steps(self, name: str) -> list[tuple[str, int]]:
        """Return (stage, step) of every training step that has rollouts, in the order in which they were taken."""
        query = "SELECT stage, step FROM rollouts WHERE source = ? AND kind = 'train' GROUP BY ALL ORDER BY min(row)"
        return [(stage, step) for stage, step in self._fetch(query, [self.source(name).number])]

    def clipped(self, name: str, numbers: Sequence[int]) -> dict[int, int]:
        """Return row → how many of its tokens the update clipped, of those rollouts whose tokens are stored."""
        source = self.source(name)
        tokens = {number: source.loose[number].get("by_token") for number in numbers if number in source.loose}
        missing = frozenset(numbers) - tokens.keys()
        if missing:
            store = RolloutStore(source.path / ROLLOUTS)
            tokens |= {row["row"]: row["by_token"] for row in store.read(["row", "by_token"], missing)}
        return {number: sum(one["clipped"] or ()) for number, one in tokens.items() if one is not None}

    def excerpts(self, rows: Sequence[Mapping[str, Any]], length: int = 140) -> list[str]:
        """Return how the completions of rollouts begin, on one line each."""
        texts: dict[tuple[str, int], str] = {}
        for name in dict.fromkeys(row["run"] for row in rows):
            source = self.source(name)
            numbers = [row["row"] for row in rows if row["run"] == name]
            texts |= {
                (name, number): source.loose[number]["completion"][: 4 * length] for number in numbers if number in source.loose
            }
            files = self._files(source, [number for number in numbers if (name, number) not in texts])
            if files:
                query = "SELECT row, left(completion, ?) FROM read_parquet(?) WHERE row IN (SELECT unnest(?))"
                found = self._fetch(query, [4 * length, files, numbers])
                texts |= {(name, number): text for number, text in found}
        return [" ".join(texts.get((row["run"], row["row"]), "").split())[:length] for row in rows]

    def _files(self, source: Source, numbers: Sequence[int]) -> list[str]:
        """Return the shards that hold these rows."""
        store = RolloutStore(source.path / ROLLOUTS)
        wanted = sorted(numbers)
        files, place = [], 0
        for path, first, last in store.shards():
            while place < len(wanted) and wanted[place] < first:
                place += 1
            if place < len(wanted) and wanted[place] <= last:
                files.append(str(path))
        return files

    def _search(self, wanted: Filter, where: str, values: list[Any], start: int) -> Found:
        """Read the texts of the rollouts that the rest of the filter has, piece by piece, until there is a page or the time is up."""
        began = time.monotonic()
        forward = wanted.sort == "oldest"
        order = SORTS["oldest"] if forward else SORTS["newest"]
        needle = wanted.text.casefold()
        query = f"SELECT source, row, loose FROM rollouts WHERE {where} ORDER BY {order}"
        candidates = self._fetch_columns(query, values)
        total = len(candidates["row"])
        sources = {source.number: source for source in self._sources.values()}
        hits: list[tuple[int, int]] = []
        at = start
        while at < total and len(hits) < PAGE and (at == start or time.monotonic() - began < SEARCH_SECONDS):
            number = int(candidates["source"][at])
            source = sources[number]
            end = min(total, at + SEARCH_PIECE)
            piece = [
                (int(candidates["row"][place]), bool(candidates["loose"][place]))
                for place in range(at, end)
                if candidates["source"][place] == number
            ]
            at += len(piece)
            found = {row for row, loose in piece if loose and _contains(source.loose.get(row), needle)}
            stored = [row for row, loose in piece if not loose]
            files = self._files(source, stored)
            if files:
                text = "concat_ws(chr(10), question, completion, reason, task_id)"
                query = (
                    f"SELECT row FROM read_parquet(?) WHERE row BETWEEN ? AND ? AND contains(lower({text}), ?) "
                    "AND row IN (SELECT unnest(?))"
                )
                found |= {row for (row,) in self._fetch(query, [files, min(stored), max(stored), needle, stored])}
            hits += [(number, row) for row, _ in piece if row in found]
        rows = []
        for number in dict.fromkeys(number for number, _ in hits):
            members = [row for owner, row in hits if owner == number]
            condition = "WHERE source = ? AND row IN (SELECT unnest(?))"
            rows += self._rows(f"{condition} ORDER BY {order}", [number, members])
        return Found(rows, len(hits), at, at if at < total else None)

    def _condition(self, wanted: Filter) -> tuple[str, list[Any]]:
        """Return the condition of a filter but for its text, and the values of its parameters."""
        parts, values = ["true"], list[Any]()
        if wanted.runs:
            numbers = [self._sources[name].number for name in wanted.runs if name in self._sources]
            parts.append("source IN (SELECT unnest(?))")
            values.append(numbers)
        for name in FACETS:
            if value := getattr(wanted, name):
                parts.append(f'"{name}" = ?')
                values.append(value)
        if wanted.verdict:
            parts.append(f"({VERDICTS[wanted.verdict]})" if wanted.verdict in VERDICTS else "false")
        for column, sign, value in (
            ("task_id", "=", wanted.task or None),
            ("step", ">=", wanted.step_from),
            ("step", "<=", wanted.step_to),
            ("group", "=", wanted.group),
            ("reward", ">=", wanted.reward_min),
            ("reward", "<=", wanted.reward_max),
        ):
            if value is not None:
                parts.append(f'"{column}" {sign} ?')
                values.append(value)
        return " AND ".join(parts), values

    def _count(self, where: str, values: Sequence[Any]) -> int:
        return int(self._fetch(f"SELECT count(*) FROM rollouts WHERE {where}", values)[0][0])

    def _rows(self, rest: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        by_number = {source.number: source.name for source in self._sources.values()}
        return [
            {"run": by_number[number], **dict(zip(COLUMNS, rest, strict=True))}
            for number, *rest in self._fetch(f"SELECT source, {names} FROM rollouts {rest}", values)
        ]

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, list(values)).fetchall()

    def _fetch_columns(self, query: str, values: Sequence[Any]) -> Mapping[str, Any]:
        """Return the result as NumPy arrays: a million tuples would take a second."""
        with self._lock:
            return self._db.execute(query, list(values)).fetchnumpy()


SEARCH_PIECE = 4_096  # rollouts whose texts are read at once


def _contains(row: Mapping[str, Any] | None, needle: str) -> bool:
    if row is None:
        return False
    texts = (row.get(name) or "" for name in ("question", "completion", "reason", "task_id"))
    return needle in "\n".join(texts).casefold()


def _arrow() -> pa.Schema:
    """Return the types of `COLUMNS`."""
    whole = schema()
    return pa.schema([whole.field(name) for name in COLUMNS])


# Metrics since a position.


@dataclass(frozen=True, slots=True)
class News:
    """What a run has logged since a position.

    Attributes:
        reset: the log is shorter than the position: everything is told anew.
        position: to ask from next time.
    """

    rows: list[dict[str, Any]]
    events: list[dict[str, Any]]
    position: tuple[int, int]
    reset: bool


def news(path: Path, position: tuple[int, int]) -> News:
    """Return the metrics and events of a run since `position`, which is (0, 0) at first."""
    logs = [path / METRICS, path / EVENTS]
    reset = any(log.exists() and log.stat().st_size < at for log, at in zip(logs, position, strict=True))
    start = (0, 0) if reset else position
    (rows, first), (events, second) = (_lines(log, at) for log, at in zip(logs, start, strict=True))
    return News(rows, events, (first, second), reset)


def _lines(path: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    if not path.exists():
        return [], start
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    data = data[: data.rfind(b"\n") + 1]
    return list(_parsed(data)), start + len(data)


def _parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # `Run.metrics` names the line; a page that shows the others is more use than none
            logger.warning("a damaged line of metrics is left out")
