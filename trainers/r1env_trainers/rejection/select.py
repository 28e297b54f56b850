"""Selects samples: correct, readable, and not copies of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from r1env.plugins import Plugins
from r1env.prompts import parse_response
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import score
from r1env.types import FinishReason, Rollout, Score
from r1env_trainers.rejection.config import Selection

KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Sample:
    """A scored rollout, and its fate: `kept`, or the first reason why it was not."""

    rollout: Rollout
    score: Score
    fate: str


class Selector:
    """Applies the settings `keep`.

    Raises:
        UnknownNameError: a filter's reward is not installed.
        UsageError: a filter's reward refuses its options.
    """

    def __init__(self, keep: Selection, plugins: Plugins) -> None:
        self._keep = keep
        rewards = [WeightedReward(plugins.reward(item.reward, **item.options)) for item in keep.filters]
        self._names = [item.reward.name for item in rewards]
        self._rubric = Rubric("filters", rewards) if rewards else None

    def judge(self, groups: Sequence[Sequence[Rollout]], scores: Sequence[Sequence[Score]]) -> list[list[Sample]]:
        """Decide on every rollout. One group is the rollouts of one prompt, in the order in which they were drawn.

        Filters see only samples that are correct.
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
        """Return the value of each filtering reward by name, NaN where it has none."""
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
        if not completion.strip():  # a reward may pay for silence, and SFT would refuse to learn it
            return "empty"
        for item, name in zip(self._keep.filters, self._names, strict=True):
            if filtered[name] < item.at_least:  # False for NaN: a sample that the filter cannot score passes
                return name
        thinking = thinking_of(completion)
        if self._keep.longest_paragraph is not None and longest_paragraph(thinking) > self._keep.longest_paragraph:
            return "long_paragraph"
        if not self._keep.code_blocks and has_code_block(thinking):
            return "code_block"
        return None


# Copies and near copies among the samples of one prompt. Pure functions of texts.

PIECE = 5  # characters; long enough that unrelated texts share few pieces, short enough to see a change of one digit


def normalized(text: str) -> str:
    """Return the text in lower case with single spaces; two samples are copies if these are equal."""
    return " ".join(text.casefold().split())


def pieces(text: str) -> frozenset[str]:
    """Return all substrings of `PIECE` characters of a normalized text; a shorter text is its only piece."""
    return frozenset(text[start : start + PIECE] for start in range(max(1, len(text) - PIECE + 1)))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """Return Jaccard's index |A ∩ B| / |A ∪ B|, in [0, 1], of two sets that are not both empty."""
    return len(left & right) / len(left | right)


class SeenTexts:
    """The kept samples of one prompt, for comparison with the next one."""

    def __init__(self, near: float | None) -> None:
        self._near = near
        self._texts: set[str] = set()
        self._pieces: list[frozenset[str]] = []

    def fault(self, text: str) -> str | None:
        """Return `duplicate`, `near_duplicate`, or None for a text unlike all that were added."""
        plain = normalized(text)
        if plain in self._texts:
            return "duplicate"
        if self._near is None:
            return None
        mine = pieces(plain)
        return "near_duplicate" if any(similarity(mine, other) >= self._near for other in self._pieces) else None

    def add(self, text: str) -> None:
        plain = normalized(text)
        self._texts.add(plain)
        if self._near is not None:
            self._pieces.append(pieces(plain))


# Readability of a chain of thought, as far as a rule can tell. Pure functions, linear in the length of the text.

FENCES = ("```", "~~~")


def thinking_of(completion: str) -> str:
    """Return the thinking block, or the whole completion where there is none."""
    parsed = parse_response(completion)
    return completion if parsed.thinking is None else parsed.thinking


def longest_paragraph(text: str) -> int:
    """Return the number of characters of the longest paragraph: a run of lines without an empty line."""
    longest = current = 0
    for line in text.splitlines(keepends=True):
        current = current + len(line) if line.strip() else 0
        longest = max(longest, current - (len(line) - len(line.rstrip("\r\n"))))
    return longest


def has_code_block(text: str) -> bool:
    """Return whether a line, indented or not, opens fenced code."""
    return any(line.lstrip().startswith(FENCES) for line in text.splitlines())
