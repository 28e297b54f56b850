"""One recipe on both backends of `grpo`: do the reward curves agree within the noise between two runs of one backend?

    R1ENV_OPENRLHF_PYTHON=$(tools/openrlhf-cpu-env.sh) python benchmarks/openrlhf_vs_local.py [--seeds 0 1 2] [--steps 60] [--runs FOLDER]

Each seed warms a tiny model up (`sft --preset tiny-cpu`), and three trainings go on from it (`grpo --preset tiny-cpu`): the backend local, the
backend local again under another seed, and OpenRLHF under the first seed. OpenRLHF draws other completions, takes the tasks in another order and
computes in bf16, so what can agree is the curve.

The difference between the two local runs is noise and nothing else. A stretch of steps agrees if the mean over the seeds of (OpenRLHF - local) is at
most t·s/√n, where s is the root mean square of that noise over the n seeds, and t Student's 97.5 % quantile for n degrees of freedom.

With `--runs` the run folders are kept there, and what is found there is resumed, or only read where it is done.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from r1env.runs.run import Run
from r1env.runs.tables import Table

STRETCH = 5
"""Steps a row of the table."""

OTHER = 1000
"""Added to the seed of the second local run."""

T_97_5: Mapping[int, float] = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
}
"""Degrees of freedom → 97.5 % quantile of Student's t distribution."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the trainings that go on from a seed's model."""

    name: str
    backend: str
    seed_offset: int = 0


LOCAL, AGAIN, OPENRLHF = Variant("local", "local"), Variant("local-again", "local", OTHER), Variant("openrlhf", "openrlhf")
VARIANTS = (LOCAL, AGAIN, OPENRLHF)

Curves = Mapping[str, Sequence[float]]
"""Variant → the mean reward of each stretch of steps."""


def train(output: Path, *arguments: str) -> Run:
    """Run or resume `r1env train` as a user would.

    Raises:
        SystemExit: it failed.
    """
    if (output / "state.json").exists():
        arguments = ("--resume", str(output))
    else:
        arguments = (*arguments, "--preset", "tiny-cpu", "--device", "cpu", "--output", str(output))
    start = time.perf_counter()
    program = str(Path(sys.executable).with_name("r1env"))
    command = [program, "train", *arguments, "--quiet"]
    if status := subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"{output.name}: the training ended with status {status}")
    print(f"{output.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return Run.open(output)


def curves(seed: int, steps: int, folder: Path) -> Curves:
    """The reward of every variant, from one warmed-up model."""
    base = train(folder / f"base-{seed}", "sft", "--seed", str(seed)).model_dir("sft")
    found = {}
    for variant in VARIANTS:
        settings = ("eval.every=0", "algo.track_kl=false", "checkpoint.every=20")
        run = train(
            folder / f"{variant.name}-{seed}",
            *("grpo", "--model", str(base), "--backend", variant.backend),
            *("--seed", str(seed + variant.seed_offset), "--steps", str(steps)),
            *(word for setting in settings for word in ("--set", setting)),
        )
        found[variant.name] = stretches([row["reward"] for row in run.metrics("grpo")], steps)
    return found


def stretches(rewards: Sequence[float], steps: int) -> list[float]:
    """The mean of each stretch."""
    assert len(rewards) == steps
    return [fmean(rewards[start : start + STRETCH]) for start in range(0, steps, STRETCH)]


def noise_limit(noise: Sequence[float]) -> float:
    """How far from 0 the mean of so many differences may lie, if they are like those in `noise`, whose mean is known to be 0."""
    count = len(noise)
    return T_97_5[count] * math.sqrt(fmean(difference**2 for difference in noise) / count)


def comparison(found: Sequence[Curves], steps: int) -> Table:
    """The curves of all seeds side by side, and whether they agree."""
    rows = []
    agreeing = 0
    for place, start in enumerate(range(0, steps, STRETCH)):
        values = {variant.name: [seed[variant.name][place] for seed in found] for variant in VARIANTS}
        difference, noise = (
            [other - local for other, local in zip(values[variant.name], values[LOCAL.name], strict=True)]
            for variant in (OPENRLHF, AGAIN)
        )
        limit = noise_limit(noise)
        within = abs(fmean(difference)) <= limit
        agreeing += within
        cells = [_mean(values[variant.name]) for variant in VARIANTS]
        verdict = f"{fmean(difference):+.3f}", f"{fmean(noise):+.3f}", f"{limit:.3f}", "yes" if within else "no"
        rows.append((f"{start + 1}–{min(start + STRETCH, steps)}", *cells, *verdict))
    return Table(
        title=f"Mean reward, {len(found)} seeds ± their standard deviation",
        columns=(
            "steps",
            *(variant.name for variant in VARIANTS),
            "openrlhf - local",
            "local-again - local",
            "limit",
            "within",
        ),
        rows=tuple(rows),
        notes=(f"{agreeing} of {len(rows)} stretches agree within the noise.",),
    )


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--runs", type=Path, help="keep the run folders here, and go on with what is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.runs or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = [curves(seed, options.steps, folder) for seed in options.seeds]
    print(comparison(found, options.steps).markdown())


if __name__ == "__main__":
    main()
