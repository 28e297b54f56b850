"""`AuditReport`: what an audit found. Plain data, written as JSON by the command line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

MAX_EXCERPT = 160  # characters of a completion that a finding shows


class FindingKind(StrEnum):
    """What went wrong."""

    ACCEPTED = "accepted"  # it paid a completion that earned nothing as much as a right one
    HUNG = "hung"  # it used up its CPU or wall time
    RAISED = "raised"  # it raised, died, or returned something that is no score
    MEMORY = "memory"  # it used up its memory
    UNSTABLE = "unstable"  # it scored the same completion in two ways
    SLOW = "slow"  # its time grows faster than the text


class Finding(BaseModel):
    """One completion, or one measurement, that speaks against the reward.

    Attributes:
        attack: the name of the attack that found it.
        completion: its beginning and its end; `length` is that of all of it, in characters.
        value: what it was paid; `right` is what right completions of the same task are paid.
        reason: the reward's own, or what was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    kind: FindingKind
    task_id: str
    completion: str
    length: int
    value: float | None = None
    right: float | None = None
    reason: str = ""


class AttackResult(BaseModel):
    """How one attack came out.

    Attributes:
        promise: what a sound reward keeps; broken where there are findings.
        tried: completions that were scored for it.
        found: findings in all; `findings` holds the first of them.
        skipped: why it was not run, or not to its end; empty where it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    promise: str
    tried: int = 0
    found: int = 0
    findings: tuple[Finding, ...] = ()
    skipped: str = ""


class AuditReport(BaseModel):
    """The outcome of an audit.

    Attributes:
        reads_answer: whether the reward looks at the task's answer. One that does not cannot be fooled about it, and is
            spared the attacks that try.
        right: the ways of writing a right answer that are paid, each with the number of tasks; the measure of "accepted".
        items: completions scored; `scored` those that got a value.
        complete: False when time ran out, or too much hung, before all attacks were run.
        notes: what a reader should know besides, a sentence each.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: str
    options: Mapping[str, Any]
    tasks: int
    items: int
    scored: int
    seconds: float
    reads_answer: bool
    right: Mapping[str, int]
    attacks: tuple[AttackResult, ...]
    notes: tuple[str, ...]
    complete: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The first findings of each attack."""
        return tuple(finding for result in self.attacks for finding in result.findings)

    @property
    def clean(self) -> bool:
        """True when all attacks were run and none found anything."""
        return self.complete and not self.findings


def excerpt(text: str, length: int = MAX_EXCERPT) -> str:
    """The beginning and the end of a text, `length` characters at most: answers stand at the end."""
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head]} … {text[head + 3 - length :]}"
