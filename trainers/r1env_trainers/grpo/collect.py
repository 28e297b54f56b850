"""The first half of a step: tasks, prompts, completions, rollouts, scores."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.rollouts import Rollout
from r1env.scores import Score
from r1env.scoring import score
from r1env.tasks import Task
from r1env_trainers.engine import as_completions
from r1env.epochs import shuffled_index
from r1env_trainers.forward import TokenBatch
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.prompts import encode_prompt, left_pad
from r1env_trainers.sampling import Sampler


@dataclass(frozen=True, slots=True)
class Experience:
    """A scored batch of P prompts with n completions each, rows in prompt-major order.

    Attributes:
        tokens: [P*n] rows.
        sampled_logprobs: [P*n, T] of the sampler.
        rewards: [P, n], NaN where unscored.
        rollouts, scores: one a row.
        seconds: wall seconds of each phase.
    """

    tokens: TokenBatch
    sampled_logprobs: Tensor
    rewards: Tensor
    rollouts: list[Rollout]
    scores: list[Score]
    seconds: dict[str, float]


def training_tasks(environment: Environment, step: int, count: int, seed: int) -> list[Task]:
    """The tasks of a step. A finite source is walked in a new random order each epoch; a generator is simply indexed.

    Depends on the arguments alone, so a resumed run draws what the uninterrupted one would have drawn.
    """
    positions = range(step * count, (step + 1) * count)
    size = environment.source.size
    if size is None:
        return [environment.task(position, seed) for position in positions]
    return [environment.task(shuffled_index(position, size, seed), seed) for position in positions]


def collect(environment: Environment, loaded: LoadedModel, sampler: Sampler, config: GRPOConfig, step: int) -> Experience:
    """Sample and score the rollouts of one step."""
    start = time.perf_counter()
    tasks = training_tasks(environment, step, config.prompts_per_step, config.seed)
    groups = [[environment.open(task) for _ in range(config.group_size)] for task in tasks]
    prompts = [encode_prompt(loaded.tokenizer, group[0].messages, chat=environment.template.chat) for group in groups]
    samples = sampler.sample(
        prompts,
        n=config.group_size,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        stop=environment.template.stop,
        seed=step_seed(config.seed, step),
    )
    completions = as_completions(samples, sampler.decode(samples))
    generated = time.perf_counter()
    episodes = [episode for group in groups for episode in group]
    for episode, completion in zip(episodes, completions, strict=True):
        episode.submit(completion)
    rollouts = [episode.rollout() for episode in episodes]
    scores = score(rollouts, environment.rubric)
    scored = time.perf_counter()
    prompt_ids, prompt_mask = left_pad(prompts, loaded.pad, loaded.device)
    return Experience(
        tokens=TokenBatch(
            prompt_ids.repeat_interleave(config.group_size, dim=0),
            prompt_mask.repeat_interleave(config.group_size, dim=0),
            samples.ids,
            samples.mask,
        ),
        sampled_logprobs=samples.logprobs,
        rewards=torch.tensor([math.nan if s.value is None else s.value for s in scores]).view(-1, config.group_size),
        rollouts=rollouts,
        scores=scores,
        seconds={"generate": generated - start, "reward": scored - generated},
    )


def step_seed(seed: int, step: int) -> int:
    """A seed for the draws of one step; different runs and steps get unrelated ones."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def check_single_turn(environment: Environment) -> None:
    """Refuse environments that this loop cannot train in yet."""
    if environment.max_turns > 1:
        raise UsageError(
            f"environment {environment.name!r} has {environment.max_turns} turns; grpo trains single-turn environments, "
            "and `r1env eval` plays the others"
        )
