"""Data sets of the hub by the names that benchmarks are known by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from r1env.data.rows import FORMATS, HUB, Source
from r1env.data.tasks import Data, source_of_split


def on_the_hub(data: Data, split: str | None, subset: str | None) -> tuple[Source, str | None]:
    """Return the source of `data`, and the split to take of it.

    A name `owner/dataset` that is no file becomes `hub:owner/dataset:subset`; where no split is asked for, that is `test`.

    Args:
        subset: of the data set; a file has none.
    """
    if isinstance(data, Mapping):
        source, split = source_of_split(data, split)
    else:
        source = data
    text = str(source)
    is_name = isinstance(source, str) and text.count("/") == 1 and not text.endswith(tuple(FORMATS)) and not Path(text).exists()
    if not is_name and not text.startswith(HUB):
        return source, split
    name = text if text.startswith(HUB) else f"{HUB}{text}" + (f":{subset}" if subset else "")
    return name, None if "@" in name else split or "test"
