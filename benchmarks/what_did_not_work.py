"""The two tables of docs/what-did-not-work.md: a judge of steps beside a majority, and tree search beside blind draws. Seconds on a CPU.

python benchmarks/what_did_not_work.py [--problems 100] [--puzzles 40]
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch

from r1env_logic.countdown import countdown_tasks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package says that it is experimental, and so does the page
    from r1env_trainers.experimental.process_rewards import (
        best_of_n,
        majority_vote,
        of_steps,
        score_steps,
        start_process_reward_model,
        train_process_reward_model,
    )
    from r1env_trainers.experimental.tree_search import BASE, BlindCountdown, Limits, careless_sum, search

COMPLETIONS, DIGITS, SIMULATIONS = 8, 4, 150


def judged(problems: int) -> None:
    """How many of the problems each way of choosing gets right."""
    rng = np.random.default_rng(0)
    examples = [careless_sum(rng.integers(BASE, size=DIGITS).tolist(), rng, careless=0.5)[0] for _ in range(1000)]
    prm = start_process_reward_model("tiny")
    start = time.process_time()
    train_process_reward_model(prm, examples, updates=90, batch_size=16, lr=2e-3, seed=0)
    print(f"judge of steps, trained for {time.process_time() - start:.0f} CPU s; {problems} problems\n")
    print(
        f"| share of carries forgotten | one | majority of {COMPLETIONS} | best of {COMPLETIONS} by the judge | right one among them |"
    )
    print("|---:|---:|---:|---:|---:|")
    for careless in (0.5, 0.6, 0.7, 0.8):
        right = np.zeros(4, dtype=int)
        for _ in range(problems):
            numbers = rng.integers(BASE, size=DIGITS).tolist()
            drawn = [careless_sum(numbers, rng, careless) for _ in range(COMPLETIONS)]
            answers = [str(result) for _, result in drawn]
            scores = [of_steps(one) for one in score_steps(prm, [(solution.prompt, solution.steps) for solution, _ in drawn])]
            answer = str(sum(numbers) % BASE)
            voted, best = majority_vote(answers), best_of_n(scores)
            assert voted is not None  # there is an answer, and a score, to every one
            assert best is not None
            right += [answers[0] == answer, answers[voted] == answer, answers[best] == answer, answer in answers]
        print(f"| {careless} | " + " | ".join(map(str, right)) + " |", flush=True)


def searched(count: int) -> None:
    """How many puzzles search solves under different extension limits, and blind draws without any search."""
    puzzles = {numbers: _puzzles(numbers, count) for numbers in (3, 4)}
    print(f"\n{count} countdowns, at most {SIMULATIONS} simulations\n\n| children of a node, at most | 3 numbers | 4 numbers |")
    print("|---:|---:|---:|")
    for children in (1, 2, 4, 8, 18):
        limits = Limits(simulations=SIMULATIONS, max_children=children)
        found = [sum(_is_solved(one, limits) for one in of) for of in puzzles.values()]
        print(f"| {children} | " + " | ".join(map(str, found)) + " |", flush=True)
    for draws in (1, SIMULATIONS):
        solved = [sum(any(one.value((), seed) for seed in range(draws)) for one in of) for of in puzzles.values()]
        print(f"| ({draws} blind draws) | " + " | ".join(map(str, solved)) + " |", flush=True)


def _is_solved(puzzle: BlindCountdown, limits: Limits) -> bool:
    best = search(puzzle, limits).best
    return best is not None and best.reward == 1.0


def _puzzles(numbers: int, count: int) -> list[BlindCountdown]:
    source = countdown_tasks(numbers, split="test")
    found = (source.task(place, 0).metadata for place in range(count))
    return [BlindCountdown(tuple(one["numbers"]), one["target"]) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--puzzles", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    judged(options.problems)
    searched(options.puzzles)


if __name__ == "__main__":
    main()
