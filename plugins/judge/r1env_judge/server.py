"""A client of an OpenAI-compatible server, with concurrency, deadlines, retries, bounds, a cache, and a count of tokens and cost.

    answer = await Server(ServerSettings(url="http://localhost:8000/v1", model="qwen")).ask(messages)

Usage is logged from time to time. Requests, answers and keys are never logged. The key is read from an environment variable when a
request is made; settings and run folders hold only the name of the variable.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from r1env.config import validate
from r1env_judge.errors import DeadlineError, ServerError, SilenceError
from r1env_judge.prompts import Messages

logger = logging.getLogger("r1env_judge")

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
REPORT_EVERY = 256  # requests between two log lines about tokens and cost
CACHE_ENTRIES = 10_000  # answers of a few hundred tokens each: about ten megabytes


class ServerSettings(BaseModel):
    """How to reach a judge.

    Attributes:
        url: URL up to and including `/v1`.
        model: name of the model on the server.
        api_key_env: environment variable with the key, never the key itself; None for a server without one.
        temperature, max_tokens: sampling of the judge's answer.
        concurrency: number of simultaneous requests.
        timeout: seconds without a byte, or to connect.
        deadline: seconds for one answer, retries included, counted from its first request.
        attempts: largest number of requests for one answer.
        max_response_bytes: largest response that is read.
        price_in, price_out: dollars a million tokens, for `Usage.dollars`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://[^\s@]+$")  # no user:password@, which would travel into run folders
    model: str = Field(min_length=1)
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=1024, ge=16)
    concurrency: int = Field(default=16, ge=1)
    timeout: float = Field(default=30.0, gt=0)
    deadline: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=4, ge=1)
    max_response_bytes: int = Field(default=1_000_000, ge=1_000)
    price_in: float = Field(default=0.0, ge=0)
    price_out: float = Field(default=0.0, ge=0)


@dataclass(slots=True)
class Usage:
    """What a client has used so far. Tokens are counted by the server; `cached` answers cost nothing."""

    requests: int = 0
    retries: int = 0
    cached: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def dollars(self, settings: ServerSettings) -> float:
        """Return the cost in dollars at the prices of the settings."""
        return (self.prompt_tokens * settings.price_in + self.completion_tokens * settings.price_out) / 1e6

    def report(self, settings: ServerSettings) -> dict[str, float]:
        """Return all counters and the dollars as plain numbers."""
        return {**asdict(self), "dollars": self.dollars(settings)}


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message


class _Tokens(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(BaseModel):
    """The fields of a chat completion that are read."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Tokens | None = None


@dataclass
class Server:
    """A client for one event loop. Equal requests are sent once, even while the first is still running.

    Args:
        settings: settings of the server.
        transport: replaces the network in tests; None otherwise.
    """

    settings: ServerSettings
    transport: httpx.AsyncBaseTransport | None = None
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.settings.concurrency)
        self._answers: OrderedDict[str, asyncio.Task[str]] = OrderedDict()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(self.settings.timeout),
            limits=httpx.Limits(max_connections=self.settings.concurrency),
            transport=self.transport,
            follow_redirects=False,  # a redirect could carry the key elsewhere
        )

    async def ask(self, messages: Messages, *, seed: int = 0) -> str:
        """Return the text of the judge's answer.

        Args:
            seed: sent with the request. Another seed makes another request, for several answers to one question.

        Raises:
            DeadlineError: there was no answer within `deadline` seconds.
            ServerError: the failure is permanent, or every attempt failed.
        """
        payload = {
            "model": self.settings.model,
            "messages": messages,
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.max_tokens,
            "seed": seed,
        }
        key = hashlib.blake2b(json.dumps(payload, sort_keys=True).encode(), digest_size=16).hexdigest()
        task = self._answers.get(key)
        if task is None:
            task = asyncio.create_task(self._answer(payload))
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
        await self._client.aclose()

    def _forget_failure(self, key: str, done: asyncio.Task[str]) -> None:
        if done.cancelled() or done.exception() is not None:
            self.usage.failures += 1
            self._answers.pop(key, None)

    def _make_room(self) -> None:
        for key in [key for key, task in self._answers.items() if task.done()][: max(0, len(self._answers) - CACHE_ENTRIES)]:
            del self._answers[key]

    async def _answer(self, payload: Mapping[str, Any]) -> str:
        async with self._turns:
            last: ServerError | None = None
            try:
                async with asyncio.timeout(self.settings.deadline):
                    async for attempt in self._attempts():
                        with attempt:
                            if attempt.retry_state.attempt_number > 1:
                                self.usage.retries += 1
                            try:
                                return await self._request(payload)
                            except ServerError as error:
                                last = error
                                raise
            except TimeoutError:
                why = f"; the last attempt: {last}" if last else ""
                raise DeadlineError(f"the judge gave no answer within {self.settings.deadline:g} s{why}") from None
        raise AssertionError("tenacity returns an answer or raises")

    def _attempts(self) -> AsyncRetrying:
        backoff = wait_exponential_jitter(multiplier=0.5, max=20.0)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, ServerError) else None
            return backoff(state) if asked is None else asked

        return AsyncRetrying(
            stop=stop_after_attempt(self.settings.attempts),
            retry=retry_if_exception(lambda error: isinstance(error, ServerError) and error.transient),
            wait=wait,
            reraise=True,
        )

    async def _request(self, payload: Mapping[str, Any]) -> str:
        """Make one request and return the answer's text."""
        self.usage.requests += 1
        if self.usage.requests % REPORT_EVERY == 0:
            logger.info("judge %s: %s", self.settings.model, self.usage.report(self.settings))
        try:
            async with self._client.stream(
                "POST", self.settings.url.rstrip("/") + "/chat/completions", json=payload, headers=self._headers()
            ) as response:
                if response.status_code != 200:
                    status = response.status_code
                    raise ServerError(
                        f"the judge's server answered with status {status}",
                        transient=status in TRANSIENT,
                        retry_after=retry_after(response.headers.get("retry-after"), datetime.now(UTC)),
                    )
                body = await self._read(response)
        except httpx.TimeoutException:
            raise SilenceError(f"the judge's server was silent for {self.settings.timeout:g} s", transient=True) from None
        except httpx.TransportError as error:
            raise ServerError(f"no answer from the judge's server ({type(error).__name__})", transient=True) from None
        return self._text_of(body)

    async def _read(self, response: httpx.Response) -> bytes:
        """Read the body up to the limit."""
        body = bytearray()
        async for piece in response.aiter_raw(chunk_size=65_536):  # raw: a compressed body could grow a thousandfold
            body += piece
            if len(body) > self.settings.max_response_bytes:
                raise ServerError(f"the judge's server sent more than {self.settings.max_response_bytes} bytes")
        return bytes(body)

    def _text_of(self, body: bytes) -> str:
        try:
            answer = _Answer.model_validate_json(body)
        except ValidationError:
            raise ServerError("the judge's server sent no chat completion", transient=True) from None
        if answer.usage is not None:
            self.usage.prompt_tokens += answer.usage.prompt_tokens
            self.usage.completion_tokens += answer.usage.completion_tokens
        return answer.choices[0].message.content

    def _headers(self) -> dict[str, str]:
        plain = {"Accept-Encoding": "identity"}
        name = self.settings.api_key_env
        if name is None:
            return plain
        key = os.environ.get(name, "").strip()
        if not key:
            raise ServerError(f"the environment variable {name}, which should hold the judge's key, is not set")
        return plain | {"Authorization": f"Bearer {key}"}


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds in a `Retry-After` header, a number or a date (RFC 9110, 10.2.3); None if it cannot be read."""
    if header is None:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def check_settings(options: Mapping[str, Any], reward: str) -> ServerSettings:
    """Return the server settings in a reward's options.

    Raises:
        UsageError: a setting is unknown, missing or out of range.
    """
    return validate(ServerSettings, options, where=f"reward {reward!r}")
