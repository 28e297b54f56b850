"""Draws rollouts: plays episodes of an environment against an engine until they are over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r1env.engines import Engine, Sampling
from r1env.envs.environment import Environment, Episode
from r1env.types import Rollout, Task


def sampling_for(environment: Environment, sampling: Sampling) -> Sampling:
    """The sampling with what the environment's prompt template asks for: its stop texts, and whether it is a chat."""
    template = environment.template
    stop = tuple(dict.fromkeys((*sampling.stop, *template.stop)))
    return sampling.model_copy(update={"stop": stop, "chat": sampling.chat and template.chat})


def draw(
    environment: Environment, engine: Engine, tasks: Sequence[Task], sampling: Sampling, *, batch: int = 0
) -> list[list[Rollout]]:
    """`sampling.n` finished episodes of each task, in the order of the tasks.

    All unfinished episodes take a turn in one call of the engine.

    Args:
        batch: number of this batch among those of one evaluation; every batch and turn samples under a seed of its own,
            made of `sampling.seed`.

    Raises:
        EngineError: the engine cannot answer.
    """
    sampling = sampling_for(environment, sampling)
    episodes = [[environment.open(task) for _ in range(sampling.n)] for task in tasks]
    first = engine.generate([group[0].messages for group in episodes], _seeded(sampling, batch, turn=0))
    for group, completions in zip(episodes, first, strict=True):
        for episode, completion in zip(group, completions, strict=True):
            episode.submit(completion)
    turn, once = 1, sampling.model_copy(update={"n": 1})
    while unfinished := _unfinished(episodes):
        answers = engine.generate([episode.messages for episode in unfinished], _seeded(once, batch, turn))
        for episode, (completion,) in zip(unfinished, answers, strict=True):
            episode.submit(completion)
        turn += 1
    return [[episode.rollout() for episode in group] for group in episodes]


def _unfinished(episodes: Sequence[Sequence[Episode]]) -> list[Episode]:
    return [episode for group in episodes for episode in group if not episode.done]


def _seeded(sampling: Sampling, batch: int, turn: int) -> Sampling:
    seed = int(np.random.SeedSequence([sampling.seed, batch, turn]).generate_state(1)[0])
    return sampling.model_copy(update={"seed": seed})
