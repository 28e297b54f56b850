"""`write_report`: a run as one HTML file that opens offline: curves, before and after, sample completions."""

from __future__ import annotations

import importlib.util
import itertools
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

# Which metrics a report draws together, and the figures as `static/charts.js` draws them. Pure functions on a run's metrics.

Rows = Sequence[Mapping[str, Any]]

POINTS = 30_000
"""Points of all lines in a report: about 500 kB of it, however long the run was."""
FEWEST_POINTS = 50  # of a line, however many lines there are
DIGITS = 5  # of a value in a chart


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
    Chart("Accuracy", ("eval/accuracy", "accuracy"), "eval: on held-out tasks; step 0 is before training", share=True),
    Chart("Parts of the reward", ("parts/",), "before weighting", signed=True),
    Chart("Accuracy by difficulty", ("difficulty/",), "in training, by the difficulty that the tasks state", share=True),
    Chart("Language consistency", ("parts/language",), "share of words in the language that was asked for", share=True),
    Chart("Length", ("length/mean", "length/p95", "length/max"), "of completions, in tokens"),
    Chart(
        "Length of right and wrong answers",
        ("length/right", "length/wrong"),
        "mean tokens; wrong answers alone should not grow",
    ),
    Chart("Cut off", ("truncated",), "share of completions that reached the token limit", share=True),
    Chart(
        "Reflective words",
        ("reflection/per_1000_completions", "reflection/wait_per_1000_completions"),
        "the ten that DeepSeek-R1 counted, and 'wait' alone; base models use some too",
    ),
    Chart("Reflective words per length", ("reflection/per_1000_characters",), "per 1,000 characters"),
    Chart("KL to the starting model", ("kl",), "nats per token", signed=True),
    Chart("Entropy", ("entropy",), "nats per token; near 0, the model no longer explores"),
    Chart("Mixed groups", ("mixed_groups",), "share of groups whose rewards differ, the only ones to learn from", share=True),
    Chart("Clipped tokens", ("clip_fraction",), "share of tokens whose ratio was clipped"),
    Chart("Sampler and trainer", ("logprob_gap",), "mean difference of their log-probabilities, nats per token"),
    Chart("Gradient norm", ("grad_norm",), "before clipping"),
    Chart("Learning rate", ("lr",)),
    Chart("Loss", ("loss",), signed=True),
    Chart("Unscored rollouts", ("unscored",), "rollouts without a score, never counted as 0"),
    Chart("Time per step", ("seconds/",), "seconds, by phase"),
    Chart("Scoring time by reward", ("seconds_by_reward/",), "seconds per rollout: median and 99th percentile of a step"),
    Chart("Throughput", ("tokens_per_second",), "completion tokens per second, over all phases"),
    Chart("Peak memory", ("memory/",), "GiB since the process began; rss: the process, cuda: the GPU"),
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


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a stage.

    Attributes:
        main: those of `CHARTS`.
        others: one for each metric that `CHARTS` leaves out.
        flat: titles of charts that are left out because all their values are 0.
    """

    main: list[dict[str, Any]]
    others: list[dict[str, Any]]
    flat: list[str]


def stage_figures(rows: Rows, marks: Sequence[Mark] = ()) -> Figures:
    """Return the figures of one stage; charts without any value, and those that are 0 throughout, are left out."""
    names = metric_names(rows)
    charts = [(chart, members(chart, names)) for chart in CHARTS]
    seen = {name for _, own in charts for name in own}
    rest = [(Chart(name, (name,), signed=True), [name]) for name in names if name not in seen]
    main, flat = list[dict[str, Any]](), list[str]()
    for chart, own in charts:
        found = figure(chart, own, rows, marks)
        if found["lines"] and not chart.signed and not any(value for line in found["lines"] for value in line["y"]):
            flat.append(chart.title)
        elif found["lines"]:
            main.append(found)
    others = [found for chart, own in rest if (found := figure(chart, own, rows))["lines"]]
    return Figures(main, others, flat)


def overview_figures(stages: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Return the charts of `OVERVIEW` over the stages that log one of them, one after another, with a mark where each begins.

    None for a run that has logged one stage, whose own charts begin with the same.
    """
    if sum(bool(rows) for rows in stages.values()) < 2:
        return []
    charts = [chart for chart in CHARTS if chart.title in OVERVIEW]
    logged = {name: rows for name, rows in stages.items() if any(members(chart, metric_names(rows)) for chart in charts)}
    joined: list[dict[str, Any]] = []
    marks: list[Mark] = []
    offset = 0
    for name, rows in logged.items():
        marks.append(Mark(offset, name))
        joined += [{**row, "step": row["step"] + offset} for row in rows]
        offset += max(row["step"] for row in rows)
    figures = (figure(chart, members(chart, metric_names(joined)), joined, marks) for chart in charts)
    return [found for found in figures if found["lines"]]


def figure(chart: Chart, names: Sequence[str], rows: Rows, marks: Sequence[Mark] = ()) -> dict[str, Any]:
    """Return what `Charts.draw` of `static/charts.js` draws: the chart's own fields, a line for each metric with values, and the marks."""
    lines = [line for name, label in zip(names, _labels(names), strict=True) if (line := _line(name, label, rows))["x"]]
    return {
        "title": chart.title,
        "note": chart.note,
        "share": chart.share,
        "signed": chart.signed,
        "lines": lines,
        "marks": [
            {"x": mark.step, "label": mark.label, "warn": bool(mark.metric)}
            for mark in marks
            if not mark.metric or mark.metric in names
        ],
    }


def _line(name: str, label: str, rows: Rows) -> dict[str, Any]:
    values = {row["step"]: row[name] for row in rows if row.get(name) is not None}  # a later row of the same step counts
    steps = sorted(values)
    line: dict[str, Any] = {"label": label, "x": steps, "y": [float(f"{values[step]:.{DIGITS}g}") for step in steps]}
    stages = {row["step"]: row.get("stage") for row in rows if row.get(name) is not None}
    if starts := [step for before, step in itertools.pairwise(steps) if stages[step] != stages[before]]:
        line["starts"] = starts  # the line has a gap between the stages that log it
    if name == "eval/accuracy":
        line["level"] = True  # a dotted line at the accuracy before training
    return line


def thin(figures: Iterable[dict[str, Any]]) -> int:
    """Leave out points of long lines, in place, until all lines together have about `POINTS`; return how many lines were thinned.

    Of each stretch of a line its lowest and its highest point stay, so that no spike disappears.
    """
    lines = [line for one in figures for line in one["lines"]]
    most = max(FEWEST_POINTS, POINTS // max(1, len(lines)))
    thinned = 0
    for line in lines:
        if len(line["x"]) <= most:
            continue
        thinned += 1
        kept = {0, len(line["x"]) - 1}
        length = 2 * len(line["x"]) / most
        for number in range(most // 2):
            stretch = range(round(number * length), min(len(line["x"]), round((number + 1) * length)))
            if stretch:
                kept |= {min(stretch, key=line["y"].__getitem__), max(stretch, key=line["y"].__getitem__)}
        for key in ("x", "y"):
            line[key] = [line[key][place] for place in sorted(kept)]
    return thinned


def metric_names(rows: Rows) -> list[str]:
    """Return all metrics that appear, in the order of their first appearance."""
    return [name for name in dict.fromkeys(key for row in rows for key in row) if name not in PLACE]


def first_and_last(rows: Rows, metric: str) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """Return (step, value) of the first and the last value of a metric; None if it has none."""
    values = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
    return (values[0], values[-1]) if values else None


def members(chart: Chart, names: Sequence[str]) -> list[str]:
    """Return those of `names` that a chart shows, in the order of its metrics."""
    return [
        name for wanted in chart.metrics for name in names if name == wanted or (wanted[-1] == "/" and name.startswith(wanted))
    ]


def _labels(names: Sequence[str]) -> list[str]:
    """Return the names without the first segment that they share: the chart's title says it already."""
    if len(names) == 1:
        return [""]
    segments = {name.partition("/")[0] for name in names}
    return [name.partition("/")[2] or name for name in names] if len(segments) == 1 else list(names)


# Chooses the sample completions of a report, and marks what a reader looks for in them. Pure functions on logged rollouts.

Row = Mapping[str, Any]
Key = tuple[str, str]  # (kind, task)

PROMPTS_SHOWN = 4  # of a stage
STEPS_SHOWN = 5  # of a prompt: the first, the last, and some between
PER_STEP = 2  # completions of one prompt at one step
LONGEST = 20_000  # characters shown of a completion
SAMPLE_CHARACTERS = 250_000  # shown of all completions of a report together


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


def choose_samples(read: ReadRollouts, stage: str, longest: int = LONGEST) -> list[Prompt]:
    """Return a few prompts of a stage: those seen at most steps first, since the same prompt over time shows what was learned.

    Args:
        read: gives the logged rollouts. Called twice, so that texts are read of the chosen ones only.
        longest: characters of a completion, and of a prompt, that are shown.
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
    return [_prompt([found[number] for number in numbers], longest) for numbers in chosen.values()]


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


def _prompt(rows: Sequence[Row], longest: int) -> Prompt:
    first = rows[0]
    text = "\n\n".join(message["content"] for message in first["prompt"])
    return Prompt(
        task_id=first["task_id"],
        kind=first["kind"],
        text=text if len(text) <= longest else f"{text[:longest]} … {len(text) - longest} more characters",
        answer=first["answer"],
        samples=tuple(_sample(row, longest) for row in rows),
    )


def _sample(row: Row, longest: int) -> Sample:
    completion = row["completion"]
    return Sample(
        step=row["step"],
        pieces=tuple(mark(completion[:longest])),
        value=row["reward"],
        parts={part["name"]: part["value"] for part in row["parts"]},
        status=row["status"] or "",
        reason=row["reason"][:longest],
        left_out=max(0, len(completion) - longest),
    )


logger = logging.getLogger(__name__)

REPORT = "report.html"
SCRIPTS, STYLES = ("uPlot.iife.min.js", "charts.js"), ("uPlot.min.css",)  # of the folder `static`
TEMPLATE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class StageReport:
    """What the page shows of a stage."""

    name: str
    trainer: str
    finished: bool
    settings: Mapping[str, Any]
    change: tuple[tuple[int, float], tuple[int, float]] | None
    figures: Figures
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
        UsageError: jinja2 is not installed; the message says how to get it.
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
    shown = max(1, len(plan["stages"])) * PROMPTS_SHOWN * STEPS_SHOWN * PER_STEP
    stages = [_stage(run, stage, min(LONGEST, SAMPLE_CHARACTERS // shown)) for stage in plan["stages"]]
    overview = overview_figures({stage["name"]: run.metrics(stage["name"]) for stage in plan["stages"]})
    thinned = thin([*overview, *(one for stage in stages for one in (*stage.figures.main, *stage.figures.others))])
    return render_page(
        "r1env.monitoring",
        TEMPLATE,
        plan=plan,
        manifest=manifest,
        started=datetime.fromtimestamp(manifest["started"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=_seconds(run, manifest),
        overview=overview,
        stages=stages,
        thinned=thinned,
        sections=_sections(run, plugins),
    )


def check_installed() -> None:
    """Raise UsageError where what a page needs is not installed."""
    if importlib.util.find_spec("jinja2") is None:
        raise UsageError("a report needs jinja2: pip install r1env[report]")


def render_page(package: str, template: str, **content: Any) -> str:
    """Return a page as text: the template of a package inside `page.html.j2`, with the script of its charts in it. Everything in `content` is escaped."""
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
    environment.filters.update(number=_number, points=_points, visible=visible, duration=_duration)
    scripts, style = (
        [(files("r1env.monitoring") / "static" / name).read_text("utf-8") for name in names] for names in (SCRIPTS, STYLES)
    )
    return environment.get_template(template).render(scripts=scripts, styles=style, **content)


def _stage(run: Run, stage: Mapping[str, Any], longest: int) -> StageReport:
    rows = run.metrics(stage["name"])
    alerts = [event for event in run.events(stage["name"]) if event["kind"] == "alert"]
    return StageReport(
        name=stage["name"],
        trainer=stage["trainer"],
        finished=stage["name"] in run.finished_stages(),
        settings=stage["config"],
        change=first_and_last(rows, "eval/accuracy"),
        figures=stage_figures(rows, [Mark(alert["step"], alert["rule"], alert["metric"]) for alert in alerts]),
        prompts=choose_samples(run.rollouts, stage["name"], longest),
        alerts=alerts,
    )


def _sections(run: Run, plugins: Plugins) -> list[Section]:
    sections = []
    for provided in plugins.listed("reports"):
        name = provided.spec.name
        try:
            sections.append(Section(name, str(import_target(provided.spec.target)(run))))
        except Exception as error:  # noqa: BLE001 - a third-party section may raise anything: the page names it and goes on
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


def _points(value: float) -> str:
    """Return the difference of two shares in percentage points."""
    return f"{100 * value:+.1f} points"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def visible(text: str) -> str:
    """Return the text with its control characters spelt out: HTML cannot hold some of them, and others turn the page's text around."""
    return text.translate(_SPELT_OUT)


_CONTROL = [code for code in range(32) if chr(code) not in "\n\t"]
_DIRECTION = [0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SPELT_OUT: dict[int, int | str] = {code: 0x2400 + code for code in _CONTROL} | {code: f"[U+{code:04X}]" for code in _DIRECTION}
