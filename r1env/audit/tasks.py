"""Tasks to audit a reward on, for callers who bring none."""

from __future__ import annotations

from collections.abc import Sequence

from r1env.envs.environment import make_environment
from r1env.errors import R1EnvError
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.types import Task, TaskKind

MAX_TASKS = 5
"""Enough different answers to tell a constant from a guess; every attack is made on each."""

SAMPLE_TASKS = (
    Task(id="sum", prompt="What is 17 + 25?", answer="42"),
    Task(
        id="word-problem",
        prompt="Ann buys 9 boxes of 12 pens and gives 13 pens away. How many pens does she keep?",
        answer="95",
    ),
    Task(
        id="choice",
        prompt="Which gas do plants take in to make sugar?\nA. oxygen\nB. carbon dioxide\nC. nitrogen\nD. helium\n"
        "Answer with the letter.",
        answer="B",
        kind=TaskKind.CHOICE,
    ),
    Task(id="fraction", prompt="What is 1/3 + 1/4, as a fraction in lowest terms?", answer="7/12"),
    Task(id="text", prompt="Which city is the capital of France? Answer with its name.", answer="Paris", kind=TaskKind.LOGIC),
)
"""A sum, a word problem, a choice, a fraction and a word."""


def tasks_for(reward: Reward, plugins: Plugins) -> tuple[Task, ...]:
    """Tasks that fit a reward: of the first environment that is scored by it and needs nothing; else `SAMPLE_TASKS`."""
    for provided in plugins.provided("environments").values():
        spec = provided.spec
        if spec.reward != reward.name or spec.requires or spec.max_turns > 1:
            continue
        try:
            environment = make_environment(spec.name, plugins=plugins)
        except R1EnvError:  # it wants data after all; another may not
            continue
        count = MAX_TASKS if environment.source.size is None else min(MAX_TASKS, environment.source.size)
        return tuple(environment.task(index) for index in range(count))
    return SAMPLE_TASKS


def varied(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """At most `MAX_TASKS` of the tasks, those with different answers first."""
    first: dict[str | None, Task] = {}
    others = [task for task in tasks if first.setdefault(task.answer, task) is not task]
    return (*first.values(), *others)[:MAX_TASKS]
