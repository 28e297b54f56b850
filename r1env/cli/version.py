"""`r1env version`."""

from __future__ import annotations

import typer

from r1env.cli.console import print_json
from r1env.cli.options import Json
from r1env.runs.manifest import distribution_versions
from r1env.version import __version__


def version(as_json: Json = False) -> None:
    """Show the version.

    \b
    Example:
      r1env version --json
    """
    if as_json:
        print_json({"r1env": __version__, "distributions": distribution_versions()})
    else:
        typer.echo(__version__)
