"""Rejection sampling: sample, score and select, batch by batch; a stage resumes after its last finished batch."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from r1env.engines import Engine
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import TrainingStoppedError, UsageError
from r1env.importing import import_target
from r1env.plugins import Plugins, installed
from r1env.preflight import check_suites
from r1env.rollout import sample_rollouts, stop_when_scoring_fails
from r1env.runs.files import to_json
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env.runs.tables import TABLE_JSON, write_table
from r1env.scoring import score
from r1env.types import Rollout, Score, Task
from r1env_trainers.evaluate import SAMPLED_TOKENS
from r1env_trainers.model.checkpoint import list_checkpoints
from r1env_trainers.model.load import check_model_name, choose_device
from r1env_trainers.rejection.config import DrawSettings, RejectionConfig
from r1env_trainers.rejection.data import DATA, Shard, by_domain, check_extra, extra_rows, read_shards, write_data, write_shard
from r1env_trainers.rejection.select import KEPT, Sample, Selector
from r1env_trainers.rejection.statistics import Counts, count, length_of, make_table, merged
from r1env_trainers.settings import Device, open_suite

Drawn = tuple[Environment, list[Rollout], list[Score]]
"""The samples of one prompt."""


def check_draw(settings: DrawSettings) -> None:
    """Find unknown environments, rewards and engines; sample nothing.

    Raises:
        UsageError: with what to change.
    """
    plugins = installed()
    open_suite(settings, settings.rubric).at(0)
    Selector(settings.keep, plugins)
    plugins.engine(settings.engine.name)


def draw_samples(
    settings: DrawSettings, model: str, device: Device, seed: int, run: Run, *, step: int | None = None
) -> list[Shard]:
    """Return all batches of the running stage, including those of an earlier attempt. A batch depends on settings and seed alone.

    Args:
        model: to sample from, as the engine names it.
        step: the step of the metrics of all batches; None for one step per batch.

    Raises:
        EngineError: the engine cannot answer.
        TrainingStoppedError: scoring fails too often.
    """
    plugins = installed()
    folder = run.checkpoint_dir
    shards = read_shards(folder)
    batches = -(-settings.sampling.prompts // settings.sampling.prompts_per_batch)
    if shards and not list_checkpoints(folder):  # a checkpoint has a later position than the last batch
        run.rewind(shards[-1].position)
    if len(shards) == batches:
        return shards
    suite, selector = open_suite(settings, settings.rubric), Selector(settings.keep, plugins)
    seen = {digest for shard in shards for digest in shard.prompts}
    with contextlib.closing(_open_engine(settings, model, device, seed, plugins)) as engine:
        check_suites([suite], settings.preflight, engine, seed=seed)
        for number in range(len(shards), batches):
            start = time.perf_counter()
            stop = min((number + 1) * settings.sampling.prompts_per_batch, settings.sampling.prompts)
            tasks = _new_tasks(suite, range(number * settings.sampling.prompts_per_batch, stop), seed, seen)
            rows, counts = _do_batch(engine, selector, tasks, settings, seed, number)
            run.log(step if step is not None else number + 1, _metrics(counts, time.perf_counter() - start))
            digests = tuple(_digest(environment, task) for environment, task in tasks)
            shards.append(Shard(prompts=digests, rows=tuple(rows), counts=counts, position=run.position()))
            write_shard(folder, number, shards[-1])
    return shards


def demonstrations(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """Return the rows of all batches.

    Raises:
        TrainingStoppedError: nothing was kept.
    """
    rows = [row for shard in shards for row in shard.rows]
    if not rows:
        total = sum(merged(shard.counts for shard in shards).values(), start=Counts())
        fates = ", ".join(f"{fate} {number}" for fate, number in sorted(total.fates.items(), key=lambda item: -item[1]))
        raise TrainingStoppedError(
            f"none of {total.sampled} samples was kept ({fates}); a better model, a lower keep.threshold or more max_new_tokens may help"
        )
    return rows


def _new_tasks(suite: Suite, positions: range, seed: int, seen: set[str]) -> list[tuple[Environment, Task]]:
    """Return the tasks at these positions whose prompts are not in `seen`, and add them to it."""
    tasks = []
    for position in positions:
        environment, task = suite.at(position, seed)
        digest = _digest(environment, task)
        if digest not in seen:
            seen.add(digest)
            tasks.append((environment, task))
    return tasks


def _digest(environment: Environment, task: Task) -> str:
    shown = to_json(list(environment.template.messages(task)))
    return hashlib.blake2b(shown.encode(), digest_size=12).hexdigest()


def _do_batch(
    engine: Engine,
    selector: Selector,
    tasks: Sequence[tuple[Environment, Task]],
    settings: DrawSettings,
    seed: int,
    number: int,
) -> tuple[list[dict[str, Any]], dict[str, Counts]]:
    """Return the demonstrations of one batch, and the counts of all its samples."""
    drawn = _draw_batch(engine, tasks, settings, seed, number)
    stop_when_scoring_fails(
        [verdict for _, _, verdicts in drawn for verdict in verdicts], settings.max_failed, "the samples of a batch"
    )
    judged = selector.judge([group for _, group, _ in drawn], [verdicts for _, _, verdicts in drawn])
    rows = [
        _row(environment, sample)
        for (environment, _, _), group in zip(drawn, judged, strict=True)
        for sample in group
        if sample.fate == KEPT
    ]
    return rows, count(judged)


def _draw_batch(
    engine: Engine, tasks: Sequence[tuple[Environment, Task]], settings: DrawSettings, seed: int, number: int
) -> list[Drawn]:
    """Sample and score, environment by environment."""
    params = settings.sampling.params(n=settings.sampling.n, seed=seed)
    by_environment: dict[int, tuple[Environment, list[Task]]] = {}
    for environment, task in tasks:
        by_environment.setdefault(id(environment), (environment, []))[1].append(task)
    drawn: list[Drawn] = []
    for environment, theirs in by_environment.values():
        groups = sample_rollouts(environment, engine, theirs, params, batch=number)
        verdicts = iter(score([rollout for group in groups for rollout in group], environment.rubric))
        drawn += [(environment, group, [next(verdicts) for _ in group]) for group in groups]
    return drawn


def _row(environment: Environment, sample: Sample) -> dict[str, Any]:
    """Return a kept sample as a row of data for `sft`."""
    task = sample.rollout.task
    return {
        "messages": list(sample.rollout.messages),
        "chat": environment.template.chat,
        "task_id": task.id,
        "env": environment.name,
        "domain": str(task.kind),
        "language": task.language,
        "reward": sample.score.value,
        "tokens": length_of(sample),
    }


def _metrics(counts: Mapping[str, Counts], seconds: float) -> dict[str, float]:
    total = sum(counts.values(), start=Counts())
    sampled = max(total.sampled, 1)  # a batch of repeated prompts has no samples
    return {
        "accuracy": total.right / sampled,
        "samples/sampled": float(total.sampled),
        "samples/kept": float(total.kept),
        **{f"samples/{fate}": float(number) for fate, number in sorted(total.fates.items()) if fate != KEPT},
        "prompts/solved": total.solved / max(total.prompts, 1),
        "length/mean": total.sampled_tokens / sampled,
        SAMPLED_TOKENS: float(total.sampled_tokens),
        "seconds/generate": seconds,
    }


def _open_engine(settings: DrawSettings, model: str, device: Device, seed: int, plugins: Plugins) -> Engine:
    """Open the engine with its model.

    Raises:
        UsageError: the engine does not take these options.
    """
    own = {"device": device, "seed": seed} if settings.engine.name == "transformers" else {}
    try:
        return cast(Engine, import_target(plugins.engine(settings.engine.name).target)(model, **own, **settings.engine.options))
    except TypeError as error:
        raise UsageError(
            f"engine {settings.engine.name!r} does not take the options {dict(settings.engine.options)}: {error}"
        ) from error


# The trainer `rejection`: sample, select, mix, write.


class RejectionTrainer:
    """The trainer plugin `rejection`. Leaves `data.jsonl` for `sft`, and the statistics as a table."""

    def check(self, config: RejectionConfig) -> None:
        choose_device(config.device)
        if config.engine.name == "transformers" and not is_stage(config.model):
            check_model_name(config.model)
        check_draw(config)
        check_extra(config.extra)

    def train(self, config: RejectionConfig, run: Run) -> None:
        if run.stage_file(TABLE_JSON).is_file():
            return  # written last, so the stage had finished
        shards = draw_samples(config, config.model, config.device, config.seed, run)
        rows = demonstrations(shards)
        extra = extra_rows(config.extra, len(rows), config.seed)
        write_data(run.stage_file(DATA), [*rows, *extra])
        write_table(run, make_table(merged(shard.counts for shard in shards), by_domain(extra)))
