"""Where rows come from: a local JSON-lines file, one file per split, or a dataset of the hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from r1env import UsageError
from r1env.data.sources import read_jsonl
from r1env.errors import NoSplitError

Row = Mapping[str, Any]
Data = str | Path | Mapping[str, str | Path]
"""A file, the name of a dataset of the hub, or one of either for each split."""


def local_rows(name: str, data: Data | None, split: str | None) -> Iterable[Row]:
    """Return the rows of the file `data`, or of the file that `data` names for `split`.

    Raises:
        NoSplitError: `data` is one file and another split than `train` was asked for, or names no file for the split.
        UsageError: no file was named, or it cannot be read.
    """
    if data is None:
        raise UsageError(f"environment {name!r} needs data=FILE, a JSON-lines file")
    if isinstance(data, Mapping):
        return read_jsonl(data_of_split(name, data, split))
    if split not in (None, "train", "all"):
        raise NoSplitError(
            f"environment {name!r}: {data} is one set of tasks without a split {split!r}; hold_out=0.1 divides it, "
            "or give data.train=FILE and data.test=FILE"
        )
    return read_jsonl(data)


def local_or_hub_rows(name: str, data: Data, split: str | None, subset: str | None) -> Iterable[Row]:
    """Return the rows of a file, or of one split of a dataset of the hub.

    Args:
        name: of the environment, for messages.
        data: a path, or `owner/dataset`; or one of them for each split.
        split: None for the whole file, and for `test` of a dataset of the hub.
        subset: of the dataset; a file has none.

    Raises:
        NoSplitError: the data have no such split.
        UsageError: there is no such file, and the hub cannot give such a dataset either.
    """
    if isinstance(data, Mapping):
        data, split = data_of_split(name, data, split), None
    text = str(data)
    if Path(text).exists() or text.endswith((".jsonl", ".json")) or text.count("/") != 1:
        return local_rows(name, data, split)
    remedy = "`pip install r1env-benchmarks[hub]`, or give data=FILE"
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"environment {name!r}: reading {text!r} from the hub needs {remedy}") from error
    split = split or "test"
    try:
        rows: Iterable[Row] = datasets.load_dataset(text, subset, split=split)
    except ValueError as error:
        cause = " ".join(str(error).split())[:200]
        raise NoSplitError(
            f"environment {name!r}: cannot read the split {split!r} of {text!r} from the hub ({cause})"
        ) from error
    except OSError as error:  # unreachable or unknown
        cause = " ".join(str(error).split())[:200]
        raise UsageError(
            f"environment {name!r}: cannot read {text!r} from the hub ({cause}); check the name and the network, or {remedy}"
        ) from error
    return rows


def data_of_split(name: str, data: Mapping[str, str | Path], split: str | None) -> str | Path:
    """Return what `data` names for a split.

    Raises:
        NoSplitError: nothing.
    """
    if split is None or split not in data:
        raise NoSplitError(
            f"environment {name!r}: data names the splits {', '.join(data)}; {split or 'no split'} was asked for"
        )
    return data[split]
