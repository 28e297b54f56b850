"""`Score`: what a reward says about one rollout, and why."""

from __future__ import annotations

import math
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


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
