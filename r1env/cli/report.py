"""`r1env report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1env.cli.console import print_json, progress
from r1env.cli.options import Json, plugins_of
from r1env.runs.report import write_report
from r1env.runs.run import Run


def report(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUNDIR", help="Folder that `r1env train` wrote.")],
    as_json: Json = False,
) -> None:
    """Write a run's report.html: curves and sample completions in one file that opens offline.

    \b
    Example:
      r1env report runs/r1-zero-tiny-cpu-20260131-120000
    """
    with progress("writing the report"):
        path = write_report(Run.open(run), plugins=plugins_of(ctx))
    if as_json:
        print_json({"report": str(path)})
    else:
        typer.echo(path)
