"""One recipe on both backends of `grpo`: the reward step by step, over three seeds.

    R1ENV_OPENRLHF_PYTHON=$(tools/openrlhf-cpu-env.sh) python benchmarks/openrlhf_vs_local.py [--seeds 0 1 2] [--steps 60]

Each seed warms a tiny model up (`sft --preset tiny-cpu`), and both backends go on from it (`grpo --preset tiny-cpu`), on the same tasks. They draw
other completions and take the tasks in another order, and OpenRLHF computes in bf16, so what can agree is the curve. The table gives the
mean reward of each stretch of steps, over the seeds, with the standard deviation between them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from r1env.runs.run import Run

BACKENDS = ("local", "openrlhf")
STRETCHES = 6
"""Rows of the table."""


def train(trainer: str, output: Path, *arguments: str) -> float:
    """Run `r1env train` as a user would; returns wall seconds.

    Raises:
        SystemExit: it failed.
    """
    command = [
        str(Path(sys.executable).with_name("r1env")),
        "train",
        trainer,
        "--preset",
        "tiny-cpu",
        "--device",
        "cpu",
        "--quiet",
    ]
    start = time.perf_counter()
    if status := subprocess.run(
        [*command, "--output", str(output), *arguments], check=False, stdout=subprocess.DEVNULL
    ).returncode:
        sys.exit(f"{output.name}: the training ended with status {status}")
    return time.perf_counter() - start


def curves(seed: int, steps: int, folder: Path) -> dict[str, list[float]]:
    """The reward of every step, by backend, from one warmed-up model."""
    base = folder / f"base-{seed}"
    train("sft", base, "--seed", str(seed))
    rewards = {}
    for backend in BACKENDS:
        output = folder / f"{backend}-{seed}"
        settings = ("eval_every=0", "track_kl=false", "checkpoint_every=0")
        seconds = train(
            "grpo",
            output,
            *(
                "--model",
                str(Run.open(base).model_dir("sft")),
                "--backend",
                backend,
                "--seed",
                str(seed),
                "--steps",
                str(steps),
            ),
            *(word for setting in settings for word in ("--set", setting)),
        )
        print(f"seed {seed}, {backend}: {seconds:.0f} s", file=sys.stderr, flush=True)
        rewards[backend] = [row["reward"] for row in Run.open(output).metrics("grpo")]
    return rewards


def stretches(rewards: Sequence[float], count: int) -> list[float]:
    """The mean of each of `count` equal stretches."""
    size = len(rewards) // count
    return [statistics.fmean(rewards[place * size : (place + 1) * size]) for place in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [curves(seed, options.steps, Path(folder)) for seed in options.seeds]
    size = options.steps // STRETCHES
    print(f"| steps | {' | '.join(BACKENDS)} | difference |\n|---|{'---:|' * (len(BACKENDS) + 1)}")
    for place in range(STRETCHES):
        means, cells = [], []
        for backend in BACKENDS:
            values = [stretches(seed[backend], STRETCHES)[place] for seed in found]
            means.append(statistics.fmean(values))
            cells.append(f"{means[-1]:.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""))
        print(f"| {place * size + 1}–{(place + 1) * size} | {' | '.join(cells)} | {means[1] - means[0]:+.3f} |")


if __name__ == "__main__":
    main()
