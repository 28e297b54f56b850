"""`r1env new`: starts a plugin of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from r1env.cli.console import program
from r1env.cli.options import plugins_of
from r1env.scaffold import new_reward

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def new() -> None:
    """Write a new plugin that installs with pip, with its tests.

    \b
    Example:
      r1env new reward brevity
    """


@app.command()
def reward(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the reward, as rubrics and commands will use it.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where to write it; by default a new folder here.")
    ] = None,
) -> None:
    """Write an installable package with one reward, its entry point and its tests.

    \b
    Example:
      r1env new reward brevity
      pip install -e r1env-brevity-reward
    """
    written = new_reward(name, folder, taken=plugins_of(ctx).provided("rewards"))
    typer.echo("\n".join(map(str, written)))
    typer.echo(
        f"\nnext: edit reward.py, then pip install -e {shlex.quote(str(written[0].parent))} and {program()} plugins --check"
    )
