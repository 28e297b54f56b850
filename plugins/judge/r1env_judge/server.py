"""The judge's server: the client of r1env-openai, with a cache of answers, because a judge is often asked the same thing.

answer = await Server(ServerSettings(url="http://localhost:8000/v1", model="qwen")).ask(messages)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from r1env.config import validate
from r1env_judge.prompts import Messages
from r1env_openai import ChatClient, Usage
from r1env_openai.client import ServerSettings as ClientSettings

CACHE_ENTRIES = 10_000  # answers of a few hundred tokens each: about ten megabytes


class ServerSettings(ClientSettings):
    """How to reach a judge, see `r1env_openai.ServerSettings`, and how it samples its answer.

    Attributes:
        temperature, max_tokens: sampling of the judge's answer.
    """

    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=1024, ge=16)


class Server:
    """A judge for one event loop. Equal requests are sent once, even while the first is still running.

    Args:
        settings: settings of the server.

    Raises:
        RequestError: the environment variable with the key is not set.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._client = ChatClient(settings, name="the judge's server")
        self._answers: OrderedDict[str, asyncio.Task[str]] = OrderedDict()

    @property
    def usage(self) -> Usage:
        """What has been used so far."""
        return self._client.usage

    async def ask(self, messages: Messages, *, seed: int = 0) -> str:
        """Return the text of the judge's answer.

        Args:
            seed: sent with the request. Another seed makes another request, for several answers to one question.

        Raises:
            RequestError: see `ChatClient.chat`.
        """
        key = hashlib.blake2b(json.dumps([messages, seed], sort_keys=True).encode(), digest_size=16).hexdigest()
        task = self._answers.get(key)
        if task is None:
            task = asyncio.create_task(self._answer(messages, seed))
            task.add_done_callback(lambda done: self._forget_failure(key, done))
            self._answers[key] = task
            self._make_room()
        else:
            self.usage.cached += 1
            self._answers.move_to_end(key)
        # Shielded, because a caller who stops waiting must not cancel the answer for the others; the deadline bounds the task anyway.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel running requests and close the connections."""
        for task in self._answers.values():
            task.cancel()
        await self._client.close()

    async def _answer(self, messages: Messages, seed: int) -> str:
        settings = self.settings
        reply = await self._client.chat(messages, max_tokens=settings.max_tokens, temperature=settings.temperature, seed=seed)
        return reply.text

    def _forget_failure(self, key: str, done: asyncio.Task[str]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._answers.pop(key, None)

    def _make_room(self) -> None:
        for key in [key for key, task in self._answers.items() if task.done()][: max(0, len(self._answers) - CACHE_ENTRIES)]:
            del self._answers[key]


def check_settings(options: Mapping[str, Any], reward: str) -> ServerSettings:
    """Return the server settings in a reward's options.

    Raises:
        UsageError: a setting is unknown, missing or out of range.
    """
    return validate(ServerSettings, options, where=f"reward {reward!r}")
