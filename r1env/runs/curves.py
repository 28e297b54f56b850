"""Which metrics a report draws together, and the figures as plotly's plain JSON. Pure functions on a run's metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """The figures of `CHARTS` for one stage; charts without any value are left out."""
    names = metric_names(rows)
    figures = (figure(chart, _members(chart, names), rows, marks) for chart in CHARTS)
    return [found for found in figures if found["data"]]


def overview_figures(stages: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Charts over the stages of a run, one after another, with a mark where each begins; only what two stages or more log."""
    joined: list[dict[str, Any]] = []
    marks: list[Mark] = []
    offset = 0
    for name, rows in stages.items():
        marks.append(Mark(offset, name))
        joined += [{**row, "step": row["step"] + offset} for row in rows]
        offset += max((row["step"] for row in rows), default=0)
    names_of = [set(metric_names(rows)) for rows in stages.values()]
    charts = [chart for chart in CHARTS if chart.title in OVERVIEW and sum(bool(_members(chart, [*n])) for n in names_of) > 1]
    return [figure(chart, _members(chart, metric_names(joined)), joined, marks) for chart in charts]


def other_figures(rows: Rows) -> list[dict[str, Any]]:
    """One figure for each metric that `CHARTS` leaves out."""
    names = metric_names(rows)
    shown = {name for chart in CHARTS for name in _members(chart, names)}
    figures = (figure(Chart(name, (name,), signed=True), [name], rows) for name in names if name not in shown)
    return [found for found in figures if found["data"]]


def figure(chart: Chart, names: Sequence[str], rows: Rows, marks: Sequence[Mark] = ()) -> dict[str, Any]:
    """A plotly figure: `title`, `note`, `data` (a trace for each metric that has values) and `layout`."""
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
    """All metrics that appear, in the order of their first appearance."""
    return [name for name in dict.fromkeys(key for row in rows for key in row) if name not in PLACE]


def first_and_last(rows: Rows, metric: str) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """(step, value) of the first and of the last value of a metric; None where it has none."""
    values = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
    return (values[0], values[-1]) if values else None


def _line(mark: Mark) -> dict[str, Any]:
    place = {"x0": mark.step, "x1": mark.step, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **place, "line": {"dash": "dot", "width": 1, "color": "#888888"}}


def _label(mark: Mark) -> dict[str, Any]:
    place = {"x": mark.step, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top"}
    return {"text": mark.label, "showarrow": False, "font": {"size": 10}, **place}


def _members(chart: Chart, names: Sequence[str]) -> list[str]:
    return [
        name for wanted in chart.metrics for name in names if name == wanted or (wanted[-1] == "/" and name.startswith(wanted))
    ]


def _labels(names: Sequence[str]) -> list[str]:
    """The names without the first segment that they share: the chart's title says it already."""
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
