"""Repair tasks: a small repository with a bug, and tests that show it. The model gives one file anew; pytest decides, in the sandbox.

A folder of such tasks holds one folder each: `task.json` with the `issue` in words and the `target`, the file to repair;
`repository/`, what the model is shown; `tests/`, files for pytest that it never sees. The tests call functions with plain data, as
they do not run where the repository does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from r1env import Task, TaskKind, TaskSource, UsageError
from r1env.data.sources import ListSource


def bugfix(data: str | Path | None = None) -> TaskSource:
    """Return the repair tasks of a folder; of those that come with this package, when None.

    Raises:
        UsageError: the folder has no tasks, or one of them lacks something.
    """
    folder = Path(str(files("r1env_code"))) / "repositories" if data is None else Path(data)
    tasks = []
    for row in _rows(folder):
        try:
            tasks.append(repair_task(row))
        except (KeyError, ValueError) as error:
            raise UsageError(f"bugfix, {folder}, {row.get('name')}: {error}") from error
    if not tasks:
        raise UsageError(f"bugfix, {folder}: there are no tasks")
    return ListSource(tasks)


def repair_task(row: Mapping[str, Any]) -> Task:
    """Return a task of its parts.

    Args:
        row: `name`, `issue`, `target`, and the texts of `repository` and `tests` by path.

    Raises:
        ValueError: the target is no file of the repository, or there are no tests.
    """
    repository, target = row["repository"], row["target"]
    if target not in repository:
        raise ValueError(f"its target {target!r} is no file of the repository; there are {', '.join(sorted(repository))}")
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in repository if name.endswith(".py")
    ]
    tests = [{"kind": "pytest", "files": {name: text}, "modules": modules} for name, text in row["tests"].items()]
    if not tests:
        raise ValueError("it has no tests")
    shown = "\n\n".join(f"`{name}`:\n```python\n{text.strip()}\n```" for name, text in sorted(repository.items()))
    question = f"{row['issue'].strip()}\n\n{shown}\n\nGive the whole of `{target}`, repaired, in one ```python code block."
    return Task(
        id=f"bugfix-{row['name']}",
        prompt=question,
        tests=tuple(tests),
        kind=TaskKind.CODE,
        metadata={
            "programming_language": "python",
            "target": target,
            "files": {name: text for name, text in repository.items() if name != target},
        },
    )


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        for path in sorted(folder.glob("*/task.json")):
            told = json.loads(path.read_text("utf-8"))
            yield {
                "name": path.parent.name,
                "repository": _texts(path.parent / "repository"),
                "tests": _texts(path.parent / "tests"),
                **told,
            }
    except (OSError, ValueError) as error:
        raise UsageError(f"environment 'bugfix': cannot read the tasks of {folder}: {error}") from error


def _texts(folder: Path) -> dict[str, str]:
    """Return the texts of the Python files of a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in sorted(folder.rglob("*.py"))}
