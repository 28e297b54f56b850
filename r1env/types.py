"""`Task`: one problem. Read this file, `rollouts.py` and `scores.py` first; everything else passes these three forward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12


class Message(TypedDict):
    """One chat message. `role` is `system`, `user`, `assistant` or `tool`."""

    role: str
    content: str


Conversation = tuple[Message, ...]
"""Messages in order; what an environment shows the model."""


class TaskKind(StrEnum):
    """What sort of problem a task is; rubrics choose their accuracy reward by it."""

    MATH = "math"  # the answer is a number, an expression, a set, …
    CODE = "code"  # the answer is a program, judged by tests
    LOGIC = "logic"  # the answer is checked by the generator's own rule
    CHOICE = "choice"  # the answer is one of the options shown
    CHAT = "chat"  # no reference answer: judged by a preference model


class Task(BaseModel):
    """One problem. Immutable; safe to share between threads and to send to workers.

    Attributes:
        id: unique within its source and stable between runs.
        prompt: the messages shown to the model, before any prompt template. A plain string becomes one user message.
        answer: the reference answer as text, or None where tests or a preference model decide.
        tests: test cases for code tasks; never shown to the model.
        kind: see `TaskKind`.
        language: target language of the response as a BCP-47 tag (`en`, `zh`), or None for "that of the prompt".
        metadata: anything else the source knows; rewards may read it.
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
        """The text of the last user message: what is asked, without system prompts."""
        return next((m["content"] for m in reversed(self.prompt) if m["role"] == "user"), "")


# `Rollout`: one finished episode of a task, as rewards see it.


class FinishReason(StrEnum):
    """Why the model stopped writing."""

    STOP = "stop"  # it ended its turn, or wrote a stop sequence
    LENGTH = "length"  # the token limit cut it off
    ERROR = "error"  # the engine failed; the completion is what had arrived


class EndedBy(StrEnum):
    """Who ended an episode."""

    ENVIRONMENT = "environment"  # it had nothing more to say
    MODEL = "model"  # it ended its turn, and the task has one turn only
    LIMIT = "limit"  # a token limit cut the last turn off, the context was full, or the turns were used up
    ERROR = "error"  # the engine failed


class Completion(BaseModel):
    """What an engine returns for one prompt.

    `logprobs[i]` is the natural-log probability with which the sampler drew `token_ids[i]`, under the distribution it
    really sampled from (after temperature and top-p).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


class Rollout(BaseModel):
    """One finished episode.

    Attributes:
        task: the problem.
        completion: the model's text of the final turn, special tokens removed. What most rewards read.
        messages: the whole conversation, prompt and completions included.
        finish_reason: of the final turn.
        turns: the model's turns; 1 for a single-turn environment.
        token_ids, logprobs: of the final turn, where the engine knows them.
        ended_by: who ended the episode; None where that was not observed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    completion: str
    messages: Conversation = ()
    finish_reason: FinishReason = FinishReason.STOP
    turns: int = 1
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    ended_by: EndedBy | None = None


# `Score`: what a reward says about one rollout, and why.


class Status(StrEnum):
    """How a score came about. The first five are about the model's output, the last three about the scoring."""

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
    """The verdict of a reward or of a rubric on one rollout.

    Attributes:
        value: the reward, finite; or **None when it could not be scored**. None is never turned into 0: trainers leave such
            a rollout out of its group, adapters say what they do with it.
        parts: named components, the same keys every time. NaN marks a part that was not scored; in JSON it is `null`.
        status: see `Status`.
        reason: one line for a person.
        seconds: CPU seconds the scoring took where it ran in a worker, wall seconds otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    parts: dict[str, float] = Field(default_factory=dict)
    status: Status = Status.OK
    reason: str = ""
    seconds: float = 0.0

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
        """Equal verdicts are equal, however long they took: `seconds` does not count."""
        if not isinstance(other, Score):
            return NotImplemented
        return self._verdict() == other._verdict()

    __hash__ = None  # type: ignore[assignment]

    def _verdict(self) -> tuple[object, ...]:
        """What counts when scores are compared. A part that was not scored equals another that was not: NaN does not."""
        parts = {key: None if math.isnan(part) else part for key, part in self.parts.items()}
        return (self.value, parts, self.status, self.reason)

    @property
    def failed(self) -> bool:
        """True when the scoring itself failed: no value, for a reason that is not the model's."""
        return self.value is None and self.status in FAILURES

    @classmethod
    def failure(cls, status: Status, reason: str, *, parts: tuple[str, ...] = (), seconds: float = 0.0) -> Score:
        """A score without a value. `parts` names the keys that would have been there; they become NaN."""
        return cls(value=None, parts=dict.fromkeys(parts, math.nan), status=status, reason=reason, seconds=seconds)
