"""`score` and `ascore`: which reward of a rubric runs where, and one score out of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from r1env.rewards import Isolation, Reward
from r1env.rollouts import Rollout
from r1env.rubrics import Rubric
from r1env.scores import Score
from r1env.scoring.distinct import distinct, without_tokens
from r1env.scoring.event_loop import submit_async
from r1env.scoring.nesting import inside_worker
from r1env.scoring.per_process import PerProcess
from r1env.scoring.pool import ScoringPool, default_pool


def score(rollouts: Sequence[Rollout], rubric: Rubric | Reward, *, pool: ScoringPool | None = None) -> list[Score]:
    """Score rollouts, in order. Callable from any thread, and inside a running event loop (which it blocks; see `ascore`).

    Each reward runs as its `isolation` says: inline rewards here, process rewards in the workers of `pool` under
    their `limits`, asynchronous rewards on a private event loop with a deadline. A rollout that cannot be scored gets a score
    without a value that says why; nothing that happens to it touches another. Rollouts that are equal as the reward sees them
    are scored once (by process and asynchronous rewards; inline ones are cheaper than the comparison).

    Args:
        rollouts: what to score.
        rubric: a rubric, or a single reward.
        pool: workers to use instead of the process's own, which has `R1ENV_WORKERS` of them (default: one a processor, at
            most 8).

    Raises:
        UsageError: a reward cannot be sent to a worker, or the pool is closed.
    """
    if not rollouts:
        return []
    call = _Call(rollouts, rubric, pool)
    try:
        call.begin()
        return call.finish()
    except BaseException:  # Ctrl-C above all: stop what nobody waits for
        call.cancel()
        raise


async def ascore(rollouts: Sequence[Rollout], rubric: Rubric | Reward, *, pool: ScoringPool | None = None) -> list[Score]:
    """`score` without blocking the event loop. Cancelling it stops the work, inline rewards excepted."""
    if not rollouts:
        return []
    call = _Call(rollouts, rubric, pool)
    run = asyncio.get_running_loop().run_in_executor
    try:
        await run(_threads.get(), call.begin)
        await asyncio.gather(*map(asyncio.wrap_future, call.futures))
        return await run(_threads.get(), call.finish)
    except BaseException:
        call.cancel()
        raise


_threads = PerProcess(lambda: ThreadPoolExecutor(max_workers=2, thread_name_prefix="r1env-ascore"))
"""For `ascore`'s own computing. Not the loop's executor: that may be full of calls to an engine, minutes long."""


class _Call:
    """One call of `score`: what has been handed over, what was scored here, and putting them together."""

    def __init__(self, rollouts: Sequence[Rollout], rubric: Rubric | Reward, pool: ScoringPool | None) -> None:
        self.futures: list[Future[list[Score]]] = []
        self._rollouts = rollouts
        self._rubric = rubric
        self._rewards = [rubric] if isinstance(rubric, Reward) else [item.reward for item in rubric.rewards]
        self._pool = pool
        self._here: dict[str, list[Score]] = {}
        self._elsewhere: dict[str, tuple[Future[list[Score]], list[int]]] = {}
        self._settled: dict[str, list[Score | None]] = {}
        self._cancelled = False

    def begin(self) -> None:
        """Hand over what runs elsewhere, and meanwhile score what runs here."""
        for reward in self._rewards:
            if not _runs_here(reward):
                self._hand_over(reward, self._settle(reward))
        for reward in self._rewards:
            if _runs_here(reward) and not self._cancelled:
                self._here[reward.name] = reward.score_batch(self._rollouts)

    def finish(self) -> list[Score]:
        """Wait for the rest and combine."""
        columns = [self._column(reward) for reward in self._rewards]
        if isinstance(self._rubric, Reward):
            return columns[0]
        return [self._rubric.combine(row) for row in zip(*columns, strict=True)]

    def cancel(self) -> None:
        """Stop what is under way and what would still be begun."""
        self._cancelled = True
        for future in list(self.futures):
            future.cancel()

    def _settle(self, reward: Reward) -> Sequence[Rollout]:
        """Note what the reward can say without a worker. Returns the rollouts that are left, in order."""
        if not reward.settles:
            return self._rollouts
        self._settled[reward.name] = settled = [reward.settle(rollout) for rollout in self._rollouts]
        return [rollout for rollout, known in zip(self._rollouts, settled, strict=True) if known is None]

    def _hand_over(self, reward: Reward, rollouts: Sequence[Rollout]) -> None:
        needs_tokens = "rollout" in reward.arguments
        seen = rollouts if needs_tokens else [without_tokens(rollout) for rollout in rollouts]
        different, places = distinct(seen)
        if reward.isolation is Isolation.ASYNC:
            future = submit_async(reward, different)
        else:
            future = (self._pool or default_pool()).submit(reward, different)
        self._elsewhere[reward.name] = (future, places)
        self.futures.append(future)
        if self._cancelled:  # by `ascore`, from another thread, while this was being submitted
            future.cancel()

    def _column(self, reward: Reward) -> list[Score]:
        if reward.name in self._here:
            return self._here[reward.name]
        future, places = self._elsewhere[reward.name]
        scores = future.result()
        from_workers = iter([scores[place] for place in places])
        settled = self._settled.get(reward.name, [None] * len(self._rollouts))
        return [next(from_workers) if known is None else known for known in settled]


def _runs_here(reward: Reward) -> bool:
    return reward.isolation is Isolation.INLINE or (inside_worker() and reward.isolation is Isolation.PROCESS)
