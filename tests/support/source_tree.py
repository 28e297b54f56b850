"""This repository's packages for another Python, which has what they depend on but not the packages themselves."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def source_path(folder: Path, projects: Sequence[str] = ("plugins/logic", "plugins/math", "plugins/format")) -> str:
    """Return a PYTHONPATH with the core and these projects, whose entry points are found as if they were installed.

    Args:
        folder: an empty folder, which gets their metadata.
    """
    for project in (".", *projects):
        described = tomllib.loads((ROOT / project / "pyproject.toml").read_text("utf-8"))["project"]
        info = folder / f"{described['name'].replace('-', '_')}-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: 0.1.0\n", "utf-8")
        entries = "".join(f"{key} = {value}\n" for key, value in described["entry-points"]["r1env"].items())
        (info / "entry_points.txt").write_text(f"[r1env]\n{entries}", "utf-8")
    return os.pathsep.join([str(folder), str(ROOT), *(str(ROOT / project) for project in projects)])
