"""The rows of `r1env score` and `r1env sample`: JSON lines in, rollouts; rollouts, JSON objects out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from r1env.rollouts import Rollout
from r1env.scores import Score, Status
from r1env.tasks import Task

TASK_FIELDS = ("id", "prompt", "answer", "tests", "language", "kind")
"""Fields of a row that are fields of its task; `completion` is the rollout's, all others go to the task's metadata."""


class MalformedRowError(ValueError):
    """A line that is no rollout. `row_id` is the id it carries, where that could be read."""

    def __init__(self, reason: str, row_id: str | int | None = None) -> None:
        super().__init__(reason)
        self.row_id = row_id


def parse_row(line: bytes, number: int) -> tuple[str | int | None, Rollout]:
    """The id as it stands in the line, and the rollout.

    Args:
        number: of the line, from 1; the task's id where the row has none.

    Raises:
        MalformedRowError: the line is not a JSON object with a text `completion`, or a field has the wrong type.
    """
    row = _load(line, number)
    row_id = row.get("id")
    if not isinstance(row_id, str | int | None) or isinstance(row_id, bool):
        raise MalformedRowError(f"line {number}: the id must be text or a number, not {type(row_id).__name__}")
    if not isinstance(row.get("completion"), str):
        given = f"not {type(row['completion']).__name__}" if "completion" in row else "and is missing"
        raise MalformedRowError(f"line {number}: the completion must be text, {given}", row_id)
    fields = {key: row[key] for key in TASK_FIELDS if row.get(key) is not None}
    fields["id"] = str(number if row_id is None else row_id)
    fields.setdefault("prompt", "")
    if isinstance(fields.get("answer"), int | float) and not isinstance(fields["answer"], bool):
        fields["answer"] = str(fields["answer"])
    metadata = {key: value for key, value in row.items() if key not in TASK_FIELDS and key != "completion"}
    try:
        return row_id, Rollout(task=Task(**fields, metadata=metadata), completion=row["completion"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MalformedRowError(f"line {number}: {where}: {first['msg']}", row_id) from error


def malformed_result(error: MalformedRowError) -> dict[str, Any]:
    """What is written for a line that could not be read."""
    failure = Score.failure(Status.ERROR, str(error)).model_dump(mode="json")
    return {"id": error.row_id, **failure, "seconds": 0}


def scored_result(row_id: str | int | None, result: Score) -> dict[str, Any]:
    """What is written for a scored line."""
    return {"id": row_id, **result.model_dump(mode="json")}


def sampled_row(rollout: Rollout, sample: int) -> dict[str, Any]:
    """A row that `r1env score` reads back to the same task and completion."""
    task = rollout.task
    optional: Mapping[str, Any] = {"answer": task.answer, "tests": list(task.tests), "language": task.language}
    return {
        "id": task.id,
        "prompt": task.question if task.prompt == _as_user(task.question) else [dict(message) for message in task.prompt],
        "completion": rollout.completion,
        **{key: value for key, value in optional.items() if value},
        "kind": task.kind.value,
        "sample": sample,
        "finish_reason": rollout.finish_reason.value,
        **{key: value for key, value in task.metadata.items() if key not in TASK_FIELDS},
    }


def _as_user(text: str) -> tuple[dict[str, str]]:
    return ({"role": "user", "content": text},)


def _load(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MalformedRowError(f"line {number}: not UTF-8 ({error.reason})") from error
    except RecursionError as error:
        raise MalformedRowError(f"line {number}: nested too deeply") from error
    except ValueError as error:  # not JSON, or a number longer than Python reads
        raise MalformedRowError(f"line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise MalformedRowError(f"line {number}: expected an object, got {type(row).__name__}")
    return row
