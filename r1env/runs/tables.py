"""Tables that stages leave: `table.md` for people, `table.json` for programs, in the stage's folder of the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from pydantic import BaseModel, ConfigDict

from r1env.errors import RunError
from r1env.runs.files import replace_text, to_json
from r1env.runs.run import Run

TABLE_JSON, TABLE_MARKDOWN = "table.json", "table.md"


class Table(BaseModel):
    """A table as people read it, with the numbers behind it.

    Attributes:
        title: one line.
        columns, rows: headings and cells.
        notes: sentences that stand under it.
        data: one record a row, for programs; numbers unrounded.
        bold: cells that are emphasized, as (row, column).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    data: tuple[dict[str, Any], ...] = ()
    bold: tuple[tuple[int, int], ...] = ()

    def markdown(self) -> str:
        """Return the table in Markdown, its columns aligned so that it also reads as plain text."""
        lines = [tuple(map(_cell, line)) for line in (self.columns, *self._emphasized("**", "**", self.rows))]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        head, *body = (
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
        )
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        notes = [text for note in self.notes for text in ("", note)]
        return "\n".join([f"**{self.title}**", "", head, rule, *body, *notes]) + "\n"

    def html(self) -> str:
        """Return the table in HTML, without its title; every text is escaped."""
        texts = [tuple(map(escape, row)) for row in self.rows]
        rows = "".join(f"<tr>{_html_cells('td', row)}</tr>" for row in self._emphasized("<b>", "</b>", texts))
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        head = f"<thead><tr>{_html_cells('th', map(escape, self.columns))}</tr></thead>"
        return f"<table>{head}<tbody>{rows}</tbody></table>{notes}"

    def _emphasized(self, before: str, after: str, rows: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
        """Yield the rows with the cells of `bold` between two texts."""
        for place, row in enumerate(rows):
            yield tuple(f"{before}{text}{after}" if (place, column) in self.bold else text for column, text in enumerate(row))


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
    return "".join(f"<{tag}>{text}</{tag}>" for text in texts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
