"""Evaluations as a table: a row a model, a column an environment. Pure functions, but for reading a run's own log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.evaluation import Evaluation
from r1env.runs.run import Run
from r1env.runs.tables import Table
from r1env_trainers.evaluate.config import EvaluateConfig

SAMPLED_TOKENS = "tokens/sampled"
"""The metric under which stages tell how many tokens they drew."""

COSTS_NOTE = (
    "updates: optimizer steps spent on the model; sampled tokens: drawn for them, by the model itself or by its teacher."
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent on a model: optimizer steps, and tokens drawn from whichever model (None where no stage tells)."""

    updates: int
    sampled_tokens: int | None


def cost_of(run: Run, stages: Sequence[str]) -> Cost:
    """The sum over stages, by their logged steps."""
    rows = [row for stage in stages for row in run.metrics(stage)]
    sampled = [row[SAMPLED_TOKENS] for row in rows if row.get(SAMPLED_TOKENS) is not None]
    return Cost(sum("grad_norm" in row for row in rows), int(math.fsum(sampled)) if sampled else None)


def make_table(
    config: EvaluateConfig, suite: Suite, measured: Mapping[str, Sequence[Evaluation]], costs: Mapping[str, Cost]
) -> Table:
    """The table over models, each measured on the environments of the suite, in their order."""
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


def accuracy_cell(evaluation: Evaluation) -> str:
    """`93.2 % [90.1, 95.4]`."""
    if evaluation.accuracy is None or evaluation.interval is None:
        return "–"
    low, high = evaluation.interval
    return f"{evaluation.accuracy:.1%} [{100 * low:.1f}, {100 * high:.1f}]".replace("%", " %")


def _further_parts(environment: Environment) -> list[str]:
    """The rewards of the rubric beside the environment's own checker, which is shown with its interval."""
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
    if config.temperature == 0:
        return "greedy"
    return f"{config.n} completions a task at temperature {config.temperature:g}, top-p {config.top_p:g}"
