"""The engine `openai`: completions from any OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted models).

r1env eval --model qwen --engine openai --engine-option url=http://localhost:8000/v1 --env gsm8k
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import queue
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import anyio
from anyio.from_thread import start_blocking_portal
from pydantic import Field

from r1env import UsageError
from r1env.config import validate
from r1env.engines import OnFinished, SamplingParams, ToolSchema, derive_seed
from r1env.envs.conversation import CALL_CLOSE, CALL_OPEN
from r1env.errors import EngineError
from r1env.prompts import THINK_CLOSE, THINK_OPEN
from r1env.types import Completion, Conversation, FinishReason, Message
from r1env_openai.client import ChatClient, Reply, RequestError, ServerSettings, ToolCall

logger = logging.getLogger("r1env_openai")


class EngineSettings(ServerSettings):
    """The settings of a server, and how the engine uses it.

    Attributes:
        timeout, deadline, max_response_bytes: as in `ServerSettings`, but larger: a reasoning model may write for many minutes.
        thinking: what becomes of thinking that the server keeps apart from the answer: written before it in `<think>` tags, or dropped.
        logprobs: ask for the log-probability of each token.
        give_up_after: failures in a row, without one answer in between, that end the whole call.
        continues: the server continues the assistant's message where a conversation ends with one, when it is asked to by
            `continue_final_message` (vLLM, SGLang). A thinking budget needs it.
    """

    deadline: float = Field(default=3600.0, gt=0)
    timeout: float = Field(default=600.0, gt=0)
    max_response_bytes: int = Field(default=20_000_000, ge=1_000)
    thinking: Literal["tags", "drop"] = "tags"
    logprobs: bool = False
    give_up_after: int = Field(default=20, ge=1)
    continues: bool = False


class OpenAIEngine:
    """Completions from an OpenAI-compatible server.

    Every completion is a request of its own with a seed of its own, so that a request that fails and is repeated loses and doubles
    nothing. Parameters that OpenAI's API does not have are refused; servers that know them take them as `extra_body`. Stop texts are not sent: servers cut them off without saying which one they met, if any. The completion is cut behind the
    first of them here.

    Args:
        settings: how to reach the server.

    Attributes:
        client: its `usage` counts requests, retries, tokens and dollars.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        # A thread with an event loop of its own: the caller may have one running, as a notebook does.
        self._portal = self._stack.enter_context(start_blocking_portal())
        try:
            self.client: ChatClient = self._portal.call(ChatClient, settings)
        except RequestError as error:
            self._stack.close()
            raise UsageError(str(error)) from None
        self._stack.callback(self._portal.call, self.client.close)

    @property
    def continues(self) -> bool:
        """Whether a conversation that ends with the assistant's message gets it continued."""
        return self.settings.continues

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        found = self.generate_chat(prompts, params, [()] * len(prompts))
        return [found[start : start + params.n] for start in range(0, len(found), params.n)]

    def generate_chat(
        self,
        prompts: Sequence[Conversation],
        params: SamplingParams,
        tools: Sequence[Sequence[ToolSchema]],
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Return `params.n` completions for each prompt, in prompt-major order. See `ChatEngine`.

        Raises:
            EngineError: the server cannot answer.
            UsageError: `params` asks for what OpenAI's API does not have.
        """
        if foreign := params.changed("top_k", "min_p", "repetition_penalty", "ignore_eos"):
            raise UsageError(
                f"the engine 'openai' does not send {', '.join(foreign)}, which OpenAI's API does not have; where the server knows it, "
                f"give it as an engine option: extra_body.{foreign[0]}"
            )
        found = [_FAILED] * (len(prompts) * params.n)
        errors: Counter[str] = Counter()
        arrived: queue.SimpleQueue[tuple[int, Completion, str] | None] = queue.SimpleQueue()
        asked = self._portal.start_task_soon(self._all, prompts, params, tools, arrived)
        try:
            while (one := arrived.get()) is not None:
                row, found[row], error = one
                errors.update([error] if error else [])
                if on_finished is not None:
                    on_finished([row], [found[row]])
            asked.result()
        except BaseException:  # Ctrl-C, too, must not leave requests running
            asked.cancel()
            raise
        self._report(errors, len(found))
        return found

    def _report(self, errors: Counter[str], asked: int) -> None:
        if not errors:
            return
        commonest, count = errors.most_common(1)[0]
        if errors.total() == asked:
            raise EngineError(f"no completion from {self.settings.url}: {commonest}")
        logger.warning(
            "%d of %d completions failed and have no score; the commonest reason (%d): %s",
            errors.total(),
            asked,
            count,
            commonest,
        )

    def close(self) -> None:
        """Close the connections; log what was used."""
        if self.client.usage.requests:
            logger.info("%s: %s", self.settings.model, self.client.usage.report(self.settings))
        self._stack.close()

    async def _all(
        self,
        prompts: Sequence[Conversation],
        params: SamplingParams,
        tools: Sequence[Sequence[ToolSchema]],
        arrived: queue.SimpleQueue[tuple[int, Completion, str] | None],
    ) -> None:
        """Put every completion into the queue as it comes, with the reason why there is none (empty where there is one); then None."""
        failures = 0

        async def one(row: int, seed: int) -> None:
            nonlocal failures
            place = row // params.n
            try:
                reply = await self._ask(prompts[place], params, tools[place], seed)
            except RequestError as error:
                failures += 1
                if error.fatal or failures >= self.settings.give_up_after:
                    raise
                arrived.put((row, _FAILED, str(error)))
                return
            failures = 0
            arrived.put((row, _completion(reply, params, self.settings), ""))

        try:
            async with anyio.create_task_group() as group:
                for row, seed in enumerate(seeds_of(prompts, params)):
                    group.start_soon(one, row, seed)
        except* RequestError as errors:
            raise EngineError(f"no completions from {self.settings.url}: {_first(errors)}") from None
        finally:
            arrived.put(None)

    async def _ask(self, prompt: Conversation, params: SamplingParams, tools: Sequence[ToolSchema], seed: int) -> Reply:
        how: dict[str, Any] = {
            "max_tokens": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": seed,
            "logprobs": self.settings.logprobs,
        }
        if params.chat:
            if self.continues and prompt[-1]["role"] == "assistant":
                how["extra"] = {"continue_final_message": True, "add_generation_prompt": False}
            return await self.client.chat([_as_openai(message) for message in prompt], tools=tools, **how)
        return await self.client.complete("\n".join(message["content"] for message in prompt), **how)


_FAILED = Completion(text="", finish_reason=FinishReason.ERROR)


def seeds_of(prompts: Sequence[Conversation], params: SamplingParams) -> list[int]:
    """Return a seed below 2**31 for every completion, in prompt-major order.

    It depends on the seed of the call, the prompt and the number of the completion; not on which other prompts are in the call.
    """
    seen: Counter[bytes] = Counter()
    seeds = []
    for prompt in prompts:
        digest = hashlib.blake2b(json.dumps(prompt, sort_keys=True).encode(), digest_size=8).digest()
        parts = (params.seed, int.from_bytes(digest), seen[digest])
        seen[digest] += 1
        seeds += [derive_seed(*parts, params.first + sample) % 2**31 for sample in range(params.n)]
    return seeds


def make_openai(model: str, **options: Any) -> OpenAIEngine:
    """Return the engine for `--engine openai`; `options` are `EngineSettings`, of which `url` is required.

    Raises:
        UsageError: a setting is unknown, missing or out of range, or the variable with the key is not set.
    """
    return OpenAIEngine(validate(EngineSettings, {"model": model, **options}, where="engine 'openai'"))


def _first(errors: BaseExceptionGroup[RequestError]) -> RequestError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RequestError)
    return error


def _completion(reply: Reply, params: SamplingParams, settings: EngineSettings) -> Completion:
    text = reply.text + "".join(map(_call_as_text, reply.tool_calls))
    if reply.reasoning is not None and settings.thinking == "tags":
        text = f"{THINK_OPEN}{reply.reasoning}{THINK_CLOSE}{text}"
    cut = cut_at_stop(text, params.stop)
    length = reply.finish_reason == "length" and cut == text
    return Completion(
        text=cut,
        finish_reason=FinishReason.LENGTH if length else FinishReason.STOP,
        logprobs=reply.logprobs if cut == reply.text else None,  # of the tokens of the text; of nothing where it was changed
        # What was cut off was written and counted too; the rest has about its share of the tokens.
        tokens=None if reply.tokens is None else math.ceil(reply.tokens * len(cut) / max(1, len(text))),
    )


def cut_at_stop(text: str, stop: Iterable[str]) -> str:
    """Return the text up to and including the first of the stop texts.

    >>> cut_at_stop("<answer>4</answer> So", ["</answer>"])
    '<answer>4</answer>'
    """
    ends = [place + len(word) for word in stop if word and (place := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text


def _call_as_text(call: ToolCall) -> str:
    """Return a call in the form in which r1env reads calls; arguments that are no JSON object are kept as they are."""
    arguments = call.function.arguments
    try:
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        given = arguments
    return CALL_OPEN + json.dumps({"name": call.function.name, "arguments": given}) + CALL_CLOSE


def _as_openai(message: Message) -> dict[str, Any]:
    """Return a message in OpenAI's form: the arguments of calls are JSON text, and the content has no calls in it."""
    found: dict[str, Any] = {key: value for key, value in message.items() if key != "reasoning_content"}
    if calls := message.get("tool_calls"):
        found["content"] = message["content"].partition(CALL_OPEN)[0]
        found["tool_calls"] = [_call_as_openai(call, place) for place, call in enumerate(calls)]
    return found


def _call_as_openai(call: Mapping[str, Any], place: int) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments if arguments is not None else {})
    return {
        "id": call.get("id") or f"call_{place}",
        "type": "function",
        "function": {"name": function.get("name", ""), "arguments": text},
    }
