"""Counts of samples drawn and kept, by domain: DeepSeek-R1's table 5, with the reasons for rejection. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from r1env.runs.tables import Table
from r1env_trainers.rejection.select import KEPT, Sample

REASONS = ("unscored", "wrong", "truncated", "empty", "long_paragraph", "code_block", "duplicate", "near_duplicate", "surplus")
"""In the order of the checks. Filters by reward come after `truncated`, under their rewards' names."""


class Counts(BaseModel):
    """What happened to the samples of one domain.

    Attributes:
        prompts: number of prompts; `solved` of them have a sample that was kept.
        fates: `kept` or the reason why not → number of samples; `sampled` is their sum.
        sampled_tokens: of all completions.
        rounds, tokens: of kept samples: the model's turns, and its tokens (characters where the engine knows no tokens).
    """

    model_config = ConfigDict(extra="forbid")

    prompts: int = 0
    solved: int = 0
    fates: dict[str, int] = {}
    sampled_tokens: int = 0
    rounds: int = 0
    tokens: int = 0

    @property
    def sampled(self) -> int:
        return sum(self.fates.values())

    @property
    def kept(self) -> int:
        return self.fates.get(KEPT, 0)

    @property
    def right(self) -> int:
        return self.sampled - self.fates.get("wrong", 0) - self.fates.get("unscored", 0)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            prompts=self.prompts + other.prompts,
            solved=self.solved + other.solved,
            fates=dict(Counter(self.fates) + Counter(other.fates)),
            sampled_tokens=self.sampled_tokens + other.sampled_tokens,
            rounds=self.rounds + other.rounds,
            tokens=self.tokens + other.tokens,
        )


def length_of(sample: Sample) -> int:
    """Return the tokens of the completion, or its characters where the engine knows no tokens."""
    return len(sample.rollout.completion if sample.rollout.token_ids is None else sample.rollout.token_ids)


def count(judged: Iterable[Sequence[Sample]]) -> dict[str, Counts]:
    """Return the counts by domain, which is the kind of the task."""
    totals: dict[str, Counts] = {}
    for group in judged:
        kept = [sample for sample in group if sample.fate == KEPT]
        domain = str(group[0].rollout.task.kind)
        totals[domain] = totals.get(domain, Counts()) + Counts(
            prompts=1,
            solved=int(bool(kept)),
            fates=dict(Counter(sample.fate for sample in group)),
            sampled_tokens=sum(length_of(sample) for sample in group),
            rounds=sum(len(sample.rollout.turns) for sample in kept),
            tokens=sum(length_of(sample) for sample in kept),
        )
    return totals


def merged(all_counts: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Return the sums by domain."""
    totals: dict[str, Counts] = {}
    for counts in all_counts:
        for domain, one in counts.items():
            totals[domain] = totals.get(domain, Counts()) + one
    return totals


def make_table(counts: Mapping[str, Counts], extra: Mapping[str, int], notes: Sequence[str] = ()) -> Table:
    """Return the statistics as a table.

    Args:
        extra: rows mixed in from files, by domain.
    """
    total = sum(counts.values(), start=Counts())
    filters = [reason for reason in total.fates if reason not in (KEPT, *REASONS)]
    reasons = [reason for reason in (*REASONS[:3], *filters, *REASONS[3:]) if reason in total.fates]
    columns = ("domain", "prompts", "solved", "sampled", "right", "kept", "avg rounds", "avg tokens", *reasons)
    rows = [_row(domain, one, reasons) for domain, one in counts.items()]
    rows += [(domain, "–", "–", "–", "–", f"{rows_:,}", "–", "–", *("–" for _ in reasons)) for domain, rows_ in extra.items()]
    everything = _row("total", total, reasons)
    rows.append((*everything[:5], f"{total.kept + sum(extra.values()):,}", *everything[6:]))
    data: list[dict[str, Any]] = [{"domain": domain, **_record(one)} for domain, one in counts.items()]
    data += [{"domain": domain, "kept": rows_, "from_file": True} for domain, rows_ in extra.items()]
    return Table(
        title="Rejection sampling",
        columns=columns,
        rows=tuple(rows),
        notes=(
            "avg rounds and avg tokens are of the kept samples; a sample that is not kept counts under its first reason.",
            *notes,
        ),
        data=tuple(data),
    )


def _row(domain: str, one: Counts, reasons: Sequence[str]) -> tuple[str, ...]:
    numbers = (one.prompts, one.solved, one.sampled, one.right, one.kept)
    means = (f"{one.rounds / one.kept:.1f}", f"{one.tokens / one.kept:,.1f}") if one.kept else ("–", "–")
    return (domain, *(f"{number:,}" for number in numbers), *means, *(f"{one.fates.get(reason, 0):,}" for reason in reasons))


def _record(one: Counts) -> dict[str, Any]:
    return {**one.model_dump(), "sampled": one.sampled, "right": one.right, "kept": one.kept}
