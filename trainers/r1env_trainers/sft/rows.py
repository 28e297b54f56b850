"""Rows of data files as demonstrations: the one reader of SFT, distillation and what rejection sampling leaves and mixes in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from r1env.data.layouts import Example, read_examples
from r1env.data.rows import MISSING, ColumnMap, at_path
from r1env.envs.conversation import Tool
from r1env.errors import DataError, UsageError
from r1env.types import Conversation
from r1env_trainers.sft.render import Demonstration

TrainOn = Literal["last", "all"]
ANSWERS = ("completion", "response", "output")  # columns whose empty text is an empty answer
logger = logging.getLogger(__name__)


def read_demonstrations(source: str, train_on: TrainOn = "last", columns: str | None = None) -> list[Demonstration]:
    """Return the demonstrations of a file, a folder or a hub data set, in order; see `r1env.data.layouts.read_examples` for the layouts.

    Args:
        train_on: see `demonstrations_of`.
        columns: what the columns are, as `question=problem,completion=solution`; None to recognise them.

    Raises:
        UsageError: it cannot be read, is empty, or has a row that is not a demonstration.

    Example:
        >>> read_demonstrations("examples/data.jsonl")  # doctest: +SKIP
        [Demonstration(prompt=({'role': 'user', 'content': '1+2?'},), response={'role': 'assistant', 'content': '3'}, …)]
    """
    mapped = None if columns is None else ColumnMap.parse(columns)
    found: list[Demonstration] = []
    bad = 0
    for example in read_examples(source, columns=mapped, keep_instruction=True):
        if example.label is False:
            bad += 1
        else:
            found += demonstrations_of(example, train_on)
    if bad:
        logger.warning("%s: %d rows are labelled as bad answers, and are not learnt", source, bad)
    if not found:
        raise UsageError(f"{source} has no answer to learn from")
    return found


def demonstrations_of(example: Example, train_on: TrainOn = "last") -> list[Demonstration]:
    """Return what an example teaches: each of its demonstrations, or each turn of the assistant.

    Args:
        train_on: `last` learns the assistant's last turn of a conversation. With `all`, each of its turns is a demonstration, and
            everything before it the prompt, which is what the model sees when it writes that turn, whatever the chat template
            does to earlier ones (many drop their thinking).

    Raises:
        DataError: the example has no answer to a prompt, or a value of `chat` that is neither true nor false.
    """
    chat = example.row.get("chat", True)
    if not isinstance(chat, bool):
        raise DataError(example.where, f'"chat" is {chat!r}; it must be true or false')
    tools = tools_of(example)
    found = []
    for conversation in conversations_of(example):
        turns = [place for place, one in enumerate(conversation) if one["role"] == "assistant" and place > 0]
        chosen = turns if train_on == "all" else turns[-1:]
        found += [Demonstration(conversation[:place], conversation[place], chat, tools, example.where) for place in chosen]
    return found


def conversations_of(example: Example) -> list[Conversation]:
    """Return the conversations of an example, each of which ends with the assistant's answer.

    Raises:
        DataError: it has none.
    """
    if example.prompt and example.demonstrations:
        return [(*example.prompt, *demonstration) for demonstration in example.demonstrations]
    if example.prompt and _says_nothing(example):
        return [(*example.prompt, {"role": "assistant", "content": ""})]
    raise DataError(
        example.where,
        f"needs an answer to learn from: messages that end with the assistant's, or a prompt and a completion; read as {example.layout}; "
        f"its columns: {', '.join(example.row)}",
    )


def rows_of(example: Example) -> list[dict[str, Any]]:
    """Return the conversations of an example as rows of the layout that `rejection` and `dataset` write, with its other columns.

    Raises:
        DataError: as `conversations_of`.
    """
    others = {key: value for key, value in example.row.items() if example.columns.get(key) == "metadata"}
    tools = {"tools": list(example.tools)} if example.tools else {}
    return [{**others, **tools, "messages": list(conversation)} for conversation in conversations_of(example)]


def _says_nothing(example: Example) -> bool:
    """Return whether the row has a place for the answer, and nothing there. Pre-flight counts such rows."""
    return any(at_path(example.row, name) in ("", []) for name in ANSWERS if at_path(example.row, name) is not MISSING)


def tools_of(example: Example) -> tuple[Tool, ...]:
    """Return the tools that a row offers.

    Raises:
        DataError: one has no name.
    """
    return tuple(_tool(schema, example.where) for schema in example.tools)


def _tool(schema: Mapping[str, Any], where: str) -> Tool:
    function = schema.get("function", schema)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(where, f"a tool needs a function with a name; found {schema!r}"[:200])
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(function["name"], function.get("description") or "", parameters)
