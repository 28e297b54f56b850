"""Rows and answers for NeMo Gym: a data set of ours in its format, and the reward of its `/verify`.

A score without a value becomes **`mask_sample` = true** with a `failure_kind`, which takes the sample out of training and of means;
`reward` is then 0.0. The reward server answers `/seed_session` and `/verify` with these functions (see `r1env.server`), so
nothing of NeMo Gym is installed beside r1env.

    from r1env.adapters.nemo_gym import row_of

    line = json.dumps(row_of(task, agent="simple_agent"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from r1env.adapters.core import TASK_FIELD, rollout_of, task_field, task_of, text_of
from r1env.data.rows import read_rows
from r1env.envs.conversation import Tool
from r1env.errors import DataError, UsageError
from r1env.rubrics import Rubric
from r1env.types import FinishReason, Message, Rollout, Score, Task

TESTED_WITH = "the nemo_gym taskset of verifiers 0.4.0, as the client"

RESERVED = frozenset({"responses_create_params", "response", "agent_ref", "task_source", "_ng_task_index", "_ng_rollout_index"})
"""Fields of a row that say nothing about the task."""

NESTED = ("verifier_metadata", "task_data")
"""Fields in which a row may hold those of its task."""


def row_of(task: Task, *, tools: Sequence[Tool] = (), agent: str = "") -> dict[str, Any]:
    """Return a row of NeMo Gym's JSON Lines that brings the task whole to `/verify`.

    Args:
        tools: what the model may call, in the flat form of the Responses API.
        agent: name of the agent server that plays the row; NeMo Gym wants one, here or in its configuration.
    """
    parameters: dict[str, Any] = {"input": [{"role": one["role"], "content": one["content"]} for one in task.prompt]}
    if tools:
        parameters["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
                "strict": False,
            }
            for tool in tools
        ]
        parameters["parallel_tool_calls"] = False
    row: dict[str, Any] = {"responses_create_params": parameters, TASK_FIELD: task_field(task)}
    if agent:
        row["agent_ref"] = {"type": "responses_api_agents", "name": agent}
    return row


def task_of_row(row: Mapping[str, Any]) -> Task:
    """Return the task of a row: the one that `row_of` wrote, else what its fields say (see `r1env.adapters.core.task_of`).

    Raises:
        TypeError, ValueError: it has no prompt, or its task cannot be read.
    """
    parameters = row.get("responses_create_params")
    if not isinstance(parameters, Mapping) or "input" not in parameters:
        raise ValueError("a row of NeMo Gym has its prompt in responses_create_params.input")
    fields = {key: value for key, value in row.items() if key not in RESERVED}
    for name in NESTED:
        if isinstance(nested := fields.pop(name, None), Mapping):
            fields |= nested
    asked = parameters["input"]
    prompt = asked if isinstance(asked, str) else [{**message, "role": message.get("role", "user")} for message in asked]
    return task_of(prompt, fields)


class RowTasks:
    """The tasks of a file of NeMo Gym's rows: `--env nemo-gym:rows.jsonl`.

    Args:
        data: the file.
        checker: name of the reward that checks its tasks.

    Raises:
        UsageError: there is no file, or it has no rows.
        DataError: a row has no prompt, or offers tools, which only its own resources server can run.
    """

    def __init__(self, data: str = "", checker: str = "math") -> None:
        if not data:
            raise UsageError("say which rows: --env nemo-gym:rows.jsonl")
        self.reward = checker
        self._tasks: list[Task] = []
        for number, row in enumerate(read_rows(data), 1):
            where = f"{data}, line {number}"
            try:
                task = task_of_row(row)
            except (TypeError, ValueError) as error:
                raise DataError(where, f"{error}") from error
            if row["responses_create_params"].get("tools"):
                raise DataError(
                    where, "it offers tools, which its own resources server runs; only rows without tools can be read"
                )
            self._tasks.append(task)
        if not self._tasks:
            raise UsageError(f"{data} has no rows")

    @property
    def size(self) -> int | None:
        return len(self._tasks)

    def task(self, index: int, seed: int = 0) -> Task:
        return self._tasks[index]


def rollout_of_request(request: Mapping[str, Any]) -> Rollout:
    """Return the rollout of a request to `/verify`: the row, and the model's turns in `response`.

    Raises:
        TypeError, ValueError: the row has no task, or the response is none of the Responses API.
    """
    task, response = task_of_row(request), request.get("response")
    if not isinstance(response, Mapping) or not isinstance(response.get("output"), Sequence):
        raise ValueError("response.output is missing, or no list")
    messages = _messages_of(response["output"])
    rollout = rollout_of(task, messages)
    cut = response.get("status") == "incomplete"
    return (
        rollout.model_copy(update={"messages": (*task.prompt, *messages), "finish_reason": FinishReason.LENGTH})
        if cut
        else (rollout.model_copy(update={"messages": (*task.prompt, *messages)}))
    )


def answer(request: Mapping[str, Any], score: Score, rubric: Rubric) -> dict[str, Any]:
    """Return what `/verify` answers: the request, and the reward with its parts."""
    missing = score.value is None
    return {
        **request,
        "reward": 0.0 if score.value is None else score.value,
        "reward_components": {key: part for key, part in score.parts.items() if part == part},  # a NaN equals nothing
        "mask_sample": missing,
        "failure_kind": "verifier_error" if missing else None,
        "failure_reason": f"{score.status}: {score.reason}" if missing else None,
        "status": str(score.status),
        "rubric": rubric.name,
    }


def _messages_of(output: Sequence[Any]) -> list[Message]:
    """Return the items of a response as chat messages: texts, function calls and their outputs."""
    messages: list[Message] = []
    for item in output:
        if not isinstance(item, Mapping):
            raise TypeError(f"an item of response.output is a {type(item).__name__}, not an object")
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": str(item.get("role", "assistant")), "content": text_of(item.get("content"))})
        elif kind == "function_call":
            call = {"name": str(item.get("name", "")), "arguments": _arguments(item.get("arguments"))}
            identified = {"id": str(item.get("call_id", "")), "type": "function", "function": call}
            messages.append({"role": "assistant", "content": "", "tool_calls": [identified]})
        elif kind == "function_call_output":
            result = item.get("output")
            content = result if isinstance(result, str) else json.dumps(result)
            messages.append({"role": "tool", "content": content, "tool_call_id": str(item.get("call_id", ""))})
    return messages


def _arguments(given: object) -> object:
    """Return the arguments of a call as an object where they are one; NeMo Gym has them as JSON text."""
    try:
        return json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return None
