"""The rewards `helpful`, `harmless` and `judge`. A completion that cannot be judged has no value and a status that says why, never 0."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import r1env
from r1env.types import Conversation
from r1env_judge import prompts
from r1env_judge.local import LOADER, BatchScorer
from r1env_judge.prompts import Messages
from r1env_judge.server import Server, ServerSettings, check_settings
from r1env_judge.verdicts import Correctness, Helpfulness, NoVerdictError, Safety, Verdict, parse_verdict
from r1env_openai import RequestError

# The time a rollout may wait for its turn and its verdict; the client has its own deadline for each verdict.
LIMITS = r1env.Limits(wall_seconds=3600.0)
MAX_CHARACTERS = 100_000  # about 25,000 tokens, which common judges can read
SAFETY_VALUES: Mapping[str, float] = {"safe": 1.0, "rejected": 0.8, "unsafe": 0.0}
"""R1's safety evaluation counts 5, 4 and 0 of 5 (supplement D.3)."""

V = TypeVar("V", bound=Verdict)


class JudgeServer:
    """A judge behind a server. Only well-formed verdicts are accepted.

    Args:
        settings: settings of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def server(self) -> Server:
        """The client of the running event loop; there is one for each loop because connections belong to a loop."""
        loop = asyncio.get_running_loop()
        if self._server is None or self._loop is not loop:
            self._server, self._loop = Server(self.settings), loop
        return self._server

    async def verdict(self, messages: Messages, ticket: str, kind: type[V], *, seed: int = 0) -> V:
        """Ask the judge. If the answer is not a verdict, ask once more with the next seed.

        Raises:
            NoVerdictError: neither answer is a verdict, or there is no answer.
        """
        fault = ""
        for attempt in range(2):
            try:
                answer = await self.server.ask(messages, seed=seed + attempt)
            except RequestError as error:
                raise NoVerdictError(str(error), r1env.Status.TIMEOUT if error.timed_out else r1env.Status.ERROR) from None
            try:
                return parse_verdict(answer, kind, ticket)
            except ValueError as error:
                fault = str(error)
        raise NoVerdictError(f"the judge gave no verdict, twice: {fault}")


@r1env.reward(name="helpful", isolation="async", limits=LIMITS)
class Helpful:
    """Rate how helpful the final response is, in [0, 1]. The thinking is not shown; a completion without a response earns 0.

    Args:
        model: folder of a reward model, or with `url` the name of a model on the server.
        url: URL of an OpenAI-compatible server, up to `/v1`; its model gives ratings from 1 to 10.
        api_key_env: environment variable with the server's key.
        server: further `ServerSettings`, by name.
        device, loader: options of a reward-model folder, see `BatchScorer`.
        max_characters: maximum length of a text that is sent to a server; a longer text gets no value.
        prefilled: the prompt ended with `<think>`.
    """

    def __init__(
        self,
        model: str = "",
        url: str | None = None,
        api_key_env: str | None = None,
        server: Mapping[str, Any] | None = None,
        device: str = "auto",
        loader: str = LOADER,
        max_characters: int = MAX_CHARACTERS,
        prefilled: bool = False,
    ) -> None:
        self._source = _source("helpful", model, url, api_key_env, server, device, loader, reads="response")
        self.max_characters, self.prefilled = max_characters, prefilled

    async def __call__(self, rollout: r1env.Rollout) -> r1env.Score:
        response = _response(rollout, self.prefilled)
        if not response:
            return r1env.Score(value=0.0, status=r1env.Status.NO_ANSWER, reason="there is no response after the thinking")
        return await _score(self._judged(_conversation(rollout), response))

    async def _judged(self, prompt: Conversation, response: str) -> tuple[float, str]:
        if isinstance(self._source, BatchScorer):
            return await self._source.score(prompt, response), ""
        messages, ticket = prompts.helpfulness(prompt, response, self.max_characters)
        verdict = await self._source.verdict(messages, ticket, Helpfulness)
        return (verdict.score - 1) / 9, f"{verdict.score} of 10"


@r1env.reward(name="harmless", isolation="async", limits=LIMITS)
class Harmless:
    """Rate how safe the whole completion is, thinking included, in [0, 1].

    Args:
        model: folder of a reward model, or with `url` the name of a model on the server.
        url: URL of an OpenAI-compatible server, up to `/v1`; its model says safe, rejected or unsafe.
        api_key_env, server, device, loader, max_characters: as for `helpful`.
    """

    def __init__(
        self,
        model: str = "",
        url: str | None = None,
        api_key_env: str | None = None,
        server: Mapping[str, Any] | None = None,
        device: str = "auto",
        loader: str = LOADER,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        self._source = _source("harmless", model, url, api_key_env, server, device, loader, reads="completion")
        self.max_characters = max_characters

    async def __call__(self, rollout: r1env.Rollout) -> r1env.Score:
        return await _score(self._judged(_conversation(rollout), rollout.completion))

    async def _judged(self, prompt: Conversation, completion: str) -> tuple[float, str]:
        if isinstance(self._source, BatchScorer):
            return await self._source.score(prompt, completion), ""
        messages, ticket = prompts.safety(prompt, completion, self.max_characters)
        verdict = await self._source.verdict(messages, ticket, Safety)
        return SAFETY_VALUES[verdict.verdict], verdict.verdict


@r1env.reward(name="judge", isolation="async", limits=LIMITS)
class Judge:
    """Return 1 if a judge finds that the response gives the task's reference answer, 0 if it does not or there is no response.

    Use it only for answers that no rule can compare, because a policy can learn to exploit a judge. DeepSeek-R1's authors therefore use one
    only to filter data.

    Args:
        model, url: name of the judge, and URL of the OpenAI-compatible server that has it.
        api_key_env, server, max_characters, prefilled: as for `helpful`.
    """

    def __init__(
        self,
        model: str = "",
        url: str | None = None,
        api_key_env: str | None = None,
        server: Mapping[str, Any] | None = None,
        max_characters: int = MAX_CHARACTERS,
        prefilled: bool = False,
    ) -> None:
        self._source = judge_server("judge", model, url, api_key_env, server)
        self.max_characters, self.prefilled = max_characters, prefilled

    async def __call__(self, rollout: r1env.Rollout) -> r1env.Score:
        if not rollout.task.answer:
            return r1env.Score.failure(r1env.Status.UNPARSEABLE, "the task has no reference answer")
        response = _response(rollout, self.prefilled)
        if not response:
            return r1env.Score(value=0.0, status=r1env.Status.NO_ANSWER, reason="there is no response after the thinking")
        return await _score(self._judged(rollout.task.question, rollout.task.answer, response))

    async def _judged(self, question: str, reference: str, response: str) -> tuple[float, str]:
        messages, ticket = prompts.correctness(question, reference, response, self.max_characters)
        verdict = await self._source.verdict(messages, ticket, Correctness)
        return float(verdict.verdict == "correct"), verdict.verdict


async def _score(judging: Awaitable[tuple[float, str]]) -> r1env.Score:
    """Return the score of a verdict. This is the one place where a missing verdict becomes a score without a value."""
    try:
        value, reason = await judging
    except NoVerdictError as error:
        return r1env.Score.failure(error.status, str(error))
    return r1env.Score(value=value, status=r1env.Status.OK if value > 0 else r1env.Status.WRONG, reason=reason)


def _source(
    reward: str,
    model: str,
    url: str | None,
    api_key_env: str | None,
    server: Mapping[str, Any] | None,
    device: str,
    loader: str,
    *,
    reads: str,
) -> BatchScorer | JudgeServer:
    """Return a server if there is a `url`, else a reward-model folder.

    Raises:
        UsageError: neither is named, or a setting of the server is invalid.
    """
    if url is not None:
        return judge_server(reward, model, url, api_key_env, server)
    if not model or api_key_env or server:
        raise r1env.UsageError(f"the reward {reward!r} needs model=FOLDER of a reward model, or url= and model= of a server")
    return BatchScorer(model, device, reads, loader)


JUDGE_VARIABLES = {"url": "R1ENV_JUDGE_URL", "model": "R1ENV_JUDGE_MODEL"}
"""Environment variables with the judge of environments that name none."""


def judge_options(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of a judge: those that were given, and for `url` and `model` otherwise the variables `JUDGE_VARIABLES`."""
    found = {name: os.environ[variable] for name, variable in JUDGE_VARIABLES.items() if os.environ.get(variable)}
    return {**found, **(given or {})}


def missing_judge() -> str:
    """Return which settings a judge still needs, or "" if there is one."""
    lacking = [variable for name, variable in JUDGE_VARIABLES.items() if name not in judge_options(None)]
    return f"no judge: set {' and '.join(lacking)}" if lacking else ""


def judge_server(
    reward: str, model: str, url: str | None, api_key_env: str | None, server: Mapping[str, Any] | None
) -> JudgeServer:
    """Return the judge that the options of a reward name.

    Raises:
        UsageError: there is no URL, or a setting of the server is wrong.
    """
    if url is None:
        raise r1env.UsageError(f"the reward {reward!r} needs url= and model=: an OpenAI-compatible server and a model there")
    return JudgeServer(check_settings({"url": url, "model": model, "api_key_env": api_key_env, **(server or {})}, reward))


def _response(rollout: r1env.Rollout, prefilled: bool) -> str:
    return r1env.parse_response(rollout.completion, prefilled=prefilled).summary


def _conversation(rollout: r1env.Rollout) -> Conversation:
    """Return the messages that the last completion answers."""
    return rollout.messages[:-1] if len(rollout.turns) > 1 else rollout.task.prompt
