"""Asynchronous rewards: together, bounded in number and time, on one loop for the life of the process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from r1env.rewards import Limits, reward
from r1env.scoring import ScoringPool, ascore, score
from r1env.scoring.dispatch import CONCURRENCY
from r1env.types import Rollout, Score, Status

MakeRollouts = Callable[..., list[Rollout]]


def test_waiting_overlaps(rollouts: MakeRollouts) -> None:
    @reward(isolation="async")
    async def waits(completion: str) -> float:
        await asyncio.sleep(0.2)
        return 1.0

    start = time.monotonic()
    assert [s.value for s in score(rollouts(*map(str, range(50))), waits)] == [1.0] * 50
    assert time.monotonic() - start < 5.0


def test_no_more_run_at_once_than_allowed(rollouts: MakeRollouts) -> None:
    running: set[str] = set()
    most = 0

    @reward(isolation="async")
    async def counts(completion: str) -> float:
        nonlocal most
        running.add(completion)
        most = max(most, len(running))
        await asyncio.sleep(0.01)
        running.remove(completion)
        return 1.0

    score(rollouts(*map(str, range(3 * CONCURRENCY))), counts)
    assert most == CONCURRENCY


def test_one_that_exceeds_its_time_costs_only_itself(rollouts: MakeRollouts) -> None:
    @reward(name="r", isolation="async", limits=Limits(wall_seconds=0.2))
    async def sometimes_hangs(completion: str) -> float:
        await asyncio.sleep(1000 if completion == "hang" else 0)
        return 1.0

    first, hung, last = score(rollouts("a", "hang", "b"), sometimes_hangs)
    assert (first.value, last.value) == (1.0, 1.0)
    assert (hung.value, hung.status, hung.reason) == (None, Status.TIMEOUT, "exceeded 0.2 s")
    assert list(hung.parts) == ["r"]


def test_one_that_refuses_to_be_cancelled_is_not_waited_for(rollouts: MakeRollouts) -> None:
    @reward(isolation="async", limits=Limits(wall_seconds=0.2))
    async def stubborn(completion: str) -> float:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:
                continue
        return 1.0

    start = time.monotonic()
    assert score(rollouts("a"), stubborn)[0].status is Status.TIMEOUT
    assert time.monotonic() - start < 2.5


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_one_that_raises_costs_only_itself(error: type[BaseException], rollouts: MakeRollouts) -> None:
    @reward(isolation="async")
    async def raises(completion: str) -> float:
        if completion == "bad":
            raise error("no")
        await asyncio.sleep(0.01)
        return 1.0

    first, bad, last = score(rollouts("a", "bad", "b"), raises)
    assert (first.value, bad.status, last.value) == (1.0, Status.ERROR, 1.0)


def test_the_time_limit_does_not_run_while_a_rollout_waits_for_its_turn(rollouts: MakeRollouts) -> None:
    @reward(isolation="async", limits=Limits(wall_seconds=0.6))
    async def takes_a_while(completion: str) -> float:
        await asyncio.sleep(0.25)
        return 1.0

    assert {s.value for s in score(rollouts(*map(str, range(3 * CONCURRENCY))), takes_a_while)} == {1.0}


def test_all_calls_share_one_loop_so_that_a_client_may_be_kept_open(rollouts: MakeRollouts) -> None:
    @reward(isolation="async")
    async def loop_id(completion: str) -> float:
        return float(id(asyncio.get_running_loop()) % 2**31)

    async def main() -> list[float | None]:
        return [(await ascore(rollouts("a"), loop_id))[0].value, score(rollouts("b"), loop_id)[0].value]

    assert len({score(rollouts("c"), loop_id)[0].value, *asyncio.run(main()), *asyncio.run(main())}) == 1


def test_a_reward_that_blocks_the_loop_costs_no_other_and_is_named(
    rollouts: MakeRollouts, caplog: pytest.LogCaptureFixture
) -> None:
    @reward(name="blocks", isolation="async", limits=Limits(wall_seconds=0.6))
    async def blocks_once(completion: str) -> float:
        if completion == "bad":
            time.sleep(2.0)
        await asyncio.sleep(0.3)
        return 1.0

    scores = score(rollouts("a", "b", "bad", "c", "d"), blocks_once)
    assert [found.value for found in scores if found is not scores[2]] == [1.0] * 4
    assert [record.getMessage().partition(" for ")[0] for record in caplog.records if "blocked" in record.getMessage()] == [
        "reward 'blocks' has blocked the event loop of all asynchronous rewards"
    ]


def test_ascore_of_a_process_reward_does_not_wait_for_slow_inline_rewards(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    release = threading.Event()

    @reward(isolation="inline")
    def slow(completion: str) -> float:
        release.wait(30)
        return 1.0

    @reward(isolation="process")
    def quick(completion: str) -> float:
        return 1.0

    async def race() -> list[Score]:
        others = [asyncio.create_task(ascore(rollouts("a"), slow)) for _ in range(20)]
        await asyncio.sleep(0.1)
        try:
            return await asyncio.wait_for(ascore(rollouts("a"), quick, pool=pool), 20)
        finally:
            release.set()
            await asyncio.gather(*others)

    assert asyncio.run(race())[0].value == 1.0


def test_a_loop_that_is_closed_takes_its_work_along(rollouts: MakeRollouts) -> None:
    @reward(isolation="process", limits=Limits(wall_seconds=1000))
    def sleeps(completion: str) -> float:
        time.sleep(1000 if completion == "sleep" else 0)
        return 1.0

    with ScoringPool(workers=1) as one:
        loop = asyncio.new_event_loop()
        task = loop.create_task(ascore(rollouts("sleep"), sleeps, pool=one))
        loop.run_until_complete(asyncio.sleep(0.5))
        loop.close()
        start = time.monotonic()
        assert score(rollouts("a"), sleeps, pool=one)[0].value == 1.0
        assert time.monotonic() - start < 20
        del task
