"""Equal rollouts are found by content, whoever made them."""

from __future__ import annotations

import pytest

from r1env.scoring import dispatch
from r1env.scoring.dispatch import Distinct, without_tokens
from r1env.types import FinishReason, Rollout, Task, Turn


def make(text: str = "a", answer: str = "1", **fields: object) -> Rollout:
    return Rollout(task=Task(id="t", prompt="q", answer=answer), completion=text, **fields)


def places(rollouts: list[Rollout]) -> list[int]:
    return list(map(Distinct().place, rollouts))


def test_equal_rollouts_share_a_place_though_their_tasks_are_different_objects() -> None:
    distinct = Distinct()
    assert [distinct.place(rollout) for rollout in (make("a"), make("b"), make("a"))] == [0, 1, 0]
    assert [rollout.completion for rollout in distinct.found] == ["a", "b"]


def test_rollouts_differ_by_answer_messages_finish_reason_or_turns() -> None:
    different = [
        make(),
        make(answer="2"),
        make(messages=({"role": "user", "content": "q"},)),
        make(finish_reason=FinishReason.LENGTH),
        make(turns=(Turn(message={"role": "assistant", "content": ""}),)),
    ]
    assert places(different) == [0, 1, 2, 3, 4]


def test_token_ids_count_until_they_are_taken_off() -> None:
    pair = [make(token_ids=(1, 2)), make(token_ids=(3,))]
    assert places(pair) == [0, 1]
    assert places([without_tokens(rollout) for rollout in pair]) == [0, 0]


def test_metadata_that_cannot_be_compared_makes_rollouts_different() -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment]

    tasks = [Task(id="t", prompt="q", metadata={"array": Array()}) for _ in range(2)]
    assert places([Rollout(task=task, completion="a") for task in tasks]) == [0, 1]
    assert places([Rollout(task=tasks[0], completion="a")] * 2) == [0, 0]


def test_metadata_whose_comparison_raises_anything_makes_rollouts_different() -> None:
    class Table:
        def __eq__(self, other: object) -> bool:
            raise TypeError("the truth value of a table is ambiguous")

        __hash__ = None  # type: ignore[assignment]

    tasks = [Task(id="t", prompt="q", metadata={"table": Table()}) for _ in range(20)]
    assert places([Rollout(task=task, completion="a") for task in tasks]) == list(range(20))


def test_many_rollouts_that_are_alike_in_part_are_compared_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a collapsed policy gives them: the same completion for all tasks of a source whose ids are not unique."""
    compared = 0
    equal = dispatch._equal

    def counted(one: Rollout, other: Rollout) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    monkeypatch.setattr(dispatch, "_equal", counted)
    tasks = [Task(id="t", prompt="q", answer=str(n), metadata={"n": n // 2, "rows": [{"n": n}]}) for n in range(300)]
    same_answer = [task.model_copy(update={"answer": "1"}) for task in tasks]
    rollouts = [Rollout(task=task, completion="") for task in (*tasks, *same_answer, *same_answer)]
    found = places(rollouts)
    assert found[:300] == list(range(300))
    assert found[301] == 1, "task 1 has the answer 1 already"
    assert found[300:600] == found[600:]
    assert len(set(found)) == 599
    assert compared < 10 * len(rollouts)
