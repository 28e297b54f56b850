"""Where rows come from: a local JSON-lines file, or a dataset of the hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from r1env import UsageError
from r1env.data.sources import read_jsonl

Row = Mapping[str, Any]


def local_rows(name: str, data: str | Path | None) -> Iterable[Row]:
    """The rows of the file `data`.

    Raises:
        UsageError: no file was named, or it cannot be read.
    """
    if data is None:
        raise UsageError(f"environment {name!r} needs data=FILE, a JSON-lines file")
    return read_jsonl(data)


def local_or_hub_rows(name: str, data: str | Path, split: str, subset: str | None) -> Iterable[Row]:
    """The rows of a file, or of one split of a dataset of the hub.

    Args:
        name: of the environment, for messages.
        data: a path, or `owner/dataset`.
        split, subset: of the dataset; a file is taken whole.

    Raises:
        UsageError: there is no such file, and the hub cannot give such a dataset either.
    """
    text = str(data)
    if Path(text).exists() or text.endswith((".jsonl", ".json")) or text.count("/") != 1:
        return local_rows(name, data)
    remedy = "`pip install r1env-benchmarks[hub]`, or give data=FILE"
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"environment {name!r}: reading {text!r} from the hub needs {remedy}") from error
    try:
        rows: Iterable[Row] = datasets.load_dataset(text, subset, split=split)
    except (OSError, ValueError) as error:  # unreachable, unknown, or without that split
        cause = " ".join(str(error).split())[:200]
        raise UsageError(
            f"environment {name!r}: cannot read {text!r} from the hub ({cause}); check the name and the network, or {remedy}"
        ) from error
    return rows
