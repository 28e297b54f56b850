"""`r1env plugins`: what is installed, who provides it, and whether all of it works."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from r1env.cli.console import Advance, print_json, print_table, program, progress
from r1env.cli.options import Json, plugins_of
from r1env.errors import PluginError
from r1env.hooks import HOOKS, SINGULAR, RecipeSpec, RewardSpec, Spec, TemplateSpec
from r1env.importing import import_target
from r1env.plugins import Provided
from r1env.prompts import as_template
from r1env.rewards import as_reward
from r1env.scaffold import KINDS, new_plugin


def plugins(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option("--kind", help="List only this kind: " + ", ".join(HOOKS) + ".")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Import everything, and exit with code 1 if anything is broken.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List everything that plugins provide, with the distribution and version that provides it.

    Faults are printed to stderr after the table, one per line: plugins that cannot be imported, hooks that raise or return
    something wrong, and names that two plugins provide.

    \b
    Example:
      r1env plugins --kind rewards
      r1env plugins --check
    """
    if kind is not None and kind not in HOOKS:
        raise typer.BadParameter(f"{kind!r} is no kind; known: {', '.join(HOOKS)}", param_hint="--kind")
    found = plugins_of(ctx)
    listed = [(name, item) for name in HOOKS if kind in (None, name) for item in found.listed(name)]
    broken = list(map(str, (*found.failures, *found.clashes)))
    if check:
        with progress("importing") as advance:
            broken += _broken(listed, advance)
    if as_json:
        print_json({"plugins": [_as_json(name, item) for name, item in listed], "broken": broken})
    else:
        rows = ((SINGULAR[name], item.spec.name, item.provenance, item.spec.summary) for name, item in listed)
        print_table(("kind", "name", "provided by", "summary"), rows)
        for line in broken:
            typer.echo(f"broken: {line}", err=True)
        if check and not broken:
            typer.echo("all of it can be imported")
    if check and broken:
        raise typer.Exit(1)


def _broken(listed: list[tuple[str, Provided[Spec]]], advance: Advance) -> Iterator[str]:
    """Yield one line for everything whose target cannot be imported."""
    for done, (kind, item) in enumerate(listed):
        advance(done, len(listed))
        try:
            _load(item.spec)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - importing a third-party module may raise anything: reported by name
            yield f"{SINGULAR[kind]} {item.spec.name!r} of {item.provenance}: {error}"


def _load(spec: Spec) -> None:
    """Import everything that the spec names, and check that it is of that kind.

    Raises:
        BaseException: whatever the import raises; PluginError or UsageError if it is something else; FileNotFoundError for a
            recipe whose file is missing.
    """
    if isinstance(spec, RecipeSpec):
        package, _, path = spec.resource.partition(":")
        if not files(package).joinpath(path).is_file():
            raise FileNotFoundError(f"no file {spec.resource}")
        return
    for field in ("target", "config", "source", "other"):
        target = getattr(spec, field, None)
        if target is None and (field != "target" or not isinstance(spec, RewardSpec)):
            continue
        found = import_target(target)
        if isinstance(spec, RewardSpec):
            as_reward(found, spec.name)
        elif isinstance(spec, TemplateSpec):
            as_template(found, spec.name)
        elif field == "source" and not callable(found):
            raise PluginError(f"its source is a {type(found).__name__}, which cannot be called")


def _as_json(kind: str, item: Provided[Spec]) -> dict[str, str]:
    origin = item.provenance
    return {
        "kind": SINGULAR[kind],
        "name": item.spec.name,
        "summary": item.spec.summary,
        "plugin": origin.plugin,
        "distribution": origin.distribution,
        "version": origin.version,
    }


# `r1env new`: starts a plugin of one's own.

app = typer.Typer(rich_markup_mode=None, add_completion=False)

NewName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the new object.")]
NewFolder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Folder to write. Default: a new one in the current directory.")
]


@app.callback()
def new() -> None:
    """Write a new plugin package with tests, which can be installed with pip.

    \b
    Example:
      r1env new reward brevity
      r1env new env shop --shape tools
    """


@app.command()
def reward(ctx: typer.Context, name: NewName, folder: NewFolder = None) -> None:
    """Write an installable package with one reward, its entry point and its tests.

    \b
    Example:
      r1env new reward brevity
      pip install -e r1env-brevity-reward
    """
    _write_plugin(ctx, "reward", name, folder)


class Shape(StrEnum):
    """What a new environment looks like."""

    SINGLE = "single"
    DIALOGUE = "dialogue"
    TOOLS = "tools"
    FILE = "file"


@app.command()
def env(
    ctx: typer.Context,
    name: NewName,
    folder: NewFolder = None,
    shape: Annotated[
        Shape, typer.Option("--shape", help="One turn, a dialogue, tools that the model calls, or the rows of files.")
    ] = Shape.SINGLE,
) -> None:
    """Write an installable package with one environment and its own reward.

    \b
    Example:
      r1env new env shop --shape tools
    """
    _write_plugin(ctx, "env" if shape is Shape.SINGLE else f"env-{shape}", name, folder)


@app.command()
def loss(ctx: typer.Context, name: NewName, folder: NewFolder = None) -> None:
    """Write an installable package with one policy loss."""
    _write_plugin(ctx, "loss", name, folder)


@app.command()
def engine(ctx: typer.Context, name: NewName, folder: NewFolder = None) -> None:
    """Write an installable package with one engine."""
    _write_plugin(ctx, "engine", name, folder)


@app.command()
def trainer(ctx: typer.Context, name: NewName, folder: NewFolder = None) -> None:
    """Write an installable package with one trainer."""
    _write_plugin(ctx, "trainer", name, folder)


def _write_plugin(ctx: typer.Context, kind: str, name: str, folder: Path | None) -> None:
    written = new_plugin(kind, name, folder, taken=plugins_of(ctx).provided(KINDS[kind].registry))
    typer.echo("\n".join(map(str, written)))
    typer.echo(
        f"\nnext: edit {kind.partition('-')[0]}.py, then pip install -e {shlex.quote(str(written[0].parent))} and {program()} plugins --check"
    )
