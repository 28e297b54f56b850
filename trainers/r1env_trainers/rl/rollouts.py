"""The first half of a step: tasks are drawn, episodes played and scored, and all of it becomes an `Experience`."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from r1env.data.rows import read_rows
from r1env.engines import TokenEngine, derive_seed
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.preflight import prompt_length
from r1env.rollout import Trajectory, play
from r1env.rubrics import Rubric
from r1env.scoring import Scoring
from r1env.types import Rollout, Score, Task
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.load import LoadedModel
from r1env_trainers.model.logprobs import TokenBatch
from r1env_trainers.rl.advantages import mixed
from r1env_trainers.rl.config import RolloutConfig
from r1env_trainers.settings import open_evaluation, open_suite

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Experience:
    """A scored batch of P prompts with n episodes each, rows in prompt-major order.

    Attributes:
        tokens: [P*n] rows. All turns of an episode are one row, whose mask is 1 on the tokens that the model wrote.
        sampled_logprobs: [P*n, T] as the sampler reported them; 0 where the mask is 0.
        rewards: [P, n], NaN where unscored.
        parts: [P, n, K] values of the K rewards with a weight; NaN where one has no value or is not in the prompt's environment.
        part_weights: [P, K] weights of these rewards in each prompt's environment.
        kept: [P] True for the prompts to learn from; all of them without `refill`.
        truncated: [P*n] True where a token limit cut a turn off, or the context was full.
        temperature: that the rollouts were sampled with.
        environments: the name of each prompt's environment.
        rollouts, scores: of each row. All scores have the same parts, NaN where a part is not in the row's environment.
        position: in the stream of tasks, after this batch.
        refills: how many further batches `refill` drew.
        seconds: wall-clock seconds of each phase; `reward` is the wait for scores after the last token.
    """

    tokens: TokenBatch
    sampled_logprobs: Tensor
    rewards: Tensor
    parts: Tensor
    part_weights: Tensor
    kept: Tensor
    truncated: Tensor
    temperature: float
    environments: list[str]
    rollouts: list[Rollout]
    scores: list[Score]
    position: int
    refills: int
    seconds: dict[str, float]


def collect(
    suite: Suite,
    policy: LoadedModel,
    engine: TokenEngine,
    config: RolloutConfig,
    step: int,
    *,
    position: int | None = None,
    keep_task: TaskFilter | None = None,
) -> Experience:
    """Sample and score the rollouts of one step.

    With dynamic sampling (DAPO, arXiv 2503.14476, section 3.2), a group whose rewards, or whose verdicts of the environment's own
    checker, are all equal is replaced by that of another prompt, until `prompts_per_step` groups are mixed or `max_extra_batches` further
    batches were drawn. The result holds everything that was drawn; `kept` says which prompts to learn from.

    Args:
        policy: the model that `engine` samples from; its pad token and device are those of the result's tensors.
        position: in the stream of tasks; by default that of a run which draws prompts_per_step tasks in every step.
        keep_task: see `draw_tasks`.
    """
    n, wanted = config.sampling.group_size, config.sampling.prompts_per_step
    position = step * wanted if position is None else position
    scored, missing, batches = _Scored(), wanted, 0
    while missing > 0 and batches <= (config.filter.max_extra_batches if config.filter.dynamic_sampling else 0):
        drawn = draw_tasks(suite, position, missing, config.seed, keep_task)
        params = config.sampling.params(
            n=n,
            max_new_tokens=config.sampling.max_new_tokens_at(step),
            temperature=config.sampling.temperature_at(step),
            seed=derive_seed(config.seed, step, batches),
        )
        start = time.perf_counter()
        with EarlyScoring(drawn.tasks, n) as scoring:
            trajectories = play(drawn.tasks, engine, params, scoring.add)
            generated = time.perf_counter()
            scores = scoring.finish(trajectories)
        scored.seconds["generate"] += generated - start
        scored.seconds["reward"] += time.perf_counter() - generated
        scored.environments += [environment for environment, _ in drawn.tasks]
        scored.trajectories += trajectories
        scored.scores += scores
        position = drawn.position
        batches += 1
        missing = wanted - int(mixed(scored.compared(config)).sum())
    return _experience(scored, policy, config, step, position=position, refills=batches - 1)


def _experience(
    scored: _Scored, policy: LoadedModel, config: RolloutConfig, step: int, *, position: int, refills: int
) -> Experience:
    rewards = scored.rewards(config.sampling.group_size)
    parts, part_weights = _counting_parts(scored, config.sampling.group_size)
    tokens, sampled_logprobs = to_tokens(scored.trajectories, policy)
    return Experience(
        tokens=tokens,
        sampled_logprobs=sampled_logprobs,
        rewards=rewards,
        parts=parts,
        part_weights=part_weights,
        kept=_first_mixed(scored.compared(config), config.sampling.prompts_per_step)
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


def _first_mixed(values: Tensor, count: int) -> Tensor:
    """Return [P], True for the first `count` groups whose values differ."""
    differing = mixed(values)
    return differing & (differing.cumsum(dim=0) <= count)


def _counting_parts(scored: _Scored, n: int) -> tuple[Tensor, Tensor]:
    """Return the values [P, n, K] and weights [P, K] of all rewards that have a weight in some environment."""
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
    """Return the scores, each with the parts of all environments."""
    keys = dict.fromkeys(key for environment in scored.environments for key in environment.rubric.part_keys)
    if all(len(result.parts) == len(keys) for result in scored.scores):
        return scored.scores
    missing = dict.fromkeys(keys, math.nan)
    return [result.model_copy(update={"parts": {**missing, **result.parts}}) for result in scored.scores]


def to_tokens(trajectories: Sequence[Trajectory], loaded: LoadedModel) -> tuple[TokenBatch, Tensor]:
    """Return all episodes as one batch, and the sampler's log-probs [B, T]."""
    width = max(1, max(len(trajectory.ids) for trajectory in trajectories))
    shape = (len(trajectories), width)
    ids = torch.full(shape, loaded.pad, dtype=torch.long)
    sampled = torch.zeros(shape, dtype=torch.bool)
    present = torch.zeros(shape, dtype=torch.bool)
    logprobs = torch.zeros(shape)
    for row, trajectory in enumerate(trajectories):
        length = len(trajectory.ids)
        ids[row, :length] = torch.tensor(trajectory.ids, dtype=torch.long)
        sampled[row, :length] = torch.tensor(trajectory.sampled, dtype=torch.bool)
        present[row, :length] = True
        logprobs[row, :length] = torch.tensor(trajectory.logprobs)
    prompt_ids, prompt_mask = left_pad([trajectory.prompt for trajectory in trajectories], loaded.pad, loaded.device)
    context = present & ~sampled
    batch = TokenBatch(
        prompt_ids,
        prompt_mask,
        ids.to(loaded.device),
        sampled.float().to(loaded.device),
        context.to(loaded.device) if context.any() else None,
    )
    return batch, logprobs.to(loaded.device)


@dataclass(slots=True)
class _Scored:
    """Episodes with their scores, collected batch by batch; n rows per prompt."""

    environments: list[Environment] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"generate": 0.0, "reward": 0.0})

    def rewards(self, n: int) -> Tensor:
        """[P, n]"""
        return torch.tensor([math.nan if s.value is None else s.value for s in self.scores]).view(-1, n)

    def compared(self, config: RolloutConfig) -> Tensor:
        """[P, n] what dynamic sampling compares: the rewards, or the verdicts of each environment's own checker."""
        n = config.sampling.group_size
        if config.filter.dynamic_sampling_metric == "reward":
            return self.rewards(n)
        keys = [environment.accuracy for environment in self.environments for _ in range(n)]
        return torch.tensor([score.parts[key] for key, score in zip(keys, self.scores, strict=True)]).view(-1, n)


# The suites that tasks come from: of the steps, of the last ones, and of the evaluation.


def training_suite(config: RolloutConfig, *, late: bool = False) -> Suite:
    """Return the suite of the steps; `late` for that of the last `late_steps`."""
    if not late:
        return open_suite(config, config.rubric)
    shares = config.final_phase.mixture or config.mixture
    if config.final_phase.rubric is not None:
        shares = tuple(share.model_copy(update={"rubric": None}) for share in shares)
    rubric = config.rubric if config.final_phase.rubric is None else config.final_phase.rubric
    return open_suite(config.model_copy(update={"mixture": shares}), rubric)


def evaluation_suite(config: RolloutConfig) -> Suite:
    """Return the same environments on tasks that training does not see, scored by their checkers alone.

    Raises:
        UsageError: there are no such tasks.
    """
    shares = tuple(share.model_copy(update={"rubric": None}) for share in config.mixture)
    training = [training_suite(config), *([training_suite(config, late=True)] if config.final_phase.steps else [])]
    return open_evaluation(config.model_copy(update={"mixture": shares}), "accuracy", training, **config.eval.env_options)


# The tasks of a step: the next ones of a suite's endless stream, without those that the difficulty filter skips.

MOST_SKIPPED = 10_000
"""Tasks in a row; a filter that skips more is an error rather than an endless loop."""

TaskFilter = Callable[[Environment, Task], bool]
"""True for tasks to train on."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tasks with their environments, and the position in the stream after them."""

    tasks: list[tuple[Environment, Task]]
    position: int


def draw_tasks(suite: Suite, position: int, count: int, seed: int, keep: TaskFilter | None = None) -> Drawn:
    """Return the next `count` tasks from `position` on. The result depends on the arguments alone, so a resumed run draws the same.

    Raises:
        UsageError: the filter skips `MOST_SKIPPED` tasks in a row.
    """
    tasks: list[tuple[Environment, Task]] = []
    skipped = 0
    while len(tasks) < count:
        environment, task = suite.at(position, seed)
        position += 1
        if keep is None or keep(environment, task):
            tasks.append((environment, task))
            skipped = 0
        elif (skipped := skipped + 1) == MOST_SKIPPED:
            raise UsageError(
                f"{MOST_SKIPPED:,} tasks of {suite.name!r} in a row are left out by filter.min_pass_rate, filter.max_pass_rate or "
                "filter.max_prompt_length; widen them"
            )
    return Drawn(tasks, position)


# Filters. That by difficulty keeps tasks whose pass rate, measured beforehand, is neither too low nor too high.
#
# Measure the tasks of the training with the model that will be trained:
# `r1env eval --model M --env E -o split=train --n 16 --temperature 1 --output pass_rates.jsonl`.

LOOKED_AT = 256  # tasks, of which the share with a pass rate is logged
MOST_LOOKED_AT = 10_000  # tasks, among which one with a pass rate is looked for


def check_measured(suite: Suite, config: RolloutConfig) -> None:
    """Say how many tasks have a measured pass rate, where the settings name some.

    Raises:
        UsageError: none has, so that the filter would leave out nothing. An evaluation measures the split `test` unless it is told
            otherwise, and training draws from `train`.
    """
    if config.filter.pass_rates is None:
        return
    rates = read_pass_rates(config.filter.pass_rates)
    ids = (suite.at(position, config.seed)[1].id for position in range(MOST_LOOKED_AT))
    found = sum(one in rates for one in itertools.islice(ids, LOOKED_AT))
    if not found and not any(one in rates for one in ids):
        raise UsageError(
            f"none of {MOST_LOOKED_AT:,} tasks of {suite.name!r} is among the {len(rates):,} of {config.filter.pass_rates}, so the filter "
            f"would leave out nothing; measure the tasks of the training: r1env eval -o split=train --output FILE"
        )
    logger.info("%d of the first %d tasks have a measured pass rate; the others are kept", found, LOOKED_AT)


def task_filter(config: RolloutConfig, tokenizer: Any = None) -> TaskFilter | None:
    """Return the filter by measured difficulty and by the length of prompts, or None where the settings ask for neither.

    Args:
        tokenizer: that measures prompts; without one, their length is no matter.
    """
    filters: list[TaskFilter] = []
    if config.filter.pass_rates is not None:
        rates = read_pass_rates(config.filter.pass_rates)
        filters.append(within(rates, config.filter.min_pass_rate, config.filter.max_pass_rate))
    if tokenizer is not None and (most := config.filter.max_prompt_length) is not None:
        filters.append(lambda environment, task: prompt_length(environment, task, tokenizer) <= most)
    return (lambda environment, task: all(keep(environment, task) for keep in filters)) if filters else None


def read_pass_rates(path: Path | str) -> dict[str, float]:
    """Return task id → the share of its completions that were correct, in [0, 1]; tasks without a verdict are left out.

    Args:
        path: the file of `r1env eval --output`: one row per completion, with `task_id` and `correct` (null where unscored).

    Raises:
        UsageError: the file cannot be read, or a row does not come from an evaluation.
    """
    verdicts: dict[str, list[bool]] = {}
    for row in read_rows(str(path)):
        task_id, correct = row.get("task_id"), row.get("correct")
        if not isinstance(task_id, str) or "correct" not in row or not isinstance(correct, bool | None):
            raise UsageError(f"{row.where}: needs task_id and correct, as `r1env eval --output` writes them")
        if correct is not None:
            verdicts.setdefault(task_id, []).append(correct)
    if not verdicts:
        raise UsageError(f"{path} holds no verdict")
    return {task_id: sum(found) / len(found) for task_id, found in verdicts.items()}


def within(pass_rates: Mapping[str, float], low: float, high: float) -> TaskFilter:
    """Return a filter that drops tasks whose pass rate lies outside [low, high]; tasks that were not measured pass."""

    def keep(_environment: Environment, task: Task) -> bool:
        rate = pass_rates.get(task.id)
        return rate is None or low <= rate <= high

    return keep


# Scoring episodes as they end: rewards that run in workers run in parallel with decoding.

PARTS = 16
"""Submit finished episodes in batches of 1/16 of all: a call for each would cost more than it saves."""


class EarlyScoring:
    """Scores a batch of episodes, each by its own environment's rubric. A context manager: leaving it by an error cancels the rest.

    Args:
        tasks: with their environments; there will be `n` episodes of each.
    """

    def __init__(self, tasks: Sequence[tuple[Environment, Task]], n: int) -> None:
        self._tasks, self._n = tasks, n
        self._enough = max(1, len(tasks) * n // PARTS)
        self._waiting: list[Trajectory] = []
        self._scorings: dict[int, Scoring] = {}  # by the identity of the rubric
        self._added: dict[int, list[Trajectory]] = {}

    def add(self, done: Sequence[Trajectory]) -> None:
        """Start scoring episodes that are over."""
        self._waiting += done
        if len(self._waiting) >= self._enough:
            self._hand_over()

    def finish(self, trajectories: Sequence[Trajectory]) -> list[Score]:
        """Wait for the scores of all episodes that were added; return them in the order of `trajectories`."""
        self._hand_over()
        scores: dict[int, Score] = {}
        for key, scoring in self._scorings.items():
            scores |= zip(map(id, self._added[key]), scoring.finish(), strict=True)
        return [scores[id(trajectory)] for trajectory in trajectories]

    def __enter__(self) -> EarlyScoring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            for scoring in self._scorings.values():
                scoring.cancel()

    def _hand_over(self) -> None:
        by_rubric: dict[int, tuple[Rubric, list[Trajectory]]] = {}
        for trajectory in self._waiting:
            rubric = trajectory.environment.rubric
            by_rubric.setdefault(id(rubric), (rubric, []))[1].append(trajectory)
        self._waiting = []
        for key, (rubric, members) in by_rubric.items():
            if key not in self._scorings:
                self._scorings[key], self._added[key] = Scoring(rubric), []
                own = (task for environment, task in self._tasks if environment.rubric is rubric)
                self._scorings[key].expect(own, self._n)
            self._scorings[key].add([member.episode.rollout() for member in members])
            self._added[key] += members
