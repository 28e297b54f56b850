"""`r1env runs`: the runs and evaluations in a folder, with their best numbers."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from r1env.cli.console import percent, print_json, print_table
from r1env.cli.options import Json
from r1env.errors import R1EnvError, UsageError
from r1env.overview import find_folders, overview


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]…", help="Runs, evaluations, or folders of them. Default: runs/.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List runs and evaluations with their best numbers.

    \b
    Example:
      r1env runs
      r1env runs runs/ablation --json
    """
    places = folders or [Path("runs")]
    for place in places:
        if not place.is_dir():
            raise UsageError(f"{place} is not a folder; name folders that `r1env train` or `r1env eval` wrote")
    found, faults = [], []
    for path in find_folders(places):
        try:
            found.append(overview(path))
        except R1EnvError as error:
            faults.append(str(error))
    if as_json:
        print_json([{**asdict(one), "path": str(one.path)} for one in found])
    elif not found:
        typer.echo(f"no run or evaluation in {', '.join(map(str, places))}; `r1env train` and `r1env eval` make them")
    else:
        columns = ("folder", "started", "state", "stage", "step", "reward", "accuracy", "best", "alerts")
        print_table(
            columns,
            (
                (
                    one.path,
                    time.strftime("%Y-%m-%d %H:%M", time.localtime(one.started)),
                    one.state,
                    one.stage or one.kind,
                    "" if one.step is None else one.step,
                    "" if one.reward is None else f"{one.reward:.3g}",
                    _change(one.accuracy_first, one.accuracy_last),
                    "" if one.accuracy_best is None else percent(one.accuracy_best),
                    one.alerts or "",
                )
                for one in found
            ),
        )
    for fault in faults:
        typer.echo(f"left out: {fault}", err=True)


def _change(first: float | None, last: float | None) -> str:
    if first is None or last is None:
        return ""
    return percent(last) if first == last else f"{percent(first)} → {percent(last)}"
