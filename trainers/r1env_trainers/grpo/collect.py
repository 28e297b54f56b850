"""The first half of a step: tasks, episodes, scores. Episodes that are over are scored while others are still being sampled."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.types import Score
from r1env_trainers.grpo.advantages import mixed
from r1env_trainers.grpo.early_scoring import EarlyScoring
from r1env_trainers.grpo.episodes import Decoding, Trajectory, play, to_tokens
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.rollout_config import RolloutConfig
from r1env_trainers.grpo.tasks import TaskFilter, draw_tasks
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.sampling import CompletionSampler


@dataclass(slots=True)
class _Scored:
    """Episodes with their scores, gathered batch by batch; n rows a prompt."""

    environments: list[Environment] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"generate": 0.0, "reward": 0.0})

    def rewards(self, n: int) -> Tensor:
        """[P, n]"""
        return torch.tensor([math.nan if s.value is None else s.value for s in self.scores]).view(-1, n)


def collect(
    suite: Suite,
    loaded: LoadedModel,
    sampler: CompletionSampler,
    config: RolloutConfig,
    step: int,
    *,
    position: int | None = None,
    keep_task: TaskFilter | None = None,
) -> Experience:
    """Sample and score the rollouts of one step.

    With `refill`, further prompts are drawn for those whose group earned one and the same reward, as many as are missing, until
    `prompts_per_step` groups are mixed or `max_refills` more batches were drawn. All that was drawn is in the result; `kept` says
    which prompts to learn from.

    Args:
        position: in the stream of tasks; by default that of a run which draws prompts_per_step tasks a step.
        keep_task: see `draw_tasks`.
    """
    n, wanted = config.group_size, config.prompts_per_step
    position = step * wanted if position is None else position
    scored, missing, batches = _Scored(), wanted, 0
    while missing > 0 and batches <= (config.max_refills if config.refill else 0):
        drawn = draw_tasks(suite, position, missing, config.seed, keep_task)
        decoding = Decoding(
            max_new_tokens=config.max_new_tokens_at(step),
            temperature=config.temperature_at(step),
            top_p=config.top_p,
            seed=step_seed(config.seed, step, batches),
        )
        start = time.perf_counter()
        with EarlyScoring(len(drawn.tasks) * n) as scoring:
            trajectories = play(drawn.tasks, n, loaded, sampler, decoding, scoring.add)
            generated = time.perf_counter()
            scores = scoring.finish(trajectories)
        scored.seconds["generate"] += generated - start
        scored.seconds["reward"] += time.perf_counter() - generated
        scored.environments += [environment for environment, _ in drawn.tasks]
        scored.trajectories += trajectories
        scored.scores += scores
        position = drawn.position
        batches += 1
        missing = wanted - int(mixed(scored.rewards(n)).sum())
    return _experience(scored, loaded, config, step, position=position, refills=batches - 1)


def step_seed(seed: int, step: int, batch: int = 0) -> int:
    """A seed for the draws of one batch of a step; different runs, steps and batches get unrelated ones."""
    entropy = [seed, step, batch] if batch else [seed, step]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def _experience(
    scored: _Scored, loaded: LoadedModel, config: RolloutConfig, step: int, *, position: int, refills: int
) -> Experience:
    rewards = scored.rewards(config.group_size)
    parts, part_weights = _counting_parts(scored, config.group_size)
    tokens, sampled_logprobs = to_tokens(scored.trajectories, loaded)
    return Experience(
        tokens=tokens,
        sampled_logprobs=sampled_logprobs,
        rewards=rewards,
        parts=parts,
        part_weights=part_weights,
        kept=_first_mixed(rewards, config.prompts_per_step) if config.refill else torch.ones(len(rewards), dtype=torch.bool),
        truncated=torch.tensor([trajectory.truncated for trajectory in scored.trajectories]),
        temperature=config.temperature_at(step),
        environments=[environment.name for environment in scored.environments],
        rollouts=[trajectory.episode.rollout() for trajectory in scored.trajectories],
        scores=_aligned(scored),
        position=position,
        refills=refills,
        seconds=scored.seconds,
    )


def _first_mixed(rewards: Tensor, count: int) -> Tensor:
    """[P] True for the first `count` groups whose rewards differ."""
    differing = mixed(rewards)
    return differing & (differing.cumsum(dim=0) <= count)


def _counting_parts(scored: _Scored, n: int) -> tuple[Tensor, Tensor]:
    """[P, n, K] the rewards with a weight, a column for each name in any environment, and [P, K] their weights."""
    weights = [
        {item.reward.name: item.weight for item in environment.rubric.rewards if item.weight != 0}
        for environment in scored.environments
    ]
    names = list(dict.fromkeys(name for of_prompt in weights for name in of_prompt))
    rows = [
        [scored.scores[row].parts[name] if name in weights[row // n] else math.nan for name in names]
        for row in range(len(scored.scores))
    ]
    parts = torch.tensor(rows).view(-1, n, len(names))
    return parts, torch.tensor([[of_prompt.get(name, 0.0) for name in names] for of_prompt in weights])


def _aligned(scored: _Scored) -> list[Score]:
    """The scores, with the parts of all environments in each."""
    keys = dict.fromkeys(key for environment in scored.environments for key in environment.rubric.part_keys)
    if all(len(result.parts) == len(keys) for result in scored.scores):
        return scored.scores
    missing = dict.fromkeys(keys, math.nan)
    return [result.model_copy(update={"parts": {**missing, **result.parts}}) for result in scored.scores]
