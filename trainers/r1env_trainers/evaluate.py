"""The trainer `evaluate`: models side by side on the same tasks and under the same seeds; and accuracy during training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from statistics import fmean
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from r1env.config import Preset
from r1env.engines import Engine, SamplingParams
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.evaluation import Evaluation, accuracy_cell, evaluate
from r1env.preflight import Preflight, check_suites
from r1env.rubrics import RubricSpec
from r1env.runs.rollouts import RolloutRow
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env.runs.tables import TABLE_JSON, Table, read_tables, write_table
from r1env.trainer import TrainerConfig
from r1env_trainers.generate.engine import TransformersEngine
from r1env_trainers.model.load import check_model_name, choose_device, limit_threads, load_model
from r1env_trainers.settings import NAMES_ELSEWHERE, Device, Sampling, SuiteSettings, open_evaluation


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
            return  # written last, so the stage had finished
        suite = _suite(config)
        measured = {}
        for step, (name, model) in enumerate(_models(config).items(), start=1):
            measured[name] = _measure(name, model, suite, config, run, step)
        costs: dict[str, Cost] = {row: cost_of(run, stages) for row, stages in config.costs.items()}
        write_table(run, make_table(config, suite, measured, costs))


def _models(config: EvaluateConfig) -> dict[str, str]:
    return config.models or {"model": config.model}


def _suite(config: EvaluateConfig) -> Suite:
    return open_evaluation(config, config.rubric)


def _measure(name: str, model: str, suite: Suite, config: EvaluateConfig, run: Run, step: int) -> list[Evaluation]:
    """Return one evaluation per environment. Row `step` of the table is also step `step` of the stage's metrics."""
    loaded = load_model(model, device=choose_device(config.device), seed=config.seed)
    limit_threads(loaded.parameters, config.threads)
    params = config.sampling.params(
        n=config.sampling.n,
        seed=config.seed,
    )
    with contextlib.closing(TransformersEngine(loaded)) as engine:
        check_suites([suite], config.preflight, engine, count=config.limit, seed=config.seed)
        found = [
            evaluate(
                environment, engine, params, limit=config.limit, seed=config.seed, batch_size=config.sampling.tasks_per_batch
            )
            for environment in suite.environments
        ]
    run.log(
        step,
        {f"{one.environment}/accuracy": one.accuracy for one in found if one.accuracy is not None}
        | {f"{one.environment}/{part}": value for one in found for part, value in one.parts.items()}
        | {f"{one.environment}/length": one.mean_length for one in found},
    )
    run.log_rollouts(step, _rollout_rows(found, config.samples, model=name))
    return found


# The settings of the trainer `evaluate`.


class EvaluateSampling(Sampling):
    """How completions are sampled."""

    n: int = Field(default=1, ge=1, description="Completions per task.")
    temperature: float = Field(default=0.0, ge=0, description="Sampling temperature; 0 is greedy.")
    tasks_per_batch: int = Field(default=128, ge=1, description="Tasks decoded at once.")


class EvaluateConfig(SuiteSettings, TrainerConfig):
    """Settings of the trainer `evaluate`."""

    models: dict[str, str] = Field(
        default_factory=dict, description="Row of the table → model, usually stage:NAME; empty: model alone is measured."
    )
    costs: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Row → stages whose optimizer steps and sampled tokens are its cost; adds two columns.",
    )
    title: str = Field(default="Accuracy on held-out tasks", description="Title of the table.")
    rubric: str | RubricSpec = Field(
        default="accuracy", description="What is measured; must contain accuracy, its other rewards become columns."
    )
    limit: int = Field(default=256, ge=1, description="Tasks of each environment, the same for every model.")
    samples: int | None = Field(
        default=None, ge=0, description="Completions of each model and environment stored with the run; null: all."
    )
    device: Device = Field(default="auto", description="Where to compute; auto: cuda where there is a GPU.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; null: 1 for small models, else torch's choice.")
    sampling: EvaluateSampling = EvaluateSampling()
    preflight: Preflight = Preflight()

    names_elsewhere: ClassVar[Mapping[str, str]] = NAMES_ELSEWHERE
    renamed: ClassVar[Mapping[str, str]] = {
        "n": "sampling.n",
        "temperature": "sampling.temperature",
        "top_p": "sampling.top_p",
        "max_new_tokens": "sampling.max_new_tokens",
        "batch_size": "sampling.tasks_per_batch",
        "shown": "samples",
    }
    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {
        "r1": Preset(
            {"sampling": {"temperature": 0.6, "top_p": 0.95, "n": 16, "max_new_tokens": 32_768}},
            source="DeepSeek-R1, arXiv 2501.12948: pass@1 as the mean of k completions at temperature 0.6, top-p 0.95",
            notes={"sampling.n": "our choice; DeepSeek-R1 uses 4 to 64"},
        ),
    }

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env (an environment or a suite) or mixture to evaluate on")
        if self.sampling.n > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"{self.sampling.n} greedy completions of a task are the same; give sampling.temperature, or sampling.n=1"
            )
        if unknown := self.costs.keys() - self.models.keys():
            raise ValueError(f"costs of {', '.join(sorted(unknown))}: no such row; models has {', '.join(self.models)}")
        return self


# Accuracy during training.

BATCH_SIZE = 256  # tasks decoded at once; more would need more memory than training does


def log_accuracy(
    suite: Suite,
    engine: Engine,
    params: SamplingParams,
    run: Run,
    step: int,
    *,
    limit: int,
    shown: int | None = None,
    max_failed: float = 1.0,
) -> float | None:
    """Evaluate on the first `limit` tasks of each environment and log `eval/…` under `step`; the same tasks every time.

    Args:
        shown: how many completions of each environment go into the run; all by default.
        max_failed: the share of a batch whose scoring may fail before TrainingStoppedError is raised.

    Returns:
        The mean accuracy over the environments; None where nothing could be scored.
    """
    batch_size = min(limit, BATCH_SIZE)
    found = [
        evaluate(environment, engine, params, limit=limit, batch_size=batch_size, max_failed=max_failed)
        for environment in suite.environments
    ]
    scored = [one.accuracy for one in found if one.accuracy is not None]
    accuracy = fmean(scored) if scored else None
    metrics = {
        "eval/accuracy": math.nan if accuracy is None else accuracy,
        "eval/length": fmean(one.mean_length for one in found),
        "eval/unscored": float(sum(one.unscored for one in found)),
    }
    if len(found) > 1:
        metrics |= {f"eval/{one.environment}/accuracy": math.nan if one.accuracy is None else one.accuracy for one in found}
    run.log(step, metrics)
    run.log_rollouts(step, _rollout_rows(found, shown))
    return accuracy


def _rollout_rows(found: Sequence[Evaluation], count: int | None, **more: str) -> Iterator[RolloutRow]:
    """Yield the first `count` completions of each evaluation, or all of them, as the run keeps them."""
    for one in found:
        for row in one.rows[:count]:
            yield RolloutRow.of_evaluation({"environment": one.environment, **more, **row.model_dump(mode="json")})


# Evaluations as a table: one row per model, one column per environment. Pure functions, except for reading the run's log.


SAMPLED_TOKENS = "tokens/sampled"
"""The metric under which stages log how many tokens they sampled."""

COSTS_NOTE = (
    "updates: optimizer steps spent on the model; sampled tokens: drawn for them, by the model itself or by its teacher."
)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a model: optimizer steps, and tokens sampled from any model (None where no stage logs them)."""

    updates: int
    sampled_tokens: int | None


def cost_of(run: Run, stages: Sequence[str]) -> Cost:
    """Return the sum over stages, from their logged metrics."""
    rows = [row for stage in stages for row in run.metrics(stage)]
    sampled = [row[SAMPLED_TOKENS] for row in rows if row.get(SAMPLED_TOKENS) is not None]
    return Cost(sum("grad_norm" in row for row in rows), int(math.fsum(sampled)) if sampled else None)


def make_table(
    config: EvaluateConfig, suite: Suite, measured: Mapping[str, Sequence[Evaluation]], costs: Mapping[str, Cost]
) -> Table:
    """Return the table of models, each measured on the environments of the suite, in their order."""
    parts = [_further_parts(environment) for environment in suite.environments]
    columns = ["model", *(["updates", "sampled tokens"] if costs else [])]
    for environment, further in zip(suite.environments, parts, strict=True):
        prefix = f"{environment.name} " if len(suite.environments) > 1 else ""
        columns += [environment.name, *(f"{prefix}{part}" for part in (*further, "length"))]
    rows, data = [], []
    for row, evaluations in measured.items():
        cells = [row, *(_cost_cells(costs.get(row)) if costs else [])]
        for evaluation, further in zip(evaluations, parts, strict=True):
            cells += [accuracy_cell(evaluation), *(_number(evaluation.parts.get(part)) for part in further)]
            cells += [f"{evaluation.mean_length:.1f}"]
        rows.append(tuple(cells))
        data.append(_record(row, evaluations, costs.get(row)))
    tasks = ", ".join(f"{one.tasks} tasks of {one.environment}" for one in next(iter(measured.values())))
    return Table(
        title=config.title,
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            f"{tasks}; {_drawn(config)}. In brackets: 95 % interval (Wilson's, over tasks).",
            *([COSTS_NOTE] if costs else []),
        ),
        data=tuple(data),
    )


def _further_parts(environment: Environment) -> list[str]:
    """Return the names of the rubric's rewards other than the environment's own checker, which has its own column."""
    return [item.reward.name for item in environment.rubric.rewards if item.reward.name != environment.accuracy]


def _cost_cells(cost: Cost | None) -> tuple[str, str]:
    if cost is None:
        return "–", "–"
    return str(cost.updates), "–" if cost.sampled_tokens is None else f"{cost.sampled_tokens:,}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _record(row: str, evaluations: Sequence[Evaluation], cost: Cost | None) -> dict[str, Any]:
    return {
        "model": row,
        **({} if cost is None else asdict(cost)),
        "environments": {one.environment: one.model_dump(mode="json", exclude={"rows"}) for one in evaluations},
    }


def _drawn(config: EvaluateConfig) -> str:
    if config.sampling.temperature == 0:
        return "greedy"
    return f"{config.sampling.n} completions a task at temperature {config.sampling.temperature:g}, top-p {config.sampling.top_p:g}"


# The section of the report with the tables that stages left.


def tables_section(run: Run) -> str:
    """Return the HTML of every table of the run, or a sentence where there is none."""
    shown = [f"<h3>{escape(stage)}: {escape(table.title)}</h3>{table.html()}" for stage, table in read_tables(run)]
    return "\n".join(shown)
