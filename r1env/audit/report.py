"""`AuditReport`: the findings of an audit, as plain data that the command line writes as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

MAX_EXCERPT = 160  # characters of a completion that a finding shows


class FindingKind(StrEnum):
    """What went wrong."""

    ACCEPTED = "accepted"  # it paid a completion that should earn nothing as much as a right one
    HUNG = "hung"  # it used up its CPU or wall time
    RAISED = "raised"  # it raised, died, or returned something that is no score
    MEMORY = "memory"  # it used up its memory
    UNSTABLE = "unstable"  # it scored the same completion in two ways
    SLOW = "slow"  # its time grows faster than the text


class Finding(BaseModel):
    """One completion, or one measurement, that shows a fault of the reward.

    Attributes:
        attack: name of the attack that found it.
        completion: beginning and end of the completion; `length` is its full length in characters.
        value: what the completion was paid; `right` is what a right completion of the same task is paid.
        reason: the reason that the reward gave, or what was measured.
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
    """The result of one attack.

    Attributes:
        promise: what a sound reward keeps; it is broken if there are findings.
        tried: number of completions scored.
        found: number of findings; `findings` holds the first of them.
        skipped: why the attack was not run, or not to its end; empty if it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    promise: str
    tried: int = 0
    found: int = 0
    findings: tuple[Finding, ...] = ()
    skipped: str = ""


class AuditReport(BaseModel):
    """The result of an audit.

    Attributes:
        tasks: ids of the tasks that were used.
        reads_answer: whether the reward looks at the task's answer. A reward that does not cannot be fooled about it, so the
            attacks about answers are left out.
        right: the ways to write a right answer that are paid, each with the number of tasks; the measure of "accepted".
        items: number of completions scored; `scored` is the number of those that got a value.
        complete: False if time ran out, or too much hung, before all attacks were run.
        notes: further remarks, a sentence each.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: str
    options: Mapping[str, Any]
    tasks: tuple[str, ...]
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
        """True if all attacks were run and none found anything."""
        return self.complete and not self.findings


def excerpt(text: str, length: int = MAX_EXCERPT) -> str:
    """Return the beginning and the end of a text, at most `length` characters; the end is longer because answers stand there."""
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head]} … {text[head + 3 - length :]}"
