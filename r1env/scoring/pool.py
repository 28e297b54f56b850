"""`ScoringPool`: threads that give chunks of jobs to killable workers, one worker a thread. Which job next is decided here."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType

from r1env.errors import UsageError
from r1env.rewards import Reward
from r1env.rollouts import Rollout
from r1env.scores import Score
from r1env.scoring.jobs import Job, pack_reward
from r1env.scoring.per_process import PerProcess
from r1env.scoring.slot import Slot

LOAD_SECONDS = 120.0
"""Starting an interpreter and importing a computer algebra system on a busy machine; more is a hang."""

MAX_DEFAULT_WORKERS = 8
"""The trainer and the engine want the other cores."""

CLOSE_SECONDS = 5.0
"""For the threads to end their workers; each looks up every tenth of a second."""


class ScoringPool:
    """Workers for process-isolated rewards, shared by any number of threads and calls. A context manager.

    Workers are started when there is work for them, keep the rewards they have loaded, and are replaced when they fail or have
    done their share. Calls take turns by chunks, so a large one does not hold up a small one.

    Args:
        workers: processes at most; None takes the processors this process may use, up to 8.
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

    def submit(self, reward: Reward, rollouts: Sequence[Rollout]) -> Future[list[Score]]:
        """Score the rollouts in workers. The future gets the scores in order; cancelling it stops the work.

        Raises:
            UsageError: the pool is closed, belongs to another process, or the reward cannot be pickled.
        """
        if self._owner != os.getpid():
            raise UsageError(f"this scoring pool belongs to process {self._owner}; make another after a fork")
        job = Job(pack_reward(reward), rollouts)
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
        """End all workers. Calls that still wait get a `UsageError`. Closing twice is fine; a forked child closes nothing."""
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
        """One thread: chunk after chunk on its worker, until the pool is closed."""
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
        """The next chunk, waiting for one; None when the pool is closed."""
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
    """The pool of this process for calls that bring none, made on first need.

    Raises:
        UsageError: `R1ENV_WORKERS` is not a positive number.
    """
    return _default_pool.get()


def workers_from_environment(environment: Mapping[str, str]) -> int | None:
    """The number in `R1ENV_WORKERS`, or None where it is not set.

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
