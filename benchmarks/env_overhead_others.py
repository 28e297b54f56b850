"""The part of `env_overhead.py` that measures other libraries. It needs nothing of r1env, since each runs in the Python that has it.

    $(tools/interop-env.sh skyrl) benchmarks/env_overhead_others.py skyrl 2

prints one line for each figure: what was measured, a tab, how often a second of CPU time.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator

REPEATS = 3


def rate(run: Callable[[], int], seconds: float) -> float:
    """Return how often a second of CPU time something is done: `run` does it some times and returns how many."""
    run()
    rates = []
    for _ in range(REPEATS):
        start, done = time.process_time(), 0
        while (spent := time.process_time() - start) < seconds / REPEATS:
            done += run()
        rates.append(done / spent)
    return statistics.median(rates)


def reasoning_gym(seconds: float) -> Iterator[tuple[str, float]]:
    """Draw tasks, and score an answer."""
    import reasoning_gym

    dataset = reasoning_gym.create_dataset("chain_sum", size=10**6, seed=0)
    place = iter(range(10**6))
    yield "tasks/s, chain_sum", rate(lambda: (dataset[next(place)], 1)[1], seconds)
    entry = dataset[0]
    yield "answers scored/s, chain_sum", rate(lambda: (dataset.score_answer("12", entry), 1)[1], seconds)


def skyrl(seconds: float) -> Iterator[tuple[str, float]]:
    """Play an episode of one turn of its GSM8K: make, init, step with its own reward, close."""
    import skyrl_gym

    prompt = [{"role": "user", "content": "What is 6 + 6?"}]
    extras = {"reward_spec": {"ground_truth": "12"}}

    def run() -> int:
        environment = skyrl_gym.make("gsm8k", extras=extras)
        environment.init(prompt)
        environment.step("So it is twelve. #### 12")
        environment.close()
        return 1

    yield "steps/s, gsm8k, one turn an episode", rate(run, seconds)


def verifiers(seconds: float) -> Iterator[tuple[str, float]]:
    """Make the trace of one turn and score it by an inline reward, without a client, a harness and a runtime."""
    import verifiers.v1 as vf
    from verifiers.v1.configs.agent import WireAgentConfig
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import AgentInfo, Trace, TraceTask

    class Quiz(vf.Task[vf.TaskData]):
        @vf.reward(weight=1.0)
        async def right(self, trace: Trace) -> float:
            return float("12" in trace.last_reply)

    task = Quiz(vf.TaskData(idx=0, prompt="What is 6 + 6?"))
    agent = AgentInfo(config=WireAgentConfig(), name="player")

    async def episode() -> None:
        trace = Trace(task=TraceTask(type="Quiz", data=task.data, key=task.key, hash=task.hash), agent=agent)
        trace.nodes.append(MessageNode(parent=None, message=vf.UserMessage(content="What is 6 + 6?"), sampled=False))
        trace.nodes.append(MessageNode(parent=0, message=vf.AssistantMessage(content="So it is 12."), sampled=True))
        await task.score(trace)
        if trace.reward != 1.0:
            raise RuntimeError("the reward is not what it should be")

    with asyncio.Runner() as runner:

        async def some() -> int:
            for _ in range(50):
                await episode()
            return 50

        yield "rollouts scored/s, inline reward, one turn", rate(lambda: runner.run(some()), seconds)


LIBRARIES = {"reasoning-gym": reasoning_gym, "skyrl": skyrl, "verifiers": verifiers}

if __name__ == "__main__":
    for name, figure in LIBRARIES[sys.argv[1]](float(sys.argv[2])):
        print(f"{name}\t{figure:.0f}", flush=True)
