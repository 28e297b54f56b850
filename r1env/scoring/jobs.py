"""`Job`: one reward over the rollouts of one call; what is still to do and the scores so far. No threads, no processes here."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import cloudpickle

from r1env.errors import UsageError
from r1env.rewards import Reward
from r1env.rollouts import Rollout
from r1env.scores import Score, Status

MAX_CHUNK = 64
"""Rollouts handed to a worker at once: enough that the round trip does not show, few enough to be sent again."""

FIRST_CHUNK = 4
"""The same, before anything is known about how long they take."""

CHUNK_SECONDS = 0.05
"""What a chunk should take: long beside a round trip (0.2 ms), short beside a training step, so that workers end together."""

CHUNKS_PER_WORKER = 4
"""Towards the end of a job chunks shrink, to this share of what is left."""


@dataclass(frozen=True, slots=True)
class PackedReward:
    """A reward and its pickle. The digest names it in the workers, which keep what they have loaded."""

    reward: Reward
    pickled: bytes
    digest: bytes


def pack_reward(reward: Reward) -> PackedReward:
    """Pickle a reward for the workers: by reference where it can be imported, by value otherwise.

    Raises:
        UsageError: it holds something that cannot be pickled.
    """
    try:
        pickled = cloudpickle.dumps(reward)
    except Exception as error:
        raise UsageError(
            f"reward {reward.name!r} cannot be sent to a worker ({type(error).__name__}: {error}); "
            "define it in a module, make what it holds inside a class's __init__, or use isolation='inline'"
        ) from error
    return PackedReward(reward, pickled, hashlib.sha256(pickled).digest())


class Job:
    """One reward over some rollouts. Threads take chunks of indices, and record a score for each, in any order.

    `future` gets the scores in the order of the rollouts; cancelling it makes the rest of the work pointless.
    """

    def __init__(self, packed: PackedReward, rollouts: Sequence[Rollout]) -> None:
        self.packed = packed
        self.rollouts = tuple(rollouts)
        self.future: Future[list[Score]] = Future()
        self._lock = threading.Lock()
        self._todo = deque(range(len(rollouts)))
        self._scores: dict[int, Score] = {}
        self._resolved = False
        self._singly = False
        self._recent_seconds = 0.0
        self._recent_items = 0.0
        if not self.rollouts and self._may_resolve():
            self.future.set_result([])

    @property
    def waiting(self) -> int:
        """Rollouts that no worker has taken."""
        return 0 if self.future.done() else len(self._todo)

    def take(self, workers: int) -> list[int]:
        """The next chunk for one of `workers`; empty when nothing is left to take."""
        with self._lock:
            size = min(self._chunk_size(workers), self.waiting)
            return [self._todo.popleft() for _ in range(size)]

    def put_back(self, indices: Iterable[int]) -> None:
        """These were taken but not scored."""
        with self._lock:
            self._todo.extendleft(reversed(list(indices)))

    def record(self, index: int, score: Score) -> None:
        """The score of one rollout. The last one resolves the future."""
        with self._lock:
            self._scores[index] = score
            complete = len(self._scores) == len(self.rollouts)
        if complete and self._may_resolve():
            self.future.set_result([self._scores[index] for index in range(len(self.rollouts))])

    def fail(self, indices: Iterable[int], status: Status, reason: str, seconds: float = 0.0) -> None:
        """Record a failure for each of the rollouts."""
        failure = Score.failure(status, reason, parts=self.packed.reward.part_keys, seconds=seconds)
        for index in indices:
            self.record(index, failure)

    def fail_rest(self, status: Status, reason: str) -> None:
        """Record a failure for all that no worker has taken."""
        with self._lock:
            rest = list(self._todo)
            self._todo.clear()
        self.fail(rest, status, reason)

    def abort(self, error: BaseException) -> None:
        """Give the error to whoever waits, unless the job is finished or cancelled."""
        if self._may_resolve():
            self.future.set_exception(error)

    def go_singly(self) -> None:
        """From here on chunks hold one rollout: one of a larger chunk spoiled it for the others."""
        self._singly = True

    def note_pace(self, seconds: float, items: int) -> None:
        """A chunk of `items` took so long; the sizes of the next go by it, and by the ones before with halving weight."""
        with self._lock:
            self._recent_seconds = self._recent_seconds / 2 + seconds
            self._recent_items = self._recent_items / 2 + items

    def _chunk_size(self, workers: int) -> int:
        if self._singly:
            return 1
        in_time = int(CHUNK_SECONDS * self._recent_items / self._recent_seconds) if self._recent_seconds else FIRST_CHUNK
        share = len(self._todo) // (CHUNKS_PER_WORKER * workers)
        return max(1, min(MAX_CHUNK, in_time, share))

    def _may_resolve(self) -> bool:
        """True for the one caller who may resolve the future; never once it is cancelled."""
        with self._lock:
            first, self._resolved = not self._resolved, True
        return first and self.future.set_running_or_notify_cancel()
