"""A row of another stack's data set as a `Rollout`, and a `Task` as a field of such a row. Pure functions.

Stacks carry a row as columns, as an `extra_info` mapping, or as one label text, and libraries in between fill gaps with None and turn
lists into arrays. A task that was written with `task_field` arrives whole through all of that; other rows are read by their
field names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from r1env.adapters.texts import conversation_of
from r1env.rollouts import Rollout
from r1env.tasks import Conversation, Task, TaskKind

TASK_FIELD = "r1env_task"
"""Name of the field that carries a whole task, as JSON text."""

ANSWER_FIELDS = (
    "ground_truth",
    "answer",
    "solution",
    "label",
    "reward_model.ground_truth",
    "reward_spec.ground_truth",
)
"""Where the reference answer may stand, first match wins. A dot leads into a mapping."""

ID_FIELDS = ("id", "task_id", "index")


def task_field(task: Task) -> str:
    """The whole task as JSON text, to be put into a row under `TASK_FIELD`. In ASCII, since text may hold lone surrogates.

    What JSON has no form for comes back as what it has: tuples as lists, keys as text.

    Raises:
        TypeError: its metadata or tests hold something that is no data.
    """
    return json.dumps(task.model_dump())


def task_of(prompt: object, fields: Mapping[str, Any], *, answer_field: str | None = None) -> Task:
    """The task of a row.

    A row with `TASK_FIELD` is that task. Otherwise the answer, `id`, `tests` (a list, or JSON text of one), `kind` and `language` are
    taken where they fit, and everything else goes to the metadata: plain data as it is, arrays as lists, other objects as None.

    Args:
        prompt: text or messages.
        fields: the row's other columns.
        answer_field: where the reference answer stands; by default the first of `ANSWER_FIELDS` that holds text or a number.

    Raises:
        TypeError, ValueError: the prompt is neither text nor messages, or `TASK_FIELD` holds no task.
    """
    if fields.get(TASK_FIELD):
        carried = fields[TASK_FIELD]
        return Task.model_validate(json.loads(carried) if isinstance(carried, str) else carried)
    plain = _plain(dict(fields))
    conversation = conversation_of(prompt if isinstance(prompt, str) else _plain(prompt))
    taken: dict[str, Any] = {}
    tests = _tests(plain.get("tests"))
    if tests:
        taken["tests"] = tests
    if plain.get("kind") in list(TaskKind):  # a list, for the row's may be nothing that hashes
        taken["kind"] = plain["kind"]
    if isinstance(plain.get("language"), str):
        taken["language"] = plain["language"]
    answer = _answer(plain, (answer_field,) if answer_field else ANSWER_FIELDS)
    metadata = {key: value for key, value in plain.items() if key not in taken}
    return Task(id=_id(plain, conversation, answer), prompt=conversation, answer=answer, metadata=metadata, **taken)


def rollout_of(task: Task, completion: object, token_ids: Sequence[int] | None = None) -> Rollout:
    """The rollout of a task.

    Args:
        completion: the model's text; or the messages after the prompt, of which the last by the assistant is the completion.
        token_ids: of all that follows the prompt; kept where that is the completion alone.

    Raises:
        TypeError, ValueError: the completion is neither text nor messages.
    """
    tokens = None if token_ids is None else tuple(token_ids)
    if isinstance(completion, str):
        return Rollout(task=task, completion=completion, token_ids=tokens)
    messages = conversation_of(completion)
    turns = [message["content"] for message in messages if message["role"] == "assistant"]
    return Rollout(
        task=task,
        completion=turns[-1] if turns else "",
        messages=(*task.prompt, *messages),
        turns=max(1, len(turns)),
        token_ids=tokens if len(messages) == 1 else None,
    )


def _plain(value: object) -> Any:
    """The value as plain data."""
    return to_jsonable_python(value, inf_nan_mode="constants", bytes_mode="base64", fallback=_list_or_none)


def _list_or_none(value: object) -> object:
    """Arrays and tensors as lists; None for what is no data (an image, a tokenizer)."""
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else None


def _answer(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        found: Any = fields
        for key in name.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, str):
            return found
        if isinstance(found, int | float) and not isinstance(found, bool):
            return str(found)
    return None


def _tests(given: object) -> tuple[Mapping[str, Any], ...]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return ()
    return tuple(given) if isinstance(given, list) and all(isinstance(test, Mapping) for test in given) else ()


def _id(fields: Mapping[str, Any], prompt: Conversation, answer: str | None) -> str:
    """The row's own, else one that follows from what is asked, so that it is the same in every run."""
    for name in ID_FIELDS:
        if isinstance(fields.get(name), str | int):
            return str(fields[name])
    asked = json.dumps([prompt, answer])
    return hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()
