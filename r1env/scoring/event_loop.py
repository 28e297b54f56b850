"""Asynchronous rewards: one private event loop in a thread of its own, for the life of the process.

Also `ascore` uses it rather than the caller's loop: a client that a reward keeps open belongs to one loop, and a reward that
is slow between two awaits does not stop the caller. It does stop other asynchronous rewards, and no deadline can interrupt
it: a reward that computes belongs in `isolation="process"`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from r1env.rewards import Reward
from r1env.rollouts import Rollout
from r1env.scores import Score, Status
from r1env.scoring.per_process import PerProcess

CONCURRENCY = 64
"""Rollouts awaited at once, over all calls: what a served model batches well without a queue of its own growing."""


def submit_async(reward: Reward, rollouts: Sequence[Rollout]) -> Future[list[Score]]:
    """Score the rollouts on the private loop, in order; each may take `limits.wall_seconds` once its turn has come.

    Cancelling the future cancels the rollouts.
    """
    return _loop_thread.get().submit(reward, rollouts)


class LoopThread:
    """An event loop that runs in a daemon thread until the process ends."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._thread = threading.Thread(target=self._loop.run_forever, name="r1env-async-rewards", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def submit(self, reward: Reward, rollouts: Sequence[Rollout]) -> Future[list[Score]]:
        return asyncio.run_coroutine_threadsafe(self._score_all(reward, rollouts), self._loop)

    async def _score_all(self, reward: Reward, rollouts: Sequence[Rollout]) -> list[Score]:
        return await asyncio.gather(*(self._score_in_time(reward, rollout) for rollout in rollouts))

    async def _score_in_time(self, reward: Reward, rollout: Rollout) -> Score:
        seconds = reward.limits.wall_seconds
        async with self._turns:
            task = asyncio.create_task(_score_one(reward, rollout))
            try:
                # Not `wait_for`: it waits for the cancellation to be obeyed, and a reward may refuse.
                finished, _ = await asyncio.wait({task}, timeout=seconds)
            finally:
                task.cancel()
        if not finished:
            return Score.failure(Status.TIMEOUT, f"exceeded {seconds:g} s", parts=reward.part_keys, seconds=seconds)
        if task.cancelled():
            return Score.failure(Status.ERROR, "the reward cancelled itself", parts=reward.part_keys)
        return task.result()

    def _stop(self) -> None:
        if self._owner == os.getpid():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1.0)


async def _score_one(reward: Reward, rollout: Rollout) -> Score:
    try:
        return await reward.ascore(rollout)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and its like would end the loop, and with it everybody's rewards
        return Score.failure(Status.ERROR, f"{type(error).__name__}: {error}", parts=reward.part_keys)


_loop_thread = PerProcess(LoopThread)
