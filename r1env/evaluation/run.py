"""An evaluation as a folder, which a crash cannot harm and which can be completed, compared and scored again.

manifest.json   settings, prompt templates, rewards, versions, machine
rows.jsonl      one completion a line, appended as it is scored; in the order of models, environments and tasks once complete
summary.json    accuracy, intervals and the rest by model and environment; written last
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from r1env.envs.environment import Environment
from r1env.errors import RunError, RunFolderError, UsageError
from r1env.evaluation.evaluate import Evaluation, EvaluationRow
from r1env.runs.files import append_bytes, cut, json_lines, read_json_lines, replace_text, to_json, whole_lines_size
from r1env.runs.manifest import make_manifest

logger = logging.getLogger(__name__)

MANIFEST, ROWS, SUMMARY, LOCK = "manifest.json", "rows.jsonl", "summary.json", ".lock"
FORMAT = 1


class EvaluationRun:
    """The folder of an evaluation. One process may write it at a time; any number may read it meanwhile."""

    def __init__(self, path: Path) -> None:
        """Use `create` for a new evaluation and `open` for one that exists."""
        self.path = path

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Any], *, seed: int, command: Sequence[str] = ()) -> EvaluationRun:
        """Make the folder, its parents too, with the manifest.

        Args:
            settings: everything that decides what is sampled and how it is scored, as plain data; see `describe_environment`.

        Raises:
            RunFolderError: the folder is not empty.
        """
        if (path / MANIFEST).exists():
            raise RunFolderError(
                f"{path} already holds an evaluation; go on with it by --resume {path}, or name another folder"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFolderError(f"{path} exists and is not an empty folder; name another folder with --output")
        manifest = make_manifest(seed=seed, command=command, started=round(time.time(), 3))
        manifest |= {"kind": "evaluation", "format": FORMAT, "settings": to_jsonable_python(settings, fallback=str)}
        try:
            path.mkdir(parents=True, exist_ok=True)
            replace_text(path / MANIFEST, to_json(manifest, indent=2) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> EvaluationRun:
        """Return an existing evaluation; nothing is written.

        Raises:
            RunFolderError: the folder holds no evaluation.
            RunError: it was written by a newer r1env.
        """
        if not is_evaluation(path):
            raise RunFolderError(f"{path} holds no evaluation; give a folder that `r1env eval` wrote")
        run = cls(path)
        if (found := run.manifest["format"]) > FORMAT:
            raise RunError(
                f"{path} was written by a newer r1env (format {found}, this one reads up to {FORMAT}); upgrade r1env"
            )
        return run

    @property
    def manifest(self) -> dict[str, Any]:
        """Settings, versions, command and machine."""
        found: dict[str, Any] = json.loads((self.path / MANIFEST).read_text("utf-8"))
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the evaluation was created with."""
        found: dict[str, Any] = self.manifest["settings"]
        return found

    @property
    def complete(self) -> bool:
        """Whether every completion is there."""
        return (self.path / SUMMARY).is_file()

    def rows(self) -> Iterator[tuple[str, str, EvaluationRow]]:
        """Yield (model, environment, row) of every completion. A line that a crash left unfinished is skipped."""
        for line in read_json_lines(self.path / ROWS):
            model, environment = line.pop("model"), line.pop("environment")
            yield model, environment, EvaluationRow.model_validate(line)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for writing, and clean up what a crash left: half a line, and rows whose engine or scoring failed.

        Raises:
            RunError: another process is writing it.
        """
        with (self.path / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(
                    f"another process is writing {self.path}; wait for it, or name another folder with --output"
                ) from None
            (self.path / SUMMARY).unlink(missing_ok=True)  # it belongs to all rows; `finish` writes it again
            cut(self.path / ROWS, whole_lines_size(self.path / ROWS))
            failed = sum(row.failed for _, _, row in self.rows())
            if failed:
                logger.info("%d completions whose engine or scoring failed are made again", failed)
                self._replace(line for line in self.rows() if not line[2].failed)
            yield

    def append(self, model: str, environment: str, rows: Iterable[EvaluationRow]) -> None:
        """Append rows; they are with the operating system when this returns.

        Raises:
            RunError: the file cannot be written, say because the disk is full; it is as before.
        """
        try:
            append_bytes(self.path / ROWS, json_lines(line_of(model, environment, row) for row in rows))
        except OSError as error:
            raise RunError(f"cannot write {self.path / ROWS}: {error.strerror}; go on with --resume {self.path}") from error

    def finish(self, found: Mapping[tuple[str, str], Evaluation]) -> None:
        """Put the rows in order and write the summary.

        Args:
            found: the results by (model, environment).
        """
        self._replace((model, name, row) for (model, name), one in found.items() for row in one.rows)
        summary = [{"model": model, **one.model_dump(mode="json", exclude={"rows"})} for (model, _), one in found.items()]
        replace_text(self.path / SUMMARY, to_json(summary, indent=2) + "\n")

    def _replace(self, lines: Iterable[tuple[str, str, EvaluationRow]]) -> None:
        text = json_lines(line_of(*line) for line in lines).decode("ascii")
        replace_text(self.path / ROWS, text)


def line_of(model: str, environment: str, row: EvaluationRow) -> dict[str, Any]:
    """Return a row as a file has it, with the names of its model and environment."""
    return {"model": model, "environment": environment, **row.model_dump(mode="json")}


def is_evaluation(path: Path) -> bool:
    """Return whether a folder holds an evaluation."""
    try:
        return bool(json.loads((path / MANIFEST).read_text("utf-8")).get("kind") == "evaluation")
    except (OSError, ValueError):
        return False


def describe_environment(environment: Environment) -> dict[str, Any]:
    """Return everything about an environment that decides what the model sees and how it is scored, as plain data.

    A data file is named by its hash: the same path with other rows is another evaluation.
    """
    data = environment.options.get("data")
    file = Path(str(data)) if isinstance(data, str | Path) else None
    return {
        "name": environment.name,
        "split": environment.split,
        "options": to_jsonable_python(dict(environment.options), fallback=str),
        "data_sha256": _sha256(file) if file is not None and file.is_file() else None,
        "template": {
            "name": environment.template.name,
            "stop": list(environment.template.stop),
            "chat": environment.template.chat,
            "example": to_jsonable_python(environment.template.messages(environment.task(0))),
        },
        "max_turns": environment.max_turns,
        "accuracy": environment.accuracy,
        "rubric": environment.rubric.describe(),
    }


def check_same(stored: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with an evaluation under other settings: its rows would not be of one kind.

    Raises:
        UsageError: a setting differs; the message names the first few.
    """
    changed = sorted(_changes(stored, json.loads(to_json(to_jsonable_python(now, fallback=str)))))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UsageError(
            f"{path} was made with other settings: {'; '.join(changed[:3])}{more}. Begin a new evaluation, or use `r1env rescore` "
            "where only the reward has changed"
        )


def _changes(stored: Any, now: Any, where: str = "") -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(now, Mapping):
        for key in sorted({*stored, *now}):
            yield from _changes(stored.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        for place, pair in enumerate(zip(stored, now, strict=True)):
            yield from _changes(*pair, f"{where}[{place}]")
    elif stored != now:
        yield f"{where} was {str(stored)[:60]}, is {str(now)[:60]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
