"""The application of `r1env serve`: one rubric behind HTTP.

| route | who calls it | what it does |
|---|---|---|
| `POST /v1/score` | anyone | scores a batch of completions; a score without a value is `null`, and says why |
| `GET /v1/rubric` | anyone | the rewards, their weights, and the keys of the parts |
| `POST /get_reward` | OpenRLHF, `--reward.remote_url` | see `r1env.adapters.openrlhf` |
| `POST /slime` | slime, `--rm-type remote_rm --rm-url` | a number; with `?parts=true` an object, for `--reward-key score` |
| `POST /verl` | `r1env.adapters.verl.remote_compute_score` | what verl's `compute_score` returns |
| `POST /seed_session`, `POST /verify` | NeMo Gym | see `r1env.adapters.nemo_gym`; with an environment, `r1env.server.nemo_gym` |
| `WS /ws`, `GET /schema`, `GET /health` | OpenEnv's clients, where an environment is served | see `r1env.server.openenv` |
| `GET /healthz`, `GET /metrics` | orchestrators, Prometheus | whether it is there; counts and times |

A request that has been read whole is answered, whatever happens to a reward: the server never drops one, and on SIGTERM it answers what
it has before it ends. More work than `ServerLimits` allows is refused with 429 before any of it is scored.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import anyio
import anyio.to_thread
import prometheus_client
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from r1env import __version__
from r1env.adapters import nemo_gym, openrlhf, slime, verl
from r1env.adapters.core import check_unscored, numbers, score_items
from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.rewards import Isolation
from r1env.rewards import Scope as RewardScope
from r1env.rubrics import Rubric, needs_whole_groups
from r1env.runs.files import to_json
from r1env.scoring.pool import ScoringPool, default_pool
from r1env.server.nemo_gym import add_nemo_gym
from r1env.server.openenv import add_openenv
from r1env.types import FinishReason, Message, Rollout, Score, Task, TaskKind

logger = logging.getLogger(__name__)

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

RETRY_SECONDS = 1
MIN_TOKEN = 16  # characters; a shorter token can be guessed over a fast network


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients may ask of the server.

    Attributes:
        max_body_mb: of one request, in MiB; a longer one is refused with 413.
        max_items: completions in one request; more are refused with 413.
        max_queue: completions that are being scored or wait for it, over all requests; what would exceed it is refused with 429.
        max_buffered_mb: bodies that are being received and worked on, in MiB, over all requests; more are refused with 429.
        body_seconds: how long a client may take to send its request; then it is refused with 408.
        threads: requests that are scored at once; the others wait in order.
    """

    max_body_mb: int = 32
    max_items: int = 4_096
    max_queue: int = 16_384
    max_buffered_mb: int = 512
    body_seconds: float = 30.0
    threads: int = 64


class Item(BaseModel):
    """One completion to score, with its task: the fields of `r1env.Task` and of `r1env.Rollout`.

    Items of one request with the same task are a group for rewards of scope `group`. `id` may be left out where no reward needs groups.
    """

    model_config = ConfigDict(extra="forbid")

    completion: str
    prompt: str | list[dict[str, Any]] = ""
    id: str | int = ""
    answer: str | None = None
    tests: list[dict[str, Any]] = Field(default_factory=list)
    kind: TaskKind = TaskKind.MATH
    language: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    messages: list[dict[str, Any]] = Field(default_factory=list, description="The whole conversation, prompt included.")
    finish_reason: FinishReason = FinishReason.STOP


class ScoreRequest(BaseModel):
    """A batch for `/v1/score`."""

    model_config = ConfigDict(extra="forbid")

    items: list[Item]


class ScoreAnswer(BaseModel):
    """One score. `value` is null where there is none; `status` and `reason` then say why. A part that was not scored is null."""

    id: str | int
    value: float | None
    parts: dict[str, float | None]
    status: str
    reason: str
    seconds: float


class ScoresAnswer(BaseModel):
    """The scores of a batch, in its order."""

    rubric: str
    scores: list[ScoreAnswer]


class RubricAnswer(BaseModel):
    """What the server scores with."""

    name: str
    part_keys: list[str]
    rewards: list[dict[str, Any]]


class OpenRLHFRequest(BaseModel):
    """What OpenRLHF sends: lists of one length; an empty list is answered with empty lists."""

    model_config = ConfigDict(extra="ignore")

    query: list[str]
    prompts: list[str]
    labels: list[Any]


class SlimeRequest(BaseModel):
    """What slime's `remote_rm` sends. Its metadata does not travel: put what the reward needs into the label."""

    model_config = ConfigDict(extra="ignore")

    prompt: str | list[dict[str, Any]]
    response: str
    label: Any = None


class VerlRequest(BaseModel):
    """The arguments of verl's `compute_score`."""

    model_config = ConfigDict(extra="ignore")

    data_source: str = ""
    solution_str: str
    ground_truth: Any = None
    extra_info: dict[str, Any] | None = None


class Fault(BaseModel):
    """Why a request was refused."""

    detail: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": what}
    for status, what in {
        400: "the body is not JSON",
        401: "the token is missing or wrong",
        408: "the body took too long to arrive",
        409: "a reward of this rubric needs whole groups, which this route does not have",
        413: "the body, or the number of items, is too large",
        422: "the JSON does not have the fields of this route",
        429: "too much work is waiting; try again",
    }.items()
}


def make_app(
    rubric: Rubric,
    *,
    token: str | None = None,
    limits: ServerLimits | None = None,
    unscored: float = 0.0,
    pool: ScoringPool | None = None,
    environment: Environment | None = None,
    log_completions: bool = False,
) -> FastAPI:
    """Return the application that scores with a rubric.

    Args:
        environment: served to OpenEnv's clients, see `r1env.server.openenv`, and to NeMo Gym's agents with its tools, see
            `r1env.server.nemo_gym`.
        token: that every request must bring, `/healthz` excepted; see `Gate`.
        unscored: the number for a score without a value, for the stacks that know only numbers.
        pool: workers to use instead of those of the process.
        log_completions: write every completion to the log, at INFO. By default the log has counts and times only.

    Raises:
        UsageError: the token is short enough to be guessed, or `unscored` is not finite.

    Example:
        >>> from r1env.adapters.core import load_rubric
        >>> make_app(load_rubric("zero")).title
        'r1env'
    """
    limits = limits or ServerLimits()
    fallback = check_unscored(unscored)
    if token is not None and len(token) < MIN_TOKEN:
        raise UsageError(
            f"the token has {len(token)} characters; use at least {MIN_TOKEN}, such as `openssl rand -hex 16` prints"
        )
    metrics = Metrics()
    scorer = Scorer(rubric, limits, metrics, pool, log_completions=log_completions)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await scorer.warm_up()
        yield

    app = FastAPI(title="r1env", version=__version__, summary=f"Scores completions with {rubric.name}.", lifespan=lifespan)
    app.add_middleware(Gate, token=token, limits=limits, metrics=metrics)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:])) or "the request"
        return JSONResponse({"detail": f"{where}: {first['msg']}"[:1000]}, 422 if first["type"] != "json_invalid" else 400)

    @app.post("/v1/score", response_model=ScoresAnswer, responses=REFUSALS)
    async def score(request: ScoreRequest) -> Response:
        scores = await scorer.score("score", request.items, _rollout_of_item, whole_groups=True)
        answers = [
            {**one.model_dump(exclude={"turns"}), "id": item.id} for item, one in zip(request.items, scores, strict=True)
        ]
        return _json({"rubric": rubric.name, "scores": answers})

    @app.get("/v1/rubric", response_model=RubricAnswer, responses={401: REFUSALS[401]})
    async def describe() -> Response:
        return _json({"name": rubric.name, "part_keys": rubric.part_keys, "rewards": rubric.describe()})

    @app.post("/get_reward", response_model=dict[str, Any], responses=REFUSALS)
    async def get_reward(request: OpenRLHFRequest) -> Response:
        if not len(request.query) == len(request.prompts) == len(request.labels):
            raise HTTPException(422, "query, prompts and labels are lists of one length")
        items = list(zip(request.query, request.prompts, request.labels, strict=True))
        scores = await scorer.score("openrlhf", items, openrlhf.rollout_of_query)
        return _json(openrlhf.answer(scores, rubric, fallback))

    @app.post("/slime", response_model=float | dict[str, float], responses=REFUSALS)
    async def remote_rm(
        request: SlimeRequest, parts: Annotated[bool, Query(description="Answer an object.")] = False
    ) -> Response:
        item = (request.prompt, request.response, {"label": request.label})
        (one,) = await scorer.score("slime", [item], slime.rollout_of_sample)
        value = fallback if one.value is None else one.value
        return _json({"score": value, **numbers(one, rubric, fallback)} if parts else value)

    @app.post("/verl", response_model=dict[str, float], responses=REFUSALS)
    async def compute_score(request: VerlRequest) -> Response:
        known = {"data_source": request.data_source, "ground_truth": request.ground_truth}
        item = (request.solution_str, {**(request.extra_info or {}), **known})
        (one,) = await scorer.score("verl", [item], verl.rollout_of_solution)
        return _json(verl.answer(one, rubric, fallback))

    if environment is not None:

        async def score_episode(rollout: Rollout) -> Score:
            (one,) = await scorer.score("openenv", [rollout], _itself)
            return one

        add_openenv(app, environment, score_episode)
        add_nemo_gym(app, environment, rubric, score_episode)
    else:

        @app.post("/seed_session", response_model=dict[str, Any], responses=REFUSALS)
        async def seed_session(_: dict[str, Any]) -> Response:
            return _json({})  # a rubric keeps nothing between requests

        @app.post("/verify", response_model=dict[str, Any], responses=REFUSALS)
        async def verify(request: dict[str, Any]) -> Response:
            (one,) = await scorer.score("nemo_gym", [request], nemo_gym.rollout_of_request)
            return _json(nemo_gym.answer(request, one, rubric))

    @app.get("/healthz", response_model=dict[str, str])
    async def healthz() -> Response:
        return _json({"status": "ok", "version": __version__, "rubric": rubric.name})

    @app.get("/metrics", response_class=Response, responses={401: REFUSALS[401]})
    async def read_metrics() -> Response:
        return Response(prometheus_client.generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    return app


class Scorer:
    """Scores the items of requests in threads, within limits.

    Each request is one call of the rewards, so a completion that hangs keeps its own request waiting and no other: the workers take the
    chunks of all calls in turn.
    """

    def __init__(
        self, rubric: Rubric, limits: ServerLimits, metrics: Metrics, pool: ScoringPool | None, *, log_completions: bool
    ) -> None:
        self._rubric = rubric
        self._limits = limits
        self._metrics = metrics
        self._pool = pool
        self._log_completions = log_completions
        self._queued = 0
        self._threads: anyio.CapacityLimiter | None = None

    async def warm_up(self) -> None:
        """Start the workers and have them load the rewards, so that the first request does not wait for it."""
        self._threads = anyio.CapacityLimiter(self._limits.threads)
        await anyio.to_thread.run_sync(self._load_in_workers)

    def _load_in_workers(self) -> None:
        pool = self._pool or default_pool()
        # Fractions, because a checker may load its parser only when an answer is more than a number.
        task = Task(id="warm-up", prompt="2 / 4 = ?", answer="\\frac{1}{2}")
        rollouts = [
            Rollout(task=task, completion=f"\\boxed{{\\frac{{{number}}}{{{number + 1}}}}}") for number in range(pool.workers)
        ]
        for item in self._rubric.rewards:
            if item.reward.isolation is Isolation.PROCESS:
                groups = [1] * len(rollouts) if item.reward.scope is RewardScope.GROUP else []
                failed = next((score for score in pool.submit(item.reward, rollouts, groups).result() if score.failed), None)
                if failed is not None:
                    logger.warning("reward %r failed when it was tried at the start: %s", item.reward.name, failed.reason)

    async def score(
        self, route: str, items: Sequence[T], to_rollout: Callable[[T], Rollout], *, whole_groups: bool = False
    ) -> list[Score]:
        """Return a score for each item, in order.

        Raises:
            HTTPException: the request has too many items, too much is waiting, or the route cannot show a reward its groups.
        """
        if len(items) > self._limits.max_items:
            raise HTTPException(413, f"{len(items)} items in one request; at most {self._limits.max_items} are taken")
        if not whole_groups and needs_whole_groups(self._rubric):
            raise HTTPException(409, "a reward of this rubric needs all completions of a task together; send them to /v1/score")
        if self._queued and self._queued + len(items) > self._limits.max_queue:
            raise HTTPException(429, f"{self._queued} items are waiting; try again later", {"Retry-After": str(RETRY_SECONDS)})
        started = time.perf_counter()
        self._queued += len(items)
        self._metrics.queued.set(self._queued)
        try:
            scores = await anyio.to_thread.run_sync(self._call, items, to_rollout, limiter=self._threads)
        finally:
            self._queued -= len(items)
            self._metrics.queued.set(self._queued)
        self._record(route, scores, time.perf_counter() - started)
        return scores

    def _call(self, items: Sequence[T], to_rollout: Callable[[T], Rollout]) -> list[Score]:
        if self._log_completions:
            to_rollout = _logged(to_rollout)
        return score_items(items, to_rollout, self._rubric, pool=self._pool)

    def _record(self, route: str, scores: Sequence[Score], seconds: float) -> None:
        statuses = Counter(str(score.status) for score in scores)
        for status, count in statuses.items():
            self._metrics.items.labels(route, status).inc(count)
        self._metrics.unscored.labels(route).inc(sum(score.value is None for score in scores))
        self._metrics.seconds.labels(route).observe(seconds)
        logger.info("%s: %d items in %.3f s: %s", route, len(scores), seconds, dict(statuses))


def _logged(to_rollout: Callable[[T], Rollout]) -> Callable[[T], Rollout]:
    def logged(item: T) -> Rollout:
        rollout = to_rollout(item)
        logger.info("task %s: %r", rollout.task.id, rollout.completion)
        return rollout

    return logged


class Metrics:
    """What `/metrics` shows, in a registry of its own, so that a process may have several servers."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.requests = prometheus_client.Counter("r1env_requests", "HTTP requests answered.", ["code"], registry=self.registry)
        self.items = prometheus_client.Counter(
            "r1env_items", "Completions scored, by the status of their score.", ["route", "status"], registry=self.registry
        )
        self.unscored = prometheus_client.Counter(
            "r1env_unscored", "Completions whose score has no value.", ["route"], registry=self.registry
        )
        self.seconds = prometheus_client.Histogram(
            "r1env_scoring_seconds",
            "Wall seconds from a request that was read whole to its scores.",
            ["route"],
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.queued = prometheus_client.Gauge(
            "r1env_queued_items", "Completions being scored or waiting.", registry=self.registry
        )
        self.wrong_tokens = prometheus_client.Counter(
            "r1env_wrong_tokens", "Requests without the right token.", registry=self.registry
        )


class Gate:
    """What every request passes first: the token, the length of the body, and the time it takes to arrive.

    A client brings the token as `Authorization: Bearer TOKEN`, or, where all it takes is a URL, as the beginning of the path:
    `http://host:8000/token/TOKEN/get_reward`. The body is read whole before anything else happens, so a slow client holds neither a thread
    nor a place in the queue.
    """

    OPEN = ("/healthz",)

    def __init__(self, app: Any, token: str | None, limits: ServerLimits, metrics: Metrics) -> None:
        self._app = app
        self._token = token
        self._limits = limits
        self._metrics = metrics
        self._buffered = 0  # bytes of bodies, of all requests
        self._wrong_tokens = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given, scope = _given_token(scope)
        if self._token is not None and scope["path"] not in self.OPEN and not _equal(given, self._token):
            self._note_wrong_token(scope)
            await _refuse(
                scope,
                receive,
                self._counted(send),
                401,
                "a token is required: Authorization: Bearer TOKEN, or /token/TOKEN/... as the path",
            )
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._with_body(scope, receive, self._counted(send))

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = 0
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    part = message.get("body", b"")
                    held += len(part)
                    self._buffered += len(part)
                    if held > self._limits.max_body_mb << 20:
                        await _refuse(scope, receive, send, 413, f"a body of more than {self._limits.max_body_mb} MiB")
                        return
                    if self._buffered > self._limits.max_buffered_mb << 20:
                        await _refuse(scope, receive, send, 429, "too many requests are being received; try again later")
                        return
                    body += part
                    more = message.get("more_body", False)
        except TimeoutError:
            await _refuse(scope, receive, send, 408, f"the body did not arrive within {self._limits.body_seconds:g} s")
            return
        else:
            await self._app(scope, _replayed(bytes(body), receive), send)
        finally:
            self._buffered -= held

    def _counted(self, send: Send) -> Send:
        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        return counted

    def _note_wrong_token(self, scope: Scope) -> None:
        self._metrics.wrong_tokens.inc()
        self._wrong_tokens += 1
        if self._wrong_tokens & (self._wrong_tokens - 1) == 0:  # 1, 2, 4, 8, …: a guesser must not fill the log
            client = (scope.get("client") or ("unknown",))[0]
            logger.warning("%d requests without the right token so far; the last is from %s", self._wrong_tokens, client)


def _given_token(scope: Scope) -> tuple[str, Scope]:
    """Return the token that a request brings, and the request without it in its path."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    given = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
    if scope["path"].startswith("/token/"):
        given, _, rest = scope["path"].removeprefix("/token/").partition("/")
        scope = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
    return given, scope


def _equal(given: str, token: str) -> bool:
    """Compare in a time that does not depend on how much of the token is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that has the body at once, and then whatever comes."""
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        return parts.pop() if parts else await receive()

    return replayed


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": detail})
        return
    headers = {"Connection": "close"}  # the rest of the body is not read
    if status == 429:
        headers["Retry-After"] = str(RETRY_SECONDS)
    await JSONResponse({"detail": detail}, status, headers)(scope, receive, send)


def _rollout_of_item(item: Item) -> Rollout:
    prompt = item.prompt if isinstance(item.prompt, str) else tuple(map(_message, item.prompt))
    task = Task(
        id=str(item.id),
        prompt=prompt,
        answer=item.answer,
        tests=tuple(item.tests),
        kind=item.kind,
        language=item.language,
        metadata=item.metadata,
    )
    return Rollout(
        task=task,
        completion=item.completion,
        messages=tuple(map(_message, item.messages)),
        finish_reason=item.finish_reason,
    )


def _message(given: Mapping[str, Any]) -> Message:
    return cast(Message, dict(given))  # Task and Rollout check it


def _itself(rollout: Rollout) -> Rollout:
    return rollout


def _json(value: Any, status: int = 200) -> Response:
    """ASCII, since a reason may quote a lone surrogate of a model's text, which UTF-8 cannot hold."""
    return Response(to_json(value), status, media_type="application/json")
