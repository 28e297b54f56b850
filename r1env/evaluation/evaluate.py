"""`evaluate`: sample completions for the tasks of an environment, score them, and summarize."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from r1env.data.sources import iterate
from r1env.engines import Engine, SamplingParams
from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.evaluation.statistics import pass_at_k, wilson_interval
from r1env.rollout import sample_rollouts, stop_when_scoring_fails
from r1env.scoring import score
from r1env.types import EndedBy, FinishReason, Rollout, Score, Status

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""


class EvaluationRow(BaseModel):
    """One scored completion. `length` is in tokens where the engine knows them, else in characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: str
    sample: int
    prompt: str
    completion: str
    answer: str | None
    score: Score
    correct: bool | None
    length: int
    finish_reason: FinishReason
    ended_by: EndedBy | None = None


class Evaluation(BaseModel):
    """The result of an evaluation.

    Attributes:
        accuracy: the share of scored completions that are correct; None when none could be scored.
        interval: 95 % interval around it (Wilson's, over tasks).
        pass_at: k → mean pass@k over the tasks with at least k scored completions; empty for one completion per task.
        parts: mean of every part of the score over the completions where it has a value.
        statuses: status → number of completions.
        unscored: completions without a verdict; they are left out of `accuracy`, never counted as wrong.
        mean_length: of the completions, in tokens where the engine knows them, else in characters.
        truncated: share of completions that a token limit cut off.
        rows: every completion, in the order of the tasks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    tasks: int
    samples: int
    accuracy: float | None
    interval: tuple[float, float] | None
    pass_at: dict[int, float]
    parts: dict[str, float]
    statuses: dict[Status, int]
    unscored: int
    mean_length: float
    truncated: float
    rows: tuple[EvaluationRow, ...]


def evaluate(
    environment: Environment,
    engine: Engine,
    params: SamplingParams,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    batch_size: int = 32,
    max_failed: float = 1.0,
) -> Evaluation:
    """Evaluate an engine on the first `limit` tasks (all of them, where the source ends and `limit` is None).

    A completion is correct when the environment's own checker gives it at least 1: partial credit counts in `parts`, not in
    the accuracy.

    Args:
        params: how to sample; the stop texts of the environment's prompt template are added.
        seed: of the task source; `params.seed` is that of the completions.
        batch_size: tasks per call of the engine; it does not change which tasks are drawn.
        max_failed: the share of a batch whose scoring may fail; by default all of it may, and is counted as unscored.

    Raises:
        UsageError: the rubric does not contain the checker, there is no task, or the source never ends and `limit` is None.
        EngineError: the engine cannot answer.
        TrainingStoppedError: scoring failed for more than `max_failed` of a batch.
    """
    if environment.accuracy not in environment.rubric.part_keys:
        raise UsageError(
            f"rubric {environment.rubric.name!r} has no reward 'accuracy' to tell correct answers by; give it one, of weight 0 "
            "if it shall not count"
        )
    tasks = list(iterate(environment.source, limit, seed))
    if not tasks:
        raise UsageError(f"there is nothing to evaluate on: {environment.name!r} gave no task under the limit {limit}")
    rows: list[EvaluationRow] = []
    for batch, start in enumerate(range(0, len(tasks), batch_size)):
        groups = sample_rollouts(environment, engine, tasks[start : start + batch_size], params, batch=batch)
        scored = score([rollout for group in groups for rollout in group], environment.rubric)
        stop_when_scoring_fails(scored, max_failed, "the completions of a batch")
        scores = iter(scored)
        rows.extend(
            _row(rollout, index, next(scores), environment.accuracy) for group in groups for index, rollout in enumerate(group)
        )
        if progress is not None:
            progress(min(start + batch_size, len(tasks)), len(tasks))
    return summarize(environment.name, rows, samples=params.n)


def summarize(environment: str, rows: Sequence[EvaluationRow], samples: int) -> Evaluation:
    """Compute the result from rows, which hold `samples` completions for each task, task by task."""
    groups = [[row.correct for row in rows[i : i + samples]] for i in range(0, len(rows), samples)]
    scored = [[correct for correct in group if correct is not None] for group in groups]
    verdicts = [correct for group in scored for correct in group]
    accuracy = fmean(verdicts) if verdicts else None
    return Evaluation(
        environment=environment,
        tasks=len(groups),
        samples=samples,
        accuracy=accuracy,
        interval=None if accuracy is None else wilson_interval(accuracy, sum(map(bool, scored))),
        pass_at={} if samples == 1 else _pass_at(scored, samples),
        parts=_part_means(row.score for row in rows),
        statuses=dict(Counter(row.score.status for row in rows).most_common()),
        unscored=len(rows) - len(verdicts),
        mean_length=fmean(row.length for row in rows),
        truncated=fmean(row.finish_reason is FinishReason.LENGTH for row in rows),
        rows=tuple(rows),
    )


def _pass_at(scored: Sequence[Sequence[bool]], samples: int) -> dict[int, float]:
    """Return pass@k for k = 1, 2, 4, … up to `samples`, and `samples` itself."""
    ks = sorted({*(1 << power for power in range(samples.bit_length()) if 1 << power <= samples), samples})
    estimates = {k: [pass_at_k(len(group), sum(group), k) for group in scored if len(group) >= k] for k in ks}
    return {k: fmean(values) for k, values in estimates.items() if values}


def _part_means(scores: Iterable[Score]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for result in scores:
        for part, value in result.parts.items():
            if not math.isnan(value):
                values.setdefault(part, []).append(value)
    return {part: fmean(found) for part, found in values.items()}


def _row(rollout: Rollout, sample: int, result: Score, part: str) -> EvaluationRow:
    value = result.parts[part]
    return EvaluationRow(
        task_id=rollout.task.id,
        sample=sample,
        prompt=rollout.task.question,
        completion=rollout.completion,
        answer=rollout.task.answer,
        score=result,
        correct=None if math.isnan(value) else value >= 1.0,
        length=len(rollout.completion) if rollout.token_ids is None else len(rollout.token_ids),
        finish_reason=rollout.finish_reason,
        ended_by=rollout.ended_by,
    )
