"""`r1env verifiers export`: a package of one's own whose taskset is one environment."""

from __future__ import annotations

import json
import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from r1env.config import parse_overrides
from r1env.envs.environment import make_environment
from r1env.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The environment $environment of r1env as a verifiers taskset"
requires-python = ">=3.11"
dependencies = ["r1env-verifiers[verifiers]>=0.1.0,<0.2"]

[tool.hatch.build.targets.wheel]
packages = ["$module"]
"""

_INIT = '''\
"""The environment $environment as a verifiers taskset. Written by `r1env verifiers export`.

    vf-eval $distribution --env.player.runtime.type subprocess --no-push

The packages that provide the environment must be installed beside it.
"""

from r1env_verifiers.taskset import R1EnvEnv, R1EnvHarness, taskset_of

Taskset = taskset_of($arguments)

__all__ = ["R1EnvEnv", "R1EnvHarness", "Taskset"]
'''


@app.callback()
def group() -> None:
    """Take environments to verifiers."""


@app.command()
def export(
    env: Annotated[str, typer.Option("--env", help="Environment (see `r1env envs`).")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FOLDER", help="Folder of the package; its name is the package's.")
    ],
    rubric: Annotated[str, typer.Option("--rubric", metavar="NAME", help="Rubric: a preset or a YAML file.")] = "accuracy",
    option: Annotated[
        list[str] | None, typer.Option("-o", "--env-option", metavar="KEY=VALUE", help="Option of the environment. Repeatable.")
    ] = None,
) -> None:
    """Write a package for `vf-eval` and prime-rl whose taskset is one environment.

    \b
    Example:
      r1env verifiers export --env sort-4 --output r1env-sort-4
    """
    options = parse_overrides(option or [])
    make_environment(env, rubric=rubric, **options)  # a wrong name is found here, not in somebody's training
    written = write_package(output, env, rubric=rubric, options=options)
    typer.echo(f"{written[0].parent}: `pip install` it, then `vf-eval {output.name}`")


def write_package(folder: Path, environment: str, *, rubric: str, options: dict[str, object]) -> list[Path]:
    """Write the package, and return its files.

    Raises:
        UsageError: the folder's name is no name for a package, or it is not empty, or it cannot be written.
    """
    module = folder.name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", folder.name) or keyword.iskeyword(module):
        raise UsageError(f"{folder.name!r} is no name for a package; use lower-case letters, digits and single hyphens")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; choose another place")
    values = {
        "distribution": folder.name,
        "module": module,
        "environment": json.dumps(environment)[1:-1],
        "arguments": ", ".join([repr(environment), f"rubric={rubric!r}", *([f"**{options!r}"] if options else [])]),
    }
    files = {folder / "pyproject.toml": _PYPROJECT, folder / module / "__init__.py": _INIT}
    try:
        (folder / module).mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(Template(text).substitute(values), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error}") from error
    return list(files)
