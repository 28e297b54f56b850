"""The child process: it loads rewards, scores rollouts under limits, and sends each score at once.

It dies with the pool: a thread waits on a pipe that only the pool holds open. If a reward calls `r1env.score` here, everything runs
inline, under the limits of the outer rollout.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import cast

from r1env.rewards import Reward, Scope
from r1env.scoring.limits import MEGABYTE, become_worker, bounded, cpu_seconds_used, prepare_process, resident_bytes
from r1env.scoring.protocol import (
    Begun,
    Load,
    Loaded,
    Refused,
    Reply,
    Scored,
    Work,
    encode_reply,
    receive_message,
)
from r1env.types import Rollout, Score, Status

MAX_ITEMS = 5_000
MAX_REWARDS = 32
"""A worker ends after so many rollouts, or once it holds so many rewards, so that what libraries keep does not pile up."""


def main(connection_fd: int, lifeline_fd: int) -> None:
    """Serve the pool until it hangs up or this worker is worn.

    Args:
        connection_fd: a stream socket that carries `protocol`.
        lifeline_fd: the reading end of a pipe; its end of file means that the pool's process is gone.
    """
    prepare_process()
    become_worker()
    connection = socket.socket(fileno=connection_fd)
    connection.set_inheritable(False)
    os.set_inheritable(lifeline_fd, False)
    # A child that a reward forks must neither keep the pool waiting nor use the connection.
    os.register_at_fork(after_in_child=connection.close)
    threading.Thread(target=_die_with_the_pool, args=(lifeline_fd,), daemon=True).start()
    Worker(connection).serve()


class Worker:
    """The rewards of this process and the loop that uses them."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pid = os.getpid()
        self._rewards: dict[bytes, Reward] = {}
        self._items = 0
        self._loaded_bytes = resident_bytes() or 0  # what interpreter and rewards need; the rest is what rollouts left behind

    def serve(self) -> None:
        """Answer messages until the pool hangs up or this worker is worn."""
        while (message := receive_message(self._connection)) is not None:
            if isinstance(message, Load):
                self._load(message)
            elif not self._work(message):
                return

    def _load(self, message: Load) -> None:
        before = resident_bytes() or 0
        sys.path[:] = message.search_path
        importlib.invalidate_caches()
        try:
            reward: Reward = pickle.loads(message.reward)
            reward.warm_up()  # this makes the instance of a class, which may read a file or a model, before any clock starts
        except BaseException as error:  # noqa: BLE001 - importing somebody's module may do anything; the pool reports it
            self._reply(Refused(reason=_one_line(error)))
            return
        self._rewards[message.digest] = reward
        self._loaded_bytes += (resident_bytes() or 0) - before
        self._reply(Loaded())

    def _work(self, message: Work) -> bool:
        """Score the rollouts and send the scores. Return False if this worker has done its share."""
        reward = self._rewards[message.digest]
        try:
            rollouts: list[Rollout] = pickle.loads(message.rollouts)  # of scope `group`: a list of tuples of rollouts
        except BaseException as error:  # noqa: BLE001 - as in `_load`: metadata may hold objects of any class
            self._reply(Refused(reason=_one_line(error)))
            return True
        self._reply(Begun())
        index = 0
        together: Iterable[Sequence[Rollout]]
        if reward.scope is Scope.GROUP:
            together = cast(list[tuple[Rollout, ...]], rollouts)
        else:
            together = [rollouts] if reward.batch else ([rollout] for rollout in rollouts)
        for group in together:
            scores = self._score(reward, group)
            worn = self._is_worn(reward)
            for position, score in enumerate(scores, start=1):
                self._reply(Scored(index=index, score=score, worn=worn and position == len(scores)))
                index += 1
            if worn:
                return False
        return True

    def _score(self, reward: Reward, rollouts: Sequence[Rollout]) -> list[Score]:
        start = cpu_seconds_used()
        try:
            with bounded(reward.limits, len(rollouts)):
                scores = reward.score_batch(rollouts)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt, which rewards let pass, or no memory left to handle an error
            scores = [Score.failure(Status.ERROR, _one_line(error), parts=reward.part_keys)] * len(rollouts)
        if os.getpid() != self._pid:  # the reward forked and its child came back from the call as well
            os._exit(0)
        self._items += len(rollouts)
        seconds = (cpu_seconds_used() - start) / len(rollouts)
        return [score.model_copy(update={"seconds": seconds}) for score in scores]

    def _is_worn(self, reward: Reward) -> bool:
        left_behind = (resident_bytes() or 0) - self._loaded_bytes
        return self._items >= MAX_ITEMS or len(self._rewards) >= MAX_REWARDS or left_behind > reward.limits.memory_mb * MEGABYTE

    def _reply(self, reply: Reply) -> None:
        self._connection.sendall(encode_reply(reply))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _die_with_the_pool(lifeline_fd: int) -> None:
    os.read(lifeline_fd, 1)  # nobody ever writes: it returns when the last writing end is closed
    os.killpg(os.getpgrp(), signal.SIGKILL)
