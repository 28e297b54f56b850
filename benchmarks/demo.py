"""The demo over three seeds: greedy accuracy before and after, wall and CPU seconds, peak memory.

    python benchmarks/demo.py [--seeds 0 1 2]

Runs `r1env train r1-zero --preset tiny-cpu` as a user would, one process a seed, and prints a Markdown table. Wall seconds mean
little on a busy machine; CPU seconds are of the process and its children.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measured_training import Cost, train
from r1env.runs.run import Run


@dataclass(frozen=True, slots=True)
class Result:
    """One seed."""

    seed: int
    before: float
    after: float
    sampled: float
    cost: Cost


def measure(seed: int, folder: Path) -> Result:
    """Train once and read the result out of the run folder.

    Raises:
        SystemExit: the training failed.
    """
    output = folder / f"seed-{seed}"
    cost = train("r1-zero", "--preset", "tiny-cpu", "--seed", str(seed), "--output", str(output), "--quiet")
    rows = Run.open(output).metrics("rl")
    greedy = [row["eval/accuracy"] for row in rows if "eval/accuracy" in row]
    sampled = [row["accuracy"] for row in rows if "accuracy" in row][-25:]
    return Result(
        seed=seed,
        before=greedy[0],
        after=greedy[-1],
        sampled=sum(sampled) / len(sampled),
        cost=cost,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| seed | greedy before | greedy after | sampled, last 25 steps | wall s | CPU s | peak GB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            r = measure(seed, Path(folder))
            print(
                f"| {r.seed} | {r.before:.3f} | {r.after:.3f} | {r.sampled:.3f} "
                f"| {r.cost.wall_seconds:.0f} | {r.cost.cpu_seconds:.0f} | {r.cost.peak_gb:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
