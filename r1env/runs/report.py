"""`write_report`: a run as one HTML file that opens offline: curves, before and after, sample completions."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from r1env.errors import RunError, UsageError
from r1env.plugins import Plugins, import_target, installed
from r1env.runs.atomic import replace_text
from r1env.runs.curves import Mark, first_and_last, main_figures, other_figures, overview_figures
from r1env.runs.run import Run
from r1env.runs.samples import Prompt, choose_samples

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
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"a report needs {' and '.join(missing)}: pip install r1env[report]")
    path = run.path / REPORT
    page = render(run, plugins or installed())
    try:
        replace_text(path, page)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the run itself is whole") from error
    return path


def render(run: Run, plugins: Plugins) -> str:
    """The page as text. All that a model or a data set wrote is escaped; only plugins' own sections are taken as HTML."""
    import jinja2  # here, because it is an extra

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files("r1env.runs") / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, signed=_signed, visible=_visible, duration=_duration)
    plan, manifest = run.plan, run.manifest
    return environment.get_template(TEMPLATE).render(
        plan=plan,
        manifest=manifest,
        started=datetime.fromtimestamp(manifest["started"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=_seconds(run, manifest),
        overview=overview_figures({stage["name"]: run.metrics(stage["name"]) for stage in plan["stages"]}),
        stages=[_stage(run, stage) for stage in plan["stages"]],
        sections=_sections(run, plugins),
        plotly=(files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8"),
    )


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
    for name, provided in plugins.provided("reports").items():
        try:
            sections.append(Section(name, str(import_target(provided.spec.target)(run))))
        except Exception as error:  # noqa: BLE001 - a stranger's section may raise anything: the page names it and goes on
            logger.warning("report section %s of %s failed: %s", name, provided.provenance, error)
            sections.append(Section(name, "", f"{provided.provenance} failed: {type(error).__name__}: {error}"))
    return sections


def _seconds(run: Run, manifest: Mapping[str, Any]) -> float:
    """From the start to the last step, pauses between resumptions included."""
    times = [row["time"] for row in run.metrics()]
    return times[-1] - float(manifest["started"]) if times else 0.0


def _number(value: Any) -> str:
    """A number as people read it: four significant digits."""
    return "–" if value is None else f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.1%}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _visible(text: str) -> str:
    """The text with its control characters spelt out: HTML cannot hold some of them, and others turn the page's text around."""
    return text.translate(_SPELT_OUT)


_CONTROL = [code for code in range(32) if chr(code) not in "\n\t"]
_DIRECTION = [0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SPELT_OUT: dict[int, int | str] = {code: 0x2400 + code for code in _CONTROL} | {code: f"[U+{code:04X}]" for code in _DIRECTION}
