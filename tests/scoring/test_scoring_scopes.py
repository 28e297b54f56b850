"""Rewards that see a group or a turn: what one call gets, wherever the reward runs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env.rewards import Isolation, Limits, Reward, combine_turns, group_by_task, reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import Scoring, ScoringPool, ascore, score
from r1env.types import Message, Rollout, Score, Status, Task, Turn

TASKS = [Task(id=str(number), prompt=f"question {number}", answer=str(number)) for number in range(4)]


def of(*pairs: tuple[int, str]) -> list[Rollout]:
    return [Rollout(task=TASKS[number], completion=text) for number, text in pairs]


def says_what_it_sees(isolation: Isolation) -> Reward:
    """Every completion's value is the size of its group; the reason holds the task and everything the call was given."""

    def seen(completions: list[str], task: Task) -> list[Score]:
        return [Score(value=float(len(completions)), reason=f"{task.id}: {completions}")] * len(completions)

    async def awaited(completions: list[str], task: Task) -> list[Score]:
        return seen(completions, task)

    function: Callable[..., object] = awaited if isolation is Isolation.ASYNC else seen
    return reward(name="seen", scope="group", isolation=isolation)(function)


@pytest.mark.parametrize("isolation", Isolation)
def test_a_group_is_whole_whatever_its_size_and_order_and_equal_completions_stay_apart(
    isolation: Isolation, pool: ScoringPool
) -> None:
    pairs = [(number % 3, "same" if number % 5 else f"text {number}") for number in range(300)]
    random.Random(0).shuffle(pairs)
    made = of(*pairs)
    scores = score(made, says_what_it_sees(isolation), pool=pool)
    for rollout, found in zip(made, scores, strict=True):
        group = [other.completion for other in made if other.task is rollout.task]
        assert (found.value, found.reason) == (100.0, f"{rollout.task.id}: {group}"[:1000])
    assert asyncio.run(ascore(made, says_what_it_sees(isolation), pool=pool)) == scores


@pytest.mark.parametrize("isolation", Isolation)
def test_groups_that_arrive_in_parts_are_scored_whole(isolation: Isolation, pool: ScoringPool) -> None:
    scoring = Scoring(says_what_it_sees(isolation), pool=pool)
    for part in (of((0, "a"), (1, "b")), of((1, "c")), of((0, "d"), (0, "a"))):
        scoring.add(part)
    assert [found.reason for found in scoring.finish()] == [
        "0: ['a', 'd', 'a']",
        "1: ['b', 'c']",
        "1: ['b', 'c']",
        "0: ['a', 'd', 'a']",
        "0: ['a', 'd', 'a']",
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=30))
@settings(max_examples=60)
def test_every_rollout_is_in_one_group_and_groups_never_mix_tasks(pairs: list[tuple[int, str]]) -> None:
    groups = group_by_task(of(*pairs))
    assert sorted(place for group in groups for place in group) == list(range(len(pairs)))
    assert [len({pairs[place][0] for place in group}) for group in groups] == [1] * len(groups)
    assert len(groups) == len({number for number, _ in pairs})


def test_tasks_of_one_id_are_one_task_only_if_prompt_and_answer_agree_and_metadata_does_not_matter() -> None:
    tasks = [
        Task(id="1", prompt="a", answer="x", metadata={"sample": 0}),
        Task(id="1", prompt="a", answer="x", metadata={"sample": 1}),
        Task(id="1", prompt="b", answer="x"),
        Task(id="1", prompt="a", answer="y"),
    ]
    assert group_by_task([Rollout(task=task, completion="") for task in tasks]) == [[0, 1], [2], [3]]


@pytest.mark.parametrize("isolation", Isolation)
def test_a_group_that_fails_leaves_the_other_groups_alone(isolation: Isolation, pool: ScoringPool) -> None:
    def picky(completions: list[str], answer: str) -> list[float]:
        if answer == "1":
            raise ValueError("not this one")
        return [0.5 for _ in completions]

    async def awaited(completions: list[str], answer: str) -> list[float]:
        return picky(completions, answer)

    function: Callable[..., object] = awaited if isolation is Isolation.ASYNC else picky
    made = reward(name="picky", scope="group", isolation=isolation)(function)
    scores = score(of((0, "a"), (1, "b"), (0, "c"), (1, "d"), (2, "e")), made, pool=pool)
    assert [found.value for found in scores] == [0.5, None, 0.5, None, 0.5]
    assert scores[1].reason == "ValueError: not this one"


def test_a_group_that_kills_its_worker_or_takes_too_long_costs_only_itself(pool: ScoringPool) -> None:
    @reward(scope="group", isolation="process", limits=Limits(cpu_seconds=0.2))
    def deadly(completions: list[str], answer: str) -> list[float]:
        while answer == "2":
            pass
        if answer == "1":
            os._exit(3)
        return [1.0] * len(completions)

    scores = score(of(*((number, text) for text in "abc" for number in range(4))), deadly, pool=pool)
    assert [found.value for found in scores] == [1.0, None, None, 1.0] * 3
    assert [found.status for found in scores[:4]] == [Status.OK, Status.ERROR, Status.TIMEOUT, Status.OK]


def test_a_group_reward_that_returns_too_few_results_scores_nothing_of_that_group() -> None:
    @reward(scope="group")
    def lossy(completions: list[str]) -> list[float]:
        return [1.0]

    scores = score(of((0, "a"), (0, "b"), (1, "c")), lossy)
    assert [(found.value, found.reason) for found in scores] == [
        (None, "returned 1 results for 2 rollouts"),
        (None, "returned 1 results for 2 rollouts"),
        (1.0, ""),
    ]


def test_a_rubric_mixes_scopes() -> None:
    @reward(scope="group")
    def longest(completions: list[str]) -> list[float]:
        return [float(len(text) == max(map(len, completions))) for text in completions]

    @reward
    def short(completion: str) -> float:
        return float(len(completion) < 3)

    rubric = Rubric("both", [WeightedReward(longest), WeightedReward(short, 10.0)])
    assert [found.value for found in score(of((0, "a"), (0, "abc"), (1, "ab")), rubric)] == [10.0, 1.0, 11.0]


# Turns


def says(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def dialogue(*texts: str, tokens: bool = False) -> Rollout:
    """A rollout in which the model says these texts, and the environment "no" between them."""
    turns = [
        Turn(message=says("assistant", text), replies=(says("user", "no"),) * (place < len(texts) - 1))
        for place, text in enumerate(texts)
    ]
    if tokens:
        turns = [turn.model_copy(update={"token_ids": (place,)}) for place, turn in enumerate(turns)]
    spoken = [message for turn in turns for message in (turn.message, *turn.replies)]
    prompt = (says("system", "be brief"), *TASKS[0].prompt)  # a template's prompt, longer than the task's
    return Rollout(task=TASKS[0], completion=texts[-1], messages=(*prompt, *spoken), turns=tuple(turns))


def by_turn(function: Callable[..., object], isolation: Isolation, **settings: object) -> Reward:
    if isolation is not Isolation.ASYNC:
        return reward(name="by_turn", scope="turn", isolation=isolation, **settings)(function)  # type: ignore[call-overload, no-any-return]

    async def awaited(completion: str, index: int, messages: Sequence[Message]) -> object:
        return function(completion, index, messages)

    return reward(name="by_turn", scope="turn", isolation=isolation, **settings)(awaited)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("isolation", Isolation)
def test_a_turn_reward_sees_each_turn_and_what_came_before_it(isolation: Isolation, pool: ScoringPool) -> None:
    def seen(completion: str, index: int, messages: Sequence[Message]) -> Score:
        return Score(value=float(len(completion)), reason=f"{index} {len(messages)} {messages[-1]['content']}")

    (found,) = score([dialogue("a", "bcd", "ef")], by_turn(seen, isolation), pool=pool)
    assert (found.value, found.turns, found.parts) == (6.0, (1.0, 3.0, 2.0), {"by_turn": 6.0})
    assert found.reason == "turn 1: 0 3 a; turn 2: 1 5 bcd; turn 3: 2 7 ef"


@pytest.mark.parametrize("isolation", Isolation)
def test_a_turn_without_a_value_is_left_out_and_one_that_fails_leaves_none(isolation: Isolation, pool: ScoringPool) -> None:
    def last_only(completion: str, index: int, messages: Sequence[Message]) -> float | None:
        if completion == "boom":
            raise ValueError("of the model's making")
        return None if completion == "pass" else 1.0

    made = by_turn(last_only, isolation)
    scores = score([dialogue("pass", "x"), dialogue("pass", "pass"), dialogue("x", "boom"), dialogue("x")], made, pool=pool)
    assert [(found.value, found.status, found.turns) for found in scores] == [
        (1.0, Status.OK, (None, 1.0)),
        (None, Status.NO_ANSWER, ()),
        (None, Status.ERROR, ()),
        (1.0, Status.OK, (1.0,)),
    ]
    assert scores[2].reason == "turn 2: ValueError: of the model's making"


def test_a_turn_reward_in_a_worker_sees_the_tokens_of_each_turn(pool: ScoringPool) -> None:
    @reward(scope="turn", isolation="process")
    def first_token(turn: Turn) -> float | None:
        return None if turn.token_ids is None else float(turn.token_ids[0])

    assert score([dialogue("a", "b", "c", tokens=True)], first_token, pool=pool)[0].turns == (0.0, 1.0, 2.0)


def test_parts_of_turns_add_up_and_a_rubric_weighs_the_values_of_turns() -> None:
    @reward(scope="turn", parts=("length", "index"))
    def both(completion: str, index: int) -> dict[str, float]:
        return {"length": len(completion), "index": index}

    @reward
    def once(completion: str) -> float:
        return 100.0

    rubric = Rubric("r", [WeightedReward(once), WeightedReward(both, 0.5)])
    (found,) = score([dialogue("a", "bcd")], rubric)
    assert found.parts == {"once": 100.0, "both": 5.0, "both/length": 4.0, "both/index": 1.0}
    assert (found.value, found.turns) == (102.5, (0.5, 2.0))


def test_a_score_with_turns_survives_json() -> None:
    found = combine_turns([Score(value=1.0), Score(value=None, status=Status.NO_ANSWER)])
    assert Score.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scope": "group", "batch": True}, "batch=True is for scope='rollout'"),
        ({"scope": "turn", "batch": True}, "batch=True is for scope='rollout'"),
    ],
)
def test_settings_that_do_not_fit_the_scope_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(r1env.UsageError, match=message):
        reward(**arguments)(lambda task: 1.0)  # type: ignore[call-overload]


def test_what_another_scope_is_given_is_refused_by_name() -> None:
    with pytest.raises(r1env.UsageError, match="asks for 'completion'; a reward of scope 'group' may ask for completions"):
        reward(scope="group")(lambda completion: [1.0])
    with pytest.raises(r1env.UsageError, match="asks for 'rollouts'; a reward of scope 'turn' may ask for completion"):
        reward(scope="turn")(lambda rollouts: 1.0)


def test_score_takes_a_function_and_the_name_of_a_reward():
    def exact(completion, answer):
        return completion == answer

    rollouts = [r1env.Rollout(task=r1env.Task(id="1", prompt="6 * 7?", answer="42"), completion=text) for text in ("42", "41")]
    assert [score.value for score in r1env.score(rollouts, exact)] == [1.0, 0.0]
    assert [score.value for score in r1env.score(rollouts, "math")] == [1.0, 0.0]
    assert [score.value for score in asyncio.run(r1env.ascore(rollouts, exact))] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("what", "message"),
    [(["math"], "cannot score with a list"), (3, "cannot score with a int"), ("mth", "did you mean 'math'")],
)
def test_what_cannot_score_is_named(what, message):
    rollout = r1env.Rollout(task=r1env.Task(id="1", prompt="?"), completion="")
    with pytest.raises(r1env.UsageError, match=message):
        r1env.score([rollout], what)


def test_a_group_reward_that_returns_no_list_says_so():
    @r1env.reward(scope="group")
    def one_number(completions):
        return 1.0

    rollout = r1env.Rollout(task=r1env.Task(id="1", prompt="?"), completion="")
    assert r1env.score([rollout], one_number)[0].reason == "returned float, not a list of 1 results"


@pytest.mark.parametrize("isolation", [Isolation.PROCESS, Isolation.ASYNC])
def test_a_group_is_handed_over_as_soon_as_it_is_whole_where_that_can_be_known(isolation):
    rollouts = of((0, "a"), (1, "b"), (0, "a"), (1, "c"), (2, "d"), (2, "e"))
    grouped = says_what_it_sees(isolation)
    scoring = Scoring(grouped)
    scoring.expect([TASKS[0], TASKS[1], TASKS[2]], 2)
    handed_over = []
    for rollout in rollouts:
        scoring.add([rollout])
        handed_over.append(len(scoring.futures))
    assert handed_over == [0, 0, 1, 2, 2, 3]
    found = scoring.finish()
    assert [score.reason for score in found] == [score.reason for score in score(rollouts, grouped)]
    assert [score.value for score in found] == [2.0] * 6


def test_a_task_that_comes_twice_is_one_group_of_twice_the_size():
    scoring = Scoring(says_what_it_sees(Isolation.ASYNC))
    scoring.expect([TASKS[0], TASKS[0]], 1)
    scoring.add(of((0, "a")))
    assert not scoring.futures
    scoring.add(of((0, "b")))
    assert [one.value for one in scoring.finish()] == [2.0, 2.0]


def test_groups_that_never_become_whole_are_scored_at_the_end():
    scoring = Scoring(says_what_it_sees(Isolation.ASYNC))
    scoring.expect(TASKS, 3)
    scoring.add(of((0, "a"), (1, "b"), (0, "c")))
    assert [one.value for one in scoring.finish()] == [2.0, 1.0, 2.0]
