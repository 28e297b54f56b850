"""The types of `r1env.types`: what a rollout knows of its turns."""

from __future__ import annotations

import pickle

from r1env import Rollout, Task, Turn
from r1env.types import FinishReason, Message

TASK = Task(id="1", prompt="2 + 2?")


def says(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def test_a_rollout_of_one_text_has_one_turn_with_its_tokens() -> None:
    rollout = Rollout(task=TASK, completion="4", token_ids=(7,), logprobs=(-0.5,), finish_reason=FinishReason.LENGTH)
    expected = Turn(message=says("assistant", "4"), token_ids=(7,), logprobs=(-0.5,), finish_reason=FinishReason.LENGTH)
    assert rollout.turns == (expected,)


def test_turns_are_read_off_the_messages_and_only_the_last_has_the_tokens() -> None:
    spoken = (says("assistant", "3"), says("tool", "no"), says("user", "again"), says("assistant", "4"))
    rollout = Rollout(task=TASK, completion="4", messages=(*TASK.prompt, *spoken), token_ids=(7,))
    assert [turn.message["content"] for turn in rollout.turns] == ["3", "4"]
    assert [message["role"] for message in rollout.turns[0].replies] == ["tool", "user"]
    assert [turn.token_ids for turn in rollout.turns] == [None, (7,)]


def test_an_assistants_message_in_the_prompt_is_no_turn() -> None:
    task = Task(id="1", prompt=(says("user", "1 + 1?"), says("assistant", "2"), says("user", "2 + 2?")))
    rollout = Rollout(task=task, completion="4", messages=(*task.prompt, says("assistant", "4")))
    assert len(rollout.turns) == 1


def test_recorded_turns_bring_the_tokens_of_the_last_and_survive_pickling_copying_and_dumping() -> None:
    turns = (
        Turn(message=says("assistant", "3"), replies=(says("user", "no"),), token_ids=(1,), reward=0.0),
        Turn(message=says("assistant", "4"), token_ids=(2, 3), logprobs=(-1.0, -2.0), reward=1.0),
    )
    rollout = Rollout(task=TASK, completion="4", turns=turns)
    assert (rollout.token_ids, rollout.logprobs) == ((2, 3), (-1.0, -2.0))
    for again in (pickle.loads(pickle.dumps(rollout)), rollout.model_copy(), Rollout(**rollout.model_dump())):
        assert again.turns == turns
