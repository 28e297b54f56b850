"""`r1env export`: the reward file for another stack's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1env.adapters.export import render
from r1env.adapters.scorer import load_rubric, rubric_spec
from r1env.cli.options import options_by_reward, plugins_of
from r1env.errors import UsageError
from r1env.rubrics import name_accuracy, with_options


def export(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="STACK", help="trl, verl or openrlhf.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The Python file to write.")],
    rubric: Annotated[
        str, typer.Option("--rubric", metavar="NAME|FILE", help="A preset, a YAML file, or a single reward.")
    ] = "zero",
    accuracy: Annotated[
        str, typer.Option("--accuracy", metavar="REWARD", help="What the rubric's `accuracy` stands for.")
    ] = "math",
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="REWARD.KEY=VALUE", help="Option of a reward; repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write the rewards as the file that another RL stack loads.

    The file holds the rubric as plain data, and the flags that make the stack use it in its first lines.

    \b
    Example:
      r1env export --to openrlhf --rubric zero --output reward.py
      r1env export --to verl --rubric mine.yaml --accuracy math --output reward.py
    """
    spec = name_accuracy(with_options(rubric_spec(rubric), options_by_reward(option)), accuracy)
    loaded = load_rubric(spec, plugins=plugins_of(ctx))
    text = render(to, spec, path=output, parts=loaded.part_keys)
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{output} exists; add --force to overwrite it") from error
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    typer.echo(f"{output}: its first lines say how to use it")
