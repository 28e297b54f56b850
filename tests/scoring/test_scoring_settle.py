"""Rewards that settle the easy rollouts in the calling process and send only the others to a worker."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import r1env
from r1env.errors import UsageError
from r1env.rewards import reward
from r1env.scoring import ScoringPool, score
from r1env.types import Rollout, Status

MakeRollouts = Callable[..., list[Rollout]]


@reward(name="even", isolation="process")
class EvenLength:
    """Settles texts of even length; says where it was scored: 1 here, 2 in a worker."""

    def __init__(self, refuse: bool = False) -> None:
        if refuse:
            raise UsageError("refused")
        self.home, self.warm = os.getpid(), False

    def warm_up(self) -> None:
        self.warm = True

    def settle(self, completion: str) -> float | None:
        if completion == "raise":
            raise ValueError("in settle")
        return None if len(completion) % 2 else 1.0

    def __call__(self, completion: str) -> float:
        return 2.0 if self.warm else -1.0


def test_what_is_settled_never_reaches_a_worker_and_the_order_is_kept(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    values = [s.value for s in score(rollouts("a", "ab", "abc", "abcd", "ab", "a"), EvenLength, pool=pool)]
    assert values == [2.0, 1.0, 2.0, 1.0, 1.0, 2.0]


def test_no_worker_is_started_when_all_is_settled(rollouts: MakeRollouts) -> None:
    with ScoringPool(workers=1, load_seconds=0.001) as pool:  # too short for a worker to come up
        assert [s.value for s in score(rollouts("ab", "abcd"), EvenLength, pool=pool)] == [1.0, 1.0]
        assert score(rollouts("a"), EvenLength, pool=pool)[0].status is Status.ERROR


def test_a_settled_score_has_the_rewards_parts(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    settled, judged = score(rollouts("ab", "a"), EvenLength, pool=pool)
    assert settled.parts == {"even": 1.0}
    assert judged.parts == {"even": 2.0}


def test_an_error_while_settling_costs_only_its_own_rollout(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    failed, fine = score(rollouts("raise", "ab"), EvenLength, pool=pool)
    assert (failed.value, failed.status, failed.reason) == (None, Status.ERROR, "ValueError: in settle")
    assert fine.value == 1.0


def test_a_worker_is_warmed_up_before_it_scores(rollouts: MakeRollouts, pool: ScoringPool) -> None:
    assert score(rollouts("a"), EvenLength, pool=pool)[0].value == 2.0


def test_a_constructor_that_refuses_an_option_says_so_at_once() -> None:
    with pytest.raises(UsageError, match="refused"):
        EvenLength.with_options(refuse=True)


def test_settle_asks_for_arguments_by_name_as_the_reward_does() -> None:
    class Wrong:
        def settle(self, colour: str) -> None: ...

        def __call__(self, completion: str) -> float:
            return 0.0

    with pytest.raises(UsageError, match="asks for 'colour'"):
        reward(name="wrong", isolation="process")(Wrong)


def test_the_settings_of_a_reward_are_its_options_with_their_defaults() -> None:
    @r1env.reward(name="short")
    def short(completion: str, *, limit: int = 200, unit: str = "characters") -> float:
        return float(len(completion) < limit)

    assert short.with_options(limit=5).settings == {"limit": 5, "unit": "characters"}
    assert EvenLength.settings == {"refuse": False}
