"""The data file that a stage leaves: kept samples, and rows mixed in from other files; and the batches it resumes from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from r1env.data.layouts import read_examples
from r1env.data.sources import shuffled_index
from r1env.errors import RunError, UsageError
from r1env.runs.files import replace_text, to_json
from r1env.runs.stages import is_stage
from r1env_trainers.rejection.config import ExtraData
from r1env_trainers.rejection.statistics import Counts
from r1env_trainers.sft.rows import rows_of

DATA = "data.jsonl"


def check_extra(extra: Sequence[ExtraData]) -> None:
    """Refuse files that cannot be read, rows that are not demonstrations, and counts larger than a file.

    Raises:
        UsageError: with the file and the row.
    """
    for item in extra:
        if not is_stage(item.data):
            _chosen(item, kept=0, seed=0)


def extra_rows(extra: Sequence[ExtraData], kept: int, seed: int) -> list[Mapping[str, Any]]:
    """Return the rows to mix in with `kept` samples, each with its domain.

    Raises:
        UsageError: as in `check_extra`.
    """
    return [row for item in extra for row in _chosen(item, kept, seed)]


def by_domain(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return domain → number of rows."""
    return dict(Counter(str(row["domain"]) for row in rows))


def write_data(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines; raise RunError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, "".join(to_json(row) + "\n" for row in rows))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _chosen(item: ExtraData, kept: int, seed: int) -> list[Mapping[str, Any]]:
    rows = [row for example in read_examples(item.data, keep_instruction=True) for row in rows_of(example)]
    wanted = item.count if item.count is not None else round((item.weight or 0.0) * kept)
    if wanted > len(rows):
        asked = f"{item.count}" if item.count is not None else f"{item.weight} for each of {kept} samples, which is {wanted}"
        raise UsageError(f"{item.data} has {len(rows)} rows, fewer than asked for ({asked})")
    return [_with_domain(rows[shuffled_index(place, len(rows), seed)], item.domain) for place in range(wanted)]


def _with_domain(row: Mapping[str, Any], domain: str) -> Mapping[str, Any]:
    return {"domain": domain, **row}


# Finished batches, from which a killed stage resumes. Each is a file, written whole or not at all.


class Shard(BaseModel):
    """One batch.

    Attributes:
        prompts: digests of its prompts.
        rows: the demonstrations that were kept.
        counts: by domain.
        position: of the run's logs after this batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    counts: dict[str, Counts]
    position: dict[str, int]


def read_shards(folder: Path) -> list[Shard]:
    """Return the finished batches, in order.

    Raises:
        RunError: a file is damaged, which a crash does not do.
    """
    shards: list[Shard] = []
    while (path := _path(folder, len(shards))).is_file():
        try:
            shards.append(Shard.model_validate(json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, ValidationError) as error:
            raise RunError(f"cannot read {path}: {error}") from error
    return shards


def write_shard(folder: Path, number: int, shard: Shard) -> None:
    """Write one batch; raise RunError where that is not possible. Earlier batches stay whole."""
    path = _path(folder, number)
    try:
        replace_text(path, to_json(shard.model_dump(mode="json")))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; the batches before are whole") from error


def _path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.json"
