"""`Episode`: one task being worked on, turn by turn. Knows nothing of Gymnasium, models or rewards."""

from __future__ import annotations

from typing import Protocol

from r1env.rollouts import Completion, Rollout
from r1env.tasks import Conversation, Message, Task


class Dialogue(Protocol):
    """The other side of a multi-turn environment."""

    def reply(self, task: Task, messages: Conversation) -> str | None:
        """What the environment says to the model's last message, or None when the episode is over.

        Must be deterministic in its arguments and must not raise on anything the model wrote.
        """


class Episode:
    """One task from its prompt to its `Rollout`."""

    def __init__(self, task: Task, prompt: Conversation, *, max_turns: int = 1, dialogue: Dialogue | None = None) -> None:
        self.task = task
        self.turns = 0
        self.done = False
        self._messages: list[Message] = list(prompt)
        self._max_turns = max_turns
        self._dialogue = dialogue
        self._last: Completion | None = None

    @property
    def messages(self) -> Conversation:
        """The conversation so far; fresh copies, so that a caller may keep or change them."""
        return tuple(Message(role=message["role"], content=message["content"]) for message in self._messages)

    def submit(self, completion: Completion) -> None:
        """Take the model's turn; afterwards the episode is done, or the environment's reply stands in `messages`."""
        if self.done:
            raise RuntimeError("the episode is over; start another")
        self._messages.append({"role": "assistant", "content": completion.text})
        self.turns += 1
        self._last = completion
        reply = None
        if self._dialogue is not None and self.turns < self._max_turns:
            reply = self._dialogue.reply(self.task, self.messages)
        if reply is None:
            self.done = True
        else:
            self._messages.append({"role": "user", "content": reply})

    def rollout(self) -> Rollout:
        """The finished episode, for scoring."""
        if not self.done or self._last is None:
            raise RuntimeError("the episode is not over yet")
        return Rollout(
            task=self.task,
            completion=self._last.text,
            messages=self.messages,
            finish_reason=self._last.finish_reason,
            turns=self.turns,
            token_ids=self._last.token_ids,
            logprobs=self._last.logprobs,
        )
