"""Rows of data files as demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from r1env.errors import UsageError
from r1env.types import Conversation, Message

TrainOn = Literal["last", "all"]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the response to learn. `chat` says whether the prompt goes through the chat template."""

    prompt: Conversation
    response: str
    chat: bool = True


def parse_row(row: Mapping[str, Any], where: str, train_on: TrainOn = "last") -> list[Demonstration]:
    """Return the demonstrations in a row: {"prompt": text, "completion": text} or {"messages": [...]}; `"chat": false` marks raw text.

    Args:
        where: the row's place, for error messages.
        train_on: `last` learns the assistant's last turn of a conversation. With `all`, each of its turns is a demonstration, and
            everything before it the prompt, which is what the model sees when it writes that turn, whatever the chat template
            does to earlier ones (many drop their thinking).

    Raises:
        UsageError: the row has neither form.
    """
    chat = row.get("chat", True)
    if not isinstance(chat, bool):
        raise UsageError(f'{where}: "chat" is {chat!r}; it must be true or false')
    messages = row.get("messages")
    if isinstance(messages, list) and len(messages) >= 2 and all(map(_is_message, messages)):
        conversation = tuple(Message(role=one["role"], content=one["content"]) for one in messages)
        turns = [place for place, one in enumerate(conversation) if one["role"] == "assistant" and place > 0]
        if turns and turns[-1] == len(conversation) - 1:
            chosen = turns if train_on == "all" else turns[-1:]
            return [Demonstration(conversation[:place], conversation[place]["content"], chat) for place in chosen]
    if isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        return [Demonstration(({"role": "user", "content": row["prompt"]},), row["completion"], chat)]
    raise UsageError(f'{where}: needs "prompt" and "completion" texts, or "messages" that end with an assistant\'s')


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)
