"""`WarmPool`: slots that are ready to judge, lent to one thread at a time. A `Slot` is a worker for submissions, and one for tests."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from r1env_sandbox.errors import SandboxBusy, WorkerLost
from r1env_sandbox.worker import Worker

log = logging.getLogger(__name__)

MAX_SUBMISSIONS = 256  # that a container judges, and
MAX_AGE_SECONDS = 1800.0  # how long, before a fresh one takes its place: a bound on whatever was not foreseen
IDLE_SECONDS = 60.0  # unused for this long, a worker must prove that it answers, and one beyond the minimum is given up


class Slot:
    """The containers that judge one submission at a time: the submission's own, and, from the first need on, the examiner's.

    Tests that are programs (assertions, pytest files, checkers) run in the examiner. The two share nothing but this host, so that a
    submission can neither read a test nor be in its process.
    """

    def __init__(self, start_worker: Callable[[], Worker], start_examiner: Callable[[], Worker]) -> None:
        self.worker = start_worker()
        self._start_examiner = start_examiner
        self._examiner: Worker | None = None
        self.idle_since = time.monotonic()

    @property
    def examiner(self) -> Worker:
        if self._examiner is None:
            self._examiner = self._start_examiner()
        return self._examiner

    @property
    def worn(self) -> bool:
        """Whether it has done its share."""
        return self.worker.submissions >= MAX_SUBMISSIONS or time.monotonic() - self.worker.born > MAX_AGE_SECONDS

    def check(self) -> None:
        """
        Raises:
            WorkerLost: a worker does not answer.
        """
        self.worker.ping()
        if self._examiner is not None:
            self._examiner.ping()

    def close(self) -> None:
        self.worker.close()
        if self._examiner is not None:
            self._examiner.close()


class WarmPool:
    """Lends slots; callers beyond `max_slots` wait. For any number of threads.

    Args:
        start: makes a slot; its exceptions go to whoever asked for one.
        min_slots: kept however long they are idle.
        max_slots: at once.
    """

    def __init__(self, start: Callable[[], Slot], *, min_slots: int, max_slots: int) -> None:
        self._start = start
        self._min_slots = min_slots
        self._max_slots = max_slots
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()  # who waits, in order: a thread that comes back for more goes to the end
        self._idle: list[Slot] = []  # the last one used last: it is the warmest, and the others can be given up
        self._lent: set[Slot] = set()
        self._starting = 0
        self._closed = False
        self._background = ThreadPoolExecutor(max_slots, thread_name_prefix="r1env-sandbox")

    @contextmanager
    def lease(self, timeout_s: float) -> Iterator[Slot]:
        """A slot for the body of the `with`. After any exception in there it is not used again.

        Raises:
            SandboxBusy: none became free in time, or the pool is closed.
        """
        slot = self._take(time.monotonic() + timeout_s, timeout_s)
        sound = False
        try:
            yield slot
            sound = True
        finally:
            self._give_back(slot, sound)

    def warm_up(self) -> None:
        """Start slots until there are `min_slots`, side by side, and wait for them."""
        with self._changed:
            missing = max(0, self._min_slots - len(self._idle) - len(self._lent) - self._starting)
            self._starting += missing
        starting = [self._background.submit(self._start_one) for _ in range(missing)]
        faults = [fault for started in starting if (fault := started.exception()) is not None]
        for started in starting:
            if started.exception() is None:
                self._put(started.result())
        if faults:
            raise faults[0]

    def check_idle(self) -> None:
        """Give up the idle slots that do not answer: their engine has restarted, or something has ended them."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._lent.update(idle)
        for slot in idle:
            try:
                slot.check()
                sound = True
            except WorkerLost as error:
                log.warning("a worker was lost while it was idle: %s", error)
                sound = False
            self._give_back(slot, sound)

    def close(self) -> None:
        """End all workers, those that are lent as well. Closing twice is fine."""
        with self._changed:
            self._closed = True
            slots = [*self._idle, *self._lent]
            self._idle.clear()
            self._changed.notify_all()
        try:
            list(self._background.map(Slot.close, slots))
        except RuntimeError:  # the interpreter is ending, and starts no thread any more
            for slot in slots:
                slot.close()
        self._background.shutdown()

    def _take(self, deadline: float, timeout_s: float) -> Slot:
        while True:
            with self._changed:
                self._wait_for_turn(deadline, timeout_s)
                if self._closed:
                    raise SandboxBusy("the sandbox is closed")
                slot = self._idle.pop() if self._idle else None
                if slot is not None:
                    self._lent.add(slot)
                else:
                    self._starting += 1
            if slot is None:
                slot = self._start_one()
                with self._changed:
                    if not self._closed:
                        self._lent.add(slot)
                        return slot
                slot.close()
                raise SandboxBusy("the sandbox is closed")
            if time.monotonic() - slot.idle_since < IDLE_SECONDS:
                return slot
            try:
                slot.check()
                return slot
            except WorkerLost as error:
                log.warning("a worker was lost while it was idle: %s", error)
                self._give_back(slot, sound=False)

    def _wait_for_turn(self, deadline: float, timeout_s: float) -> None:
        """Wait, first come first served, until a slot is idle or may be started, or the pool is closed. The lock is held."""
        ticket = object()
        self._queue.append(ticket)
        try:
            while not self._closed and (self._queue[0] is not ticket or not self._has_room()):
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise SandboxBusy(f"no worker became free in {timeout_s:g} s; there are {self._max_slots}")
        finally:
            self._queue.remove(ticket)
            self._changed.notify_all()  # whoever is first now may have room as well

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._lent) + self._starting < self._max_slots

    def _start_one(self) -> Slot:
        try:
            return self._start()
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify_all()

    def _put(self, slot: Slot) -> None:
        with self._changed:
            if not self._closed:
                self._idle.append(slot)
                self._changed.notify_all()
                return
        slot.close()

    def _give_back(self, slot: Slot, sound: bool) -> None:
        slot.idle_since = time.monotonic()
        with self._changed:
            self._lent.discard(slot)
            retired = [] if sound and not slot.worn and not self._closed else [slot]
            if not retired:
                self._idle.append(slot)
            while len(self._idle) > self._min_slots and time.monotonic() - self._idle[0].idle_since > IDLE_SECONDS:
                retired.append(self._idle.pop(0))
            self._changed.notify_all()
            if not self._closed:
                for old in retired:
                    self._background.submit(old.close)
                return
        for old in retired:
            old.close()
