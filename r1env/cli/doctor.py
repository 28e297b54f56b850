"""`r1env doctor`: what works on this machine, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import typer

from r1env.cli.console import print_json, print_table, progress
from r1env.cli.options import Json, plugins_of
from r1env.importing import import_target
from r1env.plugins import GROUP, Plugins
from r1env.runs.manifest import plugin_provenance
from r1env.trainer import Backend

OLDEST_PYTHON = (3, 11)


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    ABSENT = "absent"  # not there; nothing else suffers
    BROKEN = "broken"  # there, and does not work


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the diagnosis. `remedy` is empty where nothing is to be done."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check this machine: what works, what is missing, and how to install it. The exit code is 1 if something that is installed
    does not work.

    \b
    Example:
      r1env doctor
    """
    with progress("looking"):
        checks = list(diagnose(plugins_of(ctx)))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        print_table(("", "what", "found", "to get it"), ((c.state, c.name, c.detail, c.remedy) for c in checks))
    if any(check.state is State.BROKEN for check in checks):
        raise typer.Exit(1)


def diagnose(plugins: Plugins) -> Iterator[Check]:
    """Run all checks, one after another."""
    yield _python()
    yield Check("machine", State.OK, f"{platform.platform()}, {os.cpu_count()} CPUs")
    yield from _torch()
    yield _docker()
    yield from _distributions()
    yield from _backends(plugins)
    yield _plugins(plugins)


def _python() -> Check:
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", State.BROKEN, platform.python_version(), "install Python 3.11 or newer")
    return Check("python", State.OK, platform.python_version())


def _torch() -> Iterator[Check]:
    if importlib.util.find_spec("torch") is None:
        yield Check("torch", State.ABSENT, "not installed", _brings("torch"))
        return
    try:
        import torch  # here, because it takes seconds and only this check needs it
    except (ImportError, OSError) as error:
        yield Check("torch", State.BROKEN, f"cannot be imported: {error}", "reinstall torch")
        return
    yield Check("torch", State.OK, torch.__version__)
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Check("cuda", State.OK, f"{torch.version.cuda}: {names}")
    else:
        why = "this torch is built without CUDA" if torch.version.cuda is None else "no GPU is visible"
        yield Check("cuda", State.ABSENT, why, "not needed for tiny models")


def _docker() -> Check:
    remedy = "https://docs.docker.com/engine/install"
    if shutil.which("docker") is None:
        return Check("docker", State.ABSENT, "no command `docker`", remedy)
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("docker", State.BROKEN, f"does not answer: {error}", "restart the Docker engine")
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()
        return Check("docker", State.ABSENT, reason[-1] if reason else "no engine answers", "start the Docker engine")
    return Check("docker", State.OK, f"engine {result.stdout.strip()}")


def _distributions() -> Iterator[Check]:
    """Yield a line for each distribution that brings plugins, and for each of its extras.

    Nothing is known by name: what is installed says so itself, and what is not is looked for in the checkout that r1env came from.
    """
    checkout = _checkout()
    found = {entry.dist.name for entry in importlib.metadata.entry_points(group=GROUP) if entry.dist is not None}
    for name in sorted({*found, *checkout}):
        requirements = _requirements(name)
        if requirements is None:
            yield Check(name, State.ABSENT, checkout[name].summary, _pip_install(str(checkout[name].folder)))
            continue
        yield Check(name, State.OK, importlib.metadata.metadata(name)["Summary"] or "")
        where = str(checkout[name].folder) if name in checkout else name
        for extra, needed in requirements.items():
            missing = [module for module in needed if _requirements(module) is None]
            detail = f"missing {', '.join(missing)}" if missing else ", ".join(needed)
            state = State.ABSENT if missing else State.OK
            yield Check(f"{name}[{extra}]", state, detail, _pip_install(f"{where}[{extra}]") if missing else "")


def _requirements(name: str) -> dict[str, list[str]] | None:
    """Return what each extra of an installed distribution needs, by distribution; None where it is not installed."""
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    extras: dict[str, list[str]] = {}
    for line in lines:
        if (extra := _EXTRA.search(line)) and (distribution := _NAME.match(line)):
            extras.setdefault(extra[1], []).append(distribution[0])
    return extras


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)")


@dataclass(frozen=True, slots=True)
class _Project:
    folder: Path
    summary: str
    dependencies: tuple[str, ...]


def _pip_install(requirement: str) -> str:
    return f"pip install {shlex.quote(requirement)}"


def _checkout() -> Mapping[str, _Project]:
    """Return the projects of the checkout that r1env was installed from, by name; empty if it came from elsewhere."""
    try:
        recorded = importlib.metadata.distribution("r1env").read_text("direct_url.json")  # written by pip, see PEP 610
    except importlib.metadata.PackageNotFoundError:
        recorded = None
    origin = json.loads(recorded or "{}")
    if "dir_info" not in origin:
        return {}
    root = Path(url2pathname(urlsplit(origin["url"]).path))
    found = {}
    for path in (path for folder in (".", "*", "plugins/*") for path in root.glob(f"{folder}/pyproject.toml")):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        found[project["name"]] = _Project(path.parent, project.get("description", ""), tuple(project.get("dependencies", ())))
    return found


def _brings(library: str) -> str:
    """Return the command that installs a library: with the project of the checkout that needs it, if there is one."""
    for project in _checkout().values():
        if any(re.match(rf"{library}\b", dependency) for dependency in project.dependencies):
            return _pip_install(str(project.folder))
    return _pip_install(library)


def _backends(plugins: Plugins) -> Iterator[Check]:
    """Yield what each installed backend says of this machine."""
    for provided in plugins.listed("backends"):
        name = provided.spec.name
        try:
            backend: Backend = import_target(provided.spec.target)()
            works, detail = backend.diagnosis()
        except Exception as error:  # noqa: BLE001 - a third-party backend may raise anything; the other checks go on
            yield Check(name, State.BROKEN, f"{provided.provenance} raised {type(error).__name__}: {error}", "reinstall it")
            continue
        yield Check(
            name,
            State.OK if works else State.ABSENT,
            detail,
            "" if works else f"see the docs of {provided.provenance.distribution}",
        )


def _plugins(plugins: Plugins) -> Check:
    if plugins.failures:
        names = ", ".join(str(failure.provenance) for failure in plugins.failures)
        return Check("plugins", State.BROKEN, f"cannot be loaded: {names}", "r1env plugins --check")
    return Check("plugins", State.OK, f"{len(plugin_provenance(plugins))} loaded")
