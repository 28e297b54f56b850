"""`write_report`: an evaluation as one page, HTML or Markdown: its numbers, by stratum, wrong answers with reasons, and how it was made."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any, Literal

from r1env.errors import RunError
from r1env.evaluation.evaluate import EvaluationRow
from r1env.evaluation.run import EvaluationRun
from r1env.evaluation.tables import CONSENSUS, LENGTH, PASS, Contestant, Verdicts, by_stratum, interval_of, stratum_keys
from r1env.monitoring.report import LONGEST, Piece, check_installed, mark, render_page, visible
from r1env.runs.files import replace_text
from r1env.runs.tables import Table

Format = Literal["html", "markdown"]

WRONG_SHOWN = 20
"""Wrong completions of a model in an environment that a page shows, of as many different reasons as there are."""
PER_REASON = 4
REASONS_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong completion as the page shows it."""

    row: EvaluationRow
    pieces: tuple[Piece, ...]
    left_out: int


@dataclass(slots=True)
class Part:
    """What the page shows of a model in an environment."""

    model: str
    environment: str
    tables: list[Table]
    figures: list[dict[str, Any]]
    wrong: list[Wrong]


def write_report(run: EvaluationRun, form: Format = "html") -> Path:
    """Write `report.html` or `report.md` into the evaluation's folder and return its path. The evaluation may still be going on.

    Raises:
        UsageError: jinja2, which HTML needs, is not installed; the message says how to get it.
        RunError: the page cannot be written.
    """
    if form == "html":
        check_installed()
    path = run.path / ("report.html" if form == "html" else "report.md")
    parts = read_parts(run)
    page = _html(run, parts) if form == "html" else _markdown(run, parts)
    try:
        replace_text(path, page)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    return path


@dataclass(slots=True)
class _Tally:
    """The completions of a model in an environment: verdicts of all of them, texts of a few."""

    tasks: dict[str, Verdicts] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[EvaluationRow]] = field(default_factory=dict)

    def add(self, row: EvaluationRow) -> None:
        task = self.tasks.setdefault(row.task_id, Verdicts(row.prompt, row.metadata))
        task.correct.append(row.correct)
        task.votes.append(row.vote)
        task.lengths.append(row.length)
        self.statuses[str(row.score.status)] += 1
        reason = row.score.reason or row.error or str(row.score.status)
        if row.correct is None:
            self.unscored[reason] += 1
        elif not row.correct:
            self.wrong[reason] += 1
            rows = self.shown.setdefault(reason, [])
            # One per task: eight alike completions of the first task would say little.
            if len(rows) < WRONG_SHOWN and row.task_id not in {one.task_id for one in rows}:
                rows.append(row)


def read_parts(run: EvaluationRun) -> list[Part]:
    """Return what there is to show, by model and environment; the rows are read once, and few texts are held."""
    tallies: dict[tuple[str, str], _Tally] = {}
    for model, environment, row in run.rows():
        tallies.setdefault((model, environment), _Tally()).add(row)
    return [_part(model, environment, tally) for (model, environment), tally in tallies.items()]


def _part(model: str, environment: str, tally: _Tally) -> Part:
    one = Contestant(model, {environment: tally.tasks})
    samples, tasks = one.samples(environment), list(tally.tasks.values())
    tables = [_numbers(one, environment, tally)]
    figures = []
    for name, groups in _strata(tasks).items():
        table = _stratum_table(name, groups, samples)
        tables.append(table)
        if table.data:
            figures.append(_figure(table))
    for title, reasons in (("Wrong, by reason", tally.wrong), ("Unscored, by reason", tally.unscored)):
        if reasons:
            tables.append(_reasons(title, reasons, sum(tally.statuses.values())))
    return Part(model, environment, tables, figures, _choose_wrong(tally))


def _numbers(one: Contestant, environment: str, tally: _Tally) -> Table:
    """Return the table of all numbers with their intervals."""
    samples, tasks = one.samples(environment), tally.tasks.values()
    rows: list[tuple[str, str, str]] = []
    ks = sorted({*(1 << power for power in range(samples.bit_length())), samples} - {0})
    for metric in [*(f"{PASS}{k}" for k in ks), CONSENSUS]:
        values = list(one.values(environment, metric).values())
        if values:
            low, high = interval_of(metric, values, samples)
            name = f"cons@{samples}" if metric == CONSENSUS else metric
            rows.append((name, f"{fmean(values):.1%}", f"{low:.1%} to {high:.1%}"))
    rows.append(("tasks", str(len(tasks)), ""))
    rows.append(("completions per task", str(samples), ""))
    lengths = [length for task in tasks for length in task.lengths]
    rows.append(("mean length", f"{fmean(lengths):.0f}", ""))
    rows.append(("unscored completions", str(sum(tally.unscored.values())), "left out of the shares above"))
    rows += [(f"status {status}", str(count), "") for status, count in tally.statuses.most_common()]
    return Table(title="Numbers", columns=("", "value", "95 % interval"), rows=tuple(rows))


def _strata(tasks: Sequence[Verdicts]) -> dict[str, dict[str, list[Verdicts]]]:
    """Return the tasks by each key of their metadata that divides them, and by the length of their completions."""
    strata = {key: by_stratum(tasks, key) for key in stratum_keys(tasks)}
    lengths = [length for task in tasks if (length := task.value(LENGTH)) is not None]
    if len(set(lengths)) >= 8:  # fewer tasks make no quarters worth showing
        cuts = quantiles(lengths, n=4)
        bounds = itertools.pairwise([min(lengths), *cuts, max(lengths)])
        names = [f"{number}: {low:.0f} to {high:.0f}" for number, (low, high) in enumerate(bounds, start=1)]
        quarters: dict[str, list[Verdicts]] = {name: [] for name in names}
        for task in tasks:
            length = task.value(LENGTH)
            if length is not None:
                quarters[names[sum(length > cut for cut in cuts)]].append(task)
        strata["length of the completions, quarters of the tasks"] = quarters
    return strata


def _stratum_table(name: str, groups: Mapping[str, Sequence[Verdicts]], samples: int) -> Table:
    rows, data = [], []
    for value, tasks in groups.items():
        values = [share for task in tasks if (share := task.value(f"{PASS}1")) is not None]
        if not values:
            rows.append((value, str(len(tasks)), "–", ""))
            continue
        low, high = interval_of(f"{PASS}1", values, samples)
        rows.append((value, str(len(tasks)), f"{fmean(values):.1%}", f"{low:.1%} to {high:.1%}"))
        data.append({"value": value, "tasks": len(tasks), "accuracy": fmean(values), "interval": [low, high]})
    return Table(title=f"By {name}", columns=(name, "tasks", "pass@1", "95 % interval"), rows=tuple(rows), data=tuple(data))


def _figure(table: Table) -> dict[str, Any]:
    """Return pass@1 by stratum as points with their intervals, a figure of `r1env/monitoring/static/charts.js`."""
    line = {
        "label": "",
        "x": list(range(len(table.data))),
        "y": [record["accuracy"] for record in table.data],
        "low": [record["interval"][0] for record in table.data],
        "high": [record["interval"][1] for record in table.data],
        "dots": True,
    }
    return {
        "title": table.title,
        "note": "pass@1 with its 95 % interval",
        "share": True,
        "percent": True,
        "categories": [str(record["value"]) for record in table.data],
        "unit": table.columns[0],
        "lines": [line],
    }


def _reasons(title: str, reasons: Counter[str], of: int) -> Table:
    rows = [(reason, str(count), f"{count / of:.1%}") for reason, count in reasons.most_common(REASONS_SHOWN)]
    rest = reasons.total() - sum(count for _, count in reasons.most_common(REASONS_SHOWN))
    if rest:
        rows.append((f"{len(reasons) - REASONS_SHOWN} other reasons", str(rest), f"{rest / of:.1%}"))
    return Table(title=title, columns=("reason", "completions", "share of all"), rows=tuple(rows))


def _choose_wrong(tally: _Tally) -> list[Wrong]:
    """Return some wrong completions: a few of each reason, the commonest reasons first, then more of them where there is room."""
    by_reason = [tally.shown[reason] for reason, _ in tally.wrong.most_common()]
    chosen = [row for rows in by_reason for row in rows[:PER_REASON]][:WRONG_SHOWN]
    more = [row for rows in by_reason for row in rows[PER_REASON:]]
    chosen += more[: WRONG_SHOWN - len(chosen)]
    return [
        Wrong(row, tuple(mark(row.completion[:LONGEST])), max(0, len(row.completion) - LONGEST))
        for row in sorted(chosen, key=lambda row: (row.position, row.sample))
    ]


def _html(run: EvaluationRun, parts: Sequence[Part]) -> str:
    manifest = run.manifest
    settings = manifest["settings"]
    return render_page(
        "r1env.evaluation",
        "report.html.j2",
        name=run.path.name,
        manifest=manifest,
        complete=run.complete,
        started=_started(manifest),
        settings={key: value for key, value in settings.items() if key != "environments"},
        environments=settings.get("environments", []),
        parts=parts,
    )


def _markdown(run: EvaluationRun, parts: Sequence[Part]) -> str:
    return "\n".join(_lines(run, parts))


def _lines(run: EvaluationRun, parts: Sequence[Part]) -> Iterator[str]:
    manifest = run.manifest
    yield f"# {run.path.name}\n"
    yield f"Started {_started(manifest)}.{'' if run.complete else ' Not complete yet.'}\n"
    for part in parts:
        yield f"## {part.environment}: {part.model}\n"
        for table in part.tables:
            yield table.markdown()
        if part.wrong:
            yield "### Wrong completions\n"
        for wrong in part.wrong:
            row = wrong.row
            yield f"**Task {row.task_id}, completion {row.sample}**: {_one_line(row.score.reason or str(row.score.status))}\n"
            yield _fenced(f"{row.prompt}\n\n[reference] {row.answer}\n\n[completion] {row.completion[:LONGEST]}")
    yield "## Settings\n"
    settings = manifest["settings"]
    for key, value in settings.items():
        if key != "environments":
            yield f"- {key}: `{value}`"
    for environment in settings.get("environments", []):
        yield f"- {environment['name']}, split {environment['split'] or 'all'}: template `{environment['template']['name']}`"
        yield f"  options `{environment['options']}`, data SHA-256 `{environment['data_sha256']}`"
    yield f"- versions: {', '.join(f'{name} {version}' for name, version in manifest['versions'].items())}\n"


def _fenced(text: str) -> str:
    """Return a text as a code block whose fence is longer than any in the text, so that a model cannot close it."""
    longest = max((len(run) for run in visible(text).split("\n") if set(run.strip()) == {"`"}), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}\n"


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def _started(manifest: Mapping[str, Any]) -> str:
    return datetime.fromtimestamp(manifest["started"], UTC).strftime("%Y-%m-%d %H:%M UTC")
