"""`Curriculum`: a difficulty level that follows the success rate."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from r1env import UsageError
from r1env_logic.options import check_count


class Curriculum:
    """A level that rises where tasks are solved too often to teach, and falls where they are hardly ever solved.

    The rule: collect `window` verdicts on tasks of the current level. Where their mean is `raise_at` or more, go up one level; where it is
    `lower_at` or less, go down one; then collect anew. Between the two thresholds the window slides, so a level is left as soon as the
    last `window` verdicts call for it. Verdicts on other levels do not count. Everything follows from the verdicts in their order, so equal
    verdicts give equal levels; `state` holds all there is to save.

    Args:
        levels: number of levels, from 1, where the curriculum starts.
        raise_at, lower_at: mean success, from 0 to 1.
        window: verdicts.
        review: share of the tasks that come from lower levels, equally from each, so that those are not forgotten.

    Raises:
        UsageError: an argument is out of range.

    Example:
        >>> curriculum = Curriculum(levels=3, window=4)
        >>> for success in (1, 1, 0, 1, 1):
        ...     curriculum.observe(1, success)
        >>> curriculum.level
        1
        >>> curriculum.observe(1, 1)  # the last four: 0, 1, 1, 1
        >>> curriculum.observe(1, 1)
        >>> curriculum.level
        2
    """

    def __init__(
        self, levels: int, raise_at: float = 0.8, lower_at: float = 0.3, window: int = 64, review: float = 0.2
    ) -> None:
        if not 0 <= lower_at < raise_at <= 1:
            raise UsageError(
                f"lower_at={lower_at}, raise_at={raise_at}: they must be from 0 to 1, and the first below the second"
            )
        if not 0 <= review < 1:
            raise UsageError(f"review={review}: it must be at least 0 and below 1")
        self.level = 1
        self._levels, self._raise_at, self._lower_at, self._review = levels, raise_at, lower_at, review
        self._window = check_count("window", window, 1, 1_000_000)
        self._verdicts: list[float] = []  # of the current level, the last `window`

    def draw(self, rng: Random, level: int) -> int:
        """Return the level of the next task where `level` is the current one: that, or one below it for review."""
        return rng.randint(1, level - 1) if level > 1 and rng.random() < self._review else level

    def observe(self, level: int, success: float) -> None:
        """Count a verdict, from 0 to 1, on a task of that level."""
        if level != self.level:
            return
        self._verdicts = [*self._verdicts, float(success)][-self._window :]
        if len(self._verdicts) < self._window:
            return
        rate = sum(self._verdicts) / self._window
        step = int(rate >= self._raise_at) - int(rate <= self._lower_at)
        if 1 <= self.level + step <= self._levels and step:
            self.level += step
            self._verdicts = []

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as plain data."""
        return {"level": self.level, "verdicts": list(self._verdicts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            UsageError: the state is of a curriculum with more levels.
        """
        self.level = check_count("level of the saved curriculum", state["level"], 1, self._levels)
        self._verdicts = [float(verdict) for verdict in state["verdicts"]][-self._window :]
