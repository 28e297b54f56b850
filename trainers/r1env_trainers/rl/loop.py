"""The loop of the trainers that learn from their own rollouts, top to bottom: sample, score, learn, log, checkpoint."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from r1env.data.sources import read_jsonl
from r1env.engines import Engine, Sampling
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import TrainingStoppedError, UsageError
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env.types import Score, Task
from r1env_trainers.evaluate import log_accuracy
from r1env_trainers.generate.choose import check_engine, training_engine
from r1env_trainers.generate.engine import CompletionSampler
from r1env_trainers.model.checkpoint import save_model
from r1env_trainers.model.load import LoadedModel
from r1env_trainers.model.session import Session, begin, check_local, checkpoint_when_due
from r1env_trainers.rl.advantages import mixed
from r1env_trainers.rl.config import RolloutConfig
from r1env_trainers.rl.metrics import (
    evaluation_suite,
    failures,
    rollout_metrics,
    rubrics_of,
    sample_rows,
    speed_metrics,
    training_suite,
)
from r1env_trainers.rl.rollouts import Decoding, EarlyScoring, Experience, Trajectory, play, to_tokens


class Learner(Protocol):
    """What a method adds to the loop: the second half of a step, and what it needs beside the policy."""

    def learn(self, experience: Experience, step: int) -> dict[str, float]:
        """Improve the policy on the rollouts of a step; returns metrics."""

    def state(self) -> Mapping[str, Any]:
        """For a checkpoint, beside the policy and its optimizer: what `Session.extra` gives back on resuming."""


def check_rollouts(config: RolloutConfig) -> list[Suite]:
    """Refuse settings that could not be trained with; opens the environments and loads no model.

    Returns:
        The suite of the steps, and that of the late ones where there are any.
    """
    check_local(config)
    check_engine(config.engine.name)
    suites = [training_suite(config, late=late) for late in (False, True)[: 2 if config.final_phase.steps else 1]]
    for suite in suites:
        draw_tasks(suite, 0, 1, config.seed)
    if config.filter.pass_rates is not None and not is_stage(config.filter.pass_rates):
        draw_tasks(suites[0], 0, config.sampling.prompts_per_step, config.seed, _task_filter(config))
    if config.eval.every:
        for environment in evaluation_suite(config).environments:
            environment.task(0)
    return suites


def train_on_rollouts(config: RolloutConfig, run: Run, learner_of: Callable[[Session], Learner]) -> None:
    """Train to the last step, from the newest checkpoint where there is one, and leave the policy."""
    suite = training_suite(config)
    late_suite = training_suite(config, late=True) if config.final_phase.steps else suite
    run.note(**rubrics_of(suite), **({"late": rubrics_of(late_suite)} if config.final_phase.steps else {}))
    keep_task = _task_filter(config)
    held_out = evaluation_suite(config) if config.eval.every else None
    session = begin(config, run)
    policy = session.loaded
    learner = learner_of(session)
    position = session.extra.get("position", 0)
    with contextlib.closing(
        training_engine(policy, config.engine.name, config.engine.vllm, config.seed, config.engine.max_num_seqs)
    ) as engine:
        for step in range(session.first_step, config.steps):
            if held_out is not None and step % config.eval.every == 0:
                evaluate_held_out(held_out, engine, config, run, step)
            if config.is_late(step):
                suite = late_suite
            experience = collect(suite, policy, engine.sampler, config, step, position=position, keep_task=keep_task)
            _stop_when_scoring_fails(experience, config)
            position = experience.position
            start = time.perf_counter()
            metrics = learner.learn(experience, step)
            seconds = {**experience.seconds, "update": time.perf_counter() - start}
            run.log(step + 1, rollout_metrics(experience, suite, config, step) | metrics | speed_metrics(experience, seconds))
            if step % config.log.samples_every == 0:
                run.log_rollouts(step + 1, sample_rows(experience))
            checkpoint_when_due(session, config, run, step + 1, {"position": position, **learner.state()})
        if held_out is not None:
            evaluate_held_out(held_out, engine, config, run, config.steps)
    save_model(run.model_dir(), policy)


def _task_filter(config: RolloutConfig) -> TaskFilter | None:
    """The filter by measured difficulty, where the settings ask for one."""
    if config.filter.pass_rates is None:
        return None
    return within(read_pass_rates(config.filter.pass_rates), config.filter.min_pass_rate, config.filter.max_pass_rate)


def _stop_when_scoring_fails(experience: Experience, config: RolloutConfig) -> None:
    """
    Raises:
        TrainingStoppedError: more than the share `max_failed` of the rollouts.
    """
    share, reason = failures(experience)
    if share > config.max_failed:
        raise TrainingStoppedError(
            f"scoring failed for {share:.0%} of the rollouts of a step (limit {config.max_failed:.0%}, setting max_failed); "
            f"the commonest reason: {reason}"
        )


# The first half of a step: tasks, episodes, scores. Episodes that are over are scored while others are still being sampled.


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
    n, wanted = config.sampling.group_size, config.sampling.prompts_per_step
    position = step * wanted if position is None else position
    scored, missing, batches = _Scored(), wanted, 0
    while missing > 0 and batches <= (config.filter.max_extra_batches if config.filter.dynamic_sampling else 0):
        drawn = draw_tasks(suite, position, missing, config.seed, keep_task)
        decoding = Decoding(
            max_new_tokens=config.sampling.max_new_tokens_at(step),
            temperature=config.sampling.temperature_at(step),
            top_p=config.sampling.top_p,
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
    rewards = scored.rewards(config.sampling.group_size)
    parts, part_weights = _counting_parts(scored, config.sampling.group_size)
    tokens, sampled_logprobs = to_tokens(scored.trajectories, loaded)
    return Experience(
        tokens=tokens,
        sampled_logprobs=sampled_logprobs,
        rewards=rewards,
        parts=parts,
        part_weights=part_weights,
        kept=_first_mixed(rewards, config.sampling.prompts_per_step)
        if config.filter.dynamic_sampling
        else torch.ones(len(rewards), dtype=torch.bool),
        truncated=torch.tensor([trajectory.truncated for trajectory in scored.trajectories]),
        temperature=config.sampling.temperature_at(step),
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


# The tasks of a step: a stretch of a suite's endless stream, less those that the difficulty filter skips.

MOST_SKIPPED = 10_000
"""In a row; beyond that the filter leaves nothing worth waiting for."""

TaskFilter = Callable[[Task], bool]
"""True for tasks to train on."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tasks with their environments, and the position in the stream after them."""

    tasks: list[tuple[Environment, Task]]
    position: int


def draw_tasks(suite: Suite, position: int, count: int, seed: int, keep: TaskFilter | None = None) -> Drawn:
    """The next `count` tasks from `position` on. Depends on the arguments alone, so a resumed run draws what another would have drawn.

    Raises:
        UsageError: the filter skips `MOST_SKIPPED` tasks in a row.
    """
    tasks: list[tuple[Environment, Task]] = []
    skipped = 0
    while len(tasks) < count:
        environment, task = suite.at(position, seed)
        position += 1
        if keep is None or keep(task):
            tasks.append((environment, task))
            skipped = 0
        elif (skipped := skipped + 1) == MOST_SKIPPED:
            raise UsageError(
                f"{MOST_SKIPPED:,} tasks of {suite.name!r} in a row are outside difficulty_low and difficulty_high; widen them"
            )
    return Drawn(tasks, position)


# The evaluation within training: greedy accuracy on the same held-out tasks every time.


def evaluate_held_out(suite: Suite, engine: Engine, config: RolloutConfig, run: Run, step: int) -> None:
    """See `log_accuracy`; a completion may be as long as in the step before."""
    sampling = Sampling(temperature=0, max_new_tokens=config.sampling.max_new_tokens_at(max(0, step - 1)))
    log_accuracy(suite, engine, sampling, run, step, limit=config.eval.limit, shown=config.eval.samples)


# Pass rates of tasks, measured beforehand, and the filter that keeps what is neither too easy nor too hard. Knows no trainer.
#
# Measure with the model that will be trained: `r1env eval --model M --env E --n 16 --temperature 1 --output pass_rates.jsonl`.


def read_pass_rates(path: Path | str) -> dict[str, float]:
    """Task id → the share of its completions that were correct, in [0, 1]; tasks without a verdict are left out.

    Args:
        path: what `r1env eval --output` wrote: a row a completion with `task_id` and `correct` (true, false, or null: not scored).

    Raises:
        UsageError: the file cannot be read, or a row is none of an evaluation.
    """
    verdicts: dict[str, list[bool]] = {}
    for number, row in enumerate(read_jsonl(str(path)), start=1):
        task_id, correct = row.get("task_id"), row.get("correct")
        if not isinstance(task_id, str) or "correct" not in row or not isinstance(correct, bool | None):
            raise UsageError(f"{path}, row {number}: needs task_id and correct, as `r1env eval --output` writes them")
        if correct is not None:
            verdicts.setdefault(task_id, []).append(correct)
    if not verdicts:
        raise UsageError(f"{path} holds no verdict")
    return {task_id: sum(found) / len(found) for task_id, found in verdicts.items()}


def within(pass_rates: Mapping[str, float], low: float, high: float) -> Callable[[Task], bool]:
    """A filter that is False for tasks whose pass rate lies outside [low, high]; a task that was not measured passes."""

    def keep(task: Task) -> bool:
        rate = pass_rates.get(task.id)
        return rate is None or low <= rate <= high

    return keep
