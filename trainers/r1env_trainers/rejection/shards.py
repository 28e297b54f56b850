"""The batches that are done, each a file that is there whole or not at all: what a killed stage goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from r1env.errors import RunError
from r1env.runs.files import replace_text, to_json
from r1env_trainers.rejection.statistics import Counts


class Shard(BaseModel):
    """One batch.

    Attributes:
        prompts: digests of the prompts that were drawn for.
        rows: the demonstrations kept.
        counts: by domain.
        position: of the run's logs, with this batch told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    counts: dict[str, Counts]
    position: dict[str, int]


def read_shards(folder: Path) -> list[Shard]:
    """The batches that are done, in order.

    Raises:
        RunError: a file is damaged, which no crash does.
    """
    shards: list[Shard] = []
    while (path := _path(folder, len(shards))).is_file():
        try:
            shards.append(Shard.model_validate(json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, ValidationError) as error:
            raise RunError(f"cannot read {path}: {error}") from error
    return shards


def write_shard(folder: Path, number: int, shard: Shard) -> None:
    """Raises:
    RunError: it cannot be written; the batches before are whole.
    """
    path = _path(folder, number)
    try:
        replace_text(path, to_json(shard.model_dump(mode="json")))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; the batches before are whole") from error


def _path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.json"
