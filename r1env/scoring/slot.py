"""`Slot`: a place for one worker. It starts the worker, gives it a chunk of a job, and replaces it when it fails."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

import cloudpickle

from r1env.scores import Status
from r1env.scoring.jobs import Job
from r1env.scoring.process import AbandonedError, ScoringFault, WorkerProcess
from r1env.scoring.protocol import Load, Work

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
        """Score the rollouts at these indices of the job. Returns those that are still to be scored.

        A rollout over which the worker fails gets that failure; those behind it are returned. A failure that cannot be put
        down to one rollout (of a batch reward, or of rollouts that travel together) is nobody's: the job then goes on one by
        one, so that the culprit pays alone. A reward that cannot be loaded fails everything that nobody has taken.
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
        """End the worker, if there is one, and everything it has forked."""
        if self._worker is not None:
            self._worker.retire()
            self._worker = None

    def _worker_for(self, job: Job) -> WorkerProcess:
        """A worker with the job's reward loaded."""
        packed = job.packed
        if self._worker is not None and self._worker.has_exited():  # while idle: no rollout's fault
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
        reward, items = job.packed.reward, len(left)
        try:
            worker.begin(Work(job.packed.digest, _pickled(job, left)))
        except ScoringFault as fault:
            return self._blame(job, left, fault)
        start = time.monotonic()
        try:
            while left:
                reply = worker.next_score(items - len(left), reward.limits, items if reward.batch else 1)
                job.record(left.pop(0), reply.score)
                if reply.worn:
                    self.retire()
                    break
        except ScoringFault as fault:
            suspects = len(left) if reward.batch else 1
            left = self._blame(job, left[:suspects], fault) + left[suspects:]
        job.note_pace(time.monotonic() - start, items - len(left))
        return left

    def _blame(self, job: Job, suspects: list[int], fault: ScoringFault) -> list[int]:
        """Fail the rollout to which the fault is due. Returns all suspects, to be scored again singly, if there are several."""
        logger.debug("reward %r: %s", job.packed.reward.name, fault)
        if fault.fatal:
            self.retire()
        if len(suspects) > 1:
            job.go_singly()
            return suspects
        job.fail(suspects, fault.status, fault.reason, fault.seconds)
        return []


class _LoadError(Exception):
    """No worker has the reward; the message says why."""


def _pickled(job: Job, indices: Sequence[int]) -> bytes:
    """The rollouts as one pickle: a task that several of them share is in it once."""
    try:
        return bytes(cloudpickle.dumps([job.rollouts[index] for index in indices]))
    except Exception as error:  # metadata may hold any object, and pickling that may raise anything: it becomes data
        reason = f"the rollout cannot be sent to a worker: {type(error).__name__}: {error}"
        raise ScoringFault(Status.ERROR, reason, fatal=False) from error
