"""Elo ratings from problems of known difficulty, and the command `r1env rating`, which reads them off evaluations of Codeforces."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer

from r1env import UsageError
from r1env.cli.console import print_json, print_table
from r1env.evaluation.run import EvaluationRun


def rating_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders written by `r1env eval`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate the Elo rating of each model from the problems it solved, where the tasks have a `rating`, as those of Codeforces have.

    \b
    Example:
      r1env eval --model M --env codeforces --data problems.parquet --n 8 --output runs/cf
      r1env rating runs/cf
    """
    rows = [row for run in runs for row in _rated(run)]
    if as_json:
        print_json(rows)
        return
    columns = ("run", "model", "environment", "rating", "95 % interval", "problems", "without a verdict", "without a rating")
    print_table(columns, (_cells(row) for row in rows))


@dataclass(frozen=True, slots=True)
class Rating:
    """An Elo rating, estimated from problems of known difficulty.

    Attributes:
        value: the estimate of maximum likelihood; None where everything or nothing was solved, so that it has no bound.
        low, high: the 95 % interval; None where there is no bound.
        problems: number of problems.
    """

    value: float | None
    low: float | None
    high: float | None
    problems: int


def estimate_rating(results: Iterable[tuple[float, float]]) -> Rating:
    """Return the Elo rating of a solver.

    A solver of rating r solves a problem of rating d with probability p = 1 / (1 + 10^((d - r) / 400)). The estimate maximises the
    likelihood: the sum of p over all problems equals what was solved. The interval comes from the robust ("sandwich") variance over
    problems, so several samples of a problem may be given as their mean. Where everything, or nothing, was solved, the one bound is the
    rating at which that had a probability of 5 %.

    Args:
        results: (rating of a problem, share of the attempts that solved it, from 0 to 1).

    Raises:
        UsageError: there are no problems, or a share is not from 0 to 1.

    Example:
        >>> estimate_rating([(800, 1.0), (1600, 0.0)]).value
        1200.0
    """
    given = list(results)
    if not given or not all(0 <= solved <= 1 and math.isfinite(rating) for rating, solved in given):
        raise UsageError("a rating needs problems with finite ratings, each solved in a share of the attempts from 0 to 1")
    solved = math.fsum(share for _, share in given)

    def chances(rating: float) -> list[float]:
        return [1 / (1 + 10 ** ((difficulty - rating) / 400)) for difficulty, _ in given]

    def root(falling: Callable[[float], float]) -> float:
        """Return where a falling function of the rating is 0, by bisection."""
        low, high = min(given)[0] - 4000, max(given)[0] + 4000
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if falling(middle) > 0 else (low, middle)
        return round((low + high) / 2, 1)

    if solved == len(given):
        return Rating(None, root(lambda r: math.log(0.05) - math.fsum(map(math.log, chances(r)))), None, len(given))
    if solved == 0:
        return Rating(None, None, root(lambda r: math.fsum(math.log1p(-p) for p in chances(r)) - math.log(0.05)), len(given))
    value = root(lambda r: solved - math.fsum(chances(r)))
    found = chances(value)
    information = math.fsum(p * (1 - p) for p in found) * math.log(10) / 400
    spread = math.fsum((share - p) ** 2 for (_, share), p in zip(given, found, strict=True))
    half = 1.96 * math.sqrt(spread) / information
    return Rating(value, round(value - half, 1), round(value + half, 1), len(given))


def _rated(path: Path) -> list[dict[str, object]]:
    """Return a row for each model and environment of an evaluation.

    Raises:
        UsageError: no completion of the evaluation has both a verdict and a rating.
    """
    verdicts: dict[tuple[str, str], dict[tuple[str, float], list[bool]]] = {}
    left_out: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for model, environment, row in EvaluationRun.open(path).rows():
        rating = row.metadata.get("rating")
        if isinstance(rating, str) or rating is None:
            left_out[model, environment]["rating"] += 1
        elif row.correct is None:
            left_out[model, environment]["verdict"] += 1
        else:
            verdicts.setdefault((model, environment), {}).setdefault((row.task_id, float(rating)), []).append(row.correct)
    if not verdicts:
        raise UsageError(f"{path}: no completion has both a verdict and a task with a number as its `rating`")
    return [
        {
            "run": str(path),
            "model": model,
            "environment": environment,
            **asdict(estimate_rating((rating, fmean(correct)) for (_, rating), correct in found.items())),
            "without_verdict": left_out[model, environment]["verdict"],
            "without_rating": left_out[model, environment]["rating"],
        }
        for (model, environment), found in verdicts.items()
    ]


def _cells(row: dict[str, object]) -> list[object]:
    low, high = ("" if row[name] is None else f"{row[name]:.0f}" for name in ("low", "high"))
    value = f"{row['value']:.0f}" if row["value"] is not None else f"above {low}" if low else f"below {high}"
    shown = f"{low} to {high}" if row["value"] is not None else ""
    return [
        row["run"],
        row["model"],
        row["environment"],
        value,
        shown,
        row["problems"],
        row["without_verdict"],
        row["without_rating"],
    ]
