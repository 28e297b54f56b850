"""Run a reward under limits: score rollouts in a killable worker, look for scores that change and for times that explode."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from types import TracebackType

from r1env.audit.corpus import WRAPPINGS, Wrapping
from r1env.rewards import Isolation, Reward, Scope
from r1env.scoring import ScoringPool
from r1env.scoring.dispatch import submit_async
from r1env.types import Rollout, Score, Status, Task

CHUNK = 8
"""Rollouts handed over at once; the totals are checked after each chunk. At 10 wall seconds each, one chunk may hang that long."""

MAX_HANGS = 4
"""Hangs after which the reward is given up; each costs its whole time limit."""

MAX_ERRORS = 40
"""Errors after which a reward that has only raised is given up; each may cost a new worker."""


class BoundedScorer:
    """A context manager around one worker. There is only one so that what a rollout leaves behind in the process meets the next.

    Args:
        reward: it runs in the worker whatever its isolation; an asynchronous reward runs on the private event loop.
        seconds: wall seconds for everything.

    Attributes:
        items: rollouts scored.
        values: rollouts that got a value.
        first_refusal: why the first rollout without a value has none.
    """

    def __init__(self, reward: Reward, seconds: float) -> None:
        if reward.scope is Scope.GROUP:
            reward = in_company(reward)
        self.reward = reward if reward.isolation is Isolation.ASYNC else replace(reward, isolation=Isolation.PROCESS)
        self.items = 0
        self.values = 0
        self.first_refusal = ""
        self._hangs = 0
        self._errors = 0
        self._deadline = time.monotonic() + seconds
        self._late = False
        self._pool = ScoringPool(workers=1)

    def __enter__(self) -> BoundedScorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.close()

    @property
    def exhausted(self) -> str:
        """Why nothing more is scored; empty as long as scoring goes on."""
        if self._late:
            return "the time for the audit ran out"
        if self._hangs >= MAX_HANGS:
            return f"{self._hangs} completions hung"
        return "it raises on everything" if self._errors == self.items >= MAX_ERRORS else ""

    def score(self, rollouts: Sequence[Rollout], *, together: bool = False) -> list[Score | None]:
        """Return a score for each rollout, in order; None for those that were not scored any more.

        Args:
            together: hand all over at once, so that a batch reward sees many in one batch.
        """
        size = len(rollouts) if together else CHUNK
        scores: list[Score | None] = []
        for start in range(0, len(rollouts), max(size, 1)):
            chunk = rollouts[start : start + size]
            scores += self._score_chunk(chunk)
        return scores

    def restart(self) -> None:
        """Continue in a new process, with another hash seed and no state."""
        self._pool.close()
        self._pool = ScoringPool(workers=1)

    def _score_chunk(self, chunk: Sequence[Rollout]) -> Sequence[Score | None]:
        left = self._deadline - time.monotonic()
        self._late = self._late or left <= 0
        if self.exhausted:
            return [None] * len(chunk)
        submit = submit_async if self.reward.isolation is Isolation.ASYNC else self._pool.submit
        future = submit(self.reward, chunk)
        try:
            scores = future.result(timeout=left)
        except (TimeoutError, CancelledError):
            future.cancel()
            self._late = True
            return [None] * len(chunk)
        except BaseException:  # Ctrl-C above all: stop the worker too
            future.cancel()
            raise
        self.items += len(scores)
        self.values += sum(score.value is not None for score in scores)
        self.first_refusal = self.first_refusal or next((score.reason for score in scores if score.value is None), "")
        self._errors += sum(score.status is Status.ERROR for score in scores)
        self._hangs += sum(score.status is Status.TIMEOUT for score in scores)
        return scores


# A group reward compares completions, so an attack is scored in the same company as the right answer that it is measured against.

COMPANY = ("I do not know.", "")
"""What the others in the group wrote; and, where the task has an answer, one of them gave it."""


def in_company(reward: Reward) -> Reward:
    """Return a reward for single rollouts that scores each in a group of fixed others with a reward of scope `group`."""

    def group(rollout: Rollout) -> list[Rollout]:
        right = [WRAPPINGS[0](rollout.task.answer)] if rollout.task.answer else []
        return [rollout, *(Rollout(task=rollout.task, completion=text) for text in (*right, *COMPANY))]

    def here(rollout: Rollout) -> Score:
        return reward.score_batch(group(rollout))[0]

    async def awaited(rollout: Rollout) -> Score:
        return (await reward.ascore_group(group(rollout)))[0]

    asynchronous = reward.isolation is Isolation.ASYNC
    return Reward(
        name=reward.name,
        function=awaited if asynchronous else here,
        isolation=reward.isolation,
        parts=reward.parts,
        limits=reward.limits,
        summary=reward.summary,
    )


# Repeatability: the same completion gets the same score again, in a batch, in another order, and in another process.

MAX_PROBES = 24
"""Completions that are scored repeatedly: enough to fill batches, few enough to score each alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """A completion that got two different scores."""

    rollout: Rollout
    first: Score
    then: Score
    circumstance: str


def changes(scorer: BoundedScorer, rollouts: Sequence[Rollout]) -> Iterator[Change]:
    """Yield the changes under the first circumstance that has any: one cause shows under several and is reported once."""
    probes = list(rollouts[:: max(1, -(-len(rollouts) // MAX_PROBES))])
    alone = _alone(scorer, probes)
    yield from (found := list(_differences(probes, alone, _alone(scorer, probes), "scored again")))
    if found:
        return
    forward = scorer.score(probes, together=True)
    yield from (found := list(_differences(probes, alone, forward, "scored together with others")))
    if found:
        return
    backward = scorer.score(probes[::-1], together=True)[::-1]
    yield from (found := list(_differences(probes, forward, backward, "scored in the reverse order")))
    if found:
        return
    scorer.restart()
    yield from _differences(probes, alone, _alone(scorer, probes), "scored in another process")


def _alone(scorer: BoundedScorer, probes: Sequence[Rollout]) -> list[Score | None]:
    return [scorer.score([probe])[0] for probe in probes]


def _differences(
    probes: Sequence[Rollout], before: Sequence[Score | None], after: Sequence[Score | None], circumstance: str
) -> Iterator[Change]:
    for probe, first, then in zip(probes, before, after, strict=True):
        if first is not None and then is not None and first != then:
            yield Change(probe, first, then, circumstance)


# Growth: double the input until super-linear CPU time is evident.

PATTERNS = ("a", "7", " ", "word ", "1+", "{", "(", "<", "\\", "<think>", "<answer>1</answer>", "\\boxed{", "\\boxed{1}", "\n")
"""What long texts are made of: letters, digits, spaces, brackets, tags, boxes. Each triggers another careless loop or pattern."""

SMALLEST, LARGEST = 4_000, 1_000_000  # characters
TELLING_SECONDS = 0.1  # below this, growth does no harm and the clock is too coarse
RATIO = 3.0
"""Ratio of the times for a text and for one half as long: 2 is linear, 4 quadratic. Two doublings in a row must reach it."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A text for which the time explodes. `seconds` are for `length // 4`, `length // 2` and `length` characters."""

    rollout: Rollout
    seconds: tuple[float, float, float]

    def __str__(self) -> str:
        half, quarter = len(self.rollout.completion) // 2, len(self.rollout.completion) // 4
        first, second, third = self.seconds
        return (
            f"{first:.2g} s for {quarter:,} characters, {second:.2g} s for {half:,}, {third:.2g} s for twice that: "
            "more than linear"
        )


def explosions(scorer: BoundedScorer, task: Task, paying: Sequence[Wrapping]) -> Iterator[Growth | Rollout]:
    """Yield the texts for which time grows faster than length; a `Rollout` if scoring hung before growth could be measured."""
    for wrap in (None, *paying[:1]):
        for pattern in PATTERNS:
            found = _measure(scorer, task, pattern, wrap)
            if found is not None:
                yield found


def _measure(scorer: BoundedScorer, task: Task, pattern: str, wrap: Wrapping | None) -> Growth | Rollout | None:
    times: list[float] = []
    size = SMALLEST
    while size <= LARGEST:
        text = pattern * (size // len(pattern))
        rollout = Rollout(task=task, completion=wrap(text) if wrap else text)
        (score,) = scorer.score([rollout])
        if score is None:
            return None
        if score.status is Status.TIMEOUT:
            return rollout
        times.append(score.seconds)
        if is_explosive(times):
            return Growth(rollout, (times[-3], times[-2], times[-1]))
        size *= 2
    return None


def is_explosive(seconds: Sequence[float]) -> bool:
    """Return True if the last two doublings each took `RATIO` times as long as the one before, and long enough to be measured."""
    if len(seconds) < 3 or seconds[-1] < TELLING_SECONDS:
        return False
    first, second, third = seconds[-3:]
    return first > 0 and second >= RATIO * first and third >= RATIO * second
