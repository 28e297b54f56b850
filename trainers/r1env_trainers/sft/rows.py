"""Rows of data files as demonstrations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from r1env.envs.conversation import Tool
from r1env.errors import UsageError
from r1env.types import Conversation, Message
from r1env_trainers.sft.render import Demonstration

TrainOn = Literal["last", "all"]


def parse_row(row: Mapping[str, Any], where: str, train_on: TrainOn = "last") -> list[Demonstration]:
    """Return the demonstrations in a row.

    A row has `messages`, or `prompt` and `completion`, each a text or messages. All keys of the messages are kept. `tools` are those
    that the assistant was offered; `"chat": false` marks raw text.

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
    conversation, first = _conversation_of(row, where)
    turns = [place for place, one in enumerate(conversation) if one["role"] == "assistant" and place >= first]
    if not turns or turns[-1] != len(conversation) - 1:
        last = (
            f"ends with a message of role {conversation[-1]['role']!r}"
            if turns
            else "has no answer of the assistant to a prompt"
        )
        raise UsageError(f"{where}: needs an assistant's message at the end to learn from; it {last}")
    tools = _tools_of(row, where)
    chosen = turns if train_on == "all" else turns[-1:]
    return [Demonstration(conversation[:place], conversation[place], chat, tools, where) for place in chosen]


def _conversation_of(row: Mapping[str, Any], where: str) -> tuple[Conversation, int]:
    """The messages of a row, and the place of the first that may be learnt."""
    if row.get("messages") is not None:
        return _messages(row["messages"], f"{where}, messages"), 1
    prompt, completion = row.get("prompt"), row.get("completion")
    if prompt is None or completion is None:
        found = ", ".join(row) or "nothing"
        raise UsageError(f'{where}: needs "messages", or "prompt" and "completion"; it has: {found}')
    asked = _messages(_as_messages(prompt, "user"), f"{where}, prompt")
    return (*asked, *_messages(_as_messages(completion, "assistant"), f"{where}, completion")), len(asked)


def _as_messages(value: object, role: str) -> object:
    return [{"role": role, "content": value}] if isinstance(value, str) else value


def _messages(value: object, where: str) -> Conversation:
    if not isinstance(value, list | tuple) or not value:
        raise UsageError(f"{where}: needs a list of messages, each with role and content; found {_shown(value)}")
    return tuple(read_message(one, f"{where}[{place}]") for place, one in enumerate(value))


def read_message(value: object, where: str) -> Message:
    """Return a message with all its keys; those without a value are left out, as tables have them in every row.

    The content may be a list of parts of type text, and is empty where a turn only calls tools. Arguments of tool calls that are JSON
    text become objects.

    Raises:
        UsageError: it has no role or no content, a part is not text, or a tool call has no name.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str):
        raise UsageError(f"{where}: needs a role and a content; found {_shown(value)}")
    message = {key: one for key, one in value.items() if one is not None}
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    else:
        message["tool_calls"] = [_tool_call(call, where) for call in message["tool_calls"]]
    content = message.get("content", "" if "tool_calls" in message or "reasoning_content" in message else None)
    message["content"] = _text_of_parts(content, where) if isinstance(content, list | tuple) else content
    if not isinstance(message["content"], str):
        raise UsageError(f"{where}: needs a role and a content; found {_shown(value)}")
    return cast(Message, message)


def _text_of_parts(parts: Any, where: str) -> str:
    for part in parts:
        if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise UsageError(f"{where}: only parts of type text can be learnt; found {_shown(part)}")
    return "".join(part["text"] for part in parts)


def _tool_call(call: object, where: str) -> Mapping[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UsageError(f"{where}: a tool call needs a function with a name; found {_shown(call)}")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise UsageError(f"{where}: the arguments of {function['name']} are no JSON: {_shown(arguments)}") from error
    others = {} if function is call else {key: one for key, one in cast("Mapping[str, Any]", call).items() if one is not None}
    return {"type": "function", **others, "function": {**function, "arguments": arguments or {}}}


def _tools_of(row: Mapping[str, Any], where: str) -> tuple[Tool, ...]:
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools or "[]")
        except ValueError as error:
            raise UsageError(f"{where}: tools are no JSON: {_shown(tools)}") from error
    found = []
    for tool in tools or ():
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise UsageError(f"{where}: a tool needs a function with a name; found {_shown(tool)}")
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        found.append(Tool(function["name"], function.get("description") or "", parameters))
    return tuple(found)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
