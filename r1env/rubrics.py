"""`Rubric`: named rewards with weights, one `Score` out. Pure arithmetic on scores; `r1env.scoring` runs the rewards.

The presets are R1's: `zero` (Nature eq. 4), `stage1` (+ language consistency, eq. 7), `stage2` (eq. 8-10). In a rubric the
name `accuracy` stands for the environment's own checker. R1 adds accuracy and format with equal weight; at small scale an
equal format term is an attractor, so the presets here weigh format 0.1 (our choice) and `r1-zero` keeps the paper's 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

from r1env.config import load_yaml, validate
from r1env.errors import UnknownNameError, UsageError
from r1env.rewards import Reward
from r1env.types import FAILURES, Score, Status

ACCURACY = "accuracy"


class RewardChoice(BaseModel):
    """One line of a rubric: a reward by name, its weight, its options. Weight 0 makes it a metric only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: str
    weight: float = Field(default=1.0, allow_inf_nan=False)
    options: Mapping[str, Any] = Field(default_factory=dict)


class RubricSpec(BaseModel):
    """A rubric as it is written in files: names, not objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rewards: tuple[RewardChoice, ...] = Field(min_length=1)


def _choice(name: str, weight: float = 1.0, **options: Any) -> RewardChoice:
    return RewardChoice(reward=name, weight=weight, options=options)


PRESETS: Mapping[str, RubricSpec] = {
    spec.name: spec
    for spec in (
        RubricSpec(name="accuracy", rewards=(_choice(ACCURACY),)),
        RubricSpec(name="zero", rewards=(_choice(ACCURACY), _choice("format", 0.1))),
        RubricSpec(name="r1-zero", rewards=(_choice(ACCURACY), _choice("format"))),
        RubricSpec(name="stage1", rewards=(_choice(ACCURACY), _choice("format", 0.1), _choice("language", 0.1))),
        RubricSpec(name="stage2", rewards=(_choice(ACCURACY), _choice("format", 0.1), _choice("language", 0.1))),
    )
}


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """A reward and what it counts in the sum."""

    reward: Reward
    weight: float = 1.0


class Rubric:
    """Named rewards with weights.

    Example:
        >>> import r1env
        >>> @r1env.reward(name="short")
        ... def short(completion: str) -> float:
        ...     return float(len(completion) < 200)
        >>> Rubric("mine", [WeightedReward(short, 0.5)]).combine([short.score(rollout)]).value  # doctest: +SKIP
        0.5

    Raises:
        UsageError: no reward, two rewards of one name, parts of one key, or a weight that is not finite.
    """

    def __init__(self, name: str, rewards: Sequence[WeightedReward]) -> None:
        if not rewards:
            raise UsageError(f"rubric {name!r} has no rewards")
        owner: dict[str, str] = {}
        for item in rewards:
            if not math.isfinite(item.weight):
                raise UsageError(f"rubric {name!r}: the weight of {item.reward.name!r} is {item.weight}; it must be finite")
            for key in item.reward.part_keys:
                if key in owner:
                    raise UsageError(
                        f"rubric {name!r}: rewards {owner[key]!r} and {item.reward.name!r} both report the part {key!r}; rename one"
                    )
                owner[key] = item.reward.name
        self.name = name
        self.rewards = tuple(rewards)

    @property
    def part_keys(self) -> tuple[str, ...]:
        """The keys of every score's parts, in the order of the rewards."""
        return tuple(key for item in self.rewards for key in item.reward.part_keys)

    def describe(self) -> list[dict[str, Any]]:
        """Each reward with its weight and the value of every option: what a run's manifest keeps. Plain data."""
        return [
            {
                "reward": item.reward.name,
                "weight": item.weight,
                "isolation": str(item.reward.isolation),
                "settings": to_jsonable_python(item.reward.settings, fallback=str),
            }
            for item in self.rewards
        ]

    def combine(self, scores: Sequence[Score]) -> Score:
        """One score of the scores of the rewards, in their order.

        The value is the weighted sum. A reward that counts (weight not 0) and has no value leaves the whole without one.
        The status is that of the first failure, else of the first reward.
        """
        parts = dict.fromkeys(self.part_keys, math.nan)
        for score in scores:
            parts.update(score.parts)
        counting = [(item, score) for item, score in zip(self.rewards, scores, strict=True) if item.weight != 0]
        missing = [(item, score) for item, score in counting if score.value is None]
        missing.sort(key=lambda pair: pair[1].status not in FAILURES)  # stable: failures first
        seconds = math.fsum(score.seconds for score in scores)
        if missing:
            item, score = missing[0]
            return Score(
                value=None, parts=parts, status=score.status, reason=f"{item.reward.name}: {score.reason}", seconds=seconds
            )
        value = math.fsum(item.weight * (score.value or 0.0) for item, score in counting)
        status = scores[0].status if scores[0].status not in FAILURES else Status.OK
        reasons = (
            f"{item.reward.name}: {score.reason}" for item, score in zip(self.rewards, scores, strict=True) if score.reason
        )
        return Score(value=value, parts=parts, status=status, reason="; ".join(reasons), seconds=seconds)


def resolve_rubric(spec: RubricSpec, find_reward: Callable[[str], Reward], accuracy: Reward | None = None) -> Rubric:
    """Turn names into rewards.

    Args:
        spec: what to build.
        find_reward: gives the reward of a name, or raises `UnknownNameError`.
        accuracy: what the name `accuracy` stands for.
    """
    items = []
    for choice in spec.rewards:
        if choice.reward == ACCURACY and accuracy is None:
            raise UsageError(f"rubric {spec.name!r} asks for 'accuracy', which only an environment has; name a reward instead")
        base = accuracy if choice.reward == ACCURACY and accuracy is not None else find_reward(choice.reward)
        items.append(WeightedReward(base.with_options(**choice.options) if choice.options else base, choice.weight))
    return Rubric(spec.name, items)


def with_options(spec: RubricSpec, options: Mapping[str, Mapping[str, Any]]) -> RubricSpec:
    """The rubric with reward options laid over its own; `options` goes by the rewards' names in the rubric.

    Raises:
        UnknownNameError: options for a reward that the rubric does not have.
    """
    names = [choice.reward for choice in spec.rewards]
    for name in options:
        if name not in names:
            raise UnknownNameError(f"reward of rubric {spec.name!r}:", name, names)
    choices = (c.model_copy(update={"options": {**c.options, **options.get(c.reward, {})}}) for c in spec.rewards)
    return spec.model_copy(update={"rewards": tuple(choices)})


def name_accuracy(spec: RubricSpec, accuracy: str) -> RubricSpec:
    """The rubric with the reward's name in place of `accuracy`, for where no environment says what that is."""
    choices = (c.model_copy(update={"reward": accuracy}) if c.reward == ACCURACY else c for c in spec.rewards)
    return spec.model_copy(update={"rewards": tuple(choices)})


def load_rubric_spec(name_or_file: str) -> RubricSpec:
    """A preset by name, or a YAML file with `name:` and `rewards:`.

    Raises:
        UnknownNameError: neither a preset nor a file.
        UsageError: the file is no rubric; the message names the first fault.
    """
    if name_or_file in PRESETS:
        return PRESETS[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise UnknownNameError("rubric", name_or_file, PRESETS, hint="(or give the path of a YAML file)")
    return validate(RubricSpec, load_yaml(path), where=str(path))
