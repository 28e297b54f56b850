"""Equal rollouts are found by content, whoever made them."""

from __future__ import annotations

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
