"""`score`, `ascore` and `Scoring`: run each reward of a rubric where it belongs, and combine their scores."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import BaseModel

from r1env.plugins import installed
from r1env.rewards import Isolation, Reward, Scope, TaskKey, group_by_task, task_key
from r1env.rubrics import Rubric, scorable
from r1env.scoring.limits import PerProcess, inside_worker
from r1env.scoring.pool import ScoringPool, default_pool
from r1env.types import Rollout, Score, Status, Task

logger = logging.getLogger(__name__)

T = TypeVar("T")


def score(
    rollouts: Sequence[Rollout],
    rubric: Rubric | Reward | Callable[..., Any] | str,
    *,
    pool: ScoringPool | None = None,
    notify: bool = True,
) -> list[Score]:
    """Score rollouts and return the scores in the same order.

    It can be called from any thread, and inside a running event loop (which it blocks; see `ascore`).

    Each reward runs as its `isolation` says: inline rewards here, process rewards in the workers of `pool` under
    their `limits`, asynchronous rewards on a private event loop with a deadline. A rollout that cannot be scored gets a score
    without a value that says why; nothing that happens to it touches another. Rollouts that are equal as the reward sees them
    are scored once (by process and asynchronous rewards; inline ones are cheaper than the comparison). A reward of scope `group` is
    called once for each task, with all rollouts of that task in the call (see `r1env.rewards.group_by_task`), equal ones included.

    Args:
        rollouts: what to score.
        rubric: a rubric, or a single reward: the object, a function, or its name.
        pool: workers to use instead of the process's own, which has `R1ENV_WORKERS` of them (default: one a processor, at
            most 8).
        notify: call the hook `r1env_scored`; False for scores that are not of a model's rollouts.

    Raises:
        UsageError: a reward cannot be sent to a worker, or the pool is closed.
    """
    if not rollouts:
        return []
    scoring = Scoring(rubric, pool=pool, notify=notify)
    try:
        scoring.add(rollouts)
        return scoring.finish()
    except BaseException:  # above all Ctrl-C: stop what nobody waits for any more
        scoring.cancel()
        raise


async def ascore(rollouts: Sequence[Rollout], rubric: Rubric | Reward, *, pool: ScoringPool | None = None) -> list[Score]:
    """`score` without blocking the event loop. Cancelling it, or closing the loop, stops the work, inline rewards excepted."""
    if not rollouts:
        return []
    scoring = Scoring(rubric, pool=pool)
    loop = asyncio.get_running_loop()
    watch = _loop_thread.get().call(_cancel_with(loop, scoring))
    try:
        await loop.run_in_executor(_threads.get(), scoring.add, rollouts)
        await loop.run_in_executor((_inline_threads if scoring.runs_here else _threads).get(), scoring.score_here)
        await asyncio.gather(*map(asyncio.wrap_future, scoring.futures))
        return await loop.run_in_executor(_threads.get(), scoring.finish)
    except BaseException:
        scoring.cancel()
        raise
    finally:
        watch.cancel()


_threads = PerProcess(lambda: ThreadPoolExecutor(max_workers=4, thread_name_prefix="r1env-ascore"))
"""Threads for the short steps of `ascore`. The loop's own executor may be full of calls to an engine that take minutes."""

_inline_threads = PerProcess(lambda: ThreadPoolExecutor(max_workers=INLINE_THREADS, thread_name_prefix="r1env-inline"))
"""Threads for its inline rewards, which may take long: apart, so that calls without inline rewards do not wait for them."""

INLINE_THREADS = 8


async def _cancel_with(loop: asyncio.AbstractEventLoop, scoring: Scoring) -> None:
    """Cancel the scoring once the event loop that waits for it is closed: nobody there can do it any more."""
    while not loop.is_closed():
        await asyncio.sleep(BEAT_SECONDS)
    scoring.cancel()


class Scoring:
    """Scoring of rollouts that arrive in parts: `add` them as they come, then `finish`; `cancel` to give up.

    Rewards that run elsewhere start with `add`, which does not wait for them. Those of scope `group` start as soon as all rollouts of a task
    are there, if `expect` has announced how many there will be; otherwise they start when everything is there, like rewards that run
    here. The scores are those that `score` gives for all rollouts at once.

    Attributes:
        futures: one for each part that was handed over to workers or to the event loop.
    """

    def __init__(
        self, rubric: Rubric | Reward | Callable[..., Any] | str, *, pool: ScoringPool | None = None, notify: bool = True
    ) -> None:
        self.futures: list[Future[list[Score]]] = []
        self._rubric = rubric = scorable(rubric)
        self._rewards = [rubric] if isinstance(rubric, Reward) else [item.reward for item in rubric.rewards]
        self._pool = pool
        self._notify = notify
        self._rollouts: list[Rollout] = []
        self._here: dict[str, list[Score]] = {}
        self._elsewhere = {reward.name: _Elsewhere() for reward in self._rewards if not _runs_here(reward)}
        self._of_groups = [reward for reward in self._rewards if reward.name in self._elsewhere and reward.scope is Scope.GROUP]
        self._expected: Counter[TaskKey] = Counter()
        self._incomplete: dict[TaskKey, list[int]] = {}  # places of the rollouts of groups that are not handed over
        self._all_added = False
        self._cancelled = False

    def expect(self, tasks: Iterable[Task], each: int) -> None:
        """Announce how many rollouts there will be: `each` of every task. Call it before `add`. A task may come more than once."""
        if self._of_groups:
            for task in tasks:
                self._expected[task_key(task)] += each

    @property
    def runs_here(self) -> bool:
        """True if some reward runs in the calling thread."""
        return len(self._elsewhere) < len(self._rewards)

    def add(self, rollouts: Sequence[Rollout]) -> None:
        """Hand over more rollouts to the rewards that run elsewhere.

        Raises:
            UsageError: a reward cannot be sent to a worker, or the pool is closed.
        """
        first = len(self._rollouts)
        self._rollouts += rollouts
        if self._of_groups:
            self._add_to_groups(first)
        for reward in self._rewards:
            if reward.name in self._elsewhere and reward.scope is not Scope.GROUP:
                elsewhere = self._elsewhere[reward.name]
                self._hand_over(reward, elsewhere, elsewhere.take(reward, rollouts))

    def score_here(self) -> None:
        """Score everything that was added with the rewards that run here, and hand over the groups of those that run elsewhere."""
        if not self._all_added:
            self._all_added = True
            self._hand_over_groups(list(self._incomplete.values()))
        for reward in self._rewards:
            if reward.name not in self._elsewhere and reward.name not in self._here and not self._cancelled:
                self._here[reward.name] = reward.score_batch(self._rollouts)

    def finish(self) -> list[Score]:
        """Wait for the rest, and return the scores in the order in which the rollouts were added."""
        self.score_here()
        columns = [
            self._elsewhere[reward.name].scores() if reward.name in self._elsewhere else self._here[reward.name]
            for reward in self._rewards
        ]
        if isinstance(self._rubric, Reward):
            scores = columns[0]
        else:
            scores = [self._rubric.combine(row) for row in zip(*columns, strict=True)]
        for place, rollout in enumerate(self._rollouts):
            if rollout.error:
                scores[place] = Score.failure(Status.ERROR, rollout.error, parts=self._rubric.part_keys)
        if self._notify and not inside_worker() and (plugins := installed()).listens("r1env_scored"):
            plugins.notify("r1env_scored", rollouts=tuple(self._rollouts), scores=tuple(scores))
        return scores

    def cancel(self) -> None:
        """Stop what is running, and start nothing more."""
        self._cancelled = True
        for future in list(self.futures):
            future.cancel()

    def _add_to_groups(self, first: int) -> None:
        """Put the rollouts from place `first` on into their groups, and hand over the groups that are complete."""
        complete = []
        for places in group_by_task(self._rollouts[first:]):
            key = task_key(self._rollouts[first + places[0]].task)
            group = self._incomplete.setdefault(key, [])
            group += (first + place for place in places)
            if len(group) == self._expected[key]:
                complete.append(self._incomplete.pop(key))
        self._hand_over_groups(complete)

    def _hand_over_groups(self, groups: Sequence[list[int]]) -> None:
        for reward in self._of_groups:
            elsewhere = self._elsewhere[reward.name]
            self._hand_over(reward, elsewhere, elsewhere.take_groups(reward, groups, self._rollouts), list(map(len, groups)))

    def _hand_over(
        self, reward: Reward, elsewhere: _Elsewhere, rollouts: Sequence[Rollout], groups: Sequence[int] = ()
    ) -> None:
        if not rollouts:
            return
        if reward.isolation is Isolation.ASYNC:
            future = submit_async(reward, rollouts, groups)
        else:
            future = (self._pool or default_pool()).submit(reward, rollouts, groups)
        elsewhere.futures.append(future)
        self.futures.append(future)
        if self._cancelled:  # by `ascore`, from another thread, while this was being submitted
            future.cancel()


class _Elsewhere:
    """Pending scores of one reward that runs elsewhere: those that needed no worker, and futures of the others.

    Attributes:
        futures: scores of the rollouts that were handed over, part by part.
    """

    def __init__(self) -> None:
        self.futures: list[Future[list[Score]]] = []
        self._settled: list[Score | None] = []
        self._distinct = Distinct()
        self._places = array("q")  # among the rollouts that were handed over, of each that was not settled
        self._grouped: dict[int, int] = {}  # place of a rollout → its place among those that were handed over in groups

    def take(self, reward: Reward, rollouts: Sequence[Rollout]) -> list[Rollout]:
        """Settle what can be settled; return the other rollouts, without those that are equal to an earlier one."""
        settled = [reward.settle(rollout) if reward.settles else None for rollout in rollouts]
        self._settled += settled
        known, reads_tokens = len(self._distinct.found), reward.reads_tokens
        for rollout, score_known in zip(rollouts, settled, strict=True):
            if score_known is None:
                self._places.append(self._distinct.place(rollout if reads_tokens else without_tokens(rollout)))
        return self._distinct.found[known:]

    def take_groups(self, reward: Reward, groups: Iterable[Sequence[int]], rollouts: Sequence[Rollout]) -> list[Rollout]:
        """Return the rollouts at the places of some groups, those of a group side by side. Nothing is settled, nothing left out."""
        order = [place for places in groups for place in places]
        for place in order:
            self._grouped[place] = len(self._grouped)
        chosen = [rollouts[place] for place in order]
        return chosen if reward.reads_tokens else list(map(without_tokens, chosen))

    def scores(self) -> list[Score]:
        """Wait for the scores; return one for each rollout."""
        self._distinct = Distinct()  # nothing more is added, and what is known would be a third of what the scores need
        scores = [one for future in self.futures for one in future.result()]
        if self._grouped:
            return [scores[self._grouped[place]] for place in range(len(self._grouped))]
        from_workers = map(scores.__getitem__, self._places)
        return [next(from_workers) if known is None else known for known in self._settled]


def _runs_here(reward: Reward) -> bool:
    return reward.isolation is Isolation.INLINE or (inside_worker() and reward.isolation is Isolation.PROCESS)


# Which rollouts of a call are equal, so that each is scored only once.


def without_tokens(rollout: Rollout) -> Rollout:
    """Return the rollout as a reward sees it that does not ask for `rollout`: without token ids, log-probs and turns.

    They are most of a rollout's bytes on the way to a worker, and would tell equal texts apart.
    """
    if rollout.token_ids is None and rollout.logprobs is None and not rollout.recorded_turns:
        return rollout
    return rollout.model_copy(update={"token_ids": None, "logprobs": None, "recorded_turns": ()})


class Distinct:
    """The different ones among the rollouts that are added.

    Rollouts are compared only if what usually tells them apart is equal: id, answer and completion. If many are alike in that, a hash of
    everything else decides which are compared, so that a rollout is never compared with more than a few others.

    Attributes:
        found: each different rollout once, in order of appearance.
    """

    COMPARED = 4

    def __init__(self) -> None:
        self.found: list[Rollout] = []
        self._alike: dict[int, int | list[int]] = {}  # by hash; a bare number is much smaller than a list of one

    def place(self, rollout: Rollout) -> int:
        """Return the index in `found` of a rollout that is equal to this one; add this one if there is none."""
        task = rollout.task
        key = hash((task.id, task.answer, rollout.completion, rollout.finish_reason, len(rollout.messages)))
        known = self._alike.get(key)
        candidates = [] if known is None else [known] if isinstance(known, int) else known
        if len(candidates) >= self.COMPARED:
            key = hash((key, _content_hash(task), _content_hash(rollout.messages), rollout.token_ids))
            more = self._alike.get(key, [])
            candidates = [*candidates, *([more] if isinstance(more, int) else more)]
        place = next((index for index in candidates if _equal(self.found[index], rollout)), None)
        if place is None:
            place = len(self.found)
            self.found.append(rollout)
            self._add(key, place)
        return place

    def _add(self, key: int, place: int) -> None:
        known = self._alike.setdefault(key, place)
        if known is place:
            return
        if isinstance(known, int):
            self._alike[key] = [known, place]
        elif len(known) < self.COMPARED:
            known.append(place)


def _equal(one: Rollout, other: Rollout) -> bool:
    """Return whether two rollouts are equal. Tasks that are the same object are not compared field by field."""
    try:
        return (
            one.completion == other.completion
            and one.finish_reason == other.finish_reason
            and (one.task is other.task or one.task == other.task)
            and one.messages == other.messages
            and one.recorded_turns == other.recorded_turns
            and one.token_ids == other.token_ids
            and one.logprobs == other.logprobs
        )
    except Exception:  # noqa: BLE001 - arrays, tensors and tables in a task's metadata have no truth value; then both are scored
        return False


def _content_hash(value: object) -> int:
    """Return a number that is equal for equal values, and that plain values which differ rarely share."""
    if isinstance(value, str | int | float | None):
        return hash(value)
    if isinstance(value, BaseModel):
        return _content_hash(value.__dict__)
    if isinstance(value, Mapping):
        return hash(frozenset((key, _content_hash(item)) for key, item in value.items() if isinstance(key, str)))
    if isinstance(value, list | tuple):
        return hash(tuple(map(_content_hash, value)))
    return 0  # of a class that may define equality in any way


# Asynchronous rewards run on one private event loop in its own thread, for the life of the process.
#
# `ascore` uses it too, not the caller's loop: a client that a reward keeps open belongs to one loop, and a reward that is slow between
# two awaits does not block the caller. It does block other asynchronous rewards, whose deadlines then stand still, and no deadline can
# interrupt it: a reward that computes belongs in `isolation="process"`.

CONCURRENCY = 64
"""Rollouts (or groups) awaited at once, over all calls: a served model batches that many well, and its queue does not grow."""


def submit_async(reward: Reward, rollouts: Sequence[Rollout], groups: Sequence[int] = ()) -> Future[list[Score]]:
    """Score the rollouts on the private loop; each may take `limits.wall_seconds` once its turn has come.

    Args:
        groups: for a reward of scope `group`, how many of the rollouts belong to each group. A group of n may take n times as long.

    Returns:
        A future of the scores, in the order of the rollouts. Cancelling it cancels the rollouts.
    """
    ends = list(itertools.accumulate(groups or [1] * len(rollouts)))
    return _loop_thread.get().submit(reward, [rollouts[start:end] for start, end in itertools.pairwise([0, *ends])])


BEAT_SECONDS = 0.1
"""How often the loop shows that it runs."""

BLOCKED_SECONDS = 1.0
"""After so long without a sign, the reward that blocks the loop is named in the log."""


class LoopThread:
    """An event loop in a daemon thread, which runs until the process ends.

    While a reward blocks the loop, the deadlines of the others stand still, and a second thread says in the log which reward it is.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._under_way = 0
        self._beat = time.monotonic()
        self._blocked_seconds = 0.0  # until the last beat
        self._thread = threading.Thread(target=self._loop.run_forever, name="r1env-async-rewards", daemon=True)
        self._thread.start()
        self._working = threading.Event()
        threading.Thread(target=self._watch, name="r1env-async-watchdog", daemon=True).start()
        atexit.register(self._stop)

    def submit(self, reward: Reward, groups: Sequence[Sequence[Rollout]]) -> Future[list[Score]]:
        return self.call(self._score_all(reward, groups))

    def call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _score_all(self, reward: Reward, groups: Sequence[Sequence[Rollout]]) -> list[Score]:
        self._under_way += 1
        if self._under_way == 1:
            self._beat = time.monotonic()
            self._working.set()
            self._beating = asyncio.create_task(self._keep_beating())
        try:
            scored = await asyncio.gather(*(self._score_in_time(reward, group) for group in groups))
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._working.clear()
                self._beating.cancel()
        return [score for scores in scored for score in scores]

    async def _score_in_time(self, reward: Reward, group: Sequence[Rollout]) -> list[Score]:
        seconds = reward.limits.wall_seconds * len(group)
        async with self._turns:
            task = asyncio.create_task(_score_one_group(reward, group), name=reward.name)
            before, left = self._blocked(), seconds
            try:
                finished: set[asyncio.Task[list[Score]]] = set()
                while left > 0 and not finished:
                    # `wait_for` would wait until the cancellation is obeyed, and a reward may ignore it.
                    finished, _ = await asyncio.wait({task}, timeout=left)
                    blocked = self._blocked()
                    before, left = blocked, blocked - before
            finally:
                task.cancel()
        if not finished:
            return [Score.failure(Status.TIMEOUT, f"exceeded {seconds:g} s", parts=reward.part_keys, seconds=seconds)] * len(
                group
            )
        if task.cancelled():
            return [Score.failure(Status.ERROR, "the reward cancelled itself", parts=reward.part_keys)] * len(group)
        return task.result()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._blocked_seconds = self._blocked()
            self._beat = time.monotonic()

    def _blocked(self) -> float:
        """Return for how many seconds the loop has been blocked altogether."""
        return self._blocked_seconds + max(0.0, time.monotonic() - self._beat - 2 * BEAT_SECONDS)

    def _watch(self) -> None:
        """Run by the second thread."""
        named = 0.0  # the beat after which the loop was blocked last
        while not self._loop.is_closed():
            self._working.wait()
            time.sleep(BLOCKED_SECONDS / 2)
            silent = time.monotonic() - self._beat
            if self._working.is_set() and silent > BLOCKED_SECONDS and named != self._beat:
                named = self._beat
                task = asyncio.current_task(self._loop)
                logger.warning(
                    "reward %r has blocked the event loop of all asynchronous rewards for %.1f s; a reward that computes or waits "
                    "without `await` belongs in isolation='process'",
                    task.get_name() if task else "?",
                    silent,
                )

    def _stop(self) -> None:
        if self._owner == os.getpid():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1.0)


async def _score_one_group(reward: Reward, group: Sequence[Rollout]) -> list[Score]:
    try:
        return await reward.ascore_group(group) if reward.scope is Scope.GROUP else [await reward.ascore(group[0])]
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and its like would end the loop, and with it everybody's rewards
        return [Score.failure(Status.ERROR, f"{type(error).__name__}: {error}", parts=reward.part_keys)] * len(group)


_loop_thread = PerProcess(LoopThread)
