"""`Delivered`: which values a tracker was given. It lies in the run's folder, so that going on repeats none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1env.runs.atomic import replace_text


class Delivered:
    """The last step of every metric of every stage that a tracker has.

    A resumed run tells the steps since its last checkpoint again, and a tracker cannot forget those that it has: they are left out.
    """

    def __init__(self, path: Path) -> None:
        """Args:
        path: where it is kept; nothing was delivered where there is no file, or a damaged one.
        """
        self._path = path
        self._steps: dict[str, dict[str, int]] = {}
        if path.exists():
            try:
                self._steps = json.loads(path.read_text("utf-8"))
            except ValueError:
                self._steps = {}

    def take(self, row: Mapping[str, Any]) -> dict[str, float]:
        """The finite metrics of a logged row that the tracker does not have yet; from now on it has them."""
        stage, step = row["stage"], row["step"]
        steps = self._steps.setdefault(stage, {})
        new = {
            name: float(value)
            for name, value in row.items()
            if name not in ("stage", "step", "time")
            and value is not None
            and math.isfinite(value)
            and step > steps.get(name, -1)
        }
        steps.update(dict.fromkeys(new, step))
        return new

    def save(self) -> None:
        """Keep it, atomically. Called before the values are handed over: a crash between may lose a step, never double one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(self._path, json.dumps(self._steps))
