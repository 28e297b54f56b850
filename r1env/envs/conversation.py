"""`ConversationEnv`, an environment with state and tools that answers the model, and `Episode`, which plays one task with it turn by turn.

`gymnasium.make`, the trainers, evaluation and the distributed backend all use `Episode`. This module depends on neither models nor rewards.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import math
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from pydantic import PydanticUserError, TypeAdapter

from r1env.errors import UsageError
from r1env.scoring.limits import PerProcess
from r1env.types import Completion, Conversation, EndedBy, FinishReason, Message, Rollout, Task, Turn, fault_of_messages

logger = logging.getLogger(__name__)

R = TypeVar("R")

MAX_ERROR = 500  # characters of a third-party exception that are kept


@dataclass(frozen=True, slots=True)
class Tool:
    """The description of a tool for a model.

    Attributes:
        parameters: JSON schema of the arguments, of type `object`.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def as_function(self) -> dict[str, Any]:
        """Return the description in the form that chat templates and OpenAI-compatible servers expect."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.parameters)},
        }


@dataclass(frozen=True, slots=True)
class StepResult:
    """An environment's answer to one message of the model.

    Attributes:
        messages: the messages that the model reads next, usually of role `user` or `tool`. Ignored if the episode is over.
        reward: the reward for this turn, or None if the environment gives no reward for single turns. The reward named `environment` is the
            sum over the turns.
        done: True if the episode is over.
        info: information for logging, such as the error of a tool.
    """

    messages: Sequence[Message] = ()
    reward: float | None = None
    done: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class ConversationEnv(Protocol):
    """The environment of a conversation. There is one object per episode, which may keep state.

    Every method may be a coroutine or a plain method. All of them run on one event loop in a separate thread, so a plain method that
    blocks delays the other episodes. An exception in any method ends the episode without a score; the exception becomes the reason, and
    the run continues.

    If the reward depends on the state in which the episode ends, for example on the files in a container, define a method `truncated()`.
    It is called before `close` if a limit (on turns, or a full context) ends the episode, and returns the reward of the current state,
    which is added to that of the last turn. Without this method, such an episode has only the rewards of its turns.

    Example:
        >>> class Echo:
        ...     tools = ()
        ...     def reset(self, task):
        ...         return task.prompt
        ...     async def step(self, message):
        ...         return StepResult([{"role": "user", "content": message["content"]}], done="bye" in message["content"])
        ...     async def close(self):
        ...         pass
        >>> isinstance(Echo(), ConversationEnv)
        True
    """

    tools: Sequence[Tool]

    def reset(self, task: Task) -> Sequence[Message]:
        """Begin an episode of `task` and return the opening messages, which replace those of the prompt template."""

    async def step(self, message: Message) -> StepResult:
        """Answer the model's message, which has `tool_calls` if the model called tools (see `parse_tool_calls`)."""

    async def close(self) -> None:
        """Release the episode's resources. Called exactly once, however the episode ends."""


class Dialogue(Protocol):
    """The environment of a conversation without state: its reply depends only on the conversation."""

    def reply(self, task: Task, messages: Conversation) -> str | None:
        """Return the environment's answer to the model's last message, or None if the episode is over."""


Reply = Callable[[Task, Conversation], str | None]
"""A plain function may stand for a `Dialogue`."""


class ToolEnv:
    """A `ConversationEnv` whose tools are plain functions. Subclasses add state, or override `step` and call `super().step`.

    If the model calls a tool that does not exist, a call cannot be parsed, or a tool raises, the model is told in a message, and the error is
    recorded in `info`. The episode is over when the model calls no tool.

    Args:
        functions: the tools. The model sees their docstrings and the annotations of their parameters.
        max_reply: maximum number of characters of a tool's result that the model sees.

    Example:
        >>> def add(a: int, b: int) -> int:
        ...     "Add two whole numbers."
        ...     return a + b
        >>> ToolEnv([add]).tools[0].parameters["required"]
        ['a', 'b']
    """

    def __init__(self, functions: Iterable[Callable[..., Any]] = (), *, max_reply: int = 10_000) -> None:
        self._functions = {function.__name__: function for function in functions}
        self._max_reply = max_reply
        self.tools: Sequence[Tool] = [describe_tool(function) for function in self._functions.values()]

    def reset(self, task: Task) -> Sequence[Message]:
        return task.prompt

    async def step(self, message: Message) -> StepResult:
        calls = message.get("tool_calls", ())
        if not calls:
            return StepResult(done=True)
        replies: list[Message] = []
        errors: list[str] = []
        for call in calls:
            text, error = await self._call(call)
            replies.append(
                {
                    "role": "tool",
                    "content": text[: self._max_reply],
                    "tool_call_id": call["id"],
                    "name": call["function"]["name"],
                }
            )
            errors += [error] if error else []
        return StepResult(replies, info={"tool_errors": errors} if errors else {})

    async def close(self) -> None:
        pass

    async def _call(self, call: Mapping[str, Any]) -> tuple[str, str]:
        """Return a call's reply, and what went wrong or ""."""
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if not isinstance(arguments, Mapping):
            return _both(
                f"error: the tool call could not be read: {call['function'].get('error', 'arguments are no JSON object')}"
            )
        if name not in self._functions:
            return _both(f"error: there is no tool {name!r}; there are: {', '.join(self._functions) or 'none'}")
        try:
            result = self._functions[name](**arguments)
            if inspect.isawaitable(result):
                result = await result
            return result if isinstance(result, str) else json.dumps(result, default=str), ""
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool may raise anything; the model is told, and info records it
            return _both(f"error: {type(error).__name__}: {error}"[:MAX_ERROR])


def _both(text: str) -> tuple[str, str]:
    return text, text


def describe_tool(function: Callable[..., Any]) -> Tool:
    """Describe a function to a model: its name, the first paragraph of its docstring, and its parameters as a JSON schema.

    A parameter without an annotation, or with an annotation that pydantic has no schema for, accepts any value.
    """
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        properties[name] = {}
        if parameter.annotation is not parameter.empty:
            with contextlib.suppress(PydanticUserError):
                properties[name] = TypeAdapter(parameter.annotation).json_schema()
        if parameter.default is parameter.empty:
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required}
    return Tool(function.__name__, (inspect.getdoc(function) or "").partition("\n\n")[0], schema)


# Tool calls in a model's text.

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
MAX_CALLS = 32  # of one message
MAX_CALL = 100_000  # characters of one call


def parse_tool_calls(text: str) -> list[dict[str, Any]]:
    """Return the tool calls in a text, in order: JSON objects `{"name": …, "arguments": {…}}` between `<tool_call>` tags (Hermes, Qwen).

    This never raises. A call that cannot be parsed has `arguments` None and the reason under `error`, so that the environment can tell the
    model. If there are more than `MAX_CALLS` calls, one such call stands for all further ones.

    Example:
        >>> parse_tool_calls('<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>')[0]["function"]
        {'name': 'add', 'arguments': {'a': 1, 'b': 2}}
    """
    functions: list[dict[str, Any]] = []
    position = 0
    while (start := text.find(CALL_OPEN, position)) >= 0 and len(functions) <= MAX_CALLS:
        start += len(CALL_OPEN)
        end = text.find(CALL_CLOSE, start)
        position = len(text) if end < 0 else end + len(CALL_CLOSE)
        if end < 0:
            functions.append(_unreadable(f"{CALL_CLOSE} is missing"))
        else:
            functions.append(_function_of(text[start:end], "arguments"))
    return _numbered(functions)


PYTHON_TAG = "<|python_tag|>"
_END_OF_LLAMA = re.compile(r"(?:\s|<\|e(?:om|ot)_id\|>)*")
_BEGINS_A_CALL = re.compile(r'\{\s*"(?:name|type)"\s*:')


def parse_llama_calls(text: str) -> list[dict[str, Any]]:
    """Return the tool calls of a text that is nothing else: JSON objects `{"name": …, "parameters": {…}}`, one or several with `;` between (Llama 3).

    They may follow `<|python_tag|>` and precede `<|eom_id|>`. A text that begins in any other way is an answer without calls. This never
    raises; for calls that cannot be parsed, see `parse_tool_calls`.

    Example:
        >>> parse_llama_calls('{"name": "add", "parameters": {"a": 1, "b": 2}}')[0]["function"]
        {'name': 'add', 'arguments': {'a': 1, 'b': 2}}
    """
    rest = text.lstrip()
    tagged = rest.startswith(PYTHON_TAG)
    rest = rest.removeprefix(PYTHON_TAG).lstrip()
    if not tagged and not _BEGINS_A_CALL.match(rest):
        return []
    functions: list[dict[str, Any]] = []
    while rest and len(functions) <= MAX_CALLS:
        length = _length_of_object(rest[:MAX_CALL])
        if length is None:  # it is unknown where the next call would begin
            why = (
                f"it is longer than {MAX_CALL} characters"
                if len(rest) > MAX_CALL
                else "it is not a JSON object, or has text behind it"
            )
            functions.append(_unreadable(why))
            break
        functions.append(_function_of(rest[:length], "parameters"))
        rest = rest[length:]
        rest = rest[cast("re.Match[str]", _END_OF_LLAMA.match(rest)).end() :].removeprefix(";").lstrip()
    return _numbered(functions)


def _length_of_object(text: str) -> int | None:
    """Return how many characters the JSON object has that a text begins with, or None."""
    if not text.startswith("{"):
        return None
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except (ValueError, RecursionError):
        return None


def _numbered(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(functions) > MAX_CALLS:
        functions[MAX_CALLS:] = [
            _unreadable(f"a message may have {MAX_CALLS} calls; this one and those behind it were not made")
        ]
    return [{"id": f"call_{number}", "type": "function", "function": one} for number, one in enumerate(functions)]


def _function_of(body: str, key: str) -> dict[str, Any]:
    """Return name and arguments of a call. The arguments are under `key`, or under the other of its two usual names."""
    if len(body) > MAX_CALL:
        return _unreadable(f"it is longer than {MAX_CALL} characters")
    try:
        call = json.loads(body)
        shown = json.dumps(
            call, ensure_ascii=False, allow_nan=False
        )  # Python reads NaN and 1e999, which no server or log takes
    except (ValueError, RecursionError) as error:
        return _unreadable(f"it is not JSON ({type(error).__name__})")
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return _unreadable("it has no name")
    other = "parameters" if key == "arguments" else "arguments"
    arguments = call.get(key, call.get(other, {}))
    if LONE_SURROGATE.search(shown):
        return _unreadable("it has half of a surrogate pair, which is no character")
    if not isinstance(arguments, dict):
        return {"name": call["name"], "arguments": None, "error": f"{key} is no JSON object"}
    return {"name": call["name"], "arguments": arguments}


def _unreadable(why: str) -> dict[str, Any]:
    return {"name": "", "arguments": None, "error": why}


LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: JSON can write it and `os.fsdecode` makes it, but no tokenizer and no UTF-8 file takes it."""


ToolParser = Callable[[str], Sequence[Mapping[str, Any]]]
"""Text of a completion → its tool calls; see `parse_tool_calls`."""


# Coroutines of environments run on one event loop, in a thread of its own.


class _LoopThread:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="r1env-environments", daemon=True).start()

    def run(self, coroutines: Sequence[Coroutine[Any, Any, R]]) -> list[R]:
        """Run coroutines side by side and return their results. When the caller is interrupted they are cancelled, and may clean up."""
        over = threading.Event()

        async def together() -> list[R]:
            try:
                return list(await asyncio.gather(*coroutines))
            finally:
                over.set()

        future = asyncio.run_coroutine_threadsafe(together(), self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, above all
            future.cancel()
            over.wait(CLEAN_UP_SECONDS)
            raise


CLEAN_UP_SECONDS = 5.0  # for environments whose step was interrupted

_loop = PerProcess(_LoopThread)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn as it is played. The model `Turn` is made of it once the episode is over: a batch has thousands."""

    message: Message
    replies: Conversation
    completion: Completion
    reward: float | None

    def as_turn(self) -> Turn:
        return Turn(
            message=self.message,
            replies=self.replies,
            token_ids=self.completion.token_ids,
            logprobs=self.completion.logprobs,
            tokens=self.completion.tokens,
            finish_reason=self.completion.finish_reason,
            reward=self.reward,
        )


class Episode:
    """One episode of a task, from the opening to the `Rollout`.

    Args:
        prompt: the opening messages, unless the environment has its own.
        other: what answers the model: a `ConversationEnv`, a `Dialogue`, a function, or None for a task of a single turn.
        step_seconds: how long a `ConversationEnv` may take for one of its methods.

    Attributes:
        turns: the model's turns so far.
        ended_by: who ended the episode; None while it is running.
        error: why the environment failed, or "". An episode with an error is not scored.
        info: the `info` of the environment's last step.
        tools: the tools that the model may call.
    """

    def __init__(
        self,
        task: Task,
        prompt: Conversation,
        *,
        max_turns: int = 1,
        other: ConversationEnv | Dialogue | Reply | None = None,
        tool_parser: ToolParser = parse_tool_calls,
        step_seconds: float = 300.0,
    ) -> None:
        self.task = task
        self.turns = 0
        self.ended_by: EndedBy | None = None
        self.error = ""
        self.info: Mapping[str, Any] = {}
        self.tools: Sequence[Tool] = ()
        self._messages: list[Message] = list(prompt)
        self._max_turns = max_turns
        self._tool_parser = tool_parser
        self._step_seconds = step_seconds
        self._env: ConversationEnv | None = None
        self._reply: Reply | None = None
        self._last: Completion | None = None
        self._turns: list[_Turn] = []
        self._closed = False
        if other is None:
            return  # without asking for its type: that a class fits a protocol is costly to find out
        if isinstance(other, ConversationEnv):
            self._env = other
            self.tools = tuple(other.tools)
            self._guarded(self._reset())
        else:
            self._reply = other.reply if hasattr(other, "reply") else other

    @property
    def done(self) -> bool:
        return self.ended_by is not None

    @property
    def has_state(self) -> bool:
        """Whether the other side is an environment of its own, which may open every episode differently."""
        return self._env is not None

    @property
    def replies(self) -> Conversation:
        """The environment's replies to the model's last turn."""
        return self._turns[-1].replies if self._turns else ()

    @property
    def messages(self) -> Conversation:
        """A copy of the conversation so far."""
        return tuple(cast(Message, dict(message)) for message in self._messages)

    def submit(self, completion: Completion) -> None:
        """Add a turn of the model. Afterwards the episode is done, or `messages` ends with the environment's replies."""
        submit_all([(self, completion)])

    def stop(self) -> None:
        """End the episode because there is no room for another turn. Replies to the last turn, which the model will not read, are removed."""
        if self.done or self._last is None:
            raise RuntimeError("only an episode that has begun and goes on can be stopped")
        last = self._turns[-1]
        del self._messages[len(self._messages) - len(last.replies) :]
        self._turns[-1] = replace(last, replies=())
        self.ended_by = EndedBy.LIMIT
        if self._env is not None:
            self._guarded(self._truncate())

    def fail(self, reason: str) -> None:
        """End the episode as failed: it has no score, and `reason` says why."""
        self.error = " ".join(reason.split())[:MAX_ERROR]
        self._end(EndedBy.ERROR)

    def close(self) -> None:
        """Abandon the episode and release the environment's resources. Do nothing if the episode is over."""
        if not self.done:
            self._end(EndedBy.LIMIT)

    def rollout(self) -> Rollout:
        """Return the finished episode, for scoring."""
        if not self.done or (self._last is None and not self.error):
            raise RuntimeError("the episode is not over yet")
        last = self._last or Completion(text="", finish_reason=FinishReason.ERROR)
        detailed = self.turns > 1 or self._env is not None or last.tokens is not None
        return Rollout(
            task=self.task,
            completion=last.text,
            messages=self.messages,
            finish_reason=last.finish_reason,
            turns=tuple(turn.as_turn() for turn in self._turns) if detailed else (),  # a single turn is all in the other fields
            token_ids=last.token_ids,
            logprobs=last.logprobs,
            ended_by=self.ended_by,
            error=self.error or ("the engine failed" if last.finish_reason is FinishReason.ERROR else ""),
        )

    def _begin_turn(self, completion: Completion) -> Message:
        if self.done:
            raise RuntimeError("the episode is over; start another")
        message: Message = {"role": "assistant", "content": completion.text}
        if self.tools and (calls := self._tool_parser(completion.text)):
            message["tool_calls"] = list(calls)
        self._messages.append(message)
        self.turns += 1
        self._last = completion
        return message

    def _answer(self, message: Message, completion: Completion) -> None:
        """The turn of an episode without a `ConversationEnv`."""
        try:
            reply = None if self._reply is None else self._reply(self.task, self.messages)
            if not (reply is None or isinstance(reply, str)):
                raise TypeError(f"its reply is a {type(reply).__name__}, not text or None")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a third-party dialogue may raise anything; the episode says so
            self._fail(error)
            self._end_turn(message, completion, ())
            return
        over = StepResult(done=True) if reply is None else StepResult([{"role": "user", "content": reply}])
        self._end_turn(message, completion, self._after(over, completion))

    async def _step(self, message: Message, completion: Completion) -> None:
        assert self._env is not None
        try:
            result = await asyncio.wait_for(
                _awaited(lambda env: env.step(cast(Message, dict(message))), self._env), self._step_seconds
            )
            if not isinstance(result, StepResult):
                raise TypeError(f"step returned a {type(result).__name__}, not a StepResult")
            reward, info = _number(result.reward), dict(result.info or {})
            replies = self._after(result, completion)
            if self.ended_by is EndedBy.LIMIT:
                reward = _sum(reward, await self._reward_of_state())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a third-party environment may raise anything; the episode says so
            self._fail(error)
            self._end_turn(message, completion, ())
            return
        self.info = info
        self._end_turn(message, completion, replies, reward)

    async def _truncate(self) -> None:
        """Take the reward of the state in which a full context ends the episode, and close."""
        try:
            self._turns[-1] = replace(self._turns[-1], reward=_sum(self._turns[-1].reward, await self._reward_of_state()))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a third-party environment may raise anything; the episode says so
            self._fail(error)
        await self._close()

    async def _reward_of_state(self) -> float | None:
        """Return what the environment pays for the state that a limit leaves; None where it has no method that says so."""
        if not hasattr(self._env, "truncated"):
            return None
        assert self._env is not None
        return _number(await asyncio.wait_for(_awaited(lambda env: env.truncated(), self._env), self._step_seconds))  # type: ignore[attr-defined]

    def _after(self, result: StepResult, completion: Completion) -> Conversation:
        """Return the replies that the model will read; none where the episode ends here."""
        if result.done:
            self.ended_by = self._end_of(completion)
        elif completion.finish_reason is FinishReason.ERROR:
            self.ended_by = EndedBy.ERROR
        elif self.turns >= self._max_turns:
            self.ended_by = EndedBy.LIMIT
        elif fault := fault_of_messages(result.messages):
            raise TypeError(f"the environment answered with {fault}, and the episode is not over")
        return () if self.done else tuple(map(_readable, result.messages))

    def _end_turn(self, message: Message, completion: Completion, replies: Conversation, reward: float | None = None) -> None:
        self._messages += replies
        self._turns.append(_Turn(message, replies, completion, reward))

    def _end_of(self, completion: Completion) -> EndedBy:
        """Who ended an episode whose environment has nothing to say to its last turn."""
        if completion.finish_reason is FinishReason.ERROR:
            return EndedBy.ERROR
        if self._reply is not None or self._env is not None:
            return EndedBy.ENVIRONMENT
        return EndedBy.LIMIT if completion.finish_reason is FinishReason.LENGTH else EndedBy.MODEL

    def _fail(self, error: BaseException) -> None:
        what = (
            f"no answer within {self._step_seconds:g} s"
            if isinstance(error, TimeoutError)
            else f"{type(error).__name__}: {error}"
        )
        self.error = " ".join(f"the environment failed: {what}".split())[:MAX_ERROR]
        self.ended_by = EndedBy.ERROR

    def _end(self, by: EndedBy) -> None:
        self.ended_by = by
        if self._env is not None:
            self._guarded(self._close())

    def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        _loop.get().run([coroutine])

    async def _reset(self) -> None:
        assert self._env is not None
        try:
            opening = await asyncio.wait_for(_awaited(lambda env: env.reset(self.task), self._env), self._step_seconds)
            if fault := fault_of_messages(opening):
                raise TypeError(f"reset returned {fault}")
            self._messages = [_readable(message) for message in opening]
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a third-party environment may raise anything; the episode says so
            self._fail(error)
            await self._close()

    async def _close(self) -> None:
        assert self._env is not None
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.wait_for(_awaited(lambda env: env.close(), self._env), self._step_seconds)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a third-party environment may raise anything; the episode says so
            self.error = (
                self.error or " ".join(f"the environment failed to close: {type(error).__name__}: {error}".split())[:MAX_ERROR]
            )


async def _awaited(call: Callable[[ConversationEnv], Any], env: ConversationEnv) -> Any:
    """Call a method of an environment, which may be a coroutine.

    Raises:
        RuntimeError: it raised SystemExit or KeyboardInterrupt. Out of a task they would end the thread of the event loop, and everybody would
            wait forever.
    """
    try:
        value = call(env)
        return await value if isinstance(value, Awaitable) else value
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _readable(message: Message) -> Message:
    """Return a copy of an environment's message in which U+FFFD stands for what no tokenizer can encode. A log line says that it happened."""
    copy = cast(Message, dict(message))
    copy["content"], count = LONE_SURROGATE.subn("\ufffd", message["content"])
    if count:
        logger.warning("%d characters of an environment's message are halves of surrogate pairs; U+FFFD stands for them", count)
    return copy


def _sum(first: float | None, second: float | None) -> float | None:
    return second if first is None else first + (second or 0.0)


def _number(reward: Any) -> float | None:
    """Return the reward of a turn as a float, also where it is a scalar of numpy or torch.

    Raises:
        TypeError, ValueError: it is no number, or not finite.
    """
    if reward is None:
        return None
    if isinstance(reward, str) or not hasattr(reward, "__float__"):
        raise TypeError(f"the reward of a turn is a {type(reward).__name__}, not a number or None")
    number = float(reward)
    if not math.isfinite(number):
        raise ValueError(f"the reward of a turn is {number}")
    return number


def submit_all(turns: Sequence[tuple[Episode, Completion]]) -> None:
    """Take a turn of several episodes; their environments' coroutines run side by side."""
    coroutines = []
    for episode, completion in turns:
        message = episode._begin_turn(completion)
        if episode._env is None:
            episode._answer(message, completion)
        else:
            coroutines.append(_step_and_close(episode, message, completion))
    if coroutines:
        _loop.get().run(coroutines)


async def _step_and_close(episode: Episode, message: Message, completion: Completion) -> None:
    await episode._step(message, completion)
    if episode.done:
        await episode._close()


def other_side(target: Any, name: str) -> Callable[[], ConversationEnv | Dialogue | Reply]:
    """Return what makes the other side of each episode, from what an environment's spec names.

    Args:
        target: a class or function without arguments that returns a `ConversationEnv` or a `Dialogue`, or a plain function
            `reply(task, messages)`.
        name: of the environment, for messages.

    Raises:
        UsageError: it is none of these.
    """
    if not callable(target):
        raise UsageError(f"environment {name!r}: its other side is a {type(target).__name__}; give a class or a function")
    called = getattr(target, "__name__", target)
    if not inspect.isclass(target) and len(inspect.signature(target).parameters) == 2:
        if inspect.iscoroutinefunction(target):
            raise UsageError(
                f"environment {name!r}: {called} is asynchronous; write a ConversationEnv, whose step may wait, or a plain function"
            )
        return lambda: cast(Reply, target)
    try:
        made = target()
    except Exception as error:
        raise UsageError(
            f"environment {name!r}: {called}() raised {type(error).__name__}: {error}; it is called without arguments for each "
            "episode, or is a function reply(task, messages)"
        ) from error
    if not isinstance(made, ConversationEnv) and not hasattr(made, "reply"):
        raise UsageError(
            f"environment {name!r}: {called} makes a {type(made).__name__}, which has neither "
            "`reply` nor `tools`, `reset`, `step` and `close`"
        )
    if isinstance(made, ConversationEnv):
        return cast("Callable[[], ConversationEnv]", target)
    return lambda: cast(Dialogue, made)
