"""The types that all other modules use: `Task`, `Turn`, `Rollout`, `Score`. Read this file first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import (
    TYPE_CHECKING,
    Any,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict


class Message(TypedDict):
    """One chat message. `role` is `system`, `user`, `assistant` or `tool`.

    `tool_calls` are the tool calls of an assistant, `{"id": …, "function": {"name": …, "arguments": {…}}}`; `tool_call_id` and `name`
    identify the call that a message of role `tool` answers. `reasoning_content` is thinking that is stored separately from the content.
    """

    role: str
    content: str
    tool_calls: NotRequired[Sequence[Mapping[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]
    reasoning_content: NotRequired[str]


Conversation = tuple[Message, ...]
"""Messages in order; what an environment shows the model."""


ROLES = ("system", "user", "assistant", "tool", "developer")


def fault_of_messages(messages: object) -> str:
    """Return a description of the first error in `messages`, or "" if they are a valid conversation.

    Example:
        >>> fault_of_messages([{"role": "user", "content": None}])
        'message 0: its content is a NoneType, not text'
    """
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        return f"a {type(messages).__name__}, not a list of messages"
    if not messages:
        return "no message"
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            return f"message {number}: a {type(message).__name__}, not a mapping with role and content"
        if message.get("role") not in ROLES:
            return f"message {number}: its role is {message.get('role')!r}; roles are {', '.join(ROLES)}"
        if not isinstance(message.get("content"), str):
            return f"message {number}: its content is a {type(message.get('content')).__name__}, not text"
    return ""


class TaskKind(StrEnum):
    """The kind of problem that a task is. Rubrics choose their accuracy reward by it."""

    MATH = "math"  # the answer is a number, an expression, a set, …
    CODE = "code"  # the answer is a program, judged by tests
    LOGIC = "logic"  # the answer is checked by the generator's own rule
    CHOICE = "choice"  # the answer is one of the options shown
    SHORT = "short"  # the answer is a name, a word, a date or a number; there may be several references
    CHAT = "chat"  # no reference answer: judged by a preference model


class Task(BaseModel):
    """One problem. Tasks are immutable, and can be shared between threads and sent to workers.

    Attributes:
        id: unique within its source and stable between runs.
        prompt: the messages shown to the model, before any prompt template. A plain string becomes one user message.
        answer: the reference answer as a string, or None if tests or a preference model decide.
        tests: test cases for code tasks; never shown to the model.
        kind: see `TaskKind`.
        language: target language of the response as a BCP-47 tag (`en`, `zh`), or None for the language of the prompt.
        metadata: further information from the source. Rewards may read it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    prompt: Conversation
    answer: str | None = None
    tests: tuple[Mapping[str, Any], ...] = ()
    kind: TaskKind = TaskKind.MATH
    language: str | None = None
    metadata: Mapping[str, Any] = Field(default_factory=dict)

    if TYPE_CHECKING:  # what the validator below accepts, for type checkers

        def __init__(
            self,
            *,
            id: str,  # noqa: A002 - the field's name
            prompt: Conversation | str,
            answer: str | None = None,
            tests: tuple[Mapping[str, Any], ...] = (),
            kind: TaskKind = TaskKind.MATH,
            language: str | None = None,
            metadata: Mapping[str, Any] = ...,
        ) -> None: ...

    @field_validator("prompt", mode="before")
    @classmethod
    def _text_is_a_user_message(cls, value: object) -> object:
        return ({"role": "user", "content": value},) if isinstance(value, str) else value

    @property
    def question(self) -> str:
        """The text of the last user message: the question, without system prompts."""
        return next((m["content"] for m in reversed(self.prompt) if m["role"] == "user"), "")


# `Rollout`: one finished episode of a task, as rewards see it.


class FinishReason(StrEnum):
    """Why the model stopped generating."""

    STOP = "stop"  # it ended its turn, or wrote a stop sequence
    LENGTH = "length"  # the token limit cut it off
    ERROR = "error"  # the engine failed; the completion is what had arrived


class EndedBy(StrEnum):
    """Who ended an episode."""

    ENVIRONMENT = "environment"  # it had nothing more to say
    MODEL = "model"  # it ended its turn, and the task has one turn only
    LIMIT = "limit"  # a token limit cut the last turn off, the context was full, or the turns were used up
    ERROR = "error"  # the engine or the environment failed


class Completion(BaseModel):
    """What an engine returns for one prompt.

    `logprobs[i]` is the natural log of the probability of `token_ids[i]` under the distribution that was sampled from, after temperature
    and top-p. `tokens` is the number of tokens, for an engine that knows the number but not the tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    tokens: int | None = None


class Turn(BaseModel):
    """One turn of an episode: the model's message and the replies to it.

    Attributes:
        message: the model's message.
        replies: the environment's messages before the model's next turn: user messages, or the results of tool calls.
        token_ids: the tokens that the model sampled, if the engine provides them. They never come from tokenizing the text again.
        logprobs: the natural log of the probability with which each of `token_ids` was sampled.
        tokens: the number of sampled tokens, for an engine that knows the number but not the tokens.
        finish_reason: why the model stopped generating.
        reward: the environment's reward for this turn; None if the environment gives no reward for single turns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    message: Message
    replies: Conversation = ()
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    tokens: int | None = None
    finish_reason: FinishReason = FinishReason.STOP
    reward: float | None = None


class Rollout(BaseModel):
    """One finished episode.

    Attributes:
        task: the problem.
        completion: the model's text in the final turn, without special tokens. Most rewards read only this.
        messages: the whole conversation, including prompt and completions. If empty, it is the prompt followed by the completion.
        finish_reason: that of the final turn.
        turns: the model's turns in order, at least one. Pass `turns=` if tokens or rewards of turns are known; otherwise the turns are
            taken from `messages`.
        token_ids, logprobs: those of the final turn, the same as in `turns[-1]`. They will be removed in the version after next.
        ended_by: who ended the episode; None if unknown.
        error: why the environment or the engine failed. A rollout with an error is not scored.

    Example:
        >>> Rollout(task=Task(id="1", prompt="2 + 2?"), completion="4").turns[-1].message["content"]
        '4'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    task: Task
    completion: str
    messages: Conversation = ()
    finish_reason: FinishReason = FinishReason.STOP
    # Behind the property `turns`, which makes the turns of a plain text when somebody asks: a `Turn` for every rollout would be
    # the larger part of what travels to a scoring worker.
    recorded_turns: tuple[Turn, ...] = Field(default=(), alias="turns", repr=False)
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    ended_by: EndedBy | None = None
    error: str = ""

    @property
    def environment_reward(self) -> float | None:
        """The sum of the environment's rewards for single turns; None if it gave none."""
        paid = [turn.reward for turn in self.recorded_turns if turn.reward is not None]
        return math.fsum(paid) if paid else None

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.recorded_turns or self._turns_of_messages()

    @model_validator(mode="after")
    def _final_turn_has_the_tokens(self) -> Rollout:
        if self.recorded_turns and self.token_ids is None:
            object.__setattr__(self, "token_ids", self.recorded_turns[-1].token_ids)
            object.__setattr__(self, "logprobs", self.recorded_turns[-1].logprobs)
        return self

    def _turns_of_messages(self) -> tuple[Turn, ...]:
        spoken = self.messages[len(self.task.prompt) :]
        starts = [place for place, message in enumerate(spoken) if message["role"] == "assistant"]
        if not starts:
            spoken, starts = ({"role": "assistant", "content": self.completion},), [0]
        ends = [*starts[1:], len(spoken)]
        *earlier, last = (spoken[start:end] for start, end in zip(starts, ends, strict=True))
        final = Turn(
            message=last[0],
            replies=last[1:],
            token_ids=self.token_ids,
            logprobs=self.logprobs,
            finish_reason=self.finish_reason,
        )
        return (*(Turn(message=part[0], replies=part[1:]) for part in earlier), final)


# `Score`: what a reward says about one rollout, and why.


class Status(StrEnum):
    """The outcome of scoring. The first five describe the model's output, the last three the scoring itself."""

    OK = "ok"  # scored, and the output earned something
    WRONG = "wrong"  # scored, and the output earned nothing
    NO_ANSWER = "no_answer"  # there was nothing to judge: no answer, or nothing this reward looks at
    BAD_FORMAT = "bad_format"  # the output broke the required format
    UNPARSEABLE = "unparseable"  # an answer (the model's, or the reference) could not be read
    TIMEOUT = "timeout"  # the reward exceeded its CPU or wall time
    LIMIT = "limit"  # the reward exceeded its memory, or its input a size limit
    ERROR = "error"  # the reward raised, died, or returned something that is no score


FAILURES = frozenset({Status.TIMEOUT, Status.LIMIT, Status.ERROR})
"""Statuses that speak of the scoring, not of the model; runs count them and stop when they pile up."""


MAX_REASON = 1_000  # characters


class Score(BaseModel):
    """The result of scoring one rollout with a reward or a rubric.

    Attributes:
        value: the reward, a finite number, or **None if the rollout could not be scored**. None is never converted to 0: trainers leave
            such a rollout out of its group, and adapters document what they do with it.
        parts: named components, with the same keys every time. NaN marks a part that was not scored; in JSON it is `null`.
        status: see `Status`.
        reason: a one-line explanation.
        seconds: CPU time of the scoring if it ran in a worker, else wall time.
        seconds_by_reward: in a rubric's score, the seconds of each reward, else None. Not part of the JSON.
        turns: for a reward with scope `turn`, the value of each turn, or None if there was nothing to score; else empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    parts: dict[str, float] = Field(default_factory=dict)
    status: Status = Status.OK
    reason: str = ""
    seconds: float = 0.0
    seconds_by_reward: dict[str, float] | None = Field(
        default=None, exclude=True, repr=False
    )  # a dict in each of a million would count
    turns: tuple[float | None, ...] = ()

    @field_validator("parts", mode="before")
    @classmethod
    def _null_is_nan(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: math.nan if part is None else part for key, part in value.items()}
        return value

    @field_validator("reason")
    @classmethod
    def _reason_is_short(cls, value: str) -> str:
        return value[:MAX_REASON]  # it may quote what a model wrote

    @model_validator(mode="after")
    def _value_is_finite(self) -> Score:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a score must be finite, or None when there is none; got {self.value}")
        return self

    def __eq__(self, other: object) -> bool:
        """Compare everything but the seconds."""
        if not isinstance(other, Score):
            return NotImplemented
        return self._verdict() == other._verdict()

    __hash__ = None  # type: ignore[assignment]

    def _verdict(self) -> tuple[object, ...]:
        """Return the key for comparing scores. NaN is replaced, so that two parts that were not scored are equal."""
        parts = {key: None if math.isnan(part) else part for key, part in self.parts.items()}
        return (self.value, parts, self.status, self.reason, self.turns)

    @property
    def failed(self) -> bool:
        """True if scoring failed: there is no value, for a reason that has nothing to do with the model's output."""
        return self.value is None and self.status in FAILURES

    @classmethod
    def failure(cls, status: Status, reason: str, *, parts: tuple[str, ...] = (), seconds: float = 0.0) -> Score:
        """Return a score without a value. `parts` are the keys of the parts, which become NaN."""
        return cls(value=None, parts=dict.fromkeys(parts, math.nan), status=status, reason=reason, seconds=seconds)
