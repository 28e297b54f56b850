"""An environment behind an OpenEnv server, as one of ours: `--env openenv:URL`.

The model's turn is the action. Where the server's action has one required text field, the turn is its value; otherwise the turn must be
the action as JSON, and one that is not is answered with a message that says so. An observation's messages are shown as they are, a single
text field as text, and anything else as JSON. The rewards of the steps add up to the reward named `environment`; an episode that ends
without any reward has no score.

It needs `websockets`, of the extra `r1env[openenv]`. To serve one of our environments, see `r1env.server.openenv`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from r1env.envs.conversation import StepResult, Tool
from r1env.errors import UsageError
from r1env.types import ROLES, Message, Task, TaskKind

TESTED_WITH = "openenv 0.10.0"

META = "openenv"
MAX_MESSAGE = 16 << 20  # bytes of one message of the server
CONNECT_SECONDS = 30.0


class OpenEnvTasks:
    """The episodes of a server: endless, and told apart by the seed that is sent with `reset`.

    Args:
        url: of the server, such as `http://localhost:8000`.

    Raises:
        UsageError: there is no URL, `websockets` is missing, or the server does not describe its actions.
    """

    reward = "environment"
    size: int | None = None

    def __init__(self, url: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"say which server: --env openenv:http://HOST:PORT (got {url!r})")
        self._url = url.rstrip("/")
        self.other = functools.partial(OpenEnvEpisode, self._url, text_field(self._url))

    def task(self, index: int, seed: int = 0) -> Task:
        return Task(
            id=f"openenv-{seed + index}",
            prompt="(the environment opens the conversation)",
            kind=TaskKind.CHAT,
            metadata={META: {"seed": seed + index}},
        )


def text_field(url: str) -> str:
    """Return the action's one required text field; empty where actions are JSON objects.

    Raises:
        UsageError: the server cannot be reached, or has no schema of actions.
    """
    try:
        with urllib.request.urlopen(f"{url}/schema", timeout=CONNECT_SECONDS) as answer:
            action = json.loads(answer.read(MAX_MESSAGE))["action"]
        properties: Mapping[str, Any] = action.get("properties", {})
        required = [name for name in action.get("required", ()) if name in properties]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{url} is no OpenEnv server that describes its actions: {type(error).__name__}: {error}") from error
    return required[0] if len(required) == 1 and properties[required[0]].get("type") == "string" else ""


class OpenEnvEpisode:
    """One episode on a server, over a connection of its own.

    Args:
        url: of the server. It is not read from the task: a client of our own server sends tasks, and must not choose a host.
        field: see `text_field`.
    """

    tools: Sequence[Tool] = ()

    def __init__(self, url: str, field: str) -> None:
        self._url, self._field = url, field
        self._socket: Any = None

    async def reset(self, task: Task) -> Sequence[Message]:
        """Connect, and begin the episode of the task's seed."""
        try:
            from websockets.asyncio.client import connect
        except ImportError as error:
            raise UsageError("websockets is missing; install r1env[openenv]") from error
        where = task.metadata.get(META)
        if not isinstance(where, Mapping) or not isinstance(where.get("seed"), int):
            raise ValueError("the task is not of an OpenEnv server: its metadata has no seed")
        address = self._url.replace("http", "ws", 1) + "/ws"
        self._socket = await connect(address, max_size=MAX_MESSAGE, open_timeout=CONNECT_SECONDS)
        seen = await self._ask({"type": "reset", "data": {"seed": where["seed"]}})
        return messages_of(seen["observation"])

    async def step(self, message: Message) -> StepResult:
        text = message["content"]
        if self._field:
            action: Any = {self._field: text}
        else:
            try:
                action = json.loads(text)
            except (ValueError, RecursionError):
                action = None
            if not isinstance(action, dict):
                told = "error: your turn must be an action, written as one JSON object and nothing else"
                return StepResult([{"role": "user", "content": told}], info={"unreadable_actions": 1})
        seen = await self._ask({"type": "step", "data": action})
        reward, done = seen.get("reward"), bool(seen.get("done"))
        metadata = seen.get("metadata") or {}
        return StepResult(() if done else messages_of(seen["observation"]), reward=reward, done=done, info=metadata)

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def _ask(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a message; return the data of the observation.

        Raises:
            RuntimeError: the server answered with an error.
        """
        await self._socket.send(json.dumps(message))
        answer = await asyncio.wait_for(self._socket.recv(), timeout=None)  # the episode has a limit of its own
        read = json.loads(answer)
        if read.get("type") != "observation":
            data = read.get("data") or {}
            raise RuntimeError(f"the server answered {data.get('code', read.get('type'))}: {data.get('message', '')}")
        data = read["data"]
        if not isinstance(data, Mapping) or not isinstance(data.get("observation"), Mapping):
            raise TypeError("the server's observation is no object")
        return data


def messages_of(observation: Mapping[str, Any]) -> list[Message]:
    """Return an observation as messages of a conversation.

    Example:
        >>> messages_of({"text": "higher"})
        [{'role': 'user', 'content': 'higher'}]
    """
    given = observation.get("messages")
    if isinstance(given, list) and given and all(isinstance(one, Mapping) for one in given):
        return [
            {"role": one["role"] if one.get("role") in ROLES else "user", "content": str(one.get("content", ""))}
            for one in given
        ]
    texts = [value for value in observation.values() if isinstance(value, str)]
    if len(texts) == 1 and len(observation) == 1:
        return [{"role": "user", "content": texts[0]}]
    return [{"role": "user", "content": json.dumps(dict(observation))}]
