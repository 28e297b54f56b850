"""What environments and evaluation cost by themselves: steps, tasks, rows, and an evaluation beside its engine.

    python benchmarks/env_overhead.py [--seconds 2] [--rows 1000000]

reasoning-gym, skyrl-gym and verifiers alone are measured in the same run, the latter two in environments that `tools/interop-env.sh` makes.
Rates are by CPU time of the process, so that a busy machine changes them little; only the evaluation's overhead is by the wall as well. Each is
the median of three.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from env_overhead_others import LIBRARIES, REPEATS, rate
from r1env.data.sources import ListSource
from r1env.data.tasks import file_tasks
from r1env.engines import OnFinished, SamplingParams, ToolSchema
from r1env.envs.environment import Environment, make_environment
from r1env.envs.gym import ReasoningVectorEnv
from r1env.evaluation import evaluate
from r1env.evaluation.run import EvaluationRun
from r1env.plugins import installed
from r1env.prompts import PLAIN_TEMPLATE
from r1env.rewards import reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.types import Completion, Conversation, Task

NUM_ENVS = 64
INTEROP = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "r1env/interop"
PER_SECOND = 200  # completions of the engine that the evaluation is measured beside


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds a measurement (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the file that is opened (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} at the start\n\n| what | figure |\n|---|---:|", flush=True)
    for name, figure in (
        *steps(arguments.seconds),
        *procedural_tasks(arguments.seconds),
        *others(arguments.seconds),
        *evaluation(),
        *opening(arguments.rows),
    ):
        print(f"| {name} | {figure} |", flush=True)
    children = os.times()
    spent = time.process_time() + children.children_user + children.children_system
    print(f"\n{spent:.0f} CPU seconds in all; load {os.getloadavg()[0]:.1f} at the end", flush=True)


@reward(name="accuracy", isolation="inline")
def says_so(completion: str, answer: str) -> float:
    return float(answer in completion)


def quiz(tasks: int) -> Environment:
    """Return an environment whose tasks lie in memory and whose reward is inline, so that nothing but the machinery is measured."""
    source = ListSource([Task(id=str(i), prompt=f"What is {i} + {i}?", answer=str(2 * i)) for i in range(tasks)])
    return Environment("quiz", source, Rubric("quiz", (WeightedReward(says_so, 1.0),)), "accuracy", PLAIN_TEMPLATE)


def steps(seconds: float) -> Iterator[tuple[str, str]]:
    """Steps of sub-environments; every second one begins an episode, since each has one turn."""
    env = ReasoningVectorEnv(quiz(1000), NUM_ENVS)
    env.reset(seed=0)
    actions = ["<think>so</think> The answer is 12."] * NUM_ENVS

    def run() -> int:
        env.step(actions)
        return NUM_ENVS

    yield f"steps/s, vector environment of {NUM_ENVS}, inline reward", f"{rate(run, seconds):,.0f}"


def procedural_tasks(seconds: float) -> Iterator[tuple[str, str]]:
    """Tasks of every generator that needs nothing."""
    for name, provided in sorted(installed().provided("environments").items()):
        if provided.spec.requires or provided.spec.source in ("r1env.data.tasks:file_tasks",):
            continue
        environment = make_environment(name)
        if environment.source.size is None:
            yield f"tasks/s, {name}", f"{rate(drawing(environment), seconds / 4):,.0f}"


def drawing(environment: Environment) -> Callable[[], int]:
    place = iter(range(10**9))

    def run() -> int:
        for _ in range(20):
            environment.task(next(place))
        return 20

    return run


def others(seconds: float) -> Iterator[tuple[str, str]]:
    """The same of other libraries, each in the Python that has it (see `env_overhead_others.py`)."""
    for name in LIBRARIES:
        python = sys.executable if name == "reasoning-gym" else str(INTEROP / name / "bin/python")
        if not Path(python).exists():
            yield f"{name} alone", f"not installed: tools/interop-env.sh {name}"
            continue
        command = [python, str(Path(__file__).parent / "env_overhead_others.py"), name, str(seconds)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            yield f"{name} alone", f"failed: {found.stderr.strip().rpartition(chr(10))[2][:100]}"
        for line in found.stdout.splitlines():
            what, _, figure = line.partition("\t")
            yield f"{name} alone: {what}", f"{float(figure):,.0f}"


class Paced:
    """An engine that finishes a completion every 1/200 s, as a server would, and computes nothing meanwhile."""

    def __init__(self) -> None:
        self.slept = 0.0

    def generate_chat(
        self,
        prompts: Sequence[Conversation],
        params: SamplingParams,
        tools: Sequence[Sequence[ToolSchema]],
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        found = []
        start = time.perf_counter()
        for number, prompt in enumerate(prompts):
            found.append(Completion(text=f"So it goes. {prompt[-1]['content']} 12" * 20, tokens=300))
            if on_finished is not None:
                on_finished([number], found[-1:])
            time.sleep(max(0.0, start + (number + 1) / PER_SECOND - time.perf_counter()))
        self.slept += len(prompts) / PER_SECOND
        return found

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        return [[one] for one in self.generate_chat(prompts, params, [()] * len(prompts))]

    def close(self) -> None:
        """Nothing to free."""


def evaluation(completions: int = 2000) -> Iterator[tuple[str, str]]:
    """An evaluation that is kept in a folder, beside an engine that makes 200 completions a second.

    Scoring and writing go on in another thread while the engine works. What they add to the wall on a quiet machine is the work of the
    thread that calls the engine, which is measured by its CPU time, since on a busy machine the wall says nothing.
    """
    environment = quiz(completions)
    overheads, serial, costs = [], [], []
    alone = time.thread_time()
    Paced().generate([task.prompt for task in (environment.task(i) for i in range(completions))], SamplingParams())
    alone = time.thread_time() - alone  # what the engine itself costs the thread that calls it
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            engine = Paced()
            run = EvaluationRun.create(Path(folder) / "run", {}, seed=0)
            wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
            with run.writing():
                evaluate(environment, engine, SamplingParams(), batch_size=250, keep=lambda rows: run.append("m", "quiz", rows))  # noqa: B023 - called in this turn of the loop
            overheads.append((time.perf_counter() - wall - engine.slept) / engine.slept)
            serial.append((time.thread_time() - thread - alone) / engine.slept)
            costs.append((time.process_time() - cpu) / completions)
    yield f"evaluation overhead, wall, at {PER_SECOND} completions/s", f"{statistics.median(overheads):.1%}"
    yield "the same by CPU time of the thread that calls the engine, less the engine's own", f"{statistics.median(serial):.1%}"
    yield "evaluation, CPU time per completion", f"{1e6 * statistics.median(costs):,.0f} µs"


def opening(rows: int) -> Iterator[tuple[str, str]]:
    """Opening a file of many rows as tasks, and reading one from its middle."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="ascii") as file:
            for i in range(rows):
                row: dict[str, Any] = {
                    "question": f"What is {i} + {i}? Think about it first.",
                    "answer": f"{i} + {i} = {2 * i}\n#### {2 * i}",
                }
                file.write(json.dumps(row) + "\n")
        times = []
        for _ in range(REPEATS):
            start = time.process_time()
            source = file_tasks(str(path), name="rows")
            source.checked(None)
            source.task(rows // 2)
            times.append(time.process_time() - start)
        yield (
            f"opening {rows:,} rows of JSON Lines ({path.stat().st_size / 2**20:.0f} MiB)",
            f"{statistics.median(times):.2f} s",
        )


if __name__ == "__main__":
    main()
