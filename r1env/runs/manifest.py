"""`make_manifest`: what a run must remember about where and with what it was made. Imports nothing that it only names."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1env.hooks import HOOKS
from r1env.plugins import Plugins, installed

LIBRARIES = ("torch", "transformers", "numpy", "gymnasium", "vllm")
"""Distributions whose version changes what a run does; those that are there are listed."""


def make_manifest(*, seed: int, command: Sequence[str], started: float, plugins: Plugins | None = None) -> dict[str, Any]:
    """Versions, seed, revision, plugins, command and machine.

    Args:
        command: the command line, word by word; empty when the run was started from Python.
        started: seconds since the epoch.
    """
    return {
        "started": started,
        "seed": seed,
        "command": list(command),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "versions": distribution_versions(),
        "plugins": plugin_provenance(plugins or installed()),
        "git_revision": git_revision(Path.cwd()),
    }


def distribution_versions() -> dict[str, str]:
    """Versions of every installed r1env distribution and of those of `LIBRARIES` that are installed."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and (name.lower().replace("_", "-").startswith("r1env") or name in LIBRARIES):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def plugin_provenance(plugins: Plugins) -> list[dict[str, str]]:
    """Which plugin of which distribution and version was there, each once."""
    seen = {provided.provenance for kind in HOOKS for provided in plugins.listed(kind)}
    return [
        {"plugin": origin.plugin, "distribution": origin.distribution, "version": origin.version}
        for origin in sorted(seen, key=lambda origin: (origin.distribution, origin.plugin))
    ]


def git_revision(folder: Path) -> str | None:
    """Return the commit checked out around `folder`, with `+changes` when files differ from it; None outside a checkout."""
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return None
    return revision + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, or a checkout too slow to ask
        return None
    return result.stdout.strip()
