"""How many trivial scores a second: the overhead of scoring itself, inline and in killable worker processes.

    python benchmarks/scoring.py [--items 5000] [--workers 2]

Every rollout is different, so nothing is scored once for several; each figure is the median of five runs after a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

from r1env.rewards import reward
from r1env.scoring import ScoringPool, ascore, score
from r1env.types import Rollout, Score, Task

RUNS = 5


def trivial(completion: str, answer: str) -> float:
    return float(completion.endswith(answer))


async def trivial_awaited(completion: str, answer: str) -> float:
    return float(completion.endswith(answer))


def make_rollouts(items: int) -> list[Rollout]:
    """Groups of eight completions of 1,000 characters for one task, as a trainer has them."""
    tasks = [
        Task(id=str(i), prompt=({"role": "user", "content": f"What is {i} + {i}?"},), answer=str(2 * i))
        for i in range(-(-items // 8))
    ]
    return [Rollout(task=tasks[i // 8], completion=f"{'So it goes. ' * 82}{i}") for i in range(items)]


def scores_per_second(run: Callable[[list[Rollout]], list[Score]], rollouts: list[Rollout]) -> float:
    """The median rate of `RUNS` runs, after one that is not counted."""
    rates = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        scores = run(rollouts)
        rates.append(len(scores) / (time.perf_counter() - start))
        if any(found.failed for found in scores):
            raise SystemExit(f"a score failed: {next(found for found in scores if found.failed)}")
    return statistics.median(rates[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=5_000, help="rollouts in a run (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: %(default)s)")
    arguments = parser.parse_args()
    rollouts = make_rollouts(arguments.items)
    inline = reward(name="trivial", isolation="inline")(trivial)
    process = reward(name="trivial", isolation="process")(trivial)
    awaited = reward(name="trivial", isolation="async")(trivial_awaited)
    with ScoringPool(workers=arguments.workers) as pool:
        ways: dict[str, Callable[[list[Rollout]], list[Score]]] = {
            "inline": lambda made: score(made, inline),
            f"process, {arguments.workers} workers": lambda made: score(made, process, pool=pool),
            f"process, {arguments.workers} workers, ascore": lambda made: asyncio.run(ascore(made, process, pool=pool)),
            "async": lambda made: score(made, awaited),
        }
        print("| isolation | scores/s |\n|---|---:|")
        for name, run in ways.items():
            print(f"| {name} | {scores_per_second(run, rollouts):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
