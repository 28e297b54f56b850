"""What scoring keeps in memory: nothing of a call that has returned."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from r1env.rewards import Reward, reward
from r1env.scoring import ScoringPool, process, score
from r1env.types import Rollout, Task


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def holding(data: bytes) -> Reward:
    return reward(name="holding", isolation="process")(lambda completion: float(len(data)))


@pytest.mark.usefixtures("no_collector")
def test_nothing_of_a_finished_call_waits_for_the_garbage_collector(eventually: Callable[..., bool]) -> None:
    class Payload:
        """Stands for megabytes."""

        def __reduce__(self) -> tuple[object, ...]:
            return (int, ())

    with ScoringPool(workers=2) as pool:
        payloads = [Payload() for _ in range(20)]
        gone = [weakref.ref(payload) for payload in payloads]
        given = [
            Rollout(task=Task(id=str(n), prompt="q", metadata={"payload": payload}), completion=str(n))
            for n, payload in enumerate(payloads)
        ]
        assert [found.value for found in score(given, holding(b"abc"), pool=pool)] == [3.0] * 20
        del payloads, given
        assert eventually(lambda: not any(payload() for payload in gone)), "while the pool is idle and open"


def test_a_reward_is_sent_once_and_large_ones_are_let_go_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KEPT_BYTES", 250_000)
    loads: list[tuple[int, int]] = []
    load = process.WorkerProcess.load

    def noted(self: process.WorkerProcess, message: process.Load, seconds: float) -> None:
        load(self, message, seconds)
        loads.append((len(message.reward), sum(self._loaded.values())))

    monkeypatch.setattr(process.WorkerProcess, "load", noted)
    given = [Rollout(task=Task(id=str(n), prompt="q"), completion=str(n)) for n in range(3)]
    rewards = [holding(bytes([n]) * 100_000) for n in range(6)]
    with ScoringPool(workers=1) as pool:
        for _ in range(3):
            assert {found.value for found in score(given, rewards[0], pool=pool)} == {100_000.0}
        assert len(loads) == 1
        for one in rewards:
            assert {found.value for found in score(given, one, pool=pool)} == {100_000.0}
        assert {found.value for found in score(given, rewards[0], pool=pool)} == {100_000.0}
    assert len(loads) == 7
    assert max(kept for _, kept in loads) < 310_000
