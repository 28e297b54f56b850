"""A client of an OpenAI-compatible server: concurrency, rate, deadlines, retries and bounds around the official `openai` package.

    client = ChatClient(ServerSettings(url="http://localhost:8000/v1", model="qwen"))
    reply = await client.chat([{"role": "user", "content": "2 + 2?"}], max_tokens=100)

Keys are read from an environment variable when a client is made; settings and run folders hold only the name of the variable.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal

import anyio
import openai
from aiolimiter import AsyncLimiter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

logger = logging.getLogger("r1env_openai")

# The HTTP library that openai uses: httpx, or its successor in newer versions.
http: Any = importlib.import_module(
    next(base for base in openai.DefaultAsyncHttpxClient.__mro__ if base.__name__ == "AsyncClient").__module__.partition(".")[0]
)

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
FATAL = frozenset({401, 403, 404})
"""Statuses that no other request to the server would escape: a wrong key, a wrong address, an unknown model."""
REPORT_EVERY = 256
"""Requests between two log lines about tokens and cost."""
MAX_WORDS = 300
"""Characters of a server's error message that are kept."""


class ServerSettings(BaseModel):
    """How to reach a server.

    Attributes:
        url: URL up to and including `/v1`.
        model: name of the model on the server.
        api_key_env: environment variable with the key, never the key itself; None for a server without one.
        concurrency: number of simultaneous requests.
        requests_per_minute: largest rate of requests; None for no limit.
        timeout: seconds without a byte, or to connect.
        deadline: seconds for one answer, retries included, counted from its first request.
        attempts: largest number of requests for one answer.
        max_response_bytes: largest response that is read.
        token_limit: name of the field that limits the answer; OpenAI's reasoning models want `max_completion_tokens`.
        extra_body: further fields of every request, such as `top_k` or `chat_template_kwargs` of vLLM.
        price_in, price_out: dollars per million tokens, for `Usage.dollars`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://[^\s@]+$")  # no user:password@, which would travel into run folders
    model: str = Field(min_length=1)
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    concurrency: int = Field(default=16, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    timeout: float = Field(default=30.0, gt=0)
    deadline: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=4, ge=1)
    max_response_bytes: int = Field(default=1_000_000, ge=1_000)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
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


class RequestError(Exception):
    """There is no answer. The message is one line and contains no key.

    Attributes:
        transient: another attempt may succeed.
        fatal: no other request to the server would succeed either.
        timed_out: the server was silent, or the deadline passed.
        retry_after: seconds to wait, if the server named a time.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        fatal: bool = False,
        timed_out: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.transient, self.fatal, self.timed_out, self.retry_after = transient, fatal, timed_out, retry_after


class Function(BaseModel):
    """A function that the model calls; `arguments` is JSON as the model wrote it."""

    name: str
    arguments: str | dict[str, Any] = "{}"


class ToolCall(BaseModel):
    """One call of a tool."""

    id: str = ""
    function: Function


class _TokenLogprob(BaseModel):
    logprob: float


class _Logprobs(BaseModel):
    content: list[_TokenLogprob] | None = None  # of /chat/completions
    token_logprobs: list[float | None] | None = None  # of /completions

    def values(self) -> tuple[float, ...] | None:
        if self.content is not None:
            return tuple(token.logprob for token in self.content)
        if self.token_logprobs is not None and None not in self.token_logprobs:
            return tuple(value for value in self.token_logprobs if value is not None)
        return None


class _Message(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None  # DeepSeek, SGLang, llama.cpp
    reasoning: str | None = None  # newer versions of vLLM, OpenRouter
    tool_calls: list[ToolCall] | None = None


class _Choice(BaseModel):
    message: _Message | None = None  # of /chat/completions
    text: str | None = None  # of /completions
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Tokens(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(BaseModel):
    """The fields of a completion that are read."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Tokens | None = None

    @field_validator("choices")
    @classmethod
    def _says_something(cls, value: list[_Choice]) -> list[_Choice]:
        if value[0].message is None and value[0].text is None:
            raise ValueError("neither message nor text")
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        text: without the thinking that the server keeps apart.
        reasoning: that thinking; None where the server reports none.
        tool_calls: in order.
        finish_reason: as the server says it: `stop`, `length`, `tool_calls`, `content_filter`, ….
        logprobs: natural-log probability of each token, where they were asked for and given.
        tokens: that the model wrote, thinking included, as the server counts them; None where it does not say.
    """

    text: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: tuple[float, ...] | None = None
    tokens: int | None = None


class ChatClient:
    """A client for one event loop.

    Args:
        settings: of the server.
        name: what messages call the server.

    Raises:
        RequestError: the environment variable with the key is not set.
    """

    def __init__(self, settings: ServerSettings, name: str = "the server") -> None:
        self.settings, self.name, self.usage = settings, name, Usage()
        self._turns = anyio.Semaphore(settings.concurrency)
        rate = settings.requests_per_minute
        # One request at a time, evenly spread: a burst of a whole minute's requests would be what the limit is meant to prevent.
        self._rate = None if rate is None else AsyncLimiter(1, 60.0 / rate)
        self._client = openai.AsyncOpenAI(
            api_key=self._key(),
            base_url=settings.url,
            timeout=settings.timeout,
            max_retries=0,  # they are counted, and bounded by the deadline, here
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),  # a redirect could carry the key elsewhere
        )

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        logprobs: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Return the model's answer to a conversation.

        Args:
            messages: in OpenAI's form.
            tools: that the model may call, in OpenAI's form.
            seed: of the sampling, where the server heeds it.
            extra: fields of this request that OpenAI's API does not have.

        Raises:
            RequestError: the failure is permanent, every attempt failed, or the deadline passed.
        """
        body = self._sampling(max_tokens, temperature, top_p, seed) | {"messages": list(messages)}
        if tools:
            body["tools"] = list(tools)
        if logprobs:
            body["logprobs"] = True
        return await self._answer(self._client.chat.completions.with_streaming_response, body, extra)

    async def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        logprobs: bool = False,
    ) -> Reply:
        """Return the model's continuation of a text; arguments and errors as in `chat`."""
        body = self._sampling(max_tokens, temperature, top_p, seed) | {"prompt": prompt}
        body["max_tokens"] = body.pop(self.settings.token_limit)  # this endpoint knows only the old name
        if logprobs:
            body["logprobs"] = 0
        return await self._answer(self._client.completions.with_streaming_response, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _sampling(self, max_tokens: int, temperature: float | None, top_p: float | None, seed: int | None) -> dict[str, Any]:
        given = {self.settings.token_limit: max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        return {"model": self.settings.model} | {key: value for key, value in given.items() if value is not None}

    async def _answer(self, endpoint: Any, body: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Reply:
        """Make requests until one succeeds, the attempts are used up, or the deadline has passed."""
        async with self._turns:
            last: RequestError | None = None
            try:
                with anyio.fail_after(self.settings.deadline):
                    async for attempt in self._attempts():
                        with attempt:
                            if attempt.retry_state.attempt_number > 1:
                                self.usage.retries += 1
                            try:
                                return await self._request(endpoint, body, extra)
                            except RequestError as error:
                                last = error
                                raise
            except TimeoutError:
                self.usage.failures += 1
                why = f"; the last attempt: {last}" if last else ""
                raise RequestError(
                    f"{self.name} gave no answer within {self.settings.deadline:g} s{why}", timed_out=True
                ) from None
            except RequestError:
                self.usage.failures += 1
                raise
        raise AssertionError("tenacity returns an answer or raises")

    def _attempts(self) -> AsyncRetrying:
        backoff = wait_exponential_jitter(multiplier=0.5, max=20.0)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, RequestError) else None
            return backoff(state) if asked is None else asked

        return AsyncRetrying(
            stop=stop_after_attempt(self.settings.attempts),
            retry=retry_if_exception(lambda error: isinstance(error, RequestError) and error.transient),
            wait=wait,
            reraise=True,
        )

    async def _request(self, endpoint: Any, body: Mapping[str, Any], extra: Mapping[str, Any] | None) -> Reply:
        """Make one request."""
        if self._rate is not None:
            await self._rate.acquire()
        self.usage.requests += 1
        if self.usage.requests % REPORT_EVERY == 0:
            logger.info("%s, model %s: %s", self.name, self.settings.model, self.usage.report(self.settings))
        # Uncompressed, because a compressed body could grow a thousandfold; read in pieces, because any body could be endless.
        sent: AbstractAsyncContextManager[Any] = endpoint.create(
            **body, extra_body={**self.settings.extra_body, **(extra or {})}, extra_headers={"Accept-Encoding": "identity"}
        )
        try:
            async with sent as response:
                content = bytearray()
                async for piece in response.http_response.aiter_raw():
                    content += piece
                    if len(content) > self.settings.max_response_bytes:
                        raise RequestError(f"{self.name} sent more than {self.settings.max_response_bytes} bytes")
        except openai.APITimeoutError:
            raise self._silent() from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APIConnectionError as error:
            raise self._unreachable(error.__cause__ or error) from None
        except http.TimeoutException:
            raise self._silent() from None
        except http.HTTPError as error:  # while the body was read: the connection broke, or what came is not HTTP
            raise self._unreachable(error) from None
        return self._read(bytes(content))

    def _read(self, content: bytes) -> Reply:
        try:
            answer = _Answer.model_validate_json(content)
        except ValidationError:
            raise RequestError(f"{self.name} sent no completion", transient=True) from None
        if answer.usage is not None:
            self.usage.prompt_tokens += answer.usage.prompt_tokens
            self.usage.completion_tokens += answer.usage.completion_tokens
        choice = answer.choices[0]
        logprobs = choice.logprobs.values() if choice.logprobs else None
        tokens = (answer.usage.completion_tokens or None) if answer.usage else None
        if choice.message is None:
            return Reply(choice.text or "", finish_reason=choice.finish_reason, logprobs=logprobs, tokens=tokens)
        message = choice.message
        return Reply(
            message.content or "",
            reasoning=message.reasoning_content or message.reasoning,
            tool_calls=tuple(message.tool_calls or ()),
            finish_reason=choice.finish_reason,
            logprobs=logprobs,
            tokens=tokens,
        )

    def _silent(self) -> RequestError:
        return RequestError(f"{self.name} was silent for {self.settings.timeout:g} s", transient=True, timed_out=True)

    def _unreachable(self, error: BaseException) -> RequestError:
        return RequestError(f"no answer from {self.name} ({type(error).__name__})", transient=True)

    def _refused(self, error: openai.APIStatusError) -> RequestError:
        status = error.status_code
        said = " ".join(error.message.split())[:MAX_WORDS] if status in (400, 413, 422) else ""
        return RequestError(
            f"{self.name} answered with status {status}" + (f": {said}" if said else ""),
            transient=status in TRANSIENT,
            fatal=status in FATAL or 300 <= status < 400,
            retry_after=retry_after(error.response.headers.get("retry-after"), datetime.now(UTC)),
        )

    def _key(self) -> str:
        name = self.settings.api_key_env
        if name is None:
            return "none"  # the client wants one; a server without keys ignores it
        key = os.environ.get(name, "").strip()
        if not key:
            raise RequestError(
                f"the environment variable {name}, which should hold the key of {self.name}, is not set", fatal=True
            )
        return key


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds in a `Retry-After` header, a number or a date (RFC 9110, 10.2.3); None if it cannot be read.

    >>> retry_after("7", datetime.now(UTC))
    7.0
    """
    if header is None:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (TypeError, ValueError):
        return None
