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
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import cast

import cloudpickle

from r1env.errors import UsageError
from r1env.rewards import Reward, Scope
from r1env.scoring.limits import PerProcess
from r1env.scoring.process import MAX_LOADS, AbandonedError, RefusedError, ScoringFault, StartError, WorkerProcess
from r1env.scoring.protocol import Load, Work
from r1env.scoring.state import HARMLESS
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
        self._jobs: dict[int, Job] = {}  # whose callers wait
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._closed = False
        self._closing = threading.Event()
        self._habits = Habits()
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
            self._jobs[id(job)] = job
            self._queue.append(job)
            self._add_threads()
            self._changed.notify_all()
        # A callback that held the job would keep it, and all rollouts of the call, until the garbage collector runs.
        job.future.add_done_callback(partial(_discard, self._jobs, id(job)))
        return job.future

    def close(self) -> None:
        """End all workers. Calls that still wait raise `UsageError`. Closing twice is fine; a forked child closes nothing."""
        if self._owner != os.getpid():
            return
        with self._changed:
            self._closed = True
            self._closing.set()
            jobs = list(self._jobs.values())
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
        slot = Slot(self._load_seconds, self._habits, self._closing.wait)
        while (taken := self._take()) is not None:
            job, chunk = taken
            left: list[int] = []
            try:
                left = slot.run(job, chunk)
            except Exception as error:  # noqa: BLE001 - a fault of this module: the caller must see it, not wait for ever
                slot.retire()
                job.abort(error)
            self._give_back(job, left)
            slot.forget_job()
            del taken, job  # nothing of a finished call stays while this thread waits for the next
        slot.retire()

    def _take(self) -> tuple[Job, list[int]] | None:
        """Wait for the next chunk and return it; None if the pool is closed."""
        with self._changed:
            while not self._closed:
                job: Job | None
                while self._queue:
                    job = self._queue.popleft()
                    chunk = job.take(self.workers)
                    if job.waiting:
                        self._queue.append(job)  # behind the others: calls take turns
                    if chunk:
                        self._busy += 1
                        return job, chunk
                job = None  # nothing of a call stays while this thread waits
                self._changed.wait()
            return None

    def _give_back(self, job: Job, left: list[int]) -> None:
        with self._changed:
            self._busy -= 1
            job.put_back(left)
            if job.waiting and job not in self._queue:
                self._queue.append(job)
                self._changed.notify_all()


def _discard(jobs: dict[int, Job], key: int, _: Future[list[Score]]) -> None:
    jobs.pop(key, None)


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

KILLS = 3
"""So many workers must be killed over one item before that counts as what it does, and not as something from outside. There is one more
attempt for each other item that was killed and then was not: those kills came from outside."""

MOST_KILLS = 10
"""The same, however many others were killed."""

FREE_DOUBTS = 8
SCORES_PER_DOUBT = 200
"""An error in a used worker is verified in a fresh one: the first few of a job, then at most one for so many scores."""


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
        # A tuple for each single rollout, and a list for each score, would be a good part of what a large call needs.
        self._rollouts = rollouts
        self._bounds = [0, *itertools.accumulate(groups)] if groups else None
        self.count = len(groups) or len(rollouts)
        self._lock = threading.Lock()
        self._again: deque[int] = deque()  # items that were given back; they come first
        self._untaken = 0  # the first of the items that nobody has taken yet
        self._scores: list[Score | Sequence[Score] | None] = [None] * self.count
        self._scored = 0
        self._resolved = False
        self._alone: set[int] = set()  # items that are to be scored in a chunk of their own
        self._tried: Counter[int] = Counter()  # how often the worker of an item was killed, until that item has a score
        self._survived = 0  # items whose worker was killed, and who then had a score
        self._doubted: set[int] = set()  # items that were an error in a worker that others had used
        self._failed_starts: list[StartError] = []  # since the last success
        self._first_failed_start = 0.0
        self._recent_seconds = 0.0
        self._recent_items = 0.0
        if not self.count and self._may_resolve():
            self.future.set_result([])

    def item(self, index: int) -> Sequence[Rollout]:
        """Return the rollouts of an item."""
        if self._bounds is None:
            return (self._rollouts[index],)
        return tuple(self._rollouts[self._bounds[index] : self._bounds[index + 1]])

    def size(self, index: int) -> int:
        """Return how many rollouts an item has."""
        return 1 if self._bounds is None else self._bounds[index + 1] - self._bounds[index]

    @property
    def waiting(self) -> int:
        """Items that no worker has taken."""
        return 0 if self.future.done() else self._left

    def take(self, workers: int) -> list[int]:
        """Return the next chunk for one of `workers`; empty when nothing is left to take."""
        with self._lock:
            size = min(self._chunk_size(workers), self.waiting)
            chunk: list[int] = []
            while len(chunk) < size:
                index = self._again[0] if self._again else self._untaken
                if chunk and not self._alone.isdisjoint((chunk[0], index)):
                    break
                chunk.append(index)
                if self._again:
                    self._again.popleft()
                else:
                    self._untaken += 1
            return chunk

    def put_back(self, indices: Iterable[int]) -> None:
        """Return items that were taken but not scored."""
        with self._lock:
            self._again.extendleft(reversed(list(indices)))

    def record(self, index: int, scores: Sequence[Score]) -> None:
        """Record the scores of one item, one for each of its rollouts. The last item resolves the future."""
        self._failed_starts.clear()
        self._record(index, scores)

    def _record(self, index: int, scores: Sequence[Score]) -> None:
        with self._lock:
            self._scored += self._scores[index] is None
            self._survived += self._tried.pop(index, 0) > 0
            self._scores[index] = scores[0] if self._bounds is None else scores
            complete = self._scored == self.count
        if complete and self._may_resolve():
            found = cast("list[Score]", self._scores)
            if self._bounds is not None:
                found = list(itertools.chain.from_iterable(cast("list[Sequence[Score]]", self._scores)))
            self.future.set_result(found)

    def fail(self, indices: Iterable[int], status: Status, reason: str, seconds: float = 0.0) -> None:
        """Record a failure for each rollout of the items."""
        failure = Score.failure(status, reason, parts=self.packed.reward.part_keys, seconds=seconds)
        for index in indices:
            self._record(index, [failure] * self.size(index))

    def fail_rest(self, status: Status, reason: str) -> None:
        """Record a failure for every item that no worker has taken."""
        with self._lock:
            rest = [*self._again, *range(self._untaken, self.count)]
            self._again.clear()
            self._untaken = self.count
        self.fail(rest, status, reason)

    def abort(self, error: BaseException) -> None:
        """Raise the error in the caller that waits, unless the job is finished or cancelled."""
        if self._may_resolve():
            self.future.set_exception(error)

    def separate(self, indices: Iterable[int]) -> None:
        """Have each of these items scored in a chunk of its own: one of them spoiled the chunk for the others."""
        with self._lock:
            self._alone.update(indices)

    def try_again(self, index: int) -> bool:
        """Return whether an item whose worker was killed is to be scored again, alone; after `KILLS` it is the item's own fault."""
        with self._lock:
            self._tried[index] += 1
            self._alone.add(index)
            again = self._tried[index] < min(MOST_KILLS, KILLS + self._survived)
            if not again:
                del self._tried[index]
            return again

    def doubt(self, index: int) -> bool:
        """Return whether an error in a used worker is to be verified in a fresh one. Rewards that often raise are spared most of it."""
        with self._lock:
            doubtful = index not in self._doubted and len(self._doubted) < FREE_DOUBTS + self._scored // SCORES_PER_DOUBT
            if doubtful:
                self._doubted.add(index)
                self._alone.add(index)
            return doubtful

    def doubted(self, index: int) -> bool:
        """Return whether this item needs a fresh worker."""
        return index in self._doubted

    def note_failed_start(self, error: StartError) -> bool:
        """Note that no worker could be started; return whether that has to be the end of the job."""
        with self._lock:
            if not self._failed_starts:
                self._first_failed_start = time.monotonic()
            self._failed_starts.append(error)
            firm = sum(not (failed.transient or failed.killed) for failed in self._failed_starts)
            killed = sum(failed.killed for failed in self._failed_starts)
            late = sum(failed.late for failed in self._failed_starts)
            seconds = time.monotonic() - self._first_failed_start
            return (
                firm >= STARTS_IN_A_ROW
                or killed >= KILLS_IN_A_ROW
                or late >= LATE_IN_A_ROW
                or (error.transient and seconds >= SHORTAGE_SECONDS)
            )

    def note_pace(self, seconds: float, items: int) -> None:
        """Note how long a chunk of `items` took. Chunk sizes follow from that; earlier chunks count half as much each time."""
        with self._lock:
            self._recent_seconds = self._recent_seconds / 2 + seconds
            self._recent_items = self._recent_items / 2 + items

    def _chunk_size(self, workers: int) -> int:
        in_time = int(CHUNK_SECONDS * self._recent_items / self._recent_seconds) if self._recent_seconds else FIRST_CHUNK
        share = self._left // (CHUNKS_PER_WORKER * workers)
        return max(1, min(MAX_CHUNK, in_time, share))

    @property
    def _left(self) -> int:
        return len(self._again) + self.count - self._untaken

    def _may_resolve(self) -> bool:
        """Return True for the one caller that may resolve the future; never after it was cancelled."""
        with self._lock:
            first, self._resolved = not self._resolved, True
        return first and self.future.set_running_or_notify_cancel()


# `Slot`: a place for one worker. It starts the worker, gives it chunks, and replaces it when it fails.

logger = logging.getLogger(__name__)

STARTS_IN_A_ROW = 5
"""So many failed starts in a row, over all workers and without a success, make it the reward's fault."""

KILLS_IN_A_ROW = 20
"""The same for starts that a signal, perhaps from outside, has ended while the reward was being loaded."""

LATE_IN_A_ROW = 2
"""The same for starts that take too long: each of them costs `load_seconds`."""

SHORTAGE_SECONDS = 60.0
"""How long it may go on, without a success, that the system is short of processes, memory or descriptors, or that workers are killed before
they load anything, until the job fails."""

LONGEST_PAUSE = 0.2
"""Seconds between two attempts to start a worker; the first pauses are shorter. A start takes longer, so longer pauses would save little; and
where something kills workers at random, a worker that runs while the others pause is hit by everything."""


class Slot:
    """Used by one thread.

    Args:
        load_seconds: wall seconds a worker may take to start and to load a reward.
        habits: shared by the slots of a pool.
        pause: called with the seconds to wait before a worker is started again.
    """

    def __init__(self, load_seconds: float, habits: Habits, pause: Callable[[float], object]) -> None:
        self._load_seconds = load_seconds
        self._habits = habits
        self._pause = pause
        self._failures = 0  # of starts in a row
        self._worker: WorkerProcess | None = None

    def run(self, job: Job, chunk: Sequence[int]) -> list[int]:
        """Score these items of the job. Return those that are still to be scored, by this worker or another.

        An item over which the worker fails gets that failure; those behind it are returned. A failure that cannot be attributed to one
        item (in a batch, or among items that travel together) is recorded for none: they are then scored one by one, so that only
        the culprit fails. An item whose worker was killed, perhaps from outside, is tried again. If no worker can be started, all
        are returned; a reward that refuses to be loaded, or whose workers die again and again before they have scored anything, fails
        everything that nobody has taken.
        """
        try:
            worker = self._worker_for(job, chunk)
        except RefusedError as refusal:
            self.retire()
            self._give_up(job, chunk, str(refusal))
            return []
        except StartError as error:
            self.retire()
            if job.note_failed_start(error):
                self._give_up(job, chunk, str(error))
                return []
            logger.debug("reward %r: no worker yet: %s", job.packed.reward.name, error)
            self._failures += 1
            self._pause(min(LONGEST_PAUSE, 0.01 * 2 ** min(self._failures, 10)))
            return list(chunk)
        except AbandonedError:
            self.retire()
            return []
        self._failures = 0
        try:
            return self._score(worker, job, list(chunk))
        except AbandonedError:
            worker.end_worker()
            return []

    def retire(self) -> None:
        """End the worker, if there is one, and everything that it started."""
        if self._worker is not None:
            self._worker.retire()
            self._worker = None

    def forget_job(self) -> None:
        """Keep no reference to the job that was scored last."""
        if self._worker is not None:
            self._worker.abandoned = _never

    def _give_up(self, job: Job, chunk: Sequence[int], reason: str) -> None:
        reason = f"reward {job.packed.reward.name!r} cannot be loaded in a worker: {reason}"
        job.fail(chunk, Status.ERROR, reason)
        job.fail_rest(Status.ERROR, reason)

    def _worker_for(self, job: Job, chunk: Sequence[int]) -> WorkerProcess:
        """Return a worker that has loaded the job's reward; a fresh one if the first item was an error in a used one."""
        packed = job.packed
        if self._worker is not None and (self._worker.retired or self._worker.has_exited()):
            self.retire()
        if self._worker is not None and self._worker.loads >= MAX_LOADS and not self._worker.has(packed.digest):
            self.retire()
        if self._worker is None:
            self._worker = WorkerProcess()
        worker = self._worker
        worker.abandoned = job.future.done
        if worker.lost_worker() or (job.doubted(chunk[0]) and not worker.fresh):
            worker.end_worker()
            if worker.retired:
                return self._worker_for(job, chunk)
        if not worker.has(packed.digest):
            search_path = [str(folder) for folder in sys.path]
            worker.load(Load(packed.digest, search_path, packed.pickled), self._load_seconds)
        worker.prepare()
        return worker

    def _score(self, worker: WorkerProcess, job: Job, left: list[int]) -> list[int]:
        reward, taken = job.packed.reward, len(left)
        position = 0  # of the next rollout among those that travelled together
        try:
            worker.begin(Work(job.packed.digest, _pickled(job, left), self._habits.known(job.packed.digest)))
        except ScoringFault as fault:
            return self._blame(worker, job, left, fault)
        start = time.monotonic()
        try:
            while left:
                size = job.size(left[0])
                allowance = taken if reward.batch else size
                was_fresh = worker.fresh
                reply = worker.next_score(position, reward.limits, allowance)
                scores = [reply.score]
                for place in range(1, size):
                    reply = worker.next_score(position + place, reward.limits, allowance)
                    scores.append(reply.score)
                position += size
                if not was_fresh and scores[0].status is Status.ERROR and job.doubt(left[0]):
                    worker.end_worker()  # perhaps an earlier rollout is to blame for the error: a fresh worker will tell
                    break
                job.record(left.pop(0), scores)
                if reply.changes:
                    self._habits.note(job.packed, reply.changes, first=was_fresh)
                if reply.worn or reply.changes:
                    worker.end_worker()
                    break
        except ScoringFault as fault:
            suspects = len(left) if reward.batch else 1
            left = self._blame(worker, job, left[:suspects], fault) + left[suspects:]
        job.note_pace(time.monotonic() - start, taken - len(left))
        return left

    def _blame(self, worker: WorkerProcess, job: Job, suspects: list[int], fault: ScoringFault) -> list[int]:
        """Fail the item that caused the fault; or return those that are to be scored again, each of several suspects alone."""
        logger.debug("reward %r: %s", job.packed.reward.name, fault)
        if fault.fatal:
            worker.end_worker()
        if len(suspects) > 1:
            job.separate(suspects)
            return suspects
        if fault.outside and job.try_again(suspects[0]):
            return suspects
        job.fail(suspects, fault.status, fault.reason, fault.seconds)
        return []


def _never() -> bool:
    return False


class Habits:
    """What rewards change in every worker with their first rollout. Any thread may use it.

    A worker that a rollout has changed is replaced. But if a reward changes only harmless things, and with the first rollout in every
    worker (it starts a helper thread, opens a file, sets an environment variable), it is taken to need them, and workers keep them.
    """

    FRESH_WORKERS = 3
    """In so many workers in a row the first rollout must have changed something, and only harmless things."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row: OrderedDict[bytes, int] = OrderedDict()

    def known(self, digest: bytes) -> bool:
        """Return whether the reward may change its worker with the first rollout."""
        return self._in_a_row.get(digest, 0) >= self.FRESH_WORKERS

    def note(self, packed: PackedReward, changes: Sequence[str], *, first: bool) -> None:
        """Note that a rollout has changed its worker.

        Args:
            first: it was the first in that worker.
        """
        name = packed.reward.name
        with self._lock:
            seen = self._in_a_row.pop(packed.digest, None)
            if seen is None:
                logger.info("reward %r: a rollout has changed its worker (%s), which is replaced", name, ", ".join(changes))
            count = (seen or 0) + 1 if first and HARMLESS.issuperset(changes) else 0
            if count == self.FRESH_WORKERS:
                logger.info("reward %r: every worker keeps what the first rollout changes (%s)", name, ", ".join(changes))
            self._in_a_row[packed.digest] = max(count, seen or 0) if (seen or 0) >= self.FRESH_WORKERS else count
            while len(self._in_a_row) > MAX_HABITS:
                self._in_a_row.popitem(last=False)


MAX_HABITS = 1_000
"""Rewards whose habits are remembered."""


def _pickled(job: Job, indices: Sequence[int]) -> bytes:
    """Return the items' rollouts as one pickle: a task that several of them share is in it once. Groups travel as tuples."""
    items = [job.item(index) for index in indices]
    together = job.packed.reward.scope is Scope.GROUP
    try:
        return bytes(cloudpickle.dumps(items if together else [rollout for item in items for rollout in item]))
    except Exception as error:  # metadata may hold any object, and pickling that may raise anything: it becomes data
        reason = f"the rollout cannot be sent to a worker: {type(error).__name__}: {error}"
        raise ScoringFault(Status.ERROR, reason, fatal=False) from error
