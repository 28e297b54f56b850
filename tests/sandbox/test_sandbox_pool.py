"""The pool: who gets a slot, who waits, and which slots are not used again; and how a worker's stream is closed. No containers, but stand-ins."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from r1env_sandbox import SandboxBusy
from r1env_sandbox import pool as pool_module
from r1env_sandbox.errors import WorkerLost
from r1env_sandbox.pool import WarmPool
from r1env_sandbox.transport import StreamTransport


class FakeSlot:
    def __init__(self):
        self.idle_since = 0.0
        self.worn = False
        self.answers = True
        self.closed = threading.Event()

    def check(self):
        if not self.answers:
            raise WorkerLost("silent")

    def close(self):
        self.closed.set()


@pytest.fixture
def made():
    return []


@pytest.fixture
def pool(made, monkeypatch):
    monkeypatch.setattr(pool_module.Slot, "close", lambda slot: slot.close())

    def start():
        made.append(FakeSlot())
        return made[-1]

    pool = WarmPool(start, min_slots=1, max_slots=2)
    yield pool
    pool.close()


def use(pool):
    with pool.lease(5) as slot:
        return slot


def test_a_slot_is_used_again(pool, made):
    assert use(pool) is use(pool)
    assert len(made) == 1


def test_a_slot_in_which_anything_went_wrong_is_not_used_again(pool, made):
    with pytest.raises(KeyError), pool.lease(5):
        raise KeyError
    assert use(pool) is not made[0]
    assert made[0].closed.wait(5)


def test_a_worn_slot_is_replaced(pool, made):
    with pool.lease(5) as slot:
        slot.worn = True
    assert use(pool) is not slot
    assert slot.closed.wait(5)


def test_a_slot_that_has_died_while_idle_is_replaced(pool, made, monkeypatch):
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.0)
    slot = use(pool)
    slot.answers = False
    assert use(pool) is not slot


def test_who_finds_no_slot_waits_and_then_is_told(pool, made):
    with pool.lease(5), pool.lease(5), pytest.raises(SandboxBusy, match="there are 2"), pool.lease(0.05):
        pass
    assert len(made) == 2


def test_who_waits_gets_the_slot_that_becomes_free(pool, made):
    got = []
    with pool.lease(5), pool.lease(5):
        waiting = threading.Thread(target=lambda: got.append(use(pool)))
        waiting.start()
    waiting.join(5)
    assert got[0] in made
    assert len(made) == 2


def test_those_who_wait_are_served_in_order_and_who_comes_back_is_last(pool, made):
    pool._max_slots = 1
    served = []

    def wait_for_one(number):
        with pool.lease(5):
            served.append(number)

    threads = [threading.Thread(target=wait_for_one, args=(number,)) for number in range(5)]
    with pool.lease(5):
        for number, thread in enumerate(threads):
            thread.start()
            while len(pool._queue) <= number:
                time.sleep(0.001)
    wait_for_one("the one before")
    for thread in threads:
        thread.join(5)
    assert served == [0, 1, 2, 3, 4, "the one before"]


def test_a_slot_that_does_not_start_leaves_room_for_another(made):
    faults = [WorkerLost("no"), WorkerLost("no")]

    def start():
        if faults:
            raise faults.pop()
        return FakeSlot()

    pool = WarmPool(start, min_slots=1, max_slots=1)
    for _ in range(2):
        with pytest.raises(WorkerLost), pool.lease(5):
            pass
    with pool.lease(5):
        pass


def test_slots_beyond_the_minimum_are_given_up_when_nothing_needs_them(pool, made, monkeypatch):
    with pool.lease(5), pool.lease(5):
        pass
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.0)
    use(pool)
    assert [slot.closed.wait(0.5) for slot in made].count(True) == 1
    assert use(pool)


def test_warming_up_starts_the_minimum(pool, made):
    pool.warm_up()
    pool.warm_up()
    assert len(made) == 1


def test_a_slot_that_was_still_starting_when_the_pool_was_closed_is_ended(made):
    starting, go_on = threading.Event(), threading.Event()

    def start():
        starting.set()
        go_on.wait(10)
        made.append(FakeSlot())
        return made[-1]

    pool = WarmPool(start, min_slots=1, max_slots=1)
    faults = []

    def ask():
        try:
            use(pool)
        except SandboxBusy as error:
            faults.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    starting.wait(10)
    pool.close()
    go_on.set()
    asking.join(10)
    assert made[0].closed.is_set()
    assert faults


def test_a_closed_pool_ends_what_is_lent_and_lends_nothing_more(pool, made):
    with pool.lease(5) as slot:
        pool.close()
        assert slot.closed.is_set()
    with pytest.raises(SandboxBusy, match="closed"), pool.lease(5):
        pass


class SlowSocket:
    """A socket whose reader is slow to leave it once it is shut down."""

    def __init__(self):
        self.ended, self.inside, self.closed_under_a_reader = threading.Event(), False, False

    def settimeout(self, seconds): ...

    def recv(self, size):
        self.inside = True
        self.ended.wait(10)
        time.sleep(0.1)
        self.inside = False
        return b""

    def shutdown(self, how):
        self.ended.set()

    def close(self):
        self.closed_under_a_reader = self.inside


class Ends(StreamTransport):
    def _limit_memory(self, memory_mb): ...

    def _log_tail(self):
        return b""

    def _out_of_memory(self):
        return False

    def _end(self): ...


def test_a_socket_is_not_closed_while_a_thread_reads_from_it():
    """The next connection would have the same descriptor, and the reader would wait for that one, or take what is meant for it."""
    stream = SlowSocket()
    transport = Ends("worker", stream, 64)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(transport.receive, 10)
        while not stream.inside:
            time.sleep(0.001)
        transport.close()
        with pytest.raises(WorkerLost, match="ended"):
            reading.result(10)
    assert not stream.closed_under_a_reader
