"""How long the page of `r1env view` takes over many rollouts: every filter, sort and facet, and text search.

    python benchmarks/view_filters.py --rollouts 1000000

The rollouts are synthetic, of about 1,000 characters each, written by the code that writes a run's. Prints one JSON object; the exit
code is 1 if anything takes longer than `--at-most` seconds. A text search is measured by its requests: the first one answers with what it
has found in its time, and `whole_search` is the sum over all of them.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from r1env.runs.rollouts import ROW_GROUP, SHARD_ROWS, RolloutRow, RolloutStore
from r1env.runs.run import ROLLOUTS, Run
from r1env_view.store import SORTS, TASK_SORTS, VERDICTS, Filter, Store

GROUP, STEP = 16, 1024  # rollouts of a prompt, of a step
DISTINCT = 10 * SHARD_ROWS  # rollouts whose texts are made
NEEDLE = 77  # the rollout among them that a search looks for
WORDS = (*"0123456789+-=()", "wait", "check", "however", "so", "the sum", "both numbers", "carry one", "and get", "answer")
STATUSES = ("ok", "wrong", "no_answer", "error", "timeout")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the run here and use it again; default: a temporary folder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--at-most", type=float, default=0.5, help="seconds for each request")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="r1env-view-"))
    try:
        if not (folder / "run").exists():
            make_run(folder / "run", options.rollouts)
        start, cpu = time.perf_counter(), time.process_time()
        store = Store([folder])
        opened = {"seconds_to_open": round(time.perf_counter() - start, 2), "cpu_to_open": round(time.process_time() - cpu, 2)}
        results = {name: timed(store, request, options.repeats) for name, request in requests(store, options.rollouts).items()}
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    slow = {name: one.worst for name, one in results.items() if one.worst > options.at_most and name != "whole_search"}
    report = {
        "rollouts": options.rollouts,
        **opened,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "milliseconds": {name: round(1000 * one.median, 1) for name, one in results.items()},
        "cpu_milliseconds": {name: round(1000 * one.cpu, 1) for name, one in results.items()},
        "again_milliseconds": {name: round(1000 * one.again, 1) for name, one in results.items()},
        "worst": max((name for name in results if name != "whole_search"), key=lambda name: results[name].worst),
        "too_slow": {name: round(1000 * seconds) for name, seconds in slow.items()},
    }
    print(json.dumps(report, indent=2))
    return int(bool(slow))


def make_run(path: Path, count: int) -> None:
    """Write a run with so many rollouts. Texts cost most of the time to make: those of the first `DISTINCT` come again in later shards."""
    run = Run.create(path, {"name": "benchmark", "stages": [{"name": "rl", "trainer": "grpo", "config": {}}]}, seed=0)
    run.start_stage("rl")
    folder, draw = path / ROLLOUTS, random.Random(0)
    pool = [" ".join(draw.choices(WORDS, k=150)) for _ in range(4_000)]
    store, place = RolloutStore(folder), {"stage": "rl", "time": 0.0}
    for first in range(0, min(count, DISTINCT), SHARD_ROWS):
        rows = range(first, min(first + SHARD_ROWS, count))
        store.append({**place, "step": number // STEP, **record(number, pool, draw).record()} for number in rows)
    store.seal()
    made = [pq.read_table(shard) for shard, _, _ in store.shards()]
    for number in range(len(made), -(-count // SHARD_ROWS)):
        first = number * SHARD_ROWS
        table = made[number % len(made)].slice(0, count - first)
        for name, kind, divisor in (("row", pa.int64(), 1), ("step", pa.int32(), STEP), ("policy_version", pa.int32(), STEP)):
            values = pa.array((first + at) // divisor for at in range(len(table)))
            table = table.set_column(table.schema.get_field_index(name), name, values.cast(kind))
        last = first + len(table) - 1
        pq.write_table(table, folder / f"{first:012}-{last:012}.parquet", compression="zstd", row_group_size=ROW_GROUP)
    run.log(count // STEP, {"reward": 1.0})


def record(number: int, pool: list[str], draw: random.Random) -> RolloutRow:
    step, within = divmod(number, STEP)
    group, sample = divmod(within, GROUP)
    correct = draw.random() < 0.5
    status = "ok" if correct else draw.choices(STATUSES[1:], (80, 10, 5, 5))[0]
    scored = status not in ("error", "timeout")
    return RolloutRow.model_construct(
        environment=("add", "sort", "code", "logic")[group % 4],
        task_id=f"task-{(step * 7 + group) % 5_000}",
        group=group,
        sample=sample,
        question=pool[group][:120],
        prompt=[{"role": "user", "content": pool[group][:120]}],
        completion=f"<think>{draw.choice(pool)} {draw.choice(pool)}</think>{number}{' xylophone' if number == NEEDLE else ''}",
        answer=str(number),
        tokens=draw.randrange(20, 900),
        reward=(1.1 if correct else 0.1) if scored else None,
        correct=correct if scored else None,
        status=status,
        reason=f"math: {number} against {number + 1}",
        parts={"math": float(correct), "format": 1.0},
        seconds=draw.random() / 1000,
        advantage=draw.gauss(0, 1) if scored else None,
        truncated=draw.random() < 0.05,
        finish_reason="stop",
        policy_version=step,
    )


def requests(store: Store, count: int) -> dict[str, Callable[[], object]]:
    """Return what the page asks for, by name: each as the list does it, with its excerpts, its facets and its histogram."""
    (name,) = store.sources
    middle = count // STEP // 2

    def page(wanted: Filter, at: int = 0) -> object:
        found = store.find(wanted, page=at)
        return store.excerpts(found.rows), store.facets(wanted), store.rewards(wanted)

    base = Filter(runs=(name,))
    filters = {
        "everything": base,
        **{f"verdict {verdict}": replace(base, verdict=verdict) for verdict in VERDICTS},
        **{f"sort {sort}": replace(base, sort=sort) for sort in SORTS},
        "environment": replace(base, environment="code"),
        "status": replace(base, status="no_answer"),
        "one step": replace(base, step_from=middle, step_to=middle),
        "a range of steps": replace(base, step_from=middle, step_to=2 * middle),
        "one task": replace(base, task="task-77"),
        "rewards": replace(base, reward_min=0.5, reward_max=2.0),
        "all at once": replace(
            base, environment="add", verdict="wrong", step_from=middle, reward_min=0.05, sort="lowest advantage"
        ),
    }
    found: dict[str, Callable[[], object]] = {key: lambda wanted=wanted: page(wanted) for key, wanted in filters.items()}  # type: ignore[misc]
    found["the last page"] = lambda: page(base, count // 50 - 1)
    found.update({f"tasks, {sort}": lambda sort=sort: store.tasks(base, sort, 200) for sort in TASK_SORTS})  # type: ignore[misc]
    found["one rollout"] = lambda: store.rollouts(name, [count // 2])
    found["one group"] = lambda: store.rollouts(
        name, [row["row"] for row in store.group_of(name, store.rollouts(name, [count // 2])[0])]
    )
    found["search in a step"] = lambda: store.find(replace(base, text="wait check", step_from=middle, step_to=middle))
    found["search, first answer"] = lambda: store.find(replace(base, text="xylophone"))
    found["whole_search"] = lambda: list(whole_search(store, replace(base, text="xylophone")))
    return found


def whole_search(store: Store, wanted: Filter) -> Iterator[int]:
    at: int | None = 0
    while at is not None:
        found = store.find(wanted, search_from=at)
        yield found.total
        at = found.next


@dataclass(frozen=True)
class Timing:
    """Seconds of some repeats: the median and the worst by the wall, the median of the CPU's, and of the same request once more."""

    median: float
    worst: float
    cpu: float
    again: float


def timed(store: Store, request: Callable[[], object], repeats: int) -> Timing:
    """Call a function some times, as if rollouts were new each time; the first call, which opens files, does not count."""
    request()
    wall, cpu = [], []
    for _ in range(repeats):
        store.forget_results()
        start, spent = time.perf_counter(), time.process_time()
        request()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - spent)
    start = time.perf_counter()
    request()
    return Timing(median(wall), max(wall), median(cpu), time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
