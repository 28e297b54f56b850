"""The child processes. A `Zygote` loads rewards and forks a `Worker`, which scores rollouts under limits and sends each score at once.

The zygote never sees a rollout, so a worker that dies, or that a rollout has changed, is replaced within milliseconds by another
fork that has all rewards loaded. A reward that cannot be forked safely, because loading it started a thread or opened a connection,
is scored by the zygote itself; its worker is then replaced by a new program.

If a reward calls `r1env.score` here, everything runs inline, under the limits of the outer rollout.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from r1env.rewards import Reward, Scope
from r1env.scoring.limits import MEGABYTE, Bounds, become_worker, cpu_seconds_used, prepare_process
from r1env.scoring.protocol import (
    Begun,
    End,
    Ended,
    Fork,
    Forked,
    Load,
    Loaded,
    Refused,
    Reply,
    Started,
    Work,
    encode_reply,
    encode_scored,
    receive_message,
)
from r1env.scoring.state import HARMLESS, ProcessState
from r1env.scoring.system import LINUX, adopt_orphans, children, die_with_parent, remove_shared_memory, wake_with_parent
from r1env.types import Rollout, Score, Status

MAX_ITEMS = 5_000
"""A worker ends after so many rollouts, so that what libraries keep does not pile up."""

ORPHAN_SECONDS = 1.0
"""How long what a worker has left behind may take to end."""

# Bound here, because a reward may replace them in their modules; see `state`.
_exit, _getpid = os._exit, os.getpid


def main(control_fd: int, parent: int, folder: str, *, isolated: bool) -> None:
    """Serve the pool until it hangs up.

    Args:
        control_fd: a stream socket that carries `protocol`.
        parent: the process of the pool, where it is visible.
        folder: for temporary files. The pool removes it.
        isolated: this process is in a PID namespace, whose end is the end of all in it.
    """
    prepare_process()
    become_worker()
    adopt_orphans()
    control = _connection(control_fd)
    if not LINUX:
        threading.Thread(target=_die_with_the_pool, args=(parent,), daemon=True).start()
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    Zygote(control, folder, isolated=isolated).serve()


class Zygote:
    """The loaded rewards, and the worker that is forked from them, at most one at a time."""

    def __init__(self, control: socket.socket, folder: str, *, isolated: bool) -> None:
        self._control = control
        self._isolated = isolated
        self._folder = folder
        self._rewards: dict[bytes, Reward] = {}
        self._own_worker = Worker(control, self._rewards)  # used where forking is not safe
        self._child = 0
        self._ended = -1  # a file that becomes readable when the child ends
        self._forks = 0
        self._forkable = LINUX and hasattr(os, "pidfd_open")
        self._at_start = _what_a_fork_would_break()
        self._reply(Started(pid=os.getpid()))

    def serve(self) -> None:
        """Answer messages until the pool hangs up."""
        while True:
            if not self._isolated:
                wake_with_parent()  # to end the worker and all that it started, which would outlive this process
            if self._child:
                ready, _, _ = select.select([self._control.fileno(), self._ended], [], [])
                if self._ended in ready:
                    self._end_child()
                if self._control.fileno() not in ready:
                    continue
            message, files = receive_message(self._control)
            if message is None:
                break
            if not self._isolated:
                die_with_parent()  # while code of a reward may run, which may never return
            if isinstance(message, Load):
                self._load(message)
            elif isinstance(message, Fork):
                self._fork(files[0])
            elif isinstance(message, End):
                self._end_child()
            elif not self._own_worker.work(message):
                break
        self._end_child()

    def _load(self, message: Load) -> None:
        sys.path[:] = message.search_path
        importlib.invalidate_caches()
        gc.unfreeze()
        for digest in message.forget:
            self._rewards.pop(digest, None)
        try:
            reward: Reward = pickle.loads(message.reward)
            reward.warm_up()  # this makes the instance of a class, which may read a file or a model, before any clock starts
        except BaseException as error:  # noqa: BLE001 - importing a third-party module may do anything; the pool reports it
            self._reply(Refused(reason=_one_line(error)))
            return
        self._rewards[message.digest] = reward
        self._forkable = self._forkable and _what_a_fork_would_break() == self._at_start
        if self._forkable:
            gc.collect()
            gc.freeze()  # a collection in a fork would touch, and so copy, every page
        else:
            self._own_worker.take_state()
        self._reply(Loaded(forkable=self._forkable))

    def _fork(self, connection_fd: int) -> None:
        self._end_child()
        self._forks += 1
        folder = str(Path(self._folder) / str(self._forks))
        zygote = os.getpid()
        try:
            os.mkdir(folder)
            pid = os.fork()
        except OSError as error:
            os.close(connection_fd)
            self._reply(Refused(reason=str(error), errno=error.errno or 0))
            return
        if pid == 0:
            self._be_worker(connection_fd, zygote, folder)
        os.close(connection_fd)
        self._child, self._ended = pid, os.pidfd_open(pid)
        self._reply(Forked())

    def _be_worker(self, connection_fd: int, zygote: int, folder: str) -> None:
        """In the fork: serve the pool on a connection of its own. Never returns."""
        code = 1
        try:
            os.setsid()  # a process group to kill
            die_with_parent(zygote)
            adopt_orphans()
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            _name_shared_memory(self._segments)
            _reseed()
            worker = Worker(_connection(connection_fd), self._rewards)
            worker.take_state()
            worker.reply(Started(pid=os.getpid()))
            worker.serve()
            code = 0
        finally:
            _exit(code)

    def _end_child(self) -> None:
        """End the worker and all that it started, and tell the pool how it ended. Nothing is left of it but its scores."""
        if not self._child:
            return
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)
        # Its group is killed before it is reaped: until then the number cannot belong to anybody else.
        _end_orphans(spare=self._child)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child, signal.SIGKILL)
        _, status = os.waitpid(self._child, 0)
        os.close(self._ended)
        self._child, self._ended = 0, -1
        shutil.rmtree(Path(self._folder) / str(self._forks), ignore_errors=True)
        remove_shared_memory(self._segments)
        self._reply(Ended(fork=self._forks, exit_code=os.waitstatus_to_exitcode(status)))

    @property
    def _segments(self) -> str:
        """How the names of the worker's shared memory begin."""
        return f"{Path(self._folder).name}-{self._forks}-"

    def _reply(self, reply: Reply) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the pool has hung up, which `serve` notices
            self._control.sendall(encode_reply(reply))


class Worker:
    """The loop that scores rollouts with loaded rewards."""

    def __init__(self, connection: socket.socket, rewards: dict[bytes, Reward]) -> None:
        self._connection = connection
        self._rewards = rewards
        self._items = 0
        self._pid = 0

    def take_state(self) -> None:
        """Note the present state of this process. A rollout that leaves it in another state ends this worker."""
        self._pid = os.getpid()
        self._state = ProcessState()
        # What interpreter and rewards need; whatever is added later was left behind by rollouts.
        self._loaded_bytes = self._state.resident_bytes

    def serve(self) -> None:
        """Answer messages until the pool hangs up or this worker has to be replaced."""
        while True:
            message, _ = receive_message(self._connection)
            if not isinstance(message, Work) or not self.work(message):
                return

    def work(self, message: Work) -> bool:
        """Score the rollouts and send the scores. Return False if this worker has to be replaced."""
        reward = self._rewards[message.digest]
        try:
            rollouts: list[Rollout] = pickle.loads(message.rollouts)  # of scope `group`: a list of tuples of rollouts
        except BaseException as error:  # noqa: BLE001 - as in `_load`: metadata may hold objects of any class
            self.reply(Refused(reason=_one_line(error)))
            return True
        self.reply(Begun())
        index = 0
        together: Iterable[Sequence[Rollout]]
        if reward.scope is Scope.GROUP:
            together = cast(list[tuple[Rollout, ...]], rollouts)
        else:
            together = [rollouts] if reward.batch else ([rollout] for rollout in rollouts)
        for group in together:
            first = not self._items
            scores, seconds, changes = self._score(reward, group)
            if changes and first and message.settle_in and HARMLESS.issuperset(changes):
                self.take_state()
                changes = ()
            worn = self._is_worn(reward)
            for score in scores[:-1]:
                self._connection.sendall(encode_scored(index, score, seconds))
                index += 1
            self._connection.sendall(encode_scored(index, scores[-1], seconds, worn=worn, changes=changes))
            index += 1
            if worn or changes:
                return False
        return True

    def reply(self, reply: Reply) -> None:
        """Send a reply to the pool."""
        self._connection.sendall(encode_reply(reply))

    def _score(self, reward: Reward, rollouts: Sequence[Rollout]) -> tuple[list[Score], float, tuple[str, ...]]:
        """Return the scores, the CPU seconds that each took, and what the reward has changed in this process."""
        start = cpu_seconds_used()
        bounds = Bounds(reward.limits, len(rollouts), start, self._state.address_space_bytes)
        try:
            with bounds:
                scores = reward.score_batch(rollouts)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt, which rewards let pass, or no memory left to handle an error
            scores = [Score.failure(Status.ERROR, _one_line(error), parts=reward.part_keys)] * len(rollouts)
        if _getpid() != self._pid:  # the reward forked and its child came back from the call as well
            _exit(0)
        self._items += len(rollouts)
        seconds = (cpu_seconds_used() - start) / len(rollouts)
        try:
            changes = self._state.changes()
        except Exception:  # noqa: BLE001 - what is compared is gone: a file was closed, a module emptied
            changes = ("modules",)
        if not bounds.intact:
            changes = (*changes, "limits")
        return scores, seconds, changes

    def _is_worn(self, reward: Reward) -> bool:
        left_behind = self._state.resident_bytes - self._loaded_bytes
        return self._items >= MAX_ITEMS or left_behind > reward.limits.memory_mb * MEGABYTE


def _connection(descriptor: int) -> socket.socket:
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    # A child that a reward forks must neither keep the pool waiting nor use the connection.
    os.register_at_fork(after_in_child=connection.close)
    return connection


def _what_a_fork_would_break() -> tuple[object, ...]:
    """Return threads, descriptors and children. If loading a reward adds some, it cannot be forked safely: threads do not survive a fork, and
    open connections would be shared.
    """
    try:
        return len(os.listdir("/proc/self/task")), frozenset(os.listdir("/proc/self/fd")), tuple(children(os.getpid()))
    except OSError:
        return ()


def _name_shared_memory(prefix: str) -> None:
    """Have `multiprocessing.shared_memory` choose names by which the segments are found once this worker is dead.

    The module's own resource tracker removes the segments of a process that was killed, but may be killed with it.
    """
    from multiprocessing import shared_memory

    if hasattr(shared_memory, "_SHM_NAME_PREFIX") and hasattr(shared_memory, "_SHM_SAFE_NAME_LENGTH"):
        vars(shared_memory).update(_SHM_NAME_PREFIX=f"/{prefix}", _SHM_SAFE_NAME_LENGTH=len(prefix) + 17)


def _reseed() -> None:
    """Give this fork random numbers of its own, as a new program would have; Python's `random` does so by itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _end_orphans(spare: int) -> None:
    """Kill what the ended worker `spare` has left, and wait for its end.

    The resource tracker of `multiprocessing` is left to end by itself: it removes the shared memory of those that were killed.
    """
    deadline = time.monotonic() + ORPHAN_SECONDS
    while left := [pid for pid in children(os.getpid()) if pid != spare]:
        late = time.monotonic() > deadline
        for pid in left:
            if late or not _is_resource_tracker(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if late and time.monotonic() > deadline + ORPHAN_SECONDS:
            return
        time.sleep(0.001)


def _is_resource_tracker(pid: int) -> bool:
    try:
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _die_with_the_pool(parent: int) -> None:
    """Where the kernel does not do it: end this process and its group once it has another parent."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgrp(), signal.SIGKILL)
