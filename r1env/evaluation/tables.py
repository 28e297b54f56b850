"""Evaluations side by side: what each model scored on each task, and the tables of the DeepSeek-R1 paper made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from r1env.errors import UsageError
from r1env.evaluation.run import EvaluationRun
from r1env.evaluation.statistics import mean_interval, paired_p_value, pass_at_k, share_interval, wilson_interval
from r1env.evaluation.voting import majority_is_correct
from r1env.runs.tables import Table

PASS, CONSENSUS, LENGTH = "pass@", "cons", "length"


@dataclass(slots=True)
class Verdicts:
    """The completions of one task by one model, without their texts.

    Attributes:
        prompt: the question; two evaluations are of the same task only where it is the same.
        correct: of each completion; None where it is unscored.
        votes: class of each answer, see `r1env.evaluation.voting`.
        lengths: of each completion, in tokens where the engine knows them.
    """

    prompt: str
    metadata: Mapping[str, str | int | float]
    correct: list[bool | None] = field(default_factory=list)
    votes: list[int | None] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    @property
    def scored(self) -> list[bool]:
        """The verdicts without those of unscored completions."""
        return [verdict for verdict in self.correct if verdict is not None]

    def value(self, metric: str) -> float | None:
        """Return the task's value of a metric: `pass@k`, `cons` or `length`; None where the task has none.

        >>> Verdicts("?", {}, [True, False], [0, 1], [5, 7]).value("pass@1")
        0.5
        """
        if metric == LENGTH:
            return fmean(self.lengths) if self.lengths else None
        if metric == CONSENSUS:
            return majority_is_correct(self.votes, self.correct) if any(vote is not None for vote in self.votes) else None
        k, scored = int(metric.removeprefix(PASS)), self.scored
        return pass_at_k(len(scored), sum(scored), k) if len(scored) >= k else None


@dataclass(slots=True)
class Contestant:
    """A model of an evaluation.

    Attributes:
        label: how tables call it.
        tasks: environment → task → its verdicts.
    """

    label: str
    tasks: dict[str, dict[str, Verdicts]]

    def samples(self, environment: str) -> int:
        """Return the largest number of completions of a task."""
        return max((len(task.correct) for task in self.tasks[environment].values()), default=0)

    def values(self, environment: str, metric: str) -> dict[str, float]:
        """Return task → value for every task that has one."""
        found = {name: task.value(metric) for name, task in self.tasks.get(environment, {}).items()}
        return {name: value for name, value in found.items() if value is not None}


def read_contestants(runs: Sequence[Path], labels: Sequence[str] = ()) -> list[Contestant]:
    """Return the models of evaluations, in order.

    Args:
        labels: what to call them, instead of their names; one for each model.

    Raises:
        RunFolderError: a folder holds no evaluation.
        UsageError: there are more or fewer labels than models.
    """
    found: list[Contestant] = []
    for path in runs:
        tasks: dict[str, dict[str, dict[str, Verdicts]]] = {}
        for model, environment, row in EvaluationRun.open(path).rows():
            of_environment = tasks.setdefault(model, {}).setdefault(environment, {})
            task = of_environment.setdefault(row.task_id, Verdicts(row.prompt, row.metadata))
            task.correct.append(row.correct)
            task.votes.append(row.vote)
            task.lengths.append(row.length)
        found += [Contestant(_label(model, path, alone=len(runs) == 1), tasks[model]) for model in tasks]
    if labels and len(labels) != len(found):
        raise UsageError(f"{len(labels)} labels for {len(found)} models ({', '.join(one.label for one in found)})")
    for contestant, label in zip(found, labels, strict=False):
        contestant.label = label
    return found


def _label(model: str, path: Path, *, alone: bool) -> str:
    """Return a short name of a model: its stage where it is the model of a run's stage, else the last part of its name."""
    parts = Path(model).parts
    short = parts[-2] if len(parts) > 2 and parts[-1] == "model" and parts[-3] == "checkpoints" else Path(model).name or model
    return short if alone else f"{path.name}:{short}"


# The paper's tables.


def paper_table(contestants: Sequence[Contestant], metrics: Sequence[str] = (), alpha: float = 0.05) -> Table:
    """Return a table with a row for each benchmark and metric and a column for each model, as in the DeepSeek-R1 paper.

    A cell has the mean over tasks in percent with its 95 % interval. The best cell of a row is bold where it is better than every other
    one with p < alpha, each in a paired test over the tasks that both have.

    Args:
        metrics: `pass@k`, `cons` (over all completions), `length`; by default pass@1, and cons where answers were voted on.
        alpha: the level of significance; the paper's is 0.01.

    Raises:
        UsageError: an unknown metric, or no task has a value.
    """
    for metric in metrics:
        if metric not in (CONSENSUS, LENGTH) and not (metric.startswith(PASS) and metric[len(PASS) :].isdigit()):
            raise UsageError(f"unknown metric {metric!r}; known: pass@1, pass@2, …, cons, length")
    rows: list[tuple[str, ...]] = []
    bold, data, differ = [], [], False
    for environment in dict.fromkeys(name for one in contestants for name in one.tasks):
        for metric in metrics or (f"{PASS}1", CONSENSUS):
            values = [one.values(environment, metric) for one in contestants]
            if not any(values):
                continue
            cells = [_cell(metric, found, one, environment) for found, one in zip(values, contestants, strict=True)]
            differ |= len({frozenset(found) for found in values if found}) > 1
            best = _significantly_best(contestants, environment, metric, alpha)
            if best is not None:
                bold.append((len(rows), best + 2))
            rows.append((environment, _heading(metric, contestants, environment), *(text for text, _ in cells)))
            data.append(
                {
                    "environment": environment,
                    "metric": rows[-1][1],
                    "models": {one.label: numbers for one, (_, numbers) in zip(contestants, cells, strict=True)},
                    "significantly_best": None if best is None else contestants[best].label,
                }
            )
    if not rows:
        raise UsageError(f"no evaluation has a value of {', '.join(metrics) or 'any metric'}")
    notes = ["Percent of tasks, with 95 % intervals over tasks."]
    if len(contestants) > 1:
        notes.append(f"Bold: better than every other column, p < {alpha:g} in paired tests over the tasks in common.")
    if differ:
        notes.append("The models were not evaluated on the same tasks; tests use the tasks in common.")
    return Table(
        title="Evaluation",
        columns=("benchmark", "metric", *(one.label for one in contestants)),
        rows=tuple(rows),
        notes=tuple(notes),
        data=tuple(data),
        bold=tuple(bold),
    )


def _heading(metric: str, contestants: Sequence[Contestant], environment: str) -> str:
    """Return `cons@8` for `cons` where every model has eight completions a task."""
    counts = {one.samples(environment) for one in contestants if environment in one.tasks}
    return f"cons@{counts.pop()}" if metric == CONSENSUS and len(counts) == 1 else metric


def _cell(metric: str, values: Mapping[str, float], one: Contestant, environment: str) -> tuple[str, dict[str, Any] | None]:
    """Return the text of a cell and the numbers behind it."""
    if not values:
        return "–", None
    numbers = list(values.values())
    mean, total = fmean(numbers), len(one.tasks[environment])
    if metric == LENGTH:
        return f"{mean:.0f}", {"value": mean, "tasks": len(numbers), "of": total}
    low, high = interval_of(metric, numbers, one.samples(environment))
    return (
        f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
        {"value": mean, "interval": [low, high], "tasks": len(numbers), "of": total},
    )


def interval_of(metric: str, values: Sequence[float], samples: int) -> tuple[float, float]:
    """Return the 95 % interval of a metric from its values by task, by the rules of `Evaluation`."""
    if metric != f"{PASS}1":
        return share_interval(values)
    return wilson_interval(fmean(values), len(values)) if samples == 1 else mean_interval(values)


def _significantly_best(contestants: Sequence[Contestant], environment: str, metric: str, alpha: float) -> int | None:
    """Return the place of the contestant that is significantly better than each other one that has values; None where none is."""
    if metric == LENGTH:  # neither long nor short is better
        return None
    means = {}
    for place, one in enumerate(contestants):
        if values := one.values(environment, metric):
            means[place] = fmean(values.values())
    if len(means) < 2:
        return None
    best = max(means, key=lambda place: means[place])
    for other in means.keys() - {best}:
        pairs = [
            (a, b)
            for (first, second) in common_tasks(contestants[other], contestants[best], environment).values()
            if (a := first.value(metric)) is not None and (b := second.value(metric)) is not None
        ]
        if not pairs or fmean(b - a for a, b in pairs) <= 0:
            return None
        if paired_p_value([b - a for a, b in pairs])[0] >= alpha:
            return None
    return best


def common_tasks(first: Contestant, second: Contestant, environment: str) -> dict[str, tuple[Verdicts, Verdicts]]:
    """Return the tasks that two models have in common: the same id and the same question, scored in both; in the order of their ids."""
    ours, theirs = first.tasks.get(environment, {}), second.tasks.get(environment, {})
    return {
        name: (ours[name], theirs[name])
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name].prompt == theirs[name].prompt and ours[name].scored and theirs[name].scored
    }


# Strata: the same numbers by what the tasks say of themselves.

FEWEST_VALUES, MOST_VALUES = 2, 20
"""A key of the metadata divides the tasks where it has so many different values; one with more names tasks rather than groups."""


def stratum_keys(tasks: Iterable[Verdicts]) -> list[str]:
    """Return the keys of the metadata that divide the tasks into groups: level, subject, year."""
    values: dict[str, set[object]] = {}
    count = 0
    for count, task in enumerate(tasks, start=1):  # noqa: B007 - the last number is the count
        for key, value in task.metadata.items():
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if FEWEST_VALUES <= len(found) <= MOST_VALUES and 2 * len(found) <= count]


def by_stratum(tasks: Iterable[Verdicts], key: str) -> dict[str, list[Verdicts]]:
    """Return the tasks by their value of a key of the metadata, numbers in order; those without one come last, as `none`."""
    found: dict[str | int | float, list[Verdicts]] = {}
    without: list[Verdicts] = []
    for task in tasks:
        (found.setdefault(task.metadata[key], []) if key in task.metadata else without).append(task)
    ordered = sorted(found, key=lambda value: (isinstance(value, str), value))
    return {str(value): found[value] for value in ordered} | ({"none": without} if without else {})
