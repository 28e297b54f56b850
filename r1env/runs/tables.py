"""Tables that stages leave: `table.md` for people, `table.json` for programs, in the stage's folder of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict

from r1env.errors import RunError
from r1env.runs.files import replace_text, to_json
from r1env.runs.run import Run
from r1env.trainer import parse_reference, references

TABLE_JSON, TABLE_MARKDOWN = "table.json", "table.md"


class Table(BaseModel):
    """A table as people read it, with the numbers behind it.

    Attributes:
        title: one line.
        columns, rows: headings and cells.
        notes: sentences that stand under it.
        data: one record a row, for programs; numbers unrounded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    data: tuple[dict[str, Any], ...] = ()

    def markdown(self) -> str:
        """The table in Markdown, its columns aligned so that it also reads as plain text."""
        lines = [tuple(map(_cell, line)) for line in (self.columns, *self.rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        head, *body = (
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
        )
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        notes = [text for note in self.notes for text in ("", note)]
        return "\n".join([f"**{self.title}**", "", head, rule, *body, *notes]) + "\n"

    def html(self) -> str:
        """The table in HTML, without its title; every text is escaped."""
        rows = "".join(f"<tr>{_html_cells('td', row)}</tr>" for row in self.rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        head = f"<thead><tr>{_html_cells('th', self.columns)}</tr></thead>"
        return f"<table>{head}<tbody>{rows}</tbody></table>{notes}"


def write_table(run: Run, table: Table) -> None:
    """Leave the table of the running stage; `table.json` is there once both files are.

    Raises:
        RunError: it cannot be written.
    """
    try:
        run.checkpoint_dir  # noqa: B018 - makes the stage's folder
        replace_text(run.stage_file(TABLE_MARKDOWN), table.markdown())
        replace_text(run.stage_file(TABLE_JSON), to_json(table.model_dump(), indent=2) + "\n")
    except OSError as error:
        raise RunError(f"cannot write the table of stage {run.stage!r}: {error.strerror or error}") from error


def read_tables(run: Run) -> Iterator[tuple[str, Table]]:
    """(stage, table) of every finished stage that left one, in the order in which they finished.

    Raises:
        RunError: a table is damaged.
    """
    for stage in run.finished_stages():
        path = run.stage_file(TABLE_JSON, stage)
        if not path.is_file():
            continue
        try:
            yield stage, Table.model_validate(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {path}: {error}") from error


def _html_cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


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
    """A row a finished stage, in the order of the plan; a column a measure that any of them logged."""
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
    """The table for the report."""
    return stage_table(run).html()


def _record(stage: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One stage in numbers; a measure that it never logged is left out."""
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
