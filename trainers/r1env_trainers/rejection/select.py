"""Which samples are kept, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from r1env.plugins import Plugins
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import score
from r1env.types import FinishReason, Rollout, Score
from r1env_trainers.rejection.config import Selection
from r1env_trainers.rejection.duplicates import SeenTexts
from r1env_trainers.rejection.readability import has_code_block, longest_paragraph, thinking_of

KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Sample:
    """A scored rollout, and its fate: `kept`, or the first reason why it is not."""

    rollout: Rollout
    score: Score
    fate: str


class Selector:
    """The settings `keep`, with their rewards at hand.

    Raises:
        UnknownNameError: a filter's reward is not installed.
        UsageError: it refuses its options.
    """

    def __init__(self, keep: Selection, plugins: Plugins) -> None:
        self._keep = keep
        rewards = [WeightedReward(plugins.reward(item.reward, **item.options)) for item in keep.filters]
        self._names = [item.reward.name for item in rewards]
        self._rubric = Rubric("filters", rewards) if rewards else None

    def judge(self, groups: Sequence[Sequence[Rollout]], scores: Sequence[Sequence[Score]]) -> list[list[Sample]]:
        """Decide on every rollout. One group is the rollouts of one prompt, in the order in which they were drawn.

        Filters are asked only about what is right.
        """
        faults = [list(map(self._fault_of_verdict, *pair)) for pair in zip(groups, scores, strict=True)]
        right = [
            rollout
            for group, theirs in zip(groups, faults, strict=True)
            for rollout, fault in zip(group, theirs, strict=True)
            if fault is None
        ]
        filtered = iter(self._filter_values(right))
        return [
            [
                Sample(rollout, verdict, fate)
                for rollout, verdict, fate in zip(group, verdicts, self._fates(group, theirs, filtered), strict=True)
            ]
            for group, verdicts, theirs in zip(groups, scores, faults, strict=True)
        ]

    def _filter_values(self, rollouts: Sequence[Rollout]) -> list[Mapping[str, float]]:
        """What each filtering reward gives, by name; NaN where it has no value."""
        if self._rubric is None or not rollouts:
            return [{}] * len(rollouts)
        return [found.parts for found in score(rollouts, self._rubric)]

    def _fates(
        self, group: Sequence[Rollout], faults: Sequence[str | None], filtered: Iterator[Mapping[str, float]]
    ) -> list[str]:
        fates: list[str] = []
        seen = SeenTexts(self._keep.near_duplicate)
        for rollout, verdict_fault in zip(group, faults, strict=True):
            fault = verdict_fault or self._fault_of_text(rollout.completion, next(filtered)) or seen.fault(rollout.completion)
            if fault is None and fates.count(KEPT) == self._keep.per_prompt:
                fault = "surplus"
            if fault is None:
                seen.add(rollout.completion)
            fates.append(fault or KEPT)
        return fates

    def _fault_of_verdict(self, rollout: Rollout, verdict: Score) -> str | None:
        if verdict.value is None:
            return "unscored"
        if verdict.value < self._keep.threshold:
            return "wrong"
        return None if rollout.finish_reason is FinishReason.STOP else "truncated"

    def _fault_of_text(self, completion: str, filtered: Mapping[str, float]) -> str | None:
        for item, name in zip(self._keep.filters, self._names, strict=True):
            if filtered[name] < item.at_least:  # False for NaN: what a filter cannot score passes
                return name
        thinking = thinking_of(completion)
        if self._keep.longest_paragraph is not None and longest_paragraph(thinking) > self._keep.longest_paragraph:
            return "long_paragraph"
        if not self._keep.code_blocks and has_code_block(thinking):
            return "code_block"
        return None
