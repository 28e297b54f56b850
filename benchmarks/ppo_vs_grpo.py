"""PPO with λ = 0.95 and λ = 1 beside GRPO, from one base model: steps and CPU seconds to 0.5 and 0.9 greedy accuracy.

    python benchmarks/ppo_vs_grpo.py [--seeds 0 1] [--steps 125] [--names grpo "ppo λ=1"]

The comparison of DeepSeek-R1's appendix (arXiv 2501.12948v2, A.3) in miniature: sorting four digits, 409,600 parameters. Each seed has
its own base model (SFT on random permutations), from which all start, with 256 rollouts a step, the same rewards and the same learning
rate of the policy. PPO's critic is a model of its own, as large as the policy, unless it is shared. Greedy accuracy is of 256 held-out
tasks, every five steps; its time is not counted. The last column says how much the critic knows: 1 all, 0 nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from r1env.recipes import execute, plan_training
from r1env.runs.run import Run, StepEvent

EVAL_EVERY = 5
LEVELS = (0.5, 0.9)
CONTENDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "grpo": ("grpo", {"algo.track_kl": False}),
    "ppo λ=1": ("ppo", {"algo.gae_lambda": 1.0}),
    "ppo λ=0.95": ("ppo", {"algo.gae_lambda": 0.95}),
    "ppo λ=1, shared critic": ("ppo", {"algo.gae_lambda": 1.0, "critic.kind": "shared"}),
}


@dataclass(slots=True)
class Course:
    """What a listener sees of one training.

    Attributes:
        accuracies: step → greedy accuracy before it.
        cpu_seconds: step → CPU seconds of training before it.
        explained: the critic's share of explained variance, step by step.
    """

    accuracies: dict[int, float] = field(default_factory=dict)
    cpu_seconds: dict[int, float] = field(default_factory=dict)
    explained: list[float] = field(default_factory=list)
    spent: float = 0.0
    since: float = field(default_factory=time.process_time)

    def __call__(self, event: StepEvent) -> None:
        now = time.process_time()
        if "eval/accuracy" in event.metrics:
            self.accuracies[event.step] = event.metrics["eval/accuracy"]
            self.cpu_seconds[event.step] = self.spent
        else:
            self.spent += now - self.since
            self.explained.append(event.metrics.get("value/explained_variance", math.nan))
        self.since = now

    def reached(self, level: float) -> tuple[int, float] | None:
        """Step and CPU seconds at the first evaluation with at least this accuracy."""
        step = next((step for step, accuracy in self.accuracies.items() if accuracy >= level), None)
        return None if step is None else (step, self.cpu_seconds[step])


def train_base(seed: int, folder: Path) -> str:
    """The model that knows the format and is right by chance."""
    plan = plan_training("sft", preset="tiny-cpu", overrides={"seed": seed, "steps": 200})
    run = Run.create(folder / f"base-{seed}", plan.model_dump(mode="json"), seed=seed)
    execute(plan, run)
    return str(run.model_dir("sft"))


def follow(name: str, base: str, seed: int, steps: int, folder: Path) -> Course:
    """Train one contender."""
    trainer, settings = CONTENDERS[name]
    overrides = {"model": base, "seed": seed, "steps": steps, "eval.every": EVAL_EVERY, "eval.samples": 0, **settings}
    plan = plan_training(trainer, preset="tiny-cpu", overrides=overrides)
    run = Run.create(folder / f"{len(list(folder.iterdir()))}", plan.model_dump(mode="json"), seed=seed)
    course = Course()
    run.subscribe(course)
    execute(plan, run)
    return course


def row(name: str, seed: int, course: Course) -> str:
    reached = [course.reached(level) for level in LEVELS]
    steps = [f"{found[0]}, {found[1]:.0f} s" if found else "not" for found in reached]
    accuracies = list(course.accuracies.values())
    known = course.explained[len(course.explained) // 2 :]
    critic = "" if any(map(math.isnan, known)) else f"{sum(known) / len(known):.2f}"
    a_step = course.spent / len(course.explained)
    return (
        f"| {name} | {seed} | {accuracies[0]:.3f} | {steps[0]} | {steps[1]} | {accuracies[-1]:.3f} | {a_step:.2f} | {critic} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=125)
    parser.add_argument("--names", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread\n")
    print("| trainer | seed | before | to 0.5 | to 0.9 | after | CPU s a step | explained variance, 2nd half |")
    print("|---|---:|---:|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in options.seeds:
            base = train_base(seed, folder)
            for contender in options.names:
                print(row(contender, seed, follow(contender, base, seed, options.steps, folder)), flush=True)


if __name__ == "__main__":
    main()
