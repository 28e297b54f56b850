"""Measures models on environments, one after the other, under the same tasks and draws."""

from __future__ import annotations

import contextlib

from r1env.engines import Sampling
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.evaluation import Evaluation, evaluate
from r1env.runs.run import Run
from r1env.runs.tables import TABLE_JSON, write_table
from r1env.trainer import is_stage
from r1env_trainers.devices import choose_device, limit_threads
from r1env_trainers.engine import TransformersEngine
from r1env_trainers.evaluate.config import EvaluateConfig
from r1env_trainers.evaluate.table import Cost, cost_of, make_table
from r1env_trainers.models.load import check_model_name, load_model
from r1env_trainers.suites import open_suite


class EvaluateTrainer:
    """The trainer plugin `evaluate`. Leaves `table.json` and `table.md`."""

    def check(self, config: EvaluateConfig) -> None:
        choose_device(config.device)
        for model in _models(config).values():
            if not is_stage(model):
                check_model_name(model)
        for environment in _suite(config).environments:
            environment.task(0)
            if environment.accuracy not in environment.rubric.part_keys:
                raise UsageError(
                    f"rubric {environment.rubric.name!r} has no reward 'accuracy'; give it one, of weight 0 if it shall not count"
                )

    def train(self, config: EvaluateConfig, run: Run) -> None:
        if run.stage_file(TABLE_JSON).is_file():
            return  # written last: the stage was done, and only that was not yet remembered
        suite = _suite(config)
        measured = {}
        for step, (name, model) in enumerate(_models(config).items(), start=1):
            measured[name] = _measure(model, suite, config, run, step)
        costs: dict[str, Cost] = {row: cost_of(run, stages) for row, stages in config.costs.items()}
        write_table(run, make_table(config, suite, measured, costs))


def _models(config: EvaluateConfig) -> dict[str, str]:
    return config.models or {"model": config.model}


def _suite(config: EvaluateConfig) -> Suite:
    return open_suite(config, config.rubric)


def _measure(model: str, suite: Suite, config: EvaluateConfig, run: Run, step: int) -> list[Evaluation]:
    """One evaluation an environment. Row `step` of the table is also step `step` of the stage's metrics."""
    loaded = load_model(model, device=choose_device(config.device), seed=config.seed)
    limit_threads(loaded.parameters, config.threads)
    sampling = Sampling(
        n=config.n,
        temperature=config.temperature,
        top_p=config.top_p,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
    )
    with contextlib.closing(TransformersEngine(loaded)) as engine:
        found = [
            evaluate(environment, engine, sampling, limit=config.limit, seed=config.seed, batch_size=config.batch_size)
            for environment in suite.environments
        ]
    run.log(
        step,
        {f"{one.environment}/accuracy": one.accuracy for one in found if one.accuracy is not None}
        | {f"{one.environment}/{part}": value for one in found for part, value in one.parts.items()}
        | {f"{one.environment}/length": one.mean_length for one in found},
    )
    shown = [row for one in found for row in one.rows[: config.shown]]
    run.log_rollouts(step, ({"kind": "eval", **row.model_dump(mode="json")} for row in shown))
    return found
