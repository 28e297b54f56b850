"""Stages of a run: references from one stage to another's result, and the table of what each stage cost and measured.

In settings, `stage:NAME` is the model that a stage left, and `stage:NAME/FILE` a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from r1env.errors import RunError
from r1env.runs.files import replace_text, to_json
from r1env.runs.run import Run
from r1env.runs.tables import Table

STAGE_PREFIX = "stage:"


def is_stage(value: object) -> bool:
    """Return whether a setting refers to a stage's result, which need not be there yet."""
    return isinstance(value, str) and value.startswith(STAGE_PREFIX)


def parse_reference(reference: str) -> tuple[str, str | None]:
    """Return the stage's name, and the file within its folder or None for its model."""
    stage, _, file = reference.removeprefix(STAGE_PREFIX).partition("/")
    return stage, file or None


def references(settings: object) -> Iterator[str]:
    """Yield every reference in settings (plain data), however deep."""
    if is_stage(settings):
        yield str(settings)
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from references(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from references(value)


def resolved(settings: Any, locate: Callable[[str], Path]) -> Any:
    """Return the settings with every reference replaced by the path that `locate` has for it."""
    if is_stage(settings):
        return str(locate(settings))
    if isinstance(settings, Mapping):
        return {key: resolved(value, locate) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [resolved(value, locate) for value in settings]
    return settings


# The table of a run's stages: what each started from, what it cost, and what its last steps measured.

STAGES_JSON, STAGES_MARKDOWN = "stages.json", "stages.md"
LAST_STEPS = 10
"""How many of a stage's last values a cell averages: one step of sampling is noisy."""

MEASURES: Mapping[str, str] = {
    "loss": "loss",
    "reward": "reward",
    "accuracy": "accuracy",
    "parts/language": "language",
    "length/mean": "length",
    "eval/accuracy": "held-out accuracy",
}
"""Metric → heading. A stage that does not log one has a dash."""


def stage_table(run: Run) -> Table:
    """Return a row a finished stage, in the order of the plan; a column a measure that any of them logged."""
    finished = run.finished_stages()
    records = [_record(stage, run.metrics(stage["name"])) for stage in run.plan["stages"] if stage["name"] in finished]
    shown = [heading for heading in MEASURES.values() if any(heading in record for record in records)]
    return Table(
        title="Stages",
        columns=("stage", "trainer", "starts from", "steps", "seconds", *shown),
        rows=tuple(
            (
                record["stage"],
                record["trainer"],
                ", ".join(record["from"]) or "–",
                str(record["steps"]),
                _number(record["seconds"]),
                *(_number(record.get(heading)) for heading in shown),
            )
            for record in records
        ),
        notes=(
            f"Means of the last {LAST_STEPS} values that a stage logged while it trained; held-out accuracy is the last one. "
            "seconds: of its steps, by the wall.",
        ),
        data=tuple(records),
    )


def write_stage_table(run: Run) -> None:
    """Leave `stages.json` and `stages.md` in the run's folder.

    Raises:
        RunError: they cannot be written.
    """
    table = stage_table(run)
    try:
        replace_text(run.path / STAGES_MARKDOWN, table.markdown())
        replace_text(run.path / STAGES_JSON, to_json(table.model_dump(), indent=2) + "\n")
    except OSError as error:
        raise RunError(f"cannot write the table of stages of {run.path}: {error.strerror or error}") from error


def stages_section(run: Run) -> str:
    """Return the table for the report."""
    return stage_table(run).html()


def _record(stage: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one stage in numbers; a measure that it never logged is left out."""
    record: dict[str, Any] = {
        "stage": stage["name"],
        "trainer": stage["trainer"],
        "from": sorted({parse_reference(reference)[0] for reference in references(stage["config"])}),
        "steps": max((row["step"] for row in rows), default=0),
        "seconds": math.fsum(value or 0.0 for row in rows for key, value in row.items() if key.startswith("seconds/")),
    }
    for metric, heading in MEASURES.items():
        values = [row[metric] for row in rows if row.get(metric) is not None]
        if values:
            record[heading] = values[-1] if metric.startswith("eval/") else fmean(values[-LAST_STEPS:])
    return record


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
