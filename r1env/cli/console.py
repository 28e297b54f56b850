"""What all commands print with: tables and results on stdout, progress on stderr."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from r1env.runs.files import to_json

PIPE_WIDTH = 200  # columns when nobody's terminal sets them: one row a line, so that grep works

Advance = Callable[[int, int], None]
"""Called with (done, in all)."""


def program() -> str:
    """Return how this program is called from here: `r1env` where the shell finds it, else the path of the running script."""
    script = Path(sys.argv[0])
    if shutil.which("r1env") or script.name != "r1env":
        return "r1env"
    return os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script)


def stdout_console() -> Console:
    """Return a console on stdout, as wide as the terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table, without a head if all columns are nameless. Cells are plain text: no markup is read in them."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout_console().print(table)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(to_json(value, indent=2))


@contextmanager
def progress(what: str, *, unit: bool = True) -> Iterator[Advance]:
    """Show progress on stderr: a bar that is gone when done, or where stderr is no terminal a line every half minute.

    Args:
        unit: show "done/in all"; pass False where the numbers mean nothing to a person (bytes).
    """
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn()]
    columns += [MofNCompleteColumn()] if unit else []
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _progress_lines(what, unit)
        return
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


LINE_EVERY = 30.0
"""Seconds between two lines of progress in a log."""


def _progress_lines(what: str, unit: bool) -> Advance:
    start = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY and done:
            last = now
            left = (now - start) / done * (total - done)
            count = f"{done}/{total}" if unit else f"{done / total:.0%}"
            typer.echo(f"{what}: {count}, about {left:.0f} s left", err=True)

    return advance


@contextmanager
def told(say: Callable[[str], None], logger: str) -> Iterator[None]:
    """Say what a logger logs, from INFO on, instead of what happens to its records otherwise."""
    handler = _Saying(say)
    source = logging.getLogger(logger)
    before = source.level, source.propagate
    source.addHandler(handler)
    source.setLevel(logging.INFO)
    source.propagate = False
    try:
        yield
    finally:
        source.removeHandler(handler)
        source.setLevel(before[0])
        source.propagate = before[1]


class _Saying(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(printable(record.getMessage()))


def printable(value: object) -> str:
    """Return text that is safe in a terminal: control characters as their pictures, lone surrogates as `?`."""
    return str(value).translate(_CONTROL_PICTURES).encode("utf-8", "replace").decode("utf-8")


_CONTROL_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def percent(share: float | None) -> str:
    """Return a share as people read it; a dash where there is none."""
    return "–" if share is None else f"{share:.1%}"
