"""`BoundedScorer`: scores rollouts in one killable worker, under a total of wall time and of items that hang."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from types import TracebackType

from r1env.rewards import Isolation, Reward
from r1env.scoring import ScoringPool
from r1env.scoring.dispatch import submit_async
from r1env.types import Rollout, Score, Status

CHUNK = 8
"""Rollouts handed over at once: after each chunk the totals are looked at. At 10 wall seconds each, one may hang that long."""

MAX_HANGS = 4
"""Enough to say that a reward hangs; each costs its whole time limit."""


MAX_ERRORS = 40
"""Enough to say that a reward raises on everything; each may cost a new worker."""


class BoundedScorer:
    """A context manager round one worker. One, so that what a rollout leaves behind in the process meets the next.

    Args:
        reward: whatever its isolation, it runs in the worker; an asynchronous one on the private event loop.
        seconds: wall seconds for everything.

    Attributes:
        items: rollouts scored; `values` those that got one, `first_refusal` why the first that got none did not.
    """

    def __init__(self, reward: Reward, seconds: float) -> None:
        self.reward = reward if reward.isolation is Isolation.ASYNC else replace(reward, isolation=Isolation.PROCESS)
        self.items = 0
        self.values = 0
        self.first_refusal = ""
        self._hangs = 0
        self._errors = 0
        self._deadline = time.monotonic() + seconds
        self._late = False
        self._pool = ScoringPool(workers=1)

    def __enter__(self) -> BoundedScorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.close()

    @property
    def exhausted(self) -> str:
        """Why nothing more is scored; empty while there is time."""
        if self._late:
            return "the time for the audit ran out"
        if self._hangs >= MAX_HANGS:
            return f"{self._hangs} completions hung"
        return "it raises on everything" if self._errors == self.items >= MAX_ERRORS else ""

    def score(self, rollouts: Sequence[Rollout], *, together: bool = False) -> list[Score | None]:
        """A score for each, in order; None for those that time or patience did not suffice for.

        Args:
            together: hand all over at once, so that a batch reward sees many in a batch.
        """
        size = len(rollouts) if together else CHUNK
        scores: list[Score | None] = []
        for start in range(0, len(rollouts), max(size, 1)):
            chunk = rollouts[start : start + size]
            scores += self._score_chunk(chunk)
        return scores

    def restart(self) -> None:
        """Go on in a new process: another hash seed, nothing remembered."""
        self._pool.close()
        self._pool = ScoringPool(workers=1)

    def _score_chunk(self, chunk: Sequence[Rollout]) -> Sequence[Score | None]:
        left = self._deadline - time.monotonic()
        self._late = self._late or left <= 0
        if self.exhausted:
            return [None] * len(chunk)
        submit = submit_async if self.reward.isolation is Isolation.ASYNC else self._pool.submit
        future = submit(self.reward, chunk)
        try:
            scores = future.result(timeout=left)
        except (TimeoutError, CancelledError):
            future.cancel()
            self._late = True
            return [None] * len(chunk)
        except BaseException:  # Ctrl-C above all: stop the worker too
            future.cancel()
            raise
        self.items += len(scores)
        self.values += sum(score.value is not None for score in scores)
        self.first_refusal = self.first_refusal or next((score.reason for score in scores if score.value is None), "")
        self._errors += sum(score.status is Status.ERROR for score in scores)
        self._hangs += sum(score.status is Status.TIMEOUT for score in scores)
        return scores
