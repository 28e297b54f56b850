"""An environment of ours as a resources server of NeMo Gym: `/seed_session`, a route for every tool, and `/verify`.

A session is a cookie, as NeMo Gym has it. An environment that answers in words has one tool, `say`. `rows` writes the data set. A
score without a value becomes `mask_sample` = true, see `r1env.adapters.nemo_gym`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Cookie, FastAPI
from fastapi.responses import PlainTextResponse, Response

from r1env.adapters import nemo_gym
from r1env.envs.conversation import CALL_CLOSE, CALL_OPEN, ConversationEnv, Episode, Tool, parse_tool_calls
from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.rubrics import Rubric
from r1env.runs.files import to_json
from r1env.types import Completion, Rollout, Score, Status

logger = logging.getLogger(__name__)

COOKIE = "session"
MAX_SESSIONS = 10_000
OVER = "The episode is over."

SAY = Tool(
    "say",
    "Say something to the other side. Your final answer is said by this tool too.",
    {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)


def tools_of(environment: Environment) -> Sequence[Tool]:
    """Return the tools of an environment: its own, `say` where it answers in words, none where it has one turn."""
    if environment.other is None:
        return ()
    other = environment.other()
    return tuple(other.tools) if isinstance(other, ConversationEnv) and other.tools else (SAY,)


def rows(environment: Environment, count: int, *, seed: int = 0, agent: str = "") -> Iterator[dict[str, Any]]:
    """Yield the first `count` tasks as rows of NeMo Gym, with the tools."""
    tools = tools_of(environment)
    for index in range(count):
        yield nemo_gym.row_of(environment.task(index, seed), tools=tools, agent=agent)


def add_nemo_gym(
    app: FastAPI,
    environment: Environment,
    rubric: Rubric,
    score: Callable[[Rollout], Awaitable[Score]],
    *,
    max_sessions: int = MAX_SESSIONS,
) -> None:
    """Add the routes to an application.

    Args:
        score: gives the score of a finished episode.
        max_sessions: that are open at once; then the oldest is given up, and its `/verify` answers `session_lost`.

    Raises:
        UsageError: a tool has the name of a route.
    """
    sessions: OrderedDict[str, Episode] = OrderedDict()
    tools = tools_of(environment)
    played = replace(environment, tool_parser=parse_tool_calls)  # calls reach the episode in this form
    taken = {"/seed_session", "/verify", "/healthz", "/metrics", *(getattr(route, "path", "") for route in app.routes)}
    if clash := next((tool.name for tool in tools if f"/{tool.name}" in taken), None):
        raise UsageError(
            f"environment {environment.name!r}: its tool {clash!r} has the name of a route of the server; rename it"
        )

    @app.post("/seed_session", response_model=dict[str, Any])
    async def seed_session(row: dict[str, Any]) -> Response:
        try:
            task = nemo_gym.task_of_row(row)
        except (TypeError, ValueError) as error:
            return Response(to_json({"detail": str(error)[:1000]}), 422, media_type="application/json")
        episode = await asyncio.to_thread(played.open, task)
        key = secrets.token_urlsafe(16)
        sessions[key] = episode
        if len(sessions) > max_sessions:
            _, oldest = sessions.popitem(last=False)
            logger.warning("more than %d sessions of NeMo Gym are open; the oldest is given up", max_sessions)
            await asyncio.to_thread(oldest.close)
        answer = Response("{}", media_type="application/json")
        answer.set_cookie(COOKIE, key)
        return answer

    @app.post("/verify", response_model=dict[str, Any])
    async def verify(request: dict[str, Any], session: Annotated[str | None, Cookie()] = None) -> Response:
        episode = sessions.pop(session, None) if session else None
        if episode is None:
            lost = Score.failure(Status.ERROR, "there is no such session", parts=rubric.part_keys)
            return _json({**nemo_gym.answer(request, lost, rubric), "failure_kind": "session_lost"})
        try:
            rollout = await asyncio.to_thread(_finished, episode, request)
        except (TypeError, ValueError) as error:
            unread = Score.failure(Status.ERROR, str(error), parts=rubric.part_keys)
            return _json(nemo_gym.answer(request, unread, rubric))
        return _json(nemo_gym.answer(request, await score(rollout), rubric))

    def add_tool(tool: Tool) -> None:
        @app.post(f"/{tool.name}", name=tool.name, description=tool.description, response_class=PlainTextResponse)
        async def call(arguments: dict[str, Any], session: Annotated[str | None, Cookie()] = None) -> PlainTextResponse:
            episode = sessions.get(session) if session else None
            if episode is None:
                return PlainTextResponse("error: there is no such session; call /seed_session first", 404)
            if tool is SAY:
                text = str(arguments.get("text", ""))
            else:
                text = f"{CALL_OPEN}{json.dumps({'name': tool.name, 'arguments': arguments})}{CALL_CLOSE}"
            return PlainTextResponse(await asyncio.to_thread(_turn, episode, text))

    for tool in tools:
        add_tool(tool)


def _turn(episode: Episode, text: str) -> str:
    """Submit a turn; return what the model reads."""
    if not episode.done:
        episode.submit(Completion(text=text))
        if not episode.done:
            return "\n".join(message["content"] for message in episode.replies)
    return OVER


def _finished(episode: Episode, request: Mapping[str, Any]) -> Rollout:
    """Return the finished episode; what the model wrote last, without calling a tool, is its last turn.

    Raises:
        TypeError, ValueError: the request has no response that can be read.
    """
    said = nemo_gym.rollout_of_request(request).completion
    if not episode.done and (said.strip() or not episode.turns):
        episode.submit(Completion(text=said))
    if not episode.done:
        episode.stop()
    return episode.rollout()


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")
