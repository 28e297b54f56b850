"""`evaluate`: sample completions for the tasks of an environment, score them, and summarize."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field

from r1env.data.sources import iterate
from r1env.engines import Engine, SamplingParams, derive_seed
from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.evaluation.statistics import mean_interval, pass_at_k, share_interval, wilson_interval
from r1env.evaluation.voting import majority_is_correct, votes
from r1env.rewards import Scope
from r1env.rollout import Trajectory, play, stop_when_scoring_fails
from r1env.rubrics import needs_whole_groups
from r1env.runs.rollouts import short_metadata
from r1env.scoring import score
from r1env.types import Conversation, EndedBy, FinishReason, Rollout, Score, Status, Task

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""

Keep = Callable[[Sequence["EvaluationRow"]], None]
"""Receives new rows."""


class EvaluationRow(BaseModel):
    """One scored completion.

    Attributes:
        position: of its task among those evaluated.
        sample: number of the completion among those of its task.
        prompt: the question, without the prompt template.
        messages: the whole conversation, where it has more than one turn of the model.
        length: in tokens where the engine knows them, else in characters.
        vote: class of the answer among those of its task, see `r1env.evaluation.voting`; None without an answer, or for one completion per task.
        metadata: of the task: numbers and short texts, such as its level or subject.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    position: int = 0
    task_id: str
    sample: int
    prompt: str
    messages: Conversation = ()
    completion: str
    answer: str | None
    score: Score
    correct: bool | None
    length: int
    finish_reason: FinishReason
    ended_by: EndedBy | None = None
    error: str = ""
    vote: int | None = None
    metadata: Mapping[str, str | int | float] = Field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the engine, the environment or the scoring failed; such a completion is made again when an evaluation is resumed."""
        return self.score.failed or bool(self.error) or self.finish_reason is FinishReason.ERROR


class Evaluation(BaseModel):
    """The result of an evaluation.

    Attributes:
        accuracy: pass@1: the share of scored completions that are correct, averaged over tasks; None when none could be scored.
        interval: 95 % interval around it, over tasks: Wilson's for one completion per task, else see `mean_interval`.
        pass_at: k → mean pass@k over the tasks with at least k scored completions; empty for one completion per task.
        consensus: cons@k, the share of tasks whose commonest answer is correct, for `samples` completions each; None for one.
        intervals: 95 % intervals of the other numbers, by `pass@4` or `cons@8`, over the same tasks as the number.
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
    consensus: float | None = None
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
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
    done: Sequence[EvaluationRow] = (),
    keep: Keep | None = None,
) -> Evaluation:
    """Evaluate an engine on the first `limit` tasks (all of them, where the source ends and `limit` is None).

    A completion is correct when the environment's own checker gives it at least 1: partial credit counts in `parts`, not in
    the accuracy.

    Args:
        params: how to sample; the stop texts of the environment's prompt template are added.
        seed: of the task source; `params.seed` is that of the completions.
        batch_size: tasks per call of the engine; it does not change which tasks are drawn.
        max_failed: the share of a batch whose scoring may fail; by default all of it may, and is counted as unscored.
        done: rows of an evaluation that was cut short, with the same settings: only the others are sampled.
        keep: receives every new row as soon as it is scored, while others are still being sampled, in a thread of its own.

    Raises:
        UsageError: the rubric does not contain the checker, there is no task, the source never ends and `limit` is None, or a row of
            `done` is of another task than the source has there now.
        EngineError: the engine cannot answer. Rows that `keep` received are good.
        TrainingStoppedError: scoring failed for more than `max_failed` of a batch.
    """
    _check_verdict(environment)
    tasks = list(iterate(environment.source, limit, seed))
    if not tasks:
        raise UsageError(f"there is nothing to evaluate on: {environment.name!r} gave no task under the limit {limit}")
    check_rows(done, tasks, environment)
    rows = {(row.position, row.sample): row for row in done}
    for batch, start in enumerate(range(0, len(tasks), batch_size)):
        of_batch = params.model_copy(update={"seed": derive_seed(params.seed, batch)})
        new: list[EvaluationRow] = []
        positions = range(start, min(start + batch_size, len(tasks)))
        for missing, (first, count) in _missing(positions, rows, environment, params.n):
            how = of_batch.model_copy(update={"first": first, "n": count})
            new += _sample(environment, engine, [(position, tasks[position]) for position in missing], how, keep)
        stop_when_scoring_fails([row.score for row in new], max_failed, "the completions of a batch")
        rows.update(((row.position, row.sample), row) for row in new)
        if progress is not None:
            progress(min(start + batch_size, len(tasks)), len(tasks))
    ordered = [rows[position, sample] for position in range(len(tasks)) for sample in range(params.n)]
    if params.n > 1:
        ordered = _with_votes(ordered, tasks, environment)
    return summarize(environment.name, ordered, samples=params.n)


def score_again(environment: Environment, tasks: Sequence[Task], rows: Sequence[EvaluationRow], samples: int) -> Evaluation:
    """Score the completions of an evaluation by the environment's rubric as it is now; nothing is sampled.

    Args:
        tasks: in the order of the positions.
        rows: of those whose engine or environment had failed, the failure is kept.
        samples: completions of each task; `rows` has all of them.

    Raises:
        UsageError: the rubric does not contain the checker, or a row is of another task than the source has there now.
    """
    _check_verdict(environment)
    check_rows(rows, tasks, environment)
    rows = sorted(rows, key=lambda row: (row.position, row.sample))
    rollouts = rollouts_of(rows, tasks)
    new = [
        make_row(rollout, row.position, row.sample, found, environment.accuracy).model_copy(update={"length": row.length})
        for rollout, row, found in zip(rollouts, rows, score(rollouts, environment.rubric), strict=True)
    ]
    return summarize(environment.name, _with_votes(new, tasks, environment) if samples > 1 else new, samples)


def _check_verdict(environment: Environment) -> None:
    """Raise UsageError where the rubric lacks the reward that says whether a completion is correct."""
    if environment.accuracy not in environment.rubric.part_keys:
        raise UsageError(
            f"rubric {environment.rubric.name!r} has no reward 'accuracy' to tell correct answers by; give it one, of weight 0 "
            "if it shall not count"
        )


def rollouts_of(rows: Iterable[EvaluationRow], tasks: Sequence[Task]) -> list[Rollout]:
    """Return the rollouts that rows were made of, without their tokens.

    Args:
        tasks: in the order of the positions.
    """
    return [
        Rollout(
            task=tasks[row.position],
            completion=row.completion,
            messages=row.messages,
            finish_reason=row.finish_reason,
            ended_by=row.ended_by,
            error=row.error,
        )
        for row in rows
    ]


def check_rows(rows: Iterable[EvaluationRow], tasks: Sequence[Task], environment: Environment) -> None:
    """Raise UsageError where a row is of another task than the source has there now."""
    for row in rows:
        task = tasks[row.position] if row.position < len(tasks) else None
        if task is None or (task.id, task.question) != (row.task_id, row.prompt):
            raise UsageError(
                f"task {row.task_id!r} of {environment.name!r} is no longer at place {row.position} of its source: "
                "the data have changed since; evaluate again"
            )


def _with_votes(rows: Sequence[EvaluationRow], tasks: Sequence[Task], environment: Environment) -> list[EvaluationRow]:
    """Return the rows with the classes of their answers. Programs, and tasks without a reference, have none."""
    checker = next(item.reward for item in environment.rubric.rewards if item.reward.name == environment.accuracy)
    if checker.scope is not Scope.ROLLOUT or not any(task.answer for task in tasks):
        return list(rows)
    completions: dict[int, list[str]] = {}
    for row in rows:
        completions.setdefault(row.position, []).append("" if row.failed else row.completion)
    classes = votes([(tasks[position], texts) for position, texts in completions.items()], checker)
    found = itertools.chain.from_iterable(classes)
    return [row.model_copy(update={"vote": vote}) for row, vote in zip(rows, found, strict=True)]


def _missing(
    positions: Iterable[int], rows: Mapping[tuple[int, int], EvaluationRow], environment: Environment, n: int
) -> list[tuple[list[int], tuple[int, int]]]:
    """Return the positions of tasks that lack completions, by which they lack: (number of the first, how many) of a stretch."""
    found: dict[tuple[int, int], list[int]] = {}
    for position in positions:
        lacking = [sample for sample in range(n) if (position, sample) not in rows]
        if lacking and needs_whole_groups(environment.rubric):
            lacking = list(range(n))
        for _, stretch in itertools.groupby(enumerate(lacking), lambda pair: pair[1] - pair[0]):
            members = [sample for _, sample in stretch]
            found.setdefault((members[0], len(members)), []).append(position)
    return [(missing, span) for span, missing in found.items()]


def _sample(
    environment: Environment, engine: Engine, tasks: Sequence[tuple[int, Task]], params: SamplingParams, keep: Keep | None
) -> list[EvaluationRow]:
    """Sample `params.n` completions of each task, and score them in a thread of their own while others are being sampled."""
    groups = needs_whole_groups(environment.rubric)
    arrived: dict[int, list[Trajectory]] = {}
    jobs: list[Future[list[EvaluationRow]]] = []

    def score_some(episodes: Sequence[Trajectory]) -> list[EvaluationRow]:
        rollouts = [one.episode.rollout() for one in episodes]
        rows = []
        for one, rollout, found in zip(episodes, rollouts, score(rollouts, environment.rubric), strict=True):
            task, sample = divmod(one.place, params.n)
            rows.append(make_row(rollout, tasks[task][0], params.first + sample, found, environment.accuracy))
        if keep is not None:
            keep(rows)
        return rows

    def take(episodes: Sequence[Trajectory]) -> None:
        if not groups:
            jobs.append(thread.submit(score_some, list(episodes)))
            return
        for one in episodes:
            group = arrived.setdefault(one.place // params.n, [])
            group.append(one)
            if len(group) == params.n:
                jobs.append(thread.submit(score_some, sorted(group, key=lambda member: member.place)))

    with ThreadPoolExecutor(1, "r1env-evaluation") as thread:
        play([(environment, task) for _, task in tasks], engine, params, take)
        return [row for job in jobs for row in job.result()]


def summarize(environment: str, rows: Sequence[EvaluationRow], samples: int) -> Evaluation:
    """Compute the result from rows, which hold `samples` completions for each task, task by task."""
    groups = [[row.correct for row in rows[i : i + samples]] for i in range(0, len(rows), samples)]
    scored = [[correct for correct in group if correct is not None] for group in groups]
    verdicts = [correct for group in scored for correct in group]
    # The mean over tasks of each task's mean: a task with an unscored completion counts as much as any other.
    accuracy = fmean(fmean(group) for group in scored if group) if verdicts else None
    pass_at = {} if samples == 1 else _pass_at(scored, samples)
    consensus = _consensus(rows, samples)
    intervals = {f"pass@{k}": share_interval(values) for k, values in pass_at.items() if k > 1}
    if consensus:
        intervals[f"cons@{samples}"] = share_interval(consensus)
    return Evaluation(
        environment=environment,
        tasks=len(groups),
        samples=samples,
        accuracy=accuracy,
        interval=None if accuracy is None else _interval(scored, accuracy),
        pass_at={k: fmean(values) for k, values in pass_at.items()},
        consensus=fmean(consensus) if consensus else None,
        intervals=intervals,
        parts=_part_means(row.score for row in rows),
        statuses=dict(Counter(row.score.status for row in rows).most_common()),
        unscored=len(rows) - len(verdicts),
        mean_length=fmean(row.length for row in rows),
        truncated=fmean(row.finish_reason is FinishReason.LENGTH for row in rows),
        rows=tuple(rows),
    )


def _interval(scored: Sequence[Sequence[bool]], accuracy: float) -> tuple[float, float]:
    """Return the 95 % interval over tasks: Wilson's for one completion of each, else that of the mean of the tasks' means."""
    means = [fmean(group) for group in scored if group]
    if all(len(group) <= 1 for group in scored):
        return wilson_interval(accuracy, len(means))
    return mean_interval(means)


def accuracy_cell(evaluation: Evaluation) -> str:
    """Return accuracy and interval as `93.2 % [90.1, 95.4]`; a dash where nothing was scored."""
    if evaluation.accuracy is None or evaluation.interval is None:
        return "–"
    low, high = evaluation.interval
    return f"{evaluation.accuracy:.1%} [{100 * low:.1f}, {100 * high:.1f}]".replace("%", " %")


def _pass_at(scored: Sequence[Sequence[bool]], samples: int) -> dict[int, list[float]]:
    """Return pass@k of each task with as many scored completions, for k = 1, 2, 4, … up to `samples`, and `samples` itself."""
    ks = sorted({*(1 << power for power in range(samples.bit_length()) if 1 << power <= samples), samples})
    estimates = {k: [pass_at_k(len(group), sum(group), k) for group in scored if len(group) >= k] for k in ks}
    return {k: values for k, values in estimates.items() if values}


def _consensus(rows: Sequence[EvaluationRow], samples: int) -> list[float]:
    """Return `majority_is_correct` of each task that was voted on."""
    groups = [rows[start : start + samples] for start in range(0, len(rows), samples)]
    found = [majority_is_correct([row.vote for row in group], [row.correct for row in group]) for group in groups]
    return [share for share in found if share is not None]


def _part_means(scores: Iterable[Score]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for result in scores:
        for part, value in result.parts.items():
            if not math.isnan(value):
                values.setdefault(part, []).append(value)
    return {part: fmean(found) for part, found in values.items()}


def _length(rollout: Rollout) -> int:
    """Return the length of the final turn, in tokens where the engine knows them, else in characters."""
    last = rollout.turns[-1]
    if last.token_ids is not None:
        return len(last.token_ids)
    return len(rollout.completion) if last.tokens is None else last.tokens


def make_row(rollout: Rollout, position: int, sample: int, result: Score, accuracy: str) -> EvaluationRow:
    """Return the row of a scored rollout; `accuracy` is the name of the part that says whether it is correct."""
    value = result.parts[accuracy]
    return EvaluationRow(
        position=position,
        task_id=rollout.task.id,
        sample=sample,
        prompt=rollout.task.question,
        messages=rollout.messages if len(rollout.turns) > 1 else (),
        completion=rollout.completion,
        answer=rollout.task.answer,
        score=result,
        correct=None if math.isnan(value) else value >= 1.0,
        length=_length(rollout),
        finish_reason=rollout.finish_reason,
        ended_by=rollout.ended_by,
        error=rollout.error,
        metadata=short_metadata(rollout.task.metadata),
    )
