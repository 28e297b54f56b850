"""Chooses the sample completions of a report, and marks what a reader looks for in them. Pure functions on logged rollouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1env.monitoring.reflection import REFLECTIVE
from r1env.parsing import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN

Row = Mapping[str, Any]
Key = tuple[str, str]  # (kind, task)

PROMPTS_SHOWN = 4  # of a stage
STEPS_SHOWN = 5  # of a prompt: the first, the last, and some between
PER_STEP = 2  # completions of one prompt at one step
LONGEST = 20_000  # characters shown of a completion


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a completion: `role` is `thinking`, `answer`, `text`; `reflective` marks a single word."""

    text: str
    role: str
    reflective: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion as the report shows it."""

    step: int
    pieces: tuple[Piece, ...]
    value: float | None
    parts: Mapping[str, float | None]
    status: str
    reason: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt with its completions at several steps, earliest first."""

    task_id: str
    kind: str
    text: str
    answer: str | None
    samples: tuple[Sample, ...]


def choose_samples(read: Callable[[], Iterable[Row]], stage: str) -> list[Prompt]:
    """A few prompts of a stage: those seen at most steps first, since the same prompt over time shows what was learned.

    Args:
        read: gives all logged rollouts, in order. Called twice, so that only the chosen ones are held in memory.
    """
    steps: dict[Key, dict[int, None]] = {}
    for row in _of_stage(read(), stage):
        steps.setdefault(_key(row), {})[row["step"]] = None
    chosen = _choose_prompts(steps)
    wanted = {key: frozenset(_spread(sorted(steps[key]), STEPS_SHOWN)) for key in chosen}
    found: dict[Key, list[Row]] = {key: [] for key in chosen}
    for row in _of_stage(read(), stage):
        key = _key(row)
        if row["step"] in wanted.get(key, ()) and sum(r["step"] == row["step"] for r in found[key]) < PER_STEP:
            found[key].append(row)
    return [_prompt(rows) for rows in found.values()]


def mark(completion: str) -> Iterator[Piece]:
    """The completion cut into thinking, answer and the rest, with reflective words as pieces of their own. Loses nothing."""
    for role, text in _roles(completion):
        end = 0
        for match in REFLECTIVE.finditer(text):
            if match.start() > end:
                yield Piece(text[end : match.start()], role)
            yield Piece(match.group(), role, reflective=True)
            end = match.end()
        if end < len(text):
            yield Piece(text[end:], role)


def _roles(completion: str) -> list[tuple[str, str]]:
    """The thinking reaches to the last `</think>` (or, never closed, to the end); an answer is the last block after it."""
    close = completion.rfind(THINK_CLOSE)
    opened = completion.find(THINK_OPEN)
    unfinished = close < 0 <= opened
    cut = len(completion) if unfinished else close + len(THINK_CLOSE) if close >= 0 else 0
    rest = completion[cut:]
    start = rest.rfind(ANSWER_OPEN)
    end = rest.find(ANSWER_CLOSE, start) if start >= 0 else -1
    stop = end + len(ANSWER_CLOSE) if end >= 0 else len(rest)
    if start < 0:
        return [("thinking", completion[:cut]), ("text", rest)]
    return [("thinking", completion[:cut]), ("text", rest[:start]), ("answer", rest[start:stop]), ("text", rest[stop:])]


def _of_stage(rows: Iterable[Row], stage: str) -> Iterator[Row]:
    return (row for row in rows if row["stage"] == stage and isinstance(row.get("completion"), str))


def _key(row: Row) -> Key:
    return str(row.get("kind", "")), str(row.get("task_id") or _text_of(row.get("prompt")))


def _choose_prompts(steps: Mapping[Key, Mapping[int, None]]) -> list[Key]:
    """The prompts seen at most steps; where none comes back, prompts of different steps."""
    if any(len(seen) > 1 for seen in steps.values()):
        return sorted(steps, key=lambda key: -len(steps[key]))[:PROMPTS_SHOWN]
    first_at: dict[int, Key] = {}
    for key, seen in steps.items():
        first_at.setdefault(next(iter(seen)), key)
    return [first_at[step] for step in _spread(sorted(first_at), PROMPTS_SHOWN)]


def _spread(values: Sequence[int], count: int) -> list[int]:
    """`count` of the values, evenly spread, the first and the last among them; all where there are no more."""
    if len(values) <= count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]


def _prompt(rows: Sequence[Row]) -> Prompt:
    first = rows[0]
    answer = first.get("answer")
    return Prompt(
        task_id=str(first.get("task_id", "")),
        kind=str(first.get("kind", "")),
        text=_text_of(first.get("prompt")),
        answer=None if answer is None else str(answer),
        samples=tuple(_sample(row) for row in rows),
    )


def _sample(row: Row) -> Sample:
    score = row.get("score") or {}
    completion = row["completion"]
    return Sample(
        step=row["step"],
        pieces=tuple(mark(completion[:LONGEST])),
        value=score.get("value"),
        parts=score.get("parts", {}),
        status=str(score.get("status", "")),
        reason=str(score.get("reason", "")),
        left_out=max(0, len(completion) - LONGEST),
    )


def _text_of(prompt: object) -> str:
    """A prompt as text: it is logged as text, or as messages."""
    if isinstance(prompt, list):
        return "\n\n".join(str(message.get("content", "")) for message in prompt if isinstance(message, Mapping))
    return "" if prompt is None else str(prompt)
