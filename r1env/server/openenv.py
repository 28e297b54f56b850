"""An environment of ours over OpenEnv's WebSocket, for its clients and for those who train through them.

One connection is one episode after another: `reset`, `step` until `done`, `state`, `close`. An action is `{"text": ...}`, the model's turn; an
observation has the messages that the model reads next. The reward comes with the last step. An episode that could not be scored ends with
**`done` = true and `reward` = null**; `metadata` has the status and the reason.

`reset` takes `index` and `seed`; without an index, the seed is the index.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1env.envs.conversation import Episode
from r1env.envs.environment import Environment
from r1env.runs.files import to_json
from r1env.types import Completion, Rollout, Score

SPEAKS = "OpenEnv 0.10.0"

MAX_SESSIONS = 256
MAX_TEXT = 1_000_000  # characters of an action

Code = Literal["INVALID_JSON", "UNKNOWN_TYPE", "VALIDATION_ERROR", "EXECUTION_ERROR", "CAPACITY_REACHED"]


class Action(BaseModel):
    """The model's turn."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=MAX_TEXT)


class Observation(BaseModel):
    """What the model reads next."""

    messages: list[dict[str, Any]]
    task_id: str


class State(BaseModel):
    """Where an episode is."""

    episode_id: str | None = None
    step_count: int = 0
    done: bool = False


class Reset(BaseModel):
    """Which task to play. What else a client sends is ignored, as OpenEnv asks."""

    seed: int | None = Field(default=None, ge=0)
    index: int | None = Field(default=None, ge=0)
    episode_id: str | None = None


class SessionError(Exception):
    """A message that cannot be followed; the session goes on."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def add_openenv(
    app: FastAPI, environment: Environment, score: Callable[[Rollout], Awaitable[Score]], *, max_sessions: int = MAX_SESSIONS
) -> None:
    """Add the routes to an application.

    Args:
        score: gives the score of a finished episode.
        max_sessions: connections at once; a further one is refused with CAPACITY_REACHED.
    """
    open_sessions = 0

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.get("/schema")
    async def schema() -> dict[str, Any]:
        return {
            "action": Action.model_json_schema(),
            "observation": Observation.model_json_schema(),
            "state": State.model_json_schema(),
        }

    @app.get("/metadata")
    async def metadata() -> dict[str, Any]:
        return {"name": environment.name, "description": f"the environment {environment.name} of r1env"}

    @app.websocket("/ws")
    async def connect(socket: WebSocket) -> None:
        nonlocal open_sessions
        await socket.accept()
        if open_sessions >= max_sessions:
            await socket.send_text(_fault("CAPACITY_REACHED", f"{max_sessions} sessions are open"))
            await socket.close()
            return
        open_sessions += 1
        session = Session(environment, score)
        try:
            while True:
                try:
                    answer = await session.answer(await socket.receive_text())
                except SessionError as fault:
                    answer = _fault(fault.code, str(fault))
                if answer is None:
                    await socket.close()
                    return
                await socket.send_text(answer)
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes where OpenEnv has text
            pass
        finally:
            open_sessions -= 1
            await session.close()


class Session:
    """The episodes of one connection."""

    def __init__(self, environment: Environment, score: Callable[[Rollout], Awaitable[Score]]) -> None:
        self._environment = environment
        self._score = score
        self._episode: Episode | None = None
        self._id: str | None = None

    async def answer(self, text: str) -> str | None:
        """Return the answer to a message; None where it says goodbye.

        Raises:
            SessionError: the message cannot be followed.
        """
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SessionError("INVALID_JSON", f"the message is not JSON: {type(error).__name__}") from error
        kind = message.get("type") if isinstance(message, dict) else None
        data = message.get("data") or {} if isinstance(message, dict) else {}
        if kind == "reset":
            return await self._reset(_read(Reset, data))
        if kind == "step":
            return await self._step(_read(Action, data))
        if kind == "state":
            turns, done = (self._episode.turns, self._episode.done) if self._episode else (0, False)
            state = State(episode_id=self._id, step_count=turns, done=done)
            return to_json({"type": "state", "data": state.model_dump()})
        if kind == "close":
            return None
        raise SessionError("UNKNOWN_TYPE", f"unknown type {kind!r}; there are reset, step, state and close")

    async def close(self) -> None:
        """Release what the episode holds."""
        if self._episode is not None:
            await asyncio.to_thread(self._episode.close)

    async def _reset(self, asked: Reset) -> str:
        await self.close()
        index = asked.index if asked.index is not None else asked.seed or 0
        task = self._environment.task(index, asked.seed or 0)
        self._id = asked.episode_id or uuid.uuid4().hex
        self._episode = await asyncio.to_thread(self._environment.open, task)
        if self._episode.error:
            raise SessionError("EXECUTION_ERROR", self._episode.error)
        return self._observation(self._episode.messages)

    async def _step(self, action: Action) -> str:
        episode = self._episode
        if episode is None or episode.done:
            raise SessionError("EXECUTION_ERROR", "there is no episode under way; send reset first")
        await asyncio.to_thread(episode.submit, Completion(text=action.text))
        if not episode.done:
            return self._observation(episode.replies)
        score = await self._score(episode.rollout())
        metadata = {"status": str(score.status), "reason": score.reason, "parts": score.parts}
        return self._observation(episode.replies, reward=score.value, done=True, metadata=metadata)

    def _observation(
        self, messages: Sequence[Any], *, reward: float | None = None, done: bool = False, metadata: Any = None
    ) -> str:
        assert self._episode is not None
        seen = {"messages": [dict(message) for message in messages], "task_id": self._episode.task.id}
        data = {"observation": seen, "reward": reward, "done": done, "metadata": metadata or {}}
        return to_json({"type": "observation", "data": data})


def _read(kind: type[Any], data: Any) -> Any:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SessionError("VALIDATION_ERROR", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _fault(code: Code, message: str) -> str:
    return to_json({"type": "error", "data": {"message": message[:1000], "code": code}})
