"""Runs and evaluations as the page asks for them: metrics since a position, and rollouts by filter.

What filters need of a rollout is in an in-memory DuckDB table: its numbers, and a code for what it has in common with many others, such as
its stage, its environment and its verdict (`Kind`). There are few codes, so that one pass over a million rollouts counts them, and all
choices of the list are sums over these counts. Texts stay in the Parquet shards and are read of the rollouts that are shown. Rows that are in
no shard yet, and those of evaluations, are held in memory whole.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from r1env.errors import R1EnvError, UsageError
from r1env.evaluation.run import ROWS, is_evaluation
from r1env.overview import Numbers, Overview, find_folders, is_run, overview
from r1env.runs.files import gzip_members, replace_text
from r1env.runs.rollouts import COLUMNS as STORED
from r1env.runs.rollouts import OPEN, RolloutRow, RolloutStore, schema
from r1env.runs.run import EVENTS, METRICS, ROLLOUTS

logger = logging.getLogger(__name__)

EVALUATION = "evaluation"  # what stands for the stage of an evaluation's completions
PAGE = 50  # rollouts in a list
SEARCH_SECONDS = 0.35  # of one request's text search; the page asks again for the rest
VALUES = 30  # of a facet that are shown
RESULTS = 256  # that are kept; each is a few hundred numbers
RESCAN_SECONDS = 5.0  # between two looks for new runs in the folders
OVERVIEW_SECONDS = 0.5  # that the numbers of a run may be old

NUMBERS: Mapping[str, str] = {
    "row": "BIGINT",
    "step": "INTEGER",
    "task_id": "VARCHAR",
    "group": "INTEGER",
    "sample": "INTEGER",
    "turns": "INTEGER",
    "tokens": "INTEGER",
    "reward": "DOUBLE",
    "correct": "BOOLEAN",
    "seconds": "DOUBLE",
    "advantage": "DOUBLE",
    "truncated": "BOOLEAN",
}
"""Columns that are held in memory of every rollout."""

FACETS = ("stage", "kind", "environment", "model", "status")
"""Columns that are held in memory once for each `Kind`."""

COLUMNS = (*NUMBERS, *FACETS)

VERDICTS: Mapping[str, str] = {
    "right": "correct",
    "wrong": "NOT correct",
    "wrong but rewarded": "NOT correct AND reward > 0",
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


@dataclass(frozen=True, slots=True)
class Kind:
    """What many rollouts have in common.

    Attributes:
        source: number of the run or evaluation.
        values: of `FACETS`, in that order.
        verdicts: bit n is set where the condition of the n-th of `VERDICTS` holds.
    """

    source: int
    values: tuple[str | None, ...]
    verdicts: int

    def value(self, facet: str) -> str | None:
        return self.values[FACETS.index(facet)]


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
        offset: bytes that were read of the file with these rows: `_open.jsonl.gz` of a run, `rows.jsonl` of an evaluation.
        identity: of that file: another one is read from its beginning.
        numbers: what the metrics and events of a run say up to `position`, for its overview.
    """

    number: int
    name: str
    path: Path
    evaluation: bool
    shards: dict[str, float] = field(default_factory=dict)
    loose: dict[int, dict[str, Any]] = field(default_factory=dict)
    offset: int = 0
    identity: tuple[int, ...] = ()
    numbers: Numbers = field(default_factory=Numbers)
    position: tuple[int, int] = (0, 0)
    fault: str = ""


TASK_SORTS: Mapping[str, str] = {
    "largest difference": "high - low DESC NULLS LAST, total DESC, task_id",
    "lowest": "low NULLS LAST, total DESC, task_id",
    "highest": "high DESC NULLS LAST, total DESC, task_id",
    "most rollouts": "total DESC, task_id",
}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task in some runs.

    Attributes:
        by_run: (rollouts, share of them that is right) for each of the runs; of a task without a checker, the mean reward. None where
            nothing was judged.
        spread: the highest of these values less the lowest; None where fewer than two runs have one.
    """

    environment: str
    task_id: str
    by_run: tuple[tuple[int, float | None], ...]
    spread: float | None


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
        self.views = Views(next(iter(self._places), Path()) / VIEWS)
        self._sources: dict[str, Source] = {}
        self._lock = threading.RLock()
        self._scanned = 0.0
        self._overviews: dict[str, tuple[float, Overview]] = {}
        self._kinds: dict[int, Kind] = {}  # by their codes
        self._results: dict[
            tuple[str, str], list[tuple[Any, ...]]
        ] = {}  # of queries over all rollouts, until there are new ones
        self._db = duckdb.connect(":memory:")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in NUMBERS.items())
        self._db.execute(f"CREATE TABLE rollouts (source USMALLINT, loose BOOLEAN, code UINTEGER, {columns})")
        facets = ", ".join(f'"{name}" VARCHAR' for name in FACETS)
        self._db.execute(f"CREATE TABLE kinds (code UINTEGER, source USMALLINT, {facets}, verdicts UTINYINT)")
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
        """Return the numbers of a source, at most half a second old; None where it cannot be read."""
        source = self.source(name)
        with self._lock:
            when, known = self._overviews.get(name, (0.0, None))
            if known is None or time.monotonic() - when > OVERVIEW_SECONDS:
                try:
                    told = news(source.path, source.position)
                    if told.reset:
                        source.numbers = Numbers()
                    source.numbers.add(told.rows, told.events)
                    source.position = told.position
                    known = overview(source.path, source.numbers)
                except (R1EnvError, OSError, ValueError, KeyError) as error:
                    source.fault = str(error)
                    return None
                self._overviews[name] = (time.monotonic(), known)
        return known

    def look_for_sources(self) -> None:
        """Look for new runs and evaluations, unless that was done just now."""
        with self._lock:
            if time.monotonic() - self._scanned > RESCAN_SECONDS or not self._scanned:
                self._scan()

    def refresh(self) -> None:
        """Read what is new on disk."""
        with self._lock:
            self.look_for_sources()
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
        tail = store.folder / OPEN
        found = tail.stat() if tail.exists() else None
        # The open file is emptied when a shard is written, and is another one after a rewind; else it grows, and only its end is new.
        identity = (store.sealed(), found.st_dev, found.st_ino) if found else ()
        if identity != source.identity or (found and found.st_size < source.offset):
            self._delete("source = ? AND loose", source)  # rows of the same numbers may be others
            source.identity, source.offset, source.loose = identity, 0, {}
        loose = dict(source.loose)
        if found and found.st_size > source.offset:
            for end, data in gzip_members(tail, source.offset):  # before the shards: see `RolloutStore.read`
                loose |= {row["row"]: row for row in map(json.loads, data.splitlines())}
                source.offset = end
        shards = store.shards()
        times = {path.name: path.stat().st_mtime for path, _, _ in shards}
        if any(times.get(name) != when for name, when in source.shards.items()):  # rewound by a resumed run
            self._forget(source)
        new = [path for path, _, _ in shards if path.name not in source.shards]
        if new:
            self._insert(source, "read_parquet(?)", [[str(path) for path in new]], loose=False)
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
            place = {"row": number, "stage": EVALUATION, "step": 0}
            loose[number] = place | RolloutRow.of_evaluation(json.loads(line)).record()
        self._replace_loose(source, loose)

    def _replace_loose(self, source: Source, loose: dict[int, dict[str, Any]]) -> None:
        if loose.keys() == source.loose.keys():
            return
        new = {number: row for number, row in loose.items() if number not in source.loose}
        gone = source.loose.keys() - loose.keys()
        if gone:
            new = loose
            self._delete("source = ? AND loose", source)
        if new:
            table = pa.Table.from_pylist([{name: row.get(name) for name in COLUMNS} for row in new.values()], schema=_arrow())
            self._db.register("new_rows", table)
            self._insert(source, "new_rows", [], loose=True)
            self._db.unregister("new_rows")
        source.loose = loose

    def _forget(self, source: Source) -> None:
        self._delete("source = ?", source)
        source.shards, source.loose = {}, {}

    def _delete(self, condition: str, source: Source) -> None:
        self._db.execute(f"DELETE FROM rollouts WHERE {condition}", [source.number])
        self._results.clear()

    def _insert(self, source: Source, relation: str, values: list[Any], *, loose: bool) -> None:
        """Add the rows of a relation, each with the code of its kind; kinds that are new get the next codes."""
        bits = " + ".join(
            f"CASE WHEN {condition} THEN {1 << bit} ELSE 0 END" for bit, condition in enumerate(VERDICTS.values())
        )
        names, facets = (", ".join(f'"{name}"' for name in columns) for columns in (COLUMNS, FACETS))
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT {names}, ({bits})::UTINYINT AS verdicts FROM {relation}", values
        )
        self._db.execute(
            f"INSERT INTO kinds SELECT (SELECT count(*) FROM kinds) + row_number() OVER (), ?, * FROM (SELECT DISTINCT {facets}, verdicts "
            f"FROM fresh EXCEPT SELECT {facets}, verdicts FROM kinds WHERE source = ?)",
            [source.number, source.number],
        )
        same = " AND ".join(f'fresh."{name}" IS NOT DISTINCT FROM kinds."{name}"' for name in (*FACETS, "verdicts"))
        numbers = ", ".join(f'fresh."{name}"' for name in NUMBERS)
        self._db.execute(
            f"INSERT INTO rollouts SELECT ?, ?, kinds.code, {numbers} FROM fresh JOIN kinds ON kinds.source = ? AND {same}",
            [source.number, loose, source.number],
        )
        self._db.execute("DROP TABLE fresh")
        for code, number, *rest in self._db.execute(f"SELECT code, source, {facets}, verdicts FROM kinds").fetchall():
            self._kinds.setdefault(code, Kind(number, tuple(rest[:-1]), rest[-1]))
        self._results.clear()

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
        rows = self._rows(f"WHERE {where} ORDER BY {order} LIMIT {PAGE} OFFSET {page * PAGE}", values)
        return Found(rows, self.count(wanted))

    def count(self, wanted: Filter) -> int:
        """Return how many rollouts a filter has, its text aside."""
        codes = self._codes(wanted)
        return sum(count for code, count, _, _ in self._counts(wanted) if code in codes)

    def all(self, wanted: Filter, limit: int = 20_000) -> list[dict[str, Any]]:
        """Return the rollouts that a filter has, its text aside, at most `limit`."""
        where, values = self._condition(wanted)
        return self._rows(f"WHERE {where} ORDER BY {SORTS[wanted.sort]} LIMIT {limit}", values)

    def group_of(self, name: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rollouts of a rollout's group, in the order of their samples. One without a group is alone."""
        if row["group"] is None:
            return [dict(row)]
        wanted = Filter(
            runs=(name,),
            stage=row["stage"],
            kind=row["kind"],
            environment=row["environment"] or "",
            model=row["model"] or "",
            task=row["task_id"],
            step_from=row["step"],
            step_to=row["step"],
            group=row["group"],
        )
        where, values = self._condition(wanted)
        return self._rows(f"WHERE {where} ORDER BY sample, row", values)

    def facets(self, wanted: Filter) -> dict[str, list[tuple[str, int]]]:
        """Return for each of `FACETS` its values and how many rollouts have them, under the rest of the filter; and `verdict` alike."""
        counts = [(self._kinds[code], count) for code, count, _, _ in self._counts(wanted)]
        found: dict[str, list[tuple[str, int]]] = {}
        for name in FACETS:
            without: dict[str, Any] = {name: ""}
            test = self._test(replace(wanted, **without))
            sums: dict[str, int] = {}
            for kind, count in counts:
                if (value := kind.value(name)) and test(kind):
                    sums[value] = sums.get(value, 0) + count
            found[name] = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:VALUES]
        test = self._test(replace(wanted, verdict=""))
        sums = {
            name: sum(count for kind, count in counts if kind.verdicts >> bit & 1 and test(kind))
            for bit, name in enumerate(VERDICTS)
        }
        found["verdict"] = [(name, count) for name, count in sums.items() if count]
        return found

    def tasks(self, wanted: Filter, sort: str, limit: int) -> list[TaskRow]:
        """Return the tasks of the rollouts that a filter has, its text aside, with their numbers in each of its runs, at most `limit`."""
        where, values = self._condition(wanted)
        numbers = [self.source(name).number for name in wanted.runs]
        columns = ", ".join(
            f"count(*) FILTER (r.source = {number}) AS n{place}, avg(coalesce(r.correct::DOUBLE, r.reward)) FILTER (r.source = {number}) "
            f"AS v{place}"
            for place, number in enumerate(numbers)
        )
        ends = [f"{name}({', '.join(f'v{place}' for place in range(len(numbers)))})" for name in ("least", "greatest")]
        query = (
            f"WITH r AS (SELECT * FROM rollouts WHERE {where}), tasks AS (SELECT kinds.environment, r.task_id, count(*) AS total, {columns} "
            f"FROM r JOIN kinds ON kinds.code = r.code GROUP BY ALL) "
            f"SELECT *, {ends[0]} AS low, {ends[1]} AS high FROM tasks ORDER BY {TASK_SORTS[sort]} LIMIT {limit}"
        )
        found = []
        for environment, task_id, _, *rest in self._fetch_once(query, values):
            by_run = tuple(zip(rest[0:-2:2], rest[1:-2:2], strict=True))
            judged = [value for _, value in by_run if value is not None]
            found.append(TaskRow(environment or "", task_id, by_run, max(judged) - min(judged) if len(judged) > 1 else None))
        return found

    def rewards(self, wanted: Filter) -> list[tuple[float, int]]:
        """Return a histogram of the rewards, 21 bars from the lowest to the highest: (lower end, count). Empty if all are alike."""
        wanted = replace(wanted, reward_min=None, reward_max=None)
        codes = self._codes(wanted)
        ends = [end for code, _, *both in self._counts(wanted) if code in codes for end in both if end is not None]
        low, high = min(ends, default=0.0), max(ends, default=0.0)
        if low == high:
            return []
        width = (high - low) / 20
        where, values = self._condition(wanted)
        query = (
            f"SELECT floor((reward - ?) / ?), count(*) FROM rollouts WHERE {where} AND reward IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        counts = dict(self._fetch_once(query, [low, width, *values]))
        return [(low + place * width, counts.get(place, 0)) for place in range(21)]

    def _counts(self, wanted: Filter) -> list[tuple[int, int, float | None, float | None]]:
        """Return (code, count, lowest reward, highest reward) of each kind under what a filter asks of steps, tasks and rewards."""
        where, values = self._numbers_condition(wanted)
        query = f"SELECT code, count(*), min(reward), max(reward) FROM rollouts WHERE {where} GROUP BY 1"
        return [(code, count, low, high) for code, count, low, high in self._fetch_once(query, values)]

    def _test(self, wanted: Filter) -> Callable[[Kind], bool]:
        """Return the test of kinds that is the rest of the filter: its runs, facets and verdict."""
        sources = {self._sources[name].number for name in wanted.runs if name in self._sources}
        facets = [(place, value) for place, name in enumerate(FACETS) if (value := getattr(wanted, name))]
        bit = {name: 1 << bit for bit, name in enumerate(VERDICTS)}.get(wanted.verdict, 0)
        return lambda kind: (
            (not wanted.runs or kind.source in sources)
            and all(kind.values[place] == value for place, value in facets)
            and (not wanted.verdict or bool(kind.verdicts & bit))
        )

    def _codes(self, wanted: Filter) -> set[int]:
        test = self._test(wanted)
        return {code for code, kind in self._kinds.items() if test(kind)}

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
        self.source(name)  # says so where there is none of that name
        where, values = self._condition(Filter(runs=(name,), kind="train"))
        query = f"SELECT code, step, min(row) FROM rollouts WHERE {where} GROUP BY ALL ORDER BY 3"
        found = ((self._kinds[code].value("stage") or "", step) for code, step, _ in self._fetch_once(query, values))
        return list(dict.fromkeys(found))

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
        where, values = self._numbers_condition(wanted)
        codes = self._codes(wanted)
        if len(codes) < len(self._kinds):
            where += (
                f" AND code IN ({', '.join(map(str, sorted(codes))) or 'NULL'})"  # literals are faster than a list parameter
            )
        return where, values

    def _numbers_condition(self, wanted: Filter) -> tuple[str, list[Any]]:
        parts, values = ["true"], list[Any]()
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

    def _rows(self, rest: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        names = ", ".join(f'"{name}"' for name in NUMBERS)
        by_number = {source.number: source.name for source in self._sources.values()}
        return [
            {
                "run": by_number[number],
                **dict(zip(NUMBERS, rest, strict=True)),
                **dict(zip(FACETS, self._kinds[code].values, strict=True)),
            }
            for number, code, *rest in self._fetch(f"SELECT source, code, {names} FROM rollouts {rest}", values)
        ]

    def _fetch_once(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the result of a query over all rollouts; the same one while no rollout is new."""
        key = (query, repr(values))
        with self._lock:
            if key not in self._results:
                while len(self._results) >= RESULTS:
                    self._results.pop(next(iter(self._results)))
                self._results[key] = self._fetch(query, values)
            return self._results[key]

    def forget_results(self) -> None:
        """Let the next requests look at all rollouts again, as if some were new; for measurements."""
        self._results.clear()

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


# Views that somebody saved, to come back to them or to show them to others who read the same folder.

VIEWS = ".r1env-views.json"
MOST_VIEWS = 1_000  # saved; the oldest goes first


class View(BaseModel):
    """An address of the page with what somebody wants to say about it.

    Attributes:
        address: path and query, such as `/rollouts?run=one&verdict=wrong`.
        id: made when it is saved.
        time: when that was, in seconds since 1970.
    """

    model_config = ConfigDict(extra="forbid")

    address: str = Field(
        max_length=8_000, pattern=r"^/(?:$|[?]|(?:rollouts|rollout|group|tasks|task|step|compare)(?:[/?]|$))[^\x00-\x20\\]*$"
    )
    title: str = Field(default="", max_length=200)
    note: str = Field(default="", max_length=4_000)
    id: str = ""
    time: float = 0.0


class Views:
    """The saved views, in a file beside the runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def all(self) -> list[View]:
        """Return all views, the newest first.

        Raises:
            UsageError: the file is no list of views.
        """
        if not self.path.exists():
            return []
        try:
            return [View.model_validate(one) for one in json.loads(self.path.read_text("utf-8"))]
        except (OSError, ValueError) as error:  # pydantic's, too; nothing is saved over it
            raise UsageError(f"cannot read the saved views in {self.path}; correct or remove the file") from error

    def get(self, identifier: str) -> View | None:
        return next((one for one in self.all() if one.id == identifier), None)

    def add(self, view: View) -> View:
        """Save a view and return it with its id.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock:
            saved = view.model_copy(update={"id": secrets.token_hex(4), "time": round(time.time(), 3)})
            self._write([saved, *self.all()][:MOST_VIEWS])
        return saved

    def remove(self, identifier: str) -> bool:
        """Remove a view; return whether there was one."""
        with self._lock:
            before = self.all()
            after = [one for one in before if one.id != identifier]
            if len(after) < len(before):
                self._write(after)
        return len(after) < len(before)

    def _write(self, views: Sequence[View]) -> None:
        replace_text(self.path, json.dumps([one.model_dump() for one in views], indent=1) + "\n")


# Metrics since a position.


@dataclass(frozen=True, slots=True)
class News:
    """What a run has logged since a position.

    Attributes:
        reset: a resumed run has cut its log, so that the position is no end of a line any more: everything is told anew.
        position: to ask from next time.
    """

    rows: list[dict[str, Any]]
    events: list[dict[str, Any]]
    position: tuple[int, int]
    reset: bool


def news(path: Path, position: tuple[int, int]) -> News:
    """Return the metrics and events of a run since `position`, which is (0, 0) at first."""
    logs = [path / METRICS, path / EVENTS]
    reset = not all(_ends_a_line(log, at) for log, at in zip(logs, position, strict=True))
    start = (0, 0) if reset else position
    (rows, first), (events, second) = (_lines(log, at) for log, at in zip(logs, start, strict=True))
    return News(rows, events, (first, second), reset)


def _ends_a_line(path: Path, at: int) -> bool:
    if not at or not path.exists():
        return True
    with path.open("rb") as file:
        file.seek(at - 1)
        return file.read(1) == b"\n"


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
