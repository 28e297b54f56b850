"""How long it takes to open and to read a million rows, and in how much memory. Each line is measured in a process of its own.

    python benchmarks/data.py [--rows 1000000] [--folder DIR]

`open` is what a command waits for: the first row, the number of rows, and the last row by its index. `rows`, `examples` and `tasks` are the
rates at which all rows are streamed, recognised, and made into tasks with their references read. `environment` is `make_environment`, which
checks the first 20,000 rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import r1env
from r1env.data.layouts import read_examples
from r1env.data.rows import import_pyarrow, read_rows
from r1env.data.tasks import task_of_example
from r1env.envs.environment import make_environment

MEASURED = 100_000
"""Rows by which a rate is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each file (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="keep the files there; by default they are deleted")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = write(arguments.folder or Path(folder), arguments.rows)
        print(f"{'file':<10}{'what':<14}{'CPU s':>8}{'wall s':>8}{'rows/s':>12}{'peak MB':>9}")
        for file in files:
            for what in MEASUREMENTS:
                command = [sys.executable, __file__, "--measure", what, str(file)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                rate = f"{found['rows'] / found['cpu']:,.0f}" if found["rows"] else ""
                print(
                    f"{file.suffix[1:]:<10}{what:<14}{found['cpu']:>8.2f}{found['wall']:>8.2f}{rate:>12}{found['peak']:>9.0f}"
                )


def write(folder: Path, count: int) -> list[Path]:
    """Write the same rows as JSON Lines and as Parquet: a question of 130 characters, a worked solution, and two other columns."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, parquet = folder / "rows.jsonl", folder / "rows.parquet"
    arrow = import_pyarrow()
    schema = arrow.schema(
        [("question", arrow.string()), ("answer", arrow.string()), ("level", arrow.int64()), ("source", arrow.string())]
    )
    with lines.open("w", encoding="utf-8") as file, arrow.parquet.ParquetWriter(parquet, schema) as writer:
        for start in range(0, count, MEASURED):
            rows = [row_of(number) for number in range(start, min(start + MEASURED, count))]
            file.writelines(json.dumps(row) + "\n" for row in rows)
            writer.write_table(arrow.Table.from_pylist(rows, schema))
    return [lines, parquet]


def row_of(number: int) -> dict[str, object]:
    one, other = number, number % 97 + 3
    return {
        "question": f"A shop has {one} boxes with {other} pens in each of them, and sells all of the pens one by one. How many pens are sold?",
        "answer": f"There are {one} * {other} = <<{one}*{other}={one * other}>>{one * other} pens.\n#### {one * other}",
        "level": number % 5,
        "source": "made",
    }


def measure(what: str, file: str) -> None:
    """Print what one measurement took, as JSON."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = MEASUREMENTS[what](file)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # Not ru_maxrss, which begins at the peak of the process that started this one.
    status = Path("/proc/self/status").read_text("ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"rows": rows, "cpu": cpu, "wall": wall, "peak": peak}))


def open_rows(file: str) -> int:
    rows = read_rows(file)
    assert rows[len(rows) - 1]
    return 0


def count(items: Iterable[object]) -> int:
    return sum(1 for _ in islice(items, MEASURED))


def tasks(file: str) -> int:
    rule = r1env.get_reward("math").read_reference
    return count(task_of_example(example, str(place), rule) for place, example in enumerate(iter(read_examples(file))))


def environment(file: str) -> int:
    assert make_environment("data", data=file).task(7)
    return 0


MEASUREMENTS: dict[str, Callable[[str], int]] = {
    "open": open_rows,
    "rows": lambda file: count(iter(read_rows(file))),
    "examples": lambda file: count(iter(read_examples(file))),
    "tasks": tasks,
    "environment": environment,
}

if __name__ == "__main__":
    main()
