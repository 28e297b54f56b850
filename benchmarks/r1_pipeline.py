"""The recipe r1 in miniature over three seeds: every stage's model on held-out tasks, curves of the RL stages, CPU seconds.

    python benchmarks/r1_pipeline.py [--seeds 0 1 2] [--runs FOLDER]

Runs `r1env train r1 --preset tiny-cpu` as a user would, one process a seed, and prints the page for `docs/results/`. With `--runs` the run folders are
kept there (`seed-0`, …), and what is found there is resumed, or only read where it is done. Wall seconds mean little on a busy machine; CPU
seconds are of the process and its children.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from measured_training import Cost, train
from r1env.runs.run import Run
from r1env.runs.tables import Table, read_tables

ENVIRONMENTS = {
    "bilingual-sort": "sort",
    "bilingual-addition": "addition",
    "bilingual-countdown": "countdown",
    "small-talk": "small talk",
}
REASONING = tuple(ENVIRONMENTS)[:3]
CURVES = {"dev2": "with", "dev2-no-language": "without"}
BIN = 10  # steps a cell of the curves


def train_seed(seed: int, output: Path) -> Cost:
    """Train or resume one seed; the cost of this call, which is that of the whole where nothing was resumed.

    Raises:
        SystemExit: the training failed.
    """
    if (output / "state.json").exists():
        return train("--resume", str(output), "--quiet")
    return train("r1", "--preset", "tiny-cpu", "--seed", str(seed), "--output", str(output), "--quiet")


def held_out(tables: Sequence[Table]) -> Table:
    """The final tables of the seeds as one: the mean, and the range where there are several."""
    by_seed = [{row["model"]: row["environments"] for row in table.data} for table in tables]
    rows = []
    for model in by_seed[0]:
        found = [records[model] for records in by_seed]
        cells = [_spread((_accuracy(one[name]) for one in found), percent=True) for name in ENVIRONMENTS]
        cells += [
            _spread(fmean(one[name]["parts"][part] for name in REASONING) for one in found) for part in ("format", "language")
        ]
        cells.append(_spread((fmean(one[name]["mean_length"] for name in REASONING) for one in found), digits=1))
        rows.append((model, *cells))
    return Table(
        title=f"Models of each stage on held-out tasks, mean of {len(tables)} seeds and range",
        columns=("model", *ENVIRONMENTS.values(), "format", "language", "length"),
        rows=tuple(rows),
        notes=(*tables[0].notes[:1], "format, language and length (tokens) are means over the three reasoning tasks."),
    )


def curves(runs: Sequence[Run]) -> Table:
    """Accuracy, language consistency and length of the two variants of the first RL stage, by steps."""
    measures = {"accuracy": "accuracy", "parts/language": "language", "length/mean": "length"}
    last = max(row["step"] for run in runs for row in run.metrics("dev2"))
    rows = []
    for start in range(0, last, BIN):
        cells = [f"{start + 1}–{min(start + BIN, last)}"]
        for metric in measures:
            digits = 1 if metric == "length/mean" else 3
            cells += [_spread((_mean_of(run.metrics(stage), metric, start) for run in runs), digits=digits) for stage in CURVES]
        rows.append(tuple(cells))
    return Table(
        title="The first RL stage with and without the language reward, sampled at temperature 1",
        columns=("steps", *(f"{heading} {variant}" for heading in measures.values() for variant in CURVES.values())),
        rows=tuple(rows),
    )


def _mean_of(rows: Iterable[Mapping[str, Any]], metric: str, start: int) -> float:
    return fmean(row[metric] for row in rows if start < row["step"] <= start + BIN and row.get(metric) is not None)


def _accuracy(evaluation: Mapping[str, Any]) -> float:
    return float(evaluation["accuracy"])


def _spread(values: Iterable[float], *, percent: bool = False, digits: int = 3) -> str:
    """`0.81 (0.79–0.84)`."""
    found = [value * 100 for value in values] if percent else list(values)
    digits = 0 if percent else digits
    text = f"{fmean(found):.{digits}f}"
    if len(found) > 1:
        text += f" ({min(found):.{digits}f}–{max(found):.{digits}f})"
    return text + (" %" if percent else "")


def _spent(costs: Sequence[Cost], seeds: Sequence[int]) -> Table:
    return Table(
        title="Cost",
        columns=("seed", "wall seconds", "CPU seconds", "peak GB"),
        rows=tuple(
            (str(seed), f"{cost.wall_seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{cost.peak_gb:.1f}")
            for seed, cost in zip(seeds, costs, strict=True)
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.runs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        costs = [train_seed(seed, folder / f"seed-{seed}") for seed in arguments.seeds]
        runs = [Run.open(folder / f"seed-{seed}") for seed in arguments.seeds]
        tables = [dict(read_tables(run))["table"] for run in runs]
        print(f"{platform.machine()}, {os.cpu_count()} CPUs; {json.dumps(runs[0].manifest.get('versions', {}))}\n")
        for table in (held_out(tables), curves(runs), _spent(costs, arguments.seeds)):
            print(table.markdown())


if __name__ == "__main__":
    main()
