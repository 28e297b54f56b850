"""The report's section of the tables that stages left."""

from __future__ import annotations

from html import escape

from r1env.runs.run import Run
from r1env.runs.tables import read_tables


def tables_section(run: Run) -> str:
    """HTML of every table of the run; a sentence where there is none."""
    shown = [f"<h3>{escape(stage)}: {escape(table.title)}</h3>{table.html()}" for stage, table in read_tables(run)]
    return "\n".join(shown) or "<p>No stage left a table.</p>"
