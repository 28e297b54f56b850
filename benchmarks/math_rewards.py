"""The math reward against bare Math-Verify and TRL's `accuracy_reward`: speed and errors on the same pairs, on the same cores.

    python benchmarks/math_rewards.py [--data FOLDER] [--runs 3] [--items 1319]

FOLDER (default: `R1ENV_TEST_DATA`) holds `gsm8k_test.jsonl` and `math_equiv_dev.jsonl`. "GSM8K-like" are its reference answers,
boxed in the notations that models use, one in four made wrong. Math-Verify is used as its README does (`parse`, `verify`, time
limits as they are), TRL's reward as it is, one completion a call. Every way runs in turn within a run; figures are medians of the
runs, after one that is not counted. CPU seconds include the workers'. One thread each, but for `r1env.score`, which has `--workers`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import math_verify

import r1env
from r1env.scoring import ScoringPool
from r1env_math import AnswerPolicy, verify
from r1env_math.numeric import value_of
from r1env_math.parser import read

Judge = Callable[[str, str], bool]
"""From reference and completion to right or not."""

NOTATIONS = (
    "{n}",
    "{n:,}",
    "${n}$",
    "{n}.00",
    "\\text{{{n}}}",
    "\\${n}",
    "{n} \\text{{ dollars}}",
    "{n}.",
    "x = {n}",
    "\\frac{{{double}}}{{2}}",
)
WRONG_SHARE = 0.25


@dataclass(frozen=True)
class Pair:
    """A reference, a completion, and whether it is right."""

    reference: str
    completion: str
    right: bool


@dataclass(frozen=True)
class Measured:
    """One run of one way over all pairs. `seconds` is CPU time a pair, where the way takes them one by one."""

    cpu_seconds: float
    wall_seconds: float
    seconds: tuple[float, ...]
    verdicts: tuple[bool, ...]


def starters(workers: int) -> list[r1env.Rollout]:
    """What the workers score before the clock starts; all different, since equal ones are scored once."""
    tasks = [r1env.Task(id=f"start {index}", prompt="?", answer="\\sin 2x") for index in range(8 * workers)]
    return [r1env.Rollout(task=task, completion="\\boxed{\\cos x}") for task in tasks]


def gsm8k_like(folder: Path, items: int) -> list[Pair]:
    """Pairs made of GSM8K's reference answers; the same for every run."""
    draw = random.Random(0)
    rows = [json.loads(line) for line in (folder / "gsm8k_test.jsonl").read_text("utf-8").splitlines()][:items]
    pairs = []
    for row in rows:
        reasoning, _, reference = row["answer"].rpartition("####")
        reference = reference.strip()
        right = draw.random() >= WRONG_SHARE
        value = int(reference.replace(",", "")) + (0 if right else draw.choice((-10, -1, 1, 2, 100)))
        written = draw.choice(NOTATIONS).format(n=value, double=2 * value)
        pairs.append(Pair(reference, f"<think>\n{reasoning.strip()}\n</think>\nThe answer is $\\boxed{{{written}}}$.", right))
    return pairs


def development_set(folder: Path) -> list[Pair]:
    """The labelled pairs; a bare answer is put in a box."""
    rows = [json.loads(line) for line in (folder / "math_equiv_dev.jsonl").read_text("utf-8").splitlines()]
    return [
        Pair(row["gold"], row["pred"] if row["kind"] == "response" else f"It is $\\boxed{{{row['pred']}}}$.", row["label"])
        for row in rows
    ]


def by_math_verify(reference: str, completion: str) -> bool:
    """Math-Verify as in its README; references of our data are bare, and it wants math between dollars."""
    gold = math_verify.parse(reference if "$" in reference else f"${reference}$")
    return bool(math_verify.verify(gold, math_verify.parse(completion)))


def by_trl(reference: str, completion: str) -> bool:
    """TRL's reward, one completion a call."""
    from trl.rewards.accuracy_rewards import accuracy_reward

    gold = reference if "$" in reference else f"${reference}$"
    return accuracy_reward([[{"role": "assistant", "content": completion}]], [gold])[0] == 1.0


def by_us(where: str) -> Judge:
    """`verify` in this process."""
    policy = AnswerPolicy(where=where)  # type: ignore[arg-type]  # a name becomes its member
    return lambda reference, completion: verify(reference, completion, policy=policy).correct is True


def one_by_one(judge: Judge, pairs: Sequence[Pair]) -> Measured:
    """Judge every pair in this process and time each."""
    seconds, verdicts = [], []
    forget()
    start, wall = time.process_time(), time.perf_counter()
    for pair in pairs:
        before = time.process_time()
        verdicts.append(judge(pair.reference, pair.completion))
        seconds.append(time.process_time() - before)
    return Measured(time.process_time() - start, time.perf_counter() - wall, tuple(seconds), tuple(verdicts))


def forget() -> None:
    """Empty our caches: the runs score the same pairs, which training does not."""
    value_of.cache_clear()
    read.cache_clear()


def all_together(pairs: Sequence[Pair], workers: int) -> Measured:
    """`r1env.score` with the reward `math`, in workers that know nothing yet.

    Its CPU time is this process's and what the workers report for each pair; starting the workers is not counted.
    """
    rollouts = [
        r1env.Rollout(task=r1env.Task(id=str(index), prompt="?", answer=pair.reference), completion=pair.completion)
        for index, pair in enumerate(pairs)
    ]
    reward = r1env.get_reward("math")
    with ScoringPool(workers=workers) as pool:
        r1env.score(starters(workers), reward, pool=pool)
        forget()
        start, wall = time.process_time(), time.perf_counter()
        scores = r1env.score(rollouts, reward, pool=pool)
        wall = time.perf_counter() - wall
        here = time.process_time() - start
    seconds = tuple(score.seconds for score in scores)
    in_workers = sum(score.seconds for score, rollout in zip(scores, rollouts, strict=True) if reward.settle(rollout) is None)
    return Measured(here + in_workers, wall, seconds, tuple(score.value == 1.0 for score in scores))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, in milliseconds."""
    return 1000 * sorted(values)[min(int(share * len(values)), len(values) - 1)]


def report(name: str, runs: Sequence[Measured], pairs: Sequence[Pair], base_cpu: float) -> str:
    """One line of the table."""
    cpu = statistics.median(run.cpu_seconds for run in runs)
    wall = statistics.median(run.wall_seconds for run in runs)
    last = runs[-1]
    accepts = sum(verdict and not pair.right for verdict, pair in zip(last.verdicts, pairs, strict=True))
    refusals = sum(pair.right and not verdict for verdict, pair in zip(last.verdicts, pairs, strict=True))
    accuracy = 1 - (accepts + refusals) / len(pairs)
    spread = " | ".join(f"{percentile(last.seconds, share):.2f}" for share in (0.5, 0.95, 0.99, 1.0))
    return (
        f"| {name} | {cpu:.2f} | {base_cpu / cpu:.1f} × | {len(pairs) / wall:,.0f} | {spread} | "
        f"{100 * accuracy:.1f} | {accepts} | {refusals} |"
    )


def compare(title: str, pairs: Sequence[Pair], runs: int, workers: int) -> None:
    """Print the table of one set of pairs."""
    ways: dict[str, Callable[[], Measured]] = {
        "Math-Verify": lambda: one_by_one(by_math_verify, pairs),
        "TRL accuracy_reward": lambda: one_by_one(by_trl, pairs),
        "r1env verify, explicit": lambda: one_by_one(by_us("explicit"), pairs),
        "r1env verify, lenient": lambda: one_by_one(by_us("lenient"), pairs),
        "r1env.score, explicit": lambda: all_together(pairs, workers),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(runs + 1):
        for name, way in ways.items():
            measured[name].append(way())
    wrong = sum(not pair.right for pair in pairs)
    print(f"\n{title}: {len(pairs)} pairs, {wrong} of them wrong ({100 * wrong / len(pairs):.0f} %); median of {runs} runs\n")
    print("| | CPU s | ratio | pairs/s | p50 ms | p95 ms | p99 ms | max ms | right % | false accepts | false refusals |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    base_cpu = statistics.median(run.cpu_seconds for run in measured["Math-Verify"][1:])
    for name, each in measured.items():
        print(report(name, each[1:], pairs, base_cpu), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=os.environ.get("R1ENV_TEST_DATA"), help="folder of the two files")
    parser.add_argument("--items", type=int, default=1319, help="GSM8K-like pairs (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs that count (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of r1env.score (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the folder of the data with --data, or in R1ENV_TEST_DATA")
    logging.disable(logging.WARNING)  # Math-Verify's remarks on what it cannot parse
    compare("GSM8K-like", gsm8k_like(arguments.data, arguments.items), arguments.runs, arguments.workers)
    compare("Development set", development_set(arguments.data), arguments.runs, arguments.workers)
    print(f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
