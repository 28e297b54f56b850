"""Repair tasks: a repository with a bug, and tests that show it. The model gives one file anew; pytest decides, in the sandbox.

`bugfix` reads folders, one for each task: `task.json` with the `issue` in words and the `target`, the file to repair; `repository/`, what
the model is shown; `tests/`, files for pytest that it never sees; and `solution.patch` where the solution is known. `swebench` reads rows in SWE-bench's layout beside checkouts of their
repositories. In both, the tests call functions with plain data, as they do not run where the repository does.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from r1env import Task, TaskKind, TaskSource, UsageError
from r1env.data.rows import Source, read_rows
from r1env.data.sources import ListSource

_log = logging.getLogger("r1env.data")


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


def swebench(
    data: Source | None = None, repositories: str | Path | None = None, bad_rows: str = "refuse", split: str | None = None
) -> TaskSource:
    """Return repair tasks of SWE-bench's rows, whose repositories lie in a local folder.

    The checkout of a row at its `base_commit` is the folder `repositories/<instance_id>` or, with a `.git` whose HEAD is that commit,
    `repositories/<owner>__<repo>`. The row's `patch` must change a single Python file: that is the target, and the only file shown, as in
    SWE-bench's "oracle" setting. The tests of `FAIL_TO_PASS` and `PASS_TO_PASS` decide, in the files that `test_patch` leaves; the other
    tests of these files are taken out.

    Args:
        data: rows with SWE-bench's columns: a file, or `hub:…`.
        repositories: the folder.
        bad_rows: `refuse` the data for a row that cannot be a task, or `skip` such rows and log how many there are.
        split: of a data set of the hub.

    Raises:
        UsageError: an option is wrong, a row cannot be a task, or none can.
    """
    if data is None or repositories is None:
        raise UsageError("environment 'swebench' needs data=FILE, the rows, and repositories=FOLDER, the checkouts")
    if bad_rows not in ("refuse", "skip"):
        raise UsageError(f"environment 'swebench': bad_rows is {bad_rows!r}; known: refuse, skip")
    tasks, skipped = [], list[str]()
    for row in read_rows(data, split=split):
        try:
            tasks.append(repair_task(_swebench_parts(row, Path(repositories))))
        except (KeyError, ValueError, OSError) as error:
            fault = f"{row.where}: {row.get('instance_id')}: {_reason(error)}"
            if bad_rows == "refuse":
                raise UsageError(f"environment 'swebench': {fault}; bad_rows=skip leaves such rows out") from error
            skipped.append(fault)
    if skipped:
        _log.warning(
            "environment 'swebench': left out %d of %d rows; the first: %s", len(skipped), len(skipped) + len(tasks), skipped[0]
        )
    if not tasks:
        raise UsageError(f"environment 'swebench': {data} has no rows that can be tasks")
    return ListSource(tasks)


def repair_task(row: Mapping[str, Any]) -> Task:
    """Return a task of its parts.

    Args:
        row: `name`, `issue`, `target`, and the texts of `repository` and `tests` by path. Where it has `shown`, a collection of paths,
            only these files are shown to the model. Where it has `patch`, a unified diff, that is the solution that `r1env audit --env` tries.

    Raises:
        ValueError: the target is no file of the repository, there are no tests, or the patch does not fit.
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
    shown = "\n\n".join(
        f"`{name}`:\n```python\n{text.strip()}\n```"
        for name, text in sorted(repository.items())
        if name in row.get("shown", repository)
    )
    question = f"{row['issue'].strip()}\n\n{shown}\n\nGive the whole of `{target}`, repaired, in one ```python code block."
    return Task(
        id=f"bugfix-{row['name']}",
        prompt=question,
        tests=tuple(tests),
        kind=TaskKind.CODE,
        metadata={
            "programming_language": "python",
            "target": target,
            "source": repository[target],
            "issue": row["issue"].strip(),
            **_solution_of(row),
            "files": {name: text for name, text in repository.items() if name != target},
        },
    )


def _solution_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that hold a row's solution: the repaired target, and the completion that gives it; nothing where it has none."""
    if not row.get("patch"):
        return {}
    solution = apply_patch(row["repository"], row["patch"])[row["target"]]
    return {"solution": solution, "fixture": {"right": f"```python\n{solution}```"}}


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        for path in sorted(folder.glob("*/task.json")):
            told = json.loads(path.read_text("utf-8"))
            yield {
                "name": path.parent.name,
                "repository": _texts(path.parent / "repository"),
                "tests": _texts(path.parent / "tests"),
                "patch": patch.read_text("utf-8") if (patch := path.parent / "solution.patch").is_file() else "",
                **told,
            }
    except (OSError, ValueError) as error:
        raise UsageError(f"environment 'bugfix': cannot read the tasks of {folder}: {error}") from error


def _swebench_parts(row: Mapping[str, Any], repositories: Path) -> dict[str, Any]:
    """Return the parts of a repair task, as `repair_task` takes them.

    Raises:
        KeyError, ValueError, OSError: a column is missing or cannot be read, there is no checkout of the commit, or a patch does not fit it.
    """
    repository = _texts(_checkout(repositories, row["instance_id"], row["repo"], row["base_commit"]))
    changed = [name for name, text in apply_patch(repository, row["patch"]).items() if repository.get(name) != text]
    if len(changed) != 1 or changed[0] not in repository:
        raise ValueError(f"its patch should change one Python file that is there, and changes {', '.join(changed) or 'none'}")
    wanted: dict[str, set[str]] = {}
    for column in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        names = json.loads(row[column]) if isinstance(row[column], str) else row[column]
        if column == "FAIL_TO_PASS" and not names:
            raise ValueError("FAIL_TO_PASS is empty, so nothing shows the bug")
        for name in names:
            file, _, test = str(name).partition("::")
            wanted.setdefault(file, set()).add(re.sub(r"\[.*", "", test))  # a parametrised test counts as a whole
    patched = apply_patch(repository, row["test_patch"])
    tests = {file: _only(patched[file], names, file) for file, names in wanted.items()}
    return {
        "name": row["instance_id"],
        "issue": row["problem_statement"],
        "target": changed[0],
        "shown": changed,
        "repository": {name: text for name, text in repository.items() if name not in tests},
        "tests": tests,
        "patch": row["patch"],
    }


def _checkout(repositories: Path, instance: str, repo: str, commit: str) -> Path:
    """Return the folder with a repository at a commit.

    Raises:
        ValueError: there is none.
    """
    exported, clone = repositories / instance, repositories / repo.replace("/", "__")
    for folder in (exported, clone):
        if (folder / ".git").is_dir() and (head := _head(folder / ".git")) != commit:
            raise ValueError(f"{folder} is at commit {head[:12]}; check out {commit[:12]}")
        if folder.is_dir() and (folder == exported or (folder / ".git").is_dir()):
            return folder
    raise ValueError(f"there is neither {exported} nor a clone {clone}")


def _head(git: Path) -> str:
    """Return the commit that is checked out, read off git's own files; empty where they do not say."""
    head = (git / "HEAD").read_text("utf-8").strip()
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    if (git / name).is_file():
        return (git / name).read_text("utf-8").strip()
    packed = (git / "packed-refs").read_text("utf-8").splitlines() if (git / "packed-refs").is_file() else []
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")


def apply_patch(files: Mapping[str, str], patch: str) -> dict[str, str]:
    """Return the files after a unified diff, as `git diff` writes it. Lines and line numbers must fit exactly.

    Raises:
        ValueError: the patch does not fit the files, or is no unified diff.

    Example:
        >>> apply_patch({"a.py": "x = 1\\n"}, "--- a/a.py\\n+++ b/a.py\\n@@ -1 +1 @@\\n-x = 1\\n+x = 2\\n")
        {'a.py': 'x = 2\\n'}
    """
    result, lines = dict(files), deque(patch.split("\n"))
    while lines:
        line = lines.popleft()
        if not line.startswith("--- "):
            continue
        old, new = _path(line, "--- "), _path(lines.popleft() if lines else "", "+++ ")
        if old is not None and old not in result:
            raise ValueError(f"a patch changes {old!r}, which is not there")
        name = new or old or ""
        source = [] if old is None else result.pop(old).split("\n")
        done: list[str] = []
        place = 0
        while lines and (lines[0].startswith("\\") or _HUNK.match(lines[0])):
            header = _HUNK.match(lines.popleft())
            if header is not None:  # else it is "\\ No newline at end of file", which the source shows already
                start = int(header[1]) - (header[2] != "0")  # without old lines, the number is of the line before
                done += source[place:start]
                place = _apply_hunk(header, lines, source, start, done, name)
        if new is not None:
            text = "\n".join(done + source[place:])
            result[new] = text if old is not None else f"{text}\n"
    return result


_HUNK = re.compile(r"@@ -([0-9]+)(?:,([0-9]+))? \+[0-9]+(?:,([0-9]+))? @@")


def _path(line: str, mark: str) -> str | None:
    """Return the file that a header line names, without the first folder, which is git's `a/` or `b/`; None for no file."""
    if not line.startswith(mark):
        raise ValueError(f"a patch lacks the line {mark.strip()!r}")
    name = line.removeprefix(mark).split("\t")[0].strip()
    return None if name == "/dev/null" else name.partition("/")[2]


def _apply_hunk(header: re.Match[str], lines: deque[str], source: Sequence[str], place: int, done: list[str], name: str) -> int:
    """Append a hunk's result to `done`, and return the place in `source` behind it."""
    old, new = (int(count) if count is not None else 1 for count in (header[2], header[3]))
    while old > 0 or new > 0:
        if not lines:
            raise ValueError(f"a patch of {name!r} ends within a hunk")
        line = lines.popleft()
        if line.startswith("\\"):
            continue
        if line.startswith("+"):
            new -= 1
        else:
            if list(source[place : place + 1]) != [line[1:]]:
                raise ValueError(f"a patch does not fit {name!r} at line {place + 1}")
            place, old = place + 1, old - 1
            new -= not line.startswith("-")
        if not line.startswith("-"):
            done.append(line[1:])
    return place


def _only(text: str, wanted: set[str], file: str) -> str:
    """Return a test file with the wanted tests, `test_a` or `Class::test_a`, and everything else that is no test.

    Raises:
        ValueError: it is not Python, or lacks one of them.
    """
    tree = ast.parse(text)
    found: set[str] = set()

    def kept(body: list[ast.stmt], prefix: str) -> list[ast.stmt]:
        left = []
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                if prefix + node.name not in wanted:
                    continue
                found.add(prefix + node.name)
            elif isinstance(node, ast.ClassDef):
                node.body = kept(node.body, f"{prefix}{node.name}::") or [ast.Pass()]
            left.append(node)
        return left

    tree.body = kept(tree.body, "")
    if missing := sorted(wanted - found):
        raise ValueError(f"{file} has no test {missing[0]!r}")
    return ast.unparse(tree) + "\n"


def _reason(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _texts(folder: Path) -> dict[str, str]:
    """Return the texts of the Python files of a folder, by their paths in it."""
    paths = [path for path in sorted(folder.rglob("*.py")) if ".git" not in path.relative_to(folder).parts]
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in paths}
