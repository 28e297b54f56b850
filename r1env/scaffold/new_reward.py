"""`new_reward`: a reward plugin from templates. Pure text in, files out."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from string import Template

from r1env import __version__
from r1env.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 40


def new_reward(name: str, folder: Path | None = None, *, taken: Collection[str] = ()) -> list[Path]:
    """Write a plugin with the reward `name` into `folder`, which is made where it is missing.

    Args:
        name: the reward's name; the distribution becomes `r1env-<name>-reward`.
        folder: where the plugin's `pyproject.toml` goes; by default `r1env-<name>-reward` in the current folder.
        taken: names of the rewards that are installed already.

    Returns:
        The files written, `pyproject.toml` first.

    Raises:
        UsageError: the name is no name for a reward, or is taken; or the folder has something in it, or cannot be written.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is no name for a reward; use lower-case letters, digits and single hyphens, a letter first "
            f"(at most {_LONGEST_NAME}), such as 'short-answer'"
        )
    if name in taken:
        raise UsageError(f"there is an installed reward {name!r} already; choose another name")
    distribution = f"r1env-{name}-reward"
    folder = folder or Path(distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; choose another place")
    files = render(name, distribution=distribution)
    try:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the plugin to {folder}: {error}") from error
    return [folder / path for path in files]


def render(name: str, *, distribution: str) -> dict[str, str]:
    """Return the files of a reward plugin, by path within its folder."""
    identifier = name.replace("-", "_")
    major, minor, _ = __version__.split(".", 2)
    values = {
        "name": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "lowest": __version__,
        "next_minor": f"{major}.{int(minor) + 1}",  # before 1.0, a minor version may change what a plugin relies on
        "function": f"{identifier}_" if keyword.iskeyword(identifier) else identifier,
    }
    package = values["package"]
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "rubric.yaml": "rubric.yaml",
        f"{package}/__init__.py": "__init__.py",
        f"{package}/plugin.py": "plugin.py",
        f"{package}/reward.py": "reward.py",
        f"tests/test_{package}.py": "test_reward.py",
    }
    folder = resources.files("r1env.scaffold") / "templates"
    files = {
        path: Template((folder / f"{source}.tmpl").read_text("utf-8")).substitute(values) for path, source in templates.items()
    }
    return files | {f"{package}/py.typed": ""}
