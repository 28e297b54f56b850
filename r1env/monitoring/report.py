"""`write_report`: a run as one HTML file that opens offline: curves, before and after, sample completions."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from r1env.errors import RunError, UsageError
from r1env.importing import import_target
from r1env.monitoring.rules import REFLECTIVE
from r1env.plugins import Plugins, installed
from r1env.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from r1env.runs.files import replace_text
from r1env.runs.run import Run

# Which metrics a report draws together, and the figures as plotly's plain JSON. Pure functions on a run's metrics.

Rows = Sequence[Mapping[str, Any]]

FEW_POINTS = 40  # up to here every step gets a marker, so that a single evaluation can be seen at all


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of several metrics. A metric that ends in `/` stands for all that begin with it.

    Attributes:
        note: what a reader should know to read it.
        share: the values are shares: the axis shows 0 to 1.
        signed: the values may be negative.
    """

    title: str
    metrics: tuple[str, ...]
    note: str = ""
    share: bool = False
    signed: bool = False


CHARTS = (
    Chart("Reward", ("reward",), "mean over the scored rollouts of a step", signed=True),
    Chart("Parts of the reward", ("parts/",), "before weighting", signed=True),
    Chart("Accuracy", ("eval/accuracy", "accuracy"), "eval: on tasks held out, step 0 is before training", share=True),
    Chart("Accuracy by difficulty", ("difficulty/",), "in training, by what the tasks say of themselves", share=True),
    Chart("Language consistency", ("parts/language",), "share of the words in the language asked for", share=True),
    Chart("Length", ("length/mean", "length/p95", "length/max"), "of completions, in tokens"),
    Chart(
        "Length of right and wrong answers", ("length/right", "length/wrong"), "mean tokens; wrong ones alone should not grow"
    ),
    Chart("Cut off", ("truncated",), "share of completions that ran into the token limit", share=True),
    Chart(
        "Reflective words",
        ("reflection/per_1000_completions", "reflection/wait_per_1000_completions"),
        "the ten that DeepSeek-R1 counted, and 'wait' alone; base models write some before training",
    ),
    Chart("Reflective words by length", ("reflection/per_1000_characters",), "more of them, or only longer completions?"),
    Chart("KL to the starting model", ("kl",), "nats a token", signed=True),
    Chart("Entropy", ("entropy",), "nats a token; near 0 the model no longer explores"),
    Chart("Mixed groups", ("mixed_groups",), "share of groups whose rewards differ: only they teach", share=True),
    Chart("Clipped tokens", ("clip_fraction",), "share of tokens whose ratio was clipped"),
    Chart("Sampler against trainer", ("logprob_gap",), "mean difference of log-probabilities, nats a token"),
    Chart("Gradient norm", ("grad_norm",), "before clipping"),
    Chart("Learning rate", ("lr",)),
    Chart("Loss", ("loss",), signed=True),
    Chart("Unscored rollouts", ("unscored",), "left out of their groups, never counted as 0"),
    Chart("Seconds a step", ("seconds/",), "by phase"),
    Chart("Seconds a rollout, by reward", ("seconds_by_reward/",), "median and 99th percentile of a step"),
    Chart("Speed", ("tokens_per_second",), "completion tokens a second, all phases together"),
    Chart("Peak memory", ("memory/",), "GiB since the process began: rss of the process, cuda of the GPU"),
)
"""What every report shows, in this order, where a stage logs it."""

OVERVIEW = frozenset({"Reward", "Accuracy", "Length"})
"""Charts that are worth seeing over all stages of a run in one."""

PLACE = ("stage", "step", "time")
"""Fields of a row that are no metrics."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line at a step: in the charts that show `metric`, or in all without one."""

    step: int
    label: str
    metric: str = ""


def main_figures(rows: Rows, marks: Sequence[Mark] = ()) -> list[dict[str, Any]]:
    """Return the figures of `CHARTS` for one stage; charts without any value are left out."""
    names = metric_names(rows)
    figures = (figure(chart, members(chart, names), rows, marks) for chart in CHARTS)
    return [found for found in figures if found["data"]]


def overview_figures(stages: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Return charts over the stages of a run, one after another, with a mark where each begins; only of what at least two stages log."""
    joined: list[dict[str, Any]] = []
    marks: list[Mark] = []
    offset = 0
    for name, rows in stages.items():
        marks.append(Mark(offset, name))
        joined += [{**row, "step": row["step"] + offset} for row in rows]
        offset += max((row["step"] for row in rows), default=0)
    names_of = [set(metric_names(rows)) for rows in stages.values()]
    charts = [chart for chart in CHARTS if chart.title in OVERVIEW and sum(bool(members(chart, [*n])) for n in names_of) > 1]
    return [figure(chart, members(chart, metric_names(joined)), joined, marks) for chart in charts]


def other_figures(rows: Rows) -> list[dict[str, Any]]:
    """Return one figure for each metric that `CHARTS` leaves out."""
    names = metric_names(rows)
    shown = {name for chart in CHARTS for name in members(chart, names)}
    figures = (figure(Chart(name, (name,), signed=True), [name], rows) for name in names if name not in shown)
    return [found for found in figures if found["data"]]


def figure(chart: Chart, names: Sequence[str], rows: Rows, marks: Sequence[Mark] = ()) -> dict[str, Any]:
    """Return a plotly figure: `title`, `note`, `data` (a trace for each metric that has values) and `layout`."""
    shown = [mark for mark in marks if not mark.metric or mark.metric in names]
    traces = [trace for name, label in zip(names, _labels(names), strict=True) if (trace := _trace(name, label, rows))["x"]]
    highest = max((value for trace in traces for value in trace["y"]), default=0.0)
    top = 1.0 if chart.share or highest <= 0 else highest
    return {
        "title": chart.title,
        "note": chart.note,
        "data": traces,
        "layout": {
            "showlegend": len(traces) > 1,
            "xaxis": {"title": {"text": "step"}, "rangemode": "tozero"},
            "yaxis": {"rangemode": "tozero"} if chart.signed else {"range": [-0.02 * top, 1.06 * top]},
            "shapes": [_line(mark) for mark in shown],
            "annotations": [_label(mark) for mark in shown],
        },
    }


def metric_names(rows: Rows) -> list[str]:
    """Return all metrics that appear, in the order of their first appearance."""
    return [name for name in dict.fromkeys(key for row in rows for key in row) if name not in PLACE]


def first_and_last(rows: Rows, metric: str) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """Return (step, value) of the first and the last value of a metric; None if it has none."""
    values = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
    return (values[0], values[-1]) if values else None


def _line(mark: Mark) -> dict[str, Any]:
    place = {"x0": mark.step, "x1": mark.step, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **place, "line": {"dash": "dot", "width": 1, "color": "#888888"}}


def _label(mark: Mark) -> dict[str, Any]:
    place = {"x": mark.step, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top"}
    return {"text": mark.label, "showarrow": False, "font": {"size": 10}, **place}


def members(chart: Chart, names: Sequence[str]) -> list[str]:
    """Return those of `names` that a chart shows, in the order of its metrics."""
    return [
        name for wanted in chart.metrics for name in names if name == wanted or (wanted[-1] == "/" and name.startswith(wanted))
    ]


def _labels(names: Sequence[str]) -> list[str]:
    """Return the names without the first segment that they share: the chart's title says it already."""
    segments = {name.partition("/")[0] for name in names}
    return [name.partition("/")[2] or name for name in names] if len(segments) == 1 and len(names) > 1 else list(names)


def _trace(name: str, label: str, rows: Rows) -> dict[str, Any]:
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return {
        "type": "scatter",
        "name": label,
        "x": [step for step, _ in points],
        "y": [value for _, value in points],
        "mode": "lines+markers" if len(points) <= FEW_POINTS else "lines",
    }


# Chooses the sample completions of a report, and marks what a reader looks for in them. Pure functions on logged rollouts.

Row = Mapping[str, Any]
Key = tuple[str, str]  # (kind, task)

PROMPTS_SHOWN = 4  # of a stage
STEPS_SHOWN = 5  # of a prompt: the first, the last, and some between
PER_STEP = 2  # completions of one prompt at one step
LONGEST = 20_000  # characters shown of a completion


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a completion: `role` is `thinking`, `answer`, `text`; `reflective` marks a single word."""

    text: str
    role: str
    reflective: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion as the report shows it."""

    step: int
    pieces: tuple[Piece, ...]
    value: float | None
    parts: Mapping[str, float | None]
    status: str
    reason: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt with its completions at several steps, earliest first."""

    task_id: str
    kind: str
    text: str
    answer: str | None
    samples: tuple[Sample, ...]


class ReadRollouts(Protocol):
    """`Run.rollouts`."""

    def __call__(self, columns: Sequence[str] | None = None, rows: Collection[int] | None = None, /) -> Iterable[Row]: ...


def choose_samples(read: ReadRollouts, stage: str) -> list[Prompt]:
    """Return a few prompts of a stage: those seen at most steps first, since the same prompt over time shows what was learned.

    Args:
        read: gives the logged rollouts. Called twice, so that texts are read of the chosen ones only.
    """
    places: dict[Key, dict[int, list[int]]] = {}  # prompt → step → numbers of its rows
    for row in read(("row", "stage", "kind", "task_id", "step")):
        if row["stage"] == stage:
            places.setdefault((row["kind"], row["task_id"]), {}).setdefault(row["step"], []).append(row["row"])
    chosen = {
        key: [number for step in _spread(sorted(places[key]), STEPS_SHOWN) for number in places[key][step][:PER_STEP]]
        for key in _choose_prompts(places)
    }
    found = {row["row"]: row for row in read(None, frozenset(number for numbers in chosen.values() for number in numbers))}
    return [_prompt([found[number] for number in numbers]) for numbers in chosen.values()]


def mark(completion: str) -> Iterator[Piece]:
    """Yield the completion cut into thinking, answer and the rest, with reflective words as pieces of their own. Loses nothing."""
    for role, text in _roles(completion):
        end = 0
        for match in REFLECTIVE.finditer(text):
            if match.start() > end:
                yield Piece(text[end : match.start()], role)
            yield Piece(match.group(), role, reflective=True)
            end = match.end()
        if end < len(text):
            yield Piece(text[end:], role)


def _roles(completion: str) -> list[tuple[str, str]]:
    """Return the thinking reaches to the last `</think>` (or, never closed, to the end); an answer is the last block after it."""
    close = completion.rfind(THINK_CLOSE)
    opened = completion.find(THINK_OPEN)
    unfinished = close < 0 <= opened
    cut = len(completion) if unfinished else close + len(THINK_CLOSE) if close >= 0 else 0
    rest = completion[cut:]
    start = rest.rfind(ANSWER_OPEN)
    end = rest.find(ANSWER_CLOSE, start) if start >= 0 else -1
    stop = end + len(ANSWER_CLOSE) if end >= 0 else len(rest)
    if start < 0:
        return [("thinking", completion[:cut]), ("text", rest)]
    return [("thinking", completion[:cut]), ("text", rest[:start]), ("answer", rest[start:stop]), ("text", rest[stop:])]


def _choose_prompts(steps: Mapping[Key, Mapping[int, object]]) -> list[Key]:
    """Return the prompts seen at most steps; where none comes back, prompts of different steps."""
    if any(len(seen) > 1 for seen in steps.values()):
        return sorted(steps, key=lambda key: -len(steps[key]))[:PROMPTS_SHOWN]
    first_at: dict[int, Key] = {}
    for key, seen in steps.items():
        first_at.setdefault(next(iter(seen)), key)
    return [first_at[step] for step in _spread(sorted(first_at), PROMPTS_SHOWN)]


def _spread(values: Sequence[int], count: int) -> list[int]:
    """Return `count` values, evenly spread and including the first and the last; all if there are no more."""
    if len(values) <= count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]


def _prompt(rows: Sequence[Row]) -> Prompt:
    first = rows[0]
    return Prompt(
        task_id=first["task_id"],
        kind=first["kind"],
        text="\n\n".join(message["content"] for message in first["prompt"]),
        answer=first["answer"],
        samples=tuple(_sample(row) for row in rows),
    )


def _sample(row: Row) -> Sample:
    completion = row["completion"]
    return Sample(
        step=row["step"],
        pieces=tuple(mark(completion[:LONGEST])),
        value=row["reward"],
        parts={part["name"]: part["value"] for part in row["parts"]},
        status=row["status"] or "",
        reason=row["reason"],
        left_out=max(0, len(completion) - LONGEST),
    )


logger = logging.getLogger(__name__)

REPORT = "report.html"
TEMPLATE = "report.html.j2"
NEEDED = ("jinja2", "plotly")


@dataclass(frozen=True, slots=True)
class StageReport:
    """What the page shows of a stage."""

    name: str
    trainer: str
    finished: bool
    settings: Mapping[str, Any]
    change: tuple[tuple[int, float], tuple[int, float]] | None
    figures: list[dict[str, Any]]
    others: list[dict[str, Any]]
    prompts: list[Prompt]
    alerts: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Section:
    """A section that a plugin adds. `html` is the plugin's own; `fault` says why there is none."""

    name: str
    html: str
    fault: str = ""


def write_report(run: Run, *, plugins: Plugins | None = None) -> Path:
    """Write `report.html` into the run's folder and return its path. The run may still be going on.

    Raises:
        UsageError: jinja2 or plotly is not installed; the message says how to get them.
        RunError: the run cannot be read, or the page cannot be written.
    """
    check_installed()
    path = run.path / REPORT
    page = render(run, plugins or installed())
    try:
        replace_text(path, page)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the run itself is whole") from error
    return path


def render(run: Run, plugins: Plugins) -> str:
    """Return the page as text. All that a model or a data set wrote is escaped; only plugins' own sections are taken as HTML."""
    plan, manifest = run.plan, run.manifest
    return render_page(
        "r1env.monitoring",
        TEMPLATE,
        plan=plan,
        manifest=manifest,
        started=datetime.fromtimestamp(manifest["started"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=_seconds(run, manifest),
        overview=overview_figures({stage["name"]: run.metrics(stage["name"]) for stage in plan["stages"]}),
        stages=[_stage(run, stage) for stage in plan["stages"]],
        sections=_sections(run, plugins),
    )


def check_installed() -> None:
    """Raise UsageError where what a page needs is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"a report needs {' and '.join(missing)}: pip install r1env[report]")


def render_page(package: str, template: str, **content: Any) -> str:
    """Return a page as text: the template of a package inside `page.html.j2`, with plotly in it. Everything in `content` is escaped."""
    import jinja2  # here, because it is an extra

    def load(name: str) -> str:
        return (files(package if name == template else "r1env.monitoring") / name).read_text("utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, signed=_signed, visible=visible, duration=_duration)
    plotly = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    return environment.get_template(template).render(plotly=plotly, **content)


def _stage(run: Run, stage: Mapping[str, Any]) -> StageReport:
    rows = run.metrics(stage["name"])
    alerts = [event for event in run.events(stage["name"]) if event["kind"] == "alert"]
    return StageReport(
        name=stage["name"],
        trainer=stage["trainer"],
        finished=stage["name"] in run.finished_stages(),
        settings=stage["config"],
        change=first_and_last(rows, "eval/accuracy"),
        figures=main_figures(rows, [Mark(alert["step"], alert["rule"], alert["metric"]) for alert in alerts]),
        others=other_figures(rows),
        prompts=choose_samples(run.rollouts, stage["name"]),
        alerts=alerts,
    )


def _sections(run: Run, plugins: Plugins) -> list[Section]:
    sections = []
    for provided in plugins.listed("reports"):
        name = provided.spec.name
        try:
            sections.append(Section(name, str(import_target(provided.spec.target)(run))))
        except Exception as error:  # noqa: BLE001 - a stranger's section may raise anything: the page names it and goes on
            logger.warning("report section %s of %s failed: %s", name, provided.provenance, error)
            sections.append(Section(name, "", f"{provided.provenance} failed: {type(error).__name__}: {error}"))
    return sections


def _seconds(run: Run, manifest: Mapping[str, Any]) -> float:
    """Return the time from the start to the last step, including pauses between resumptions."""
    times = [row["time"] for row in run.metrics()]
    return times[-1] - float(manifest["started"]) if times else 0.0


def _number(value: Any) -> str:
    """Return a number as people read it: four significant digits."""
    return "–" if value is None else f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.1%}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def visible(text: str) -> str:
    """Return the text with its control characters spelt out: HTML cannot hold some of them, and others turn the page's text around."""
    return text.translate(_SPELT_OUT)


_CONTROL = [code for code in range(32) if chr(code) not in "\n\t"]
_DIRECTION = [0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SPELT_OUT: dict[int, int | str] = {code: 0x2400 + code for code in _CONTROL} | {code: f"[U+{code:04X}]" for code in _DIRECTION}
