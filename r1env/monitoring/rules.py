"""The ways in which a training goes wrong, each a pure function from the curves of a stage to an alert or None.

A rule reads means over the last `RECENT` steps, never one step, and compares them with the start of the stage, so that what was so from
the beginning or passes by itself raises nothing. Its thresholds have their reason beside them; `docs/monitoring.md` tells the stories.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from r1env.types import Rollout, Task

# `Curves`: the logged metrics of one stage, as the rules read them.

Point = tuple[int, float]  # (step, value)


class Curves:
    """The values of every metric over the steps of a stage. Values that are not finite are kept apart, see `not_finite`."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Args:
        rows: of `Run.metrics(stage)`.
        """
        self._points: dict[str, list[Point]] = {}
        self._not_finite: dict[str, list[int]] = {}
        self.step = 0
        for row in rows:
            self.add(row["step"], {name: value for name, value in row.items() if name not in ("stage", "step", "time")})

    def add(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Take one logged step."""
        self.step = step
        for name, value in metrics.items():
            if value is not None and math.isfinite(value):
                self._points.setdefault(name, []).append((step, value))
            else:
                self._not_finite.setdefault(name, []).append(step)

    def names(self, prefix: str = "") -> list[str]:
        """Metrics that have a value and begin with `prefix`, in the order of their first value."""
        return [name for name in self._points if name.startswith(prefix)]

    def points(self, name: str) -> list[Point]:
        """Every (step, value) of a metric, in order."""
        return self._points.get(name, [])

    def first(self, name: str, count: int) -> list[float]:
        """Its first values."""
        return [value for _, value in self.points(name)[:count]]

    def last(self, name: str, count: int) -> list[float]:
        """Its last values."""
        return [value for _, value in self.points(name)[-count:]]

    def not_finite(self, name: str) -> list[int]:
        """The steps whose value was not finite, in order."""
        return self._not_finite.get(name, [])

    def around(self, name: str, step: int, count: int) -> list[float]:
        """The `count` values up to a step; of a step before them all, the first ones."""
        points = self.points(name)
        until = [value for at, value in points if at <= step]
        return until[-count:] if len(until) >= count else self.first(name, count)


RECENT = 10  # steps that a mean is taken over
ACCURACY, HELD_OUT = "accuracy", "eval/accuracy"


@dataclass(frozen=True, slots=True)
class Alert:
    """What a rule says.

    Attributes:
        rule: its name, the same every time.
        metric: the curve it is seen in.
        seen: what the numbers do.
        cause: what most likely brings it about.
        remedy: what to try first.
    """

    rule: str
    metric: str
    seen: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.seen}; likely {self.cause}; {self.remedy}"


Rule = Callable[[Curves], Alert | None]

HELD_OUT_FALL = 0.1  # more than twice the standard error of 128 answers at 50 %
CERTAIN = 3.0  # standard errors between two means of rewards


def reward_hacking(curves: Curves) -> Alert | None:
    """The reward climbs while held-out accuracy falls: the policy has found what pays without being right.

    Accuracy must be well below its best in two evaluations running: one may be bad luck.
    """
    evaluations = curves.points(HELD_OUT)
    if len(evaluations) < 3:
        return None
    best_step, best = max(evaluations[:-2], key=lambda point: point[1])
    step, now = evaluations[-1]
    if max(now, evaluations[-2][1]) > best - HELD_OUT_FALL:
        return None
    before, after = curves.around("reward", best_step, RECENT), curves.around("reward", step, RECENT)
    if not _climbs(before, after):
        return None
    return Alert(
        "reward-hacking",
        "reward",
        f"the reward rose from {fmean(before):.2f} to {fmean(after):.2f} while held-out accuracy fell from {best:.1%} to {now:.1%}",
        "a reward that can be had without a right answer",
        "read the best-paid completions in the report, attack the reward with `r1env audit`, or weigh down the part that climbs",
    )


HOLLOW_ACCURACY = 0.05
FULL_PART = 0.9
PART_RISE = 0.1


def hollow_reward(curves: Curves) -> Alert | None:
    """Another part of the reward, format above all, rises to 1 while accuracy stays near 0: the only gradient is the form."""
    accuracy = HELD_OUT if curves.points(HELD_OUT) else ACCURACY
    if len(curves.points("reward")) < 2 * RECENT or (accuracy == HELD_OUT and len(curves.points(accuracy)) < 2):
        return None
    shown = [curves.last(name, 2 if name == HELD_OUT else RECENT) for name in (ACCURACY, HELD_OUT)]
    highest = max((fmean(values) for values in shown if values), default=math.inf)
    # An accuracy that rises from chance, however low, is learning: R1-Zero in miniature starts at 1 %.
    if highest > HOLLOW_ACCURACY or _mean_of(curves.last(accuracy, RECENT)) > _mean_of(curves.first(accuracy, 1)) + 0.02:
        return None
    for part in curves.names("parts/"):
        early, recent = curves.first(part, RECENT // 2), curves.last(part, RECENT)
        if fmean(recent) >= FULL_PART and fmean(recent) - min(early) >= PART_RISE:
            name = part.removeprefix("parts/")
            return Alert(
                "hollow-reward",
                part,
                f"{name} rose to {fmean(recent):.2f} while accuracy stays at {highest:.1%}",
                f"that right answers are too rare to teach anything, so {name} is all that the policy learns",
                "warm up longer (SFT) or take easier tasks until 1 answer in 10 is right, weigh the part at 0.1, refuse empty "
                "answers, and lower lr",
            )
    return None


UNSCORED = "unscored/share"
MUCH_UNSCORED = 0.2  # of the rollouts: a fifth of the signal is gone, and which fifth is seldom chance

FEW_MIXED = 0.1
SOLVED = 0.9


def flat_groups(curves: Curves) -> Alert | None:
    """Hardly any group has rewards that differ: nothing is left to learn from."""
    mixed, unscored_share = curves.last("mixed_groups", RECENT), curves.last(UNSCORED, RECENT)
    if len(mixed) < RECENT or fmean(mixed) >= FEW_MIXED:
        return None
    if unscored_share and fmean(unscored_share) >= MUCH_UNSCORED:
        return None  # the rule `unscored` says why
    cause, remedy = _why_flat(_mean_of(curves.last(ACCURACY, RECENT)))
    return Alert(
        "flat-groups", "mixed_groups", f"only {fmean(mixed):.0%} of the groups have rewards that differ", cause, remedy
    )


def _why_flat(accuracy: float) -> tuple[str, str]:
    """Cause and remedy, by the accuracy in training (NaN where it is not logged)."""
    if accuracy > SOLVED:
        return "that the tasks are solved", "stop here, or take harder tasks"
    if accuracy < 0.2:
        return "that the tasks are too hard", "take easier ones, warm up longer (SFT), or raise sampling.group_size"
    return (
        "that the policy answers each prompt the same way every time",
        "raise temperature or clip_high, or go back to an earlier checkpoint with a lower lr",
    )


COLLAPSED = 0.05  # nats a token: the likeliest token has some 99 %
LEFT_OF_START = 1 / 3


def entropy_collapse(curves: Curves) -> Alert | None:
    """The policy has stopped exploring before it has learnt the task (DAPO, arXiv 2503.14476, section 3.1)."""
    start, now = curves.first("entropy", 3), curves.last("entropy", RECENT)
    if len(now) < RECENT or len(curves.points("entropy")) < 2 * RECENT:
        return None
    if fmean(now) >= COLLAPSED or fmean(now) >= LEFT_OF_START * fmean(start):
        return None
    accuracy, before = _mean_of(curves.last(ACCURACY, RECENT)), _mean_of(curves.last(ACCURACY, 2 * RECENT)[:RECENT])
    if accuracy > SOLVED or accuracy > before + 0.02:
        return None  # nothing is left to explore, or it is still learning
    return Alert(
        "entropy-collapse",
        "entropy",
        f"entropy fell from {fmean(start):.3f} to {fmean(now):.3f} nats a token",
        "a policy that has settled on one way to answer before it is right",
        "lower lr, raise clip_high (DAPO takes 0.28), or set kl_coef; go back to a checkpoint from before the fall",
    )


MUCH_TRUNCATED = 0.3


def length_limit(curves: Curves) -> Alert | None:
    """Completions run into the token limit, and it does not get better."""
    cut = curves.last("truncated", RECENT)
    if len(curves.points("truncated")) < 2 * RECENT or fmean(cut) < MUCH_TRUNCATED:
        return None
    if fmean(cut) < fmean(curves.first("truncated", RECENT)) - 0.02:
        return None  # the policy is learning to end
    right, wrong = _mean_of(curves.last("length/right", RECENT)), _mean_of(curves.last("length/wrong", RECENT))
    rambling = wrong > 1.5 * right
    return Alert(
        "length-limit",
        "truncated",
        f"{fmean(cut):.0%} of the completions are cut off at max_new_tokens",
        f"wrong answers that ramble ({wrong:.0f} tokens, right ones {right:.0f})"
        if rambling
        else "a limit too low for the task",
        "add the reward `overlong` or `repetition`"
        if rambling
        else "raise sampling.max_new_tokens, or add the reward `overlong`",
    )


LARGE_GAP = 0.1  # nats: bf16 and different kernels make 0.01 to 0.03, float32 none


def logprob_gap(curves: Curves) -> Alert | None:
    """Sampler and trainer do not agree on the policy's probabilities, so the ratio corrects for something that never happened."""
    gap = curves.last("logprob_gap", RECENT)
    if len(gap) < RECENT or fmean(gap) < LARGE_GAP:
        return None
    return Alert(
        "logprob-gap",
        "logprob_gap",
        f"sampler and trainer differ by {fmean(gap):.2f} nats a token",
        "stale weights in the sampler, another temperature or precision there, or too many updates a batch of rollouts",
        "check that weights reach the sampler after every update, sample in the trainer's precision, lower mini_batches",
    )


def not_finite(curves: Curves) -> Alert | None:
    """A loss or a gradient norm is NaN or infinite. One step is enough: the numbers behind it do not come back by themselves."""
    for metric in ("loss", "grad_norm", "value/loss", "value/grad_norm"):
        if steps := curves.not_finite(metric):
            seen = f"{metric} is not finite at step {steps[-1]} ({len(steps)} of {curves.step} steps so far)"
            break
    else:
        skipped = [step for step, count in curves.points("skipped_updates") if count]
        if not skipped:
            return None
        metric, seen = "skipped_updates", f"optimizer steps were skipped at step {skipped[-1]}, since a gradient was not finite"
    return Alert(
        "not-finite",
        metric,
        seen,
        "a learning rate that is too high, a row that the model cannot compute, or arithmetic that overflows",
        "read the event `skipped` in events.jsonl, which names the rows; lower lr or lengthen the warm-up; compare with --device cpu",
    )


def unscored(curves: Curves) -> Alert | None:
    """A large share of the rollouts has no score: every reward that should have judged them abstained or failed."""
    recent = curves.last(UNSCORED, RECENT)
    if not recent or recent[-1] < MUCH_UNSCORED or fmean(recent) < MUCH_UNSCORED:
        return None
    now = curves.points(UNSCORED)[-1][0]
    reasons = {
        name.removeprefix("unscored/"): curves.points(name)[-1][1]
        for name in curves.names("unscored/")
        if name != UNSCORED and curves.points(name)[-1][0] == now
    }
    by = ", ".join(f"{name} {share:.0%}" for name, share in sorted(reasons.items(), key=lambda pair: -pair[1])[:3] if share)
    return Alert(
        "unscored",
        UNSCORED,
        f"{recent[-1]:.0%} of the rollouts have no score" + (f" ({by})" if by else ""),
        "a reward that returns None for these rows, reference answers that cannot be read, or scoring that fails",
        "read the reasons in the report; give rewards that are for different tasks each its own environment (mixture), or let the "
        "rubric skip a part without a value",
    )


RULES: tuple[Rule, ...] = (
    not_finite,
    unscored,
    reward_hacking,
    hollow_reward,
    flat_groups,
    entropy_collapse,
    length_limit,
    logprob_gap,
)


def _climbs(before: list[float], after: list[float]) -> bool:
    """Whether the mean of `after` is above that of `before` by more than their noise."""
    if min(len(before), len(after)) < 2:
        return False
    error = math.sqrt(variance(before) / len(before) + variance(after) / len(after))
    return fmean(after) - fmean(before) > max(CERTAIN * error, 0.01 * abs(fmean(before)))


def _mean_of(values: list[float]) -> float:
    """NaN where there are none: every comparison with it is False."""
    return fmean(values) if values else math.nan


# Numbers about the scored rollouts of one step that every trainer may log beside the reward. Pure functions.

LEVELS = ("difficulty", "level")
"""Keys of a task's metadata that may hold its difficulty, the first that is there: ours, and MATH's."""

MOST_STRATA = 12  # a chart with more lines tells nothing
RIGHT = 0.5  # an accuracy from here on counts as right: some rewards give part of the credit


def completion_metrics(rollouts: Sequence[Rollout], accuracies: Sequence[float], lengths: Sequence[float]) -> dict[str, float]:
    """Lengths of right and of wrong answers, accuracy by difficulty, reflective words.

    Args:
        accuracies: from 0 to 1, NaN where nobody says whether a rollout is right.
        lengths: of the completions, in tokens.
    """
    return (
        reflection_metrics([rollout.completion for rollout in rollouts])
        | lengths_by_verdict(lengths, accuracies)
        | accuracy_by_stratum([rollout.task for rollout in rollouts], accuracies)
    )


def lengths_by_verdict(lengths: Sequence[float], accuracies: Sequence[float]) -> dict[str, float]:
    """Mean length of right and of wrong answers; what nobody scored counts as neither, and a side without any is left out.

    Where wrong answers alone grow, the loss may be paying for length (Dr. GRPO, arXiv 2503.20783, section 3.1).
    """
    pairs = list(zip(lengths, accuracies, strict=True))
    right = [length for length, accuracy in pairs if accuracy >= RIGHT]
    wrong = [length for length, accuracy in pairs if accuracy < RIGHT]
    return {f"length/{name}": fmean(side) for name, side in (("right", right), ("wrong", wrong)) if side}


def accuracy_by_stratum(tasks: Sequence[Task], accuracies: Sequence[float]) -> dict[str, float]:
    """`difficulty/LEVEL` → mean accuracy, for tasks that say how hard they are; nothing where there are too many levels."""
    strata: dict[str, list[float]] = defaultdict(list)
    for task, accuracy in zip(tasks, accuracies, strict=True):
        level = stratum(task)
        if level is not None and math.isfinite(accuracy):
            strata[level].append(accuracy)
    if len(strata) > MOST_STRATA:
        return {}
    return {f"difficulty/{level}": fmean(strata[level]) for level in sorted(strata)}


def stratum(task: Task) -> str | None:
    """How hard a task is, by its own metadata, as a short name: `3`, `Level 5`, `hard`; a share such as a pass rate to a tenth."""
    for key in LEVELS:
        value = task.metadata.get(key)
        if isinstance(value, float):
            return f"{value:.1f}" if math.isfinite(value) else None
        if isinstance(value, str | int):
            return " ".join(str(value).replace("/", " ").split())[:20] or None
    return None


# Reflective words: those whose growth DeepSeek-R1's authors plotted. Pure functions on text, linear in its length.

WORDS = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
"""The ten words of DeepSeek-R1 (Nature 645, supplement, on the evolution of reasoning behaviours)."""

REFLECTIVE = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
LONGEST = 100_000  # characters read of a completion


def reflective_words(text: str) -> list[str]:
    """Every reflective word of the text in order, in lower case."""
    return [word.lower() for word in REFLECTIVE.findall(text[:LONGEST])]


def reflection_metrics(completions: Sequence[str]) -> dict[str, float]:
    """How often a model has second thoughts: all ten words, and "wait" alone as the paper plots it.

    Base models write such words before any training, so read the curves from their first step on. The counts by characters tell
    more reflection from longer completions.
    """
    words = [reflective_words(text) for text in completions]
    count = sum(map(len, words))
    waits = sum(found.count("wait") for found in words)
    characters = sum(min(len(text), LONGEST) for text in completions)
    return {
        "reflection/per_1000_completions": 1000 * count / max(len(completions), 1),
        "reflection/wait_per_1000_completions": 1000 * waits / max(len(completions), 1),
        "reflection/per_1000_characters": 1000 * count / max(characters, 1),
    }
