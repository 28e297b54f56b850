"""`score` and `ascore`: order, what runs where, and from where they may be called."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import r1env
from r1env.plugins import Plugins, Provenance
from r1env.rewards import Isolation, Limits, Reward, reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import ScoringPool, ascore, score
from r1env.types import Rollout, Score, Status, Task

MakeRollouts = Callable[..., list[Rollout]]


def length_in(isolation: Isolation, name: str = "length") -> Reward:
    """The length of the completion, computed wherever it is asked for."""
    if isolation is Isolation.ASYNC:

        async def length_awaited(completion: str) -> float:
            await asyncio.sleep(0)
            return float(len(completion))

        return reward(name=name, isolation=isolation)(length_awaited)

    def length(completion: str) -> float:
        return float(len(completion))

    return reward(name=name, isolation=isolation)(length)


@pytest.mark.parametrize("isolation", Isolation)
def test_scores_come_in_the_order_of_the_rollouts(isolation: Isolation, rollouts: MakeRollouts, pool: ScoringPool) -> None:
    texts = ["a" * (i * 7 % 300) for i in range(300)]
    assert [s.value for s in score(rollouts(*texts), length_in(isolation), pool=pool)] == [float(len(t)) for t in texts]


@pytest.mark.parametrize("isolation", Isolation)
def test_scoring_nothing_gives_nothing(isolation: Isolation) -> None:
    assert score([], length_in(isolation)) == []
    assert asyncio.run(ascore([], length_in(isolation))) == []


def test_a_rubric_mixes_isolations_and_adds_them_up(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    rubric = Rubric("all", [WeightedReward(length_in(place, name=place), 10.0**i) for i, place in enumerate(Isolation)])
    first, second = score(rollouts("ab", "abc"), rubric, pool=pool)
    assert (first.value, second.value) == (222.0, 333.0)
    assert first.parts == {"inline": 2.0, "process": 2.0, "async": 2.0}


def test_a_failure_in_one_reward_of_a_rubric_is_the_rubrics_failure_for_that_rollout(
    rollouts: MakeRollouts, pool: ScoringPool
) -> None:
    @reward(name="fragile", isolation="process")
    def fragile(completion: str) -> float:
        if completion == "bad":
            os._exit(1)
        return 1.0

    rubric = Rubric("two", [WeightedReward(length_in(Isolation.INLINE)), WeightedReward(fragile)])
    good, bad = score(rollouts("ok", "bad"), rubric, pool=pool)
    assert good.value == 3.0
    assert (bad.value, bad.status, bad.reason) == (None, Status.ERROR, "fragile: the worker exited with code 1")
    assert bad.parts["length"] == 3.0


def test_inline_rewards_run_in_the_calling_thread(rollouts: MakeRollouts) -> None:
    @reward
    def thread(completion: str) -> float:
        return float(threading.get_ident() == expected)

    expected = threading.get_ident()
    assert score(rollouts("a"), thread)[0].value == 1.0


def test_process_rewards_run_in_another_process(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    @reward(isolation="process")
    def pid(completion: str) -> float:
        return float(os.getpid())

    assert score(rollouts("a"), pid, pool=pool)[0].value not in (None, float(os.getpid()))


def logging_reward(log: Path, isolation: Isolation) -> Reward:
    if isolation is Isolation.ASYNC:

        async def logs_awaited(completion: str) -> float:
            with log.open("a") as file:
                file.write(f"{completion}\n")
            return 1.0

        return reward(name="logs", isolation=isolation)(logs_awaited)

    def logs(completion: str) -> float:
        with log.open("a") as file:
            file.write(f"{completion}\n")
        return 1.0

    return reward(name="logs", isolation=isolation)(logs)


@pytest.mark.parametrize("isolation", [Isolation.PROCESS, Isolation.ASYNC])
def test_equal_rollouts_are_scored_once(isolation: Isolation, pool: ScoringPool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    same = [Rollout(task=Task(id="t", prompt="q"), completion=text, token_ids=(i,)) for i, text in enumerate("abababa")]
    assert [s.value for s in score(same, logging_reward(log, isolation), pool=pool)] == [1.0] * 7
    assert sorted(log.read_text().split()) == ["a", "b"]


def test_a_reward_that_asks_for_the_rollout_sees_its_tokens(pool: ScoringPool) -> None:
    @reward(isolation="process")
    def tokens(rollout: Rollout) -> float:
        return float(len(rollout.token_ids or ()))

    task = Task(id="t", prompt="q")
    pair = [Rollout(task=task, completion="a", token_ids=(1,)), Rollout(task=task, completion="a", token_ids=(1, 2))]
    assert [s.value for s in score(pair, tokens, pool=pool)] == [1.0, 2.0]


@pytest.mark.parametrize("isolation", Isolation)
def test_scoring_works_from_another_thread(isolation: Isolation, rollouts: MakeRollouts, pool: ScoringPool) -> None:
    with ThreadPoolExecutor(1) as thread:
        scores = thread.submit(score, rollouts("a", "bb"), length_in(isolation), pool=pool).result()
    assert [s.value for s in scores] == [1.0, 2.0]


@pytest.mark.parametrize("isolation", Isolation)
def test_two_threads_score_at_once(isolation: Isolation, rollouts: MakeRollouts, pool: ScoringPool) -> None:
    def lengths(text: str) -> set[float | None]:
        return {s.value for s in score(rollouts(*[text] * 200), length_in(isolation), pool=pool)}

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lengths, ["a", "bb"] * 4)) == [{1.0}, {2.0}] * 4


@pytest.mark.parametrize("isolation", Isolation)
def test_scoring_works_inside_a_running_event_loop(isolation: Isolation, rollouts: MakeRollouts, pool: ScoringPool) -> None:
    async def main() -> tuple[list[r1env.Score], list[r1env.Score]]:
        made = rollouts("a", "bb")
        return score(made, length_in(isolation), pool=pool), await ascore(made, length_in(isolation), pool=pool)

    blocking, awaited = asyncio.run(main())
    assert [s.value for s in blocking] == [1.0, 2.0]
    assert awaited == blocking


@pytest.mark.parametrize("isolation", Isolation)
def test_ascore_leaves_the_loop_free(isolation: Isolation, rollouts: MakeRollouts, pool: ScoringPool) -> None:
    if isolation is Isolation.ASYNC:

        async def slow_awaited(completion: str) -> float:
            time.sleep(0.5)  # badly written on purpose
            return 1.0

        slow = reward(isolation="async")(slow_awaited)
    else:

        def slow_here(completion: str) -> float:
            time.sleep(0.5)
            return 1.0

        slow = reward(isolation=isolation)(slow_here)

    async def longest_pause() -> float:
        scoring = asyncio.create_task(ascore(rollouts("a"), slow, pool=pool))
        longest, last = 0.0, time.monotonic()
        while not scoring.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert (await scoring)[0].value == 1.0
        return longest

    assert asyncio.run(longest_pause()) < 0.4


def test_many_calls_of_ascore_run_together(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    async def main() -> list[float | None]:
        calls = [ascore(rollouts("a" * i), length_in(Isolation.PROCESS), pool=pool) for i in range(100)]
        return [scores[0].value for scores in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == [float(i) for i in range(100)]


@pytest.mark.parametrize("isolation", [Isolation.PROCESS, Isolation.ASYNC])
def test_cancelling_ascore_stops_the_work(isolation: Isolation, rollouts: MakeRollouts) -> None:
    if isolation is Isolation.ASYNC:

        async def sleeps_awaited(completion: str) -> float:
            await asyncio.sleep(1000)
            return 1.0

        sleeps = reward(isolation="async", limits=Limits(wall_seconds=1000))(sleeps_awaited)
    else:

        def sleeps_here(completion: str) -> float:
            time.sleep(1000)
            return 1.0

        sleeps = reward(isolation="process", limits=Limits(wall_seconds=1000))(sleeps_here)

    with ScoringPool(workers=1) as one:

        async def main() -> float | None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ascore(rollouts(*map(str, range(100))), sleeps, pool=one), timeout=0.5)
            return (await ascore(rollouts("a"), length_in(isolation), pool=one))[0].value

        start = time.monotonic()
        assert asyncio.run(main()) == 1.0
        assert time.monotonic() - start < 30


# The event hook


def test_every_way_of_scoring_tells_the_plugins_once_and_a_hook_that_raises_stops_nothing(
    rollouts: MakeRollouts, pool: ScoringPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[list[str], list[float | None]]] = []

    @r1env.hookimpl
    def r1env_scored(rollouts: tuple[Rollout, ...], scores: tuple[Score, ...]) -> None:
        told.append(([rollout.completion for rollout in rollouts], [score.value for score in scores]))
        raise RuntimeError("on strike")

    plugin = SimpleNamespace(r1env_scored=r1env_scored)
    monkeypatch.setattr("r1env.scoring.dispatch.installed", lambda: Plugins({Provenance("mine", "r1env-mine", "1"): plugin}))
    made, expected = rollouts("a", "ab", "a"), (["a", "ab", "a"], [1.0, 2.0, 1.0])
    rubric = Rubric("r", [WeightedReward(length_in(Isolation.INLINE)), WeightedReward(length_in(Isolation.PROCESS, "p"), 0.0)])
    assert [score.value for score in score(made, rubric, pool=pool)] == expected[1]
    asyncio.run(ascore(made, length_in(Isolation.ASYNC)))
    assert told == [expected, expected]
