"""`Task`: one problem. Read this file, `rollouts.py` and `scores.py` first; everything else passes these three forward."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
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
