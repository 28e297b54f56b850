"""`ScoringPool`: threads that give chunks of jobs to killable workers, one worker per thread."""

from __future__ import annotations

import atexit
import hashlib
import itertools
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType

import cloudpickle

from r1env.errors import UsageError
from r1env.rewards import Reward, Scope
from r1env.scoring.limits import PerProcess
from r1env.scoring.process import AbandonedError, ScoringFault, WorkerProcess
from r1env.scoring.protocol import Load, Work
from r1env.types import Rollout, Score, Status

LOAD_SECONDS = 120.0
"""Enough to start an interpreter and import a computer algebra system on a busy machine; more is a hang."""

MAX_DEFAULT_WORKERS = 8
"""The trainer and the engine need the other cores."""

CLOSE_SECONDS = 5.0
"""How long the threads may take to end their workers; each checks every tenth of a second."""


class ScoringPool:
    """Workers for process-isolated rewards, shared by any number of threads and calls. A context manager.

    Workers are started when there is work for them, keep the rewards they have loaded, and are replaced when they fail or have
    done their share. Calls take turns chunk by chunk, so that a large one does not delay a small one.

    Args:
        workers: how many processes at most; None means as many as this process may use processors, up to 8.
        load_seconds: wall seconds a worker may take to start and load a reward, before any rollout's clock runs.

    Raises:
        UsageError: fewer than one worker.

    Example:
        >>> with ScoringPool(workers=2) as pool:  # doctest: +SKIP
        ...     scores = r1env.score(rollouts, rubric, pool=pool)
    """

    def __init__(self, workers: int | None = None, *, load_seconds: float = LOAD_SECONDS) -> None:
        self.workers = _default_workers() if workers is None else workers
        if self.workers < 1:
            raise UsageError(f"a scoring pool needs at least one worker; got {self.workers}")
        self._load_seconds = load_seconds
        self._owner = os.getpid()
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()  # with rollouts that no worker has taken
        self._jobs: set[Job] = set()  # whose callers wait
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._closed = False
        atexit.register(self.close)

    def submit(self, reward: Reward, rollouts: Sequence[Rollout], groups: Sequence[int] = ()) -> Future[list[Score]]:
        """Score the rollouts in workers.

        Args:
            groups: for a reward of scope `group`, how many of the rollouts belong to each group; a group is never split.

        Returns:
            A future of the scores, in the order of the rollouts. Cancelling it stops the work.

        Raises:
            UsageError: the pool is closed, belongs to another process, or the reward cannot be pickled.
        """
        if self._owner != os.getpid():
            raise UsageError(f"this scoring pool belongs to process {self._owner}; make another after a fork")
        job = Job(pack_reward(reward), rollouts, groups)
        with self._changed:
            if self._closed:
                raise UsageError("this scoring pool is closed")
            self._jobs.add(job)
            self._queue.append(job)
            self._add_threads()
            self._changed.notify_all()
        job.future.add_done_callback(lambda _: self._jobs.discard(job))
        return job.future

    def close(self) -> None:
        """End all workers. Calls that still wait raise `UsageError`. Closing twice is fine; a forked child closes nothing."""
        if self._owner != os.getpid():
            return
        with self._changed:
            self._closed = True
            jobs = list(self._jobs)
            self._changed.notify_all()
        for job in jobs:
            job.abort(UsageError("the scoring pool was closed before all rollouts were scored"))
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)
        atexit.unregister(self.close)

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _add_threads(self) -> None:
        wanted = min(self.workers, self._busy + sum(job.waiting for job in self._queue))
        while len(self._threads) < wanted:
            thread = threading.Thread(target=self._serve, name=f"r1env-scoring-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        """Run by each thread: give its worker chunk after chunk, until the pool is closed."""
        slot = Slot(self._load_seconds)
        while (taken := self._take()) is not None:
            job, chunk = taken
            left: list[int] = []
            try:
                left = slot.run(job, chunk)
            except Exception as error:  # noqa: BLE001 - a fault of this module: the caller must see it, not wait for ever
                slot.retire()
                job.abort(error)
            self._give_back(job, left)
        slot.retire()

    def _take(self) -> tuple[Job, list[int]] | None:
        """Wait for the next chunk and return it; None if the pool is closed."""
        with self._changed:
            while not self._closed:
                while self._queue:
                    job = self._queue.popleft()
                    chunk = job.take(self.workers)
                    if job.waiting:
                        self._queue.append(job)  # behind the others: calls take turns
                    if chunk:
                        self._busy += 1
                        return job, chunk
                self._changed.wait()
            return None

    def _give_back(self, job: Job, left: list[int]) -> None:
        with self._changed:
            self._busy -= 1
            job.put_back(left)
            if job.waiting and job not in self._queue:
                self._queue.append(job)
                self._changed.notify_all()


def default_pool() -> ScoringPool:
    """Return the pool of this process, for calls that bring none. It is made when it is first needed.

    Raises:
        UsageError: `R1ENV_WORKERS` is not a positive number.
    """
    return _default_pool.get()


def workers_from_environment(environment: Mapping[str, str]) -> int | None:
    """Return the number in `R1ENV_WORKERS`, or None if it is not set.

    Raises:
        UsageError: it is not a positive number.
    """
    text = environment.get("R1ENV_WORKERS", "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"R1ENV_WORKERS is {text!r}; it must be a number of processes, 1 or more")
    return int(text)


def _default_workers() -> int:
    available = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(available, MAX_DEFAULT_WORKERS)


_default_pool = PerProcess(lambda: ScoringPool(workers_from_environment(os.environ)))


# `Job`: one reward over the rollouts of one call: what is still to do, and the scores so far.

MAX_CHUNK = 64
"""Items sent to a worker at once: enough that the round trip does not matter, few enough to be sent again."""

FIRST_CHUNK = 4
"""The same, before it is known how long they take."""

CHUNK_SECONDS = 0.05
"""How long a chunk should take: long compared with a round trip (0.2 ms), short compared with a training step."""

CHUNKS_PER_WORKER = 4
"""Towards the end of a job chunks shrink to this share of what is left, so that the workers finish together."""


@dataclass(frozen=True, slots=True)
class PackedReward:
    """A reward and its pickle. Workers know it by the digest, and keep what they have loaded."""

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
    """One reward over some rollouts. Threads take chunks of items, and record the scores of each, in any order.

    An item is what must be scored together: a rollout, or for a reward of scope `group` all rollouts of a task. `future` gets the scores
    in the order of the rollouts; cancelling it makes the rest of the work pointless.
    """

    def __init__(self, packed: PackedReward, rollouts: Sequence[Rollout], groups: Sequence[int] = ()) -> None:
        self.packed = packed
        self.future: Future[list[Score]] = Future()
        bounds = itertools.pairwise([0, *itertools.accumulate(groups)])
        self.items = [tuple(rollouts[start:end]) for start, end in bounds] if groups else [(rollout,) for rollout in rollouts]
        self._lock = threading.Lock()
        self._todo = deque(range(len(self.items)))
        self._scores: dict[int, Sequence[Score]] = {}
        self._resolved = False
        self._singly = False
        self._recent_seconds = 0.0
        self._recent_items = 0.0
        if not self.items and self._may_resolve():
            self.future.set_result([])

    @property
    def waiting(self) -> int:
        """Items that no worker has taken."""
        return 0 if self.future.done() else len(self._todo)

    def take(self, workers: int) -> list[int]:
        """Return the next chunk for one of `workers`; empty when nothing is left to take."""
        with self._lock:
            size = min(self._chunk_size(workers), self.waiting)
            return [self._todo.popleft() for _ in range(size)]

    def put_back(self, indices: Iterable[int]) -> None:
        """Return items that were taken but not scored."""
        with self._lock:
            self._todo.extendleft(reversed(list(indices)))

    def record(self, index: int, scores: Sequence[Score]) -> None:
        """Record the scores of one item, one for each of its rollouts. The last item resolves the future."""
        with self._lock:
            self._scores[index] = scores
            complete = len(self._scores) == len(self.items)
        if complete and self._may_resolve():
            self.future.set_result([score for place in range(len(self.items)) for score in self._scores[place]])

    def fail(self, indices: Iterable[int], status: Status, reason: str, seconds: float = 0.0) -> None:
        """Record a failure for each rollout of the items."""
        failure = Score.failure(status, reason, parts=self.packed.reward.part_keys, seconds=seconds)
        for index in indices:
            self.record(index, [failure] * len(self.items[index]))

    def fail_rest(self, status: Status, reason: str) -> None:
        """Record a failure for every item that no worker has taken."""
        with self._lock:
            rest = list(self._todo)
            self._todo.clear()
        self.fail(rest, status, reason)

    def abort(self, error: BaseException) -> None:
        """Raise the error in the caller that waits, unless the job is finished or cancelled."""
        if self._may_resolve():
            self.future.set_exception(error)

    def go_singly(self) -> None:
        """Make all further chunks hold one item: one of a larger chunk spoiled it for the others."""
        self._singly = True

    def note_pace(self, seconds: float, items: int) -> None:
        """Note how long a chunk of `items` took. Chunk sizes follow from that; earlier chunks count half as much each time."""
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
        """Return True for the one caller that may resolve the future; never after it was cancelled."""
        with self._lock:
            first, self._resolved = not self._resolved, True
        return first and self.future.set_running_or_notify_cancel()


# `Slot`: a place for one worker. It starts the worker, gives it chunks, and replaces it when it fails.

logger = logging.getLogger(__name__)


class Slot:
    """Used by one thread.

    Args:
        load_seconds: wall seconds a worker may take to start and to load a reward.
    """

    def __init__(self, load_seconds: float) -> None:
        self._load_seconds = load_seconds
        self._worker: WorkerProcess | None = None

    def run(self, job: Job, chunk: Sequence[int]) -> list[int]:
        """Score these items of the job. Return those that are still to be scored.

        An item over which the worker fails gets that failure; those behind it are returned. A failure that cannot be attributed to one
        item (in a batch, or among items that travel together) is recorded for none: the job then goes on one by one, so that only
        the culprit fails. A reward that cannot be loaded fails everything that nobody has taken.
        """
        try:
            worker = self._worker_for(job)
            return self._score(worker, job, list(chunk))
        except _LoadError as error:
            self.retire()
            job.fail(chunk, Status.ERROR, str(error))
            job.fail_rest(Status.ERROR, str(error))
            return []
        except AbandonedError:
            self.retire()
            return []

    def retire(self) -> None:
        """End the worker, if there is one, and everything that it forked."""
        if self._worker is not None:
            self._worker.retire()
            self._worker = None

    def _worker_for(self, job: Job) -> WorkerProcess:
        """Return a worker that has loaded the job's reward."""
        packed = job.packed
        if self._worker is not None and self._worker.has_exited():  # while idle, so it is no rollout's fault
            self.retire()
        try:
            if self._worker is None:
                self._worker = WorkerProcess()
            self._worker.abandoned = job.future.done
            if packed.digest not in self._worker.loaded:
                search_path = [str(folder) for folder in sys.path]
                self._worker.load(Load(packed.digest, search_path, packed.pickled), self._load_seconds)
        except (ScoringFault, OSError) as fault:
            raise _LoadError(f"reward {packed.reward.name!r} cannot be loaded in a worker: {fault}") from fault
        return self._worker

    def _score(self, worker: WorkerProcess, job: Job, left: list[int]) -> list[int]:
        reward, taken = job.packed.reward, len(left)
        position = 0  # of the next rollout among those that travelled together
        try:
            worker.begin(Work(job.packed.digest, _pickled(job, left)))
        except ScoringFault as fault:
            return self._blame(job, left, fault)
        start = time.monotonic()
        try:
            while left:
                size = len(job.items[left[0]])
                allowance = taken if reward.batch else size
                reply = worker.next_score(position, reward.limits, allowance)
                scores = [reply.score]
                for place in range(1, size):
                    reply = worker.next_score(position + place, reward.limits, allowance)
                    scores.append(reply.score)
                position += size
                job.record(left.pop(0), scores)
                if reply.worn:
                    self.retire()
                    break
        except ScoringFault as fault:
            suspects = len(left) if reward.batch else 1
            left = self._blame(job, left[:suspects], fault) + left[suspects:]
        job.note_pace(time.monotonic() - start, taken - len(left))
        return left

    def _blame(self, job: Job, suspects: list[int], fault: ScoringFault) -> list[int]:
        """Fail the item that caused the fault. If there are several suspects, return them all, to be scored again one by one."""
        logger.debug("reward %r: %s", job.packed.reward.name, fault)
        if fault.fatal:
            self.retire()
        if len(suspects) > 1:
            job.go_singly()
            return suspects
        job.fail(suspects, fault.status, fault.reason, fault.seconds)
        return []


class _LoadError(Exception):
    """No worker can load the reward; the message says why."""


def _pickled(job: Job, indices: Sequence[int]) -> bytes:
    """Return the items' rollouts as one pickle: a task that several of them share is in it once. Groups travel as tuples."""
    items = [job.items[index] for index in indices]
    together = job.packed.reward.scope is Scope.GROUP
    try:
        return bytes(cloudpickle.dumps(items if together else [rollout for item in items for rollout in item]))
    except Exception as error:  # metadata may hold any object, and pickling that may raise anything: it becomes data
        reason = f"the rollout cannot be sent to a worker: {type(error).__name__}: {error}"
        raise ScoringFault(Status.ERROR, reason, fatal=False) from error
