"""`Rubric`: named rewards with weights, combined into one `Score`. This module only does arithmetic on scores; `r1env.scoring` runs the rewards.

In a rubric the name `accuracy` stands for the environment's own checker. Named rubrics come from plugins (the hook `r1env_rubrics`). R1's
rubrics are `zero` and `r1-zero` (Nature eq. 4, in r1env-format), `stage1` (with language consistency, in r1env-language) and `stage2` (the
general prompts of eq. 9, in r1env-judge).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

from r1env.config import load_yaml, validate
from r1env.errors import UnknownNameError, UsageError
from r1env.hooks import RubricPresetSpec
from r1env.importing import is_reference, load_object
from r1env.plugins import Plugins, installed
from r1env.rewards import Reward, Scope, as_reward
from r1env.types import FAILURES, Score, Status

ACCURACY = "accuracy"


class RewardChoice(BaseModel):
    """One entry of a rubric: the name of a reward, its weight and its options. A reward of weight 0 is only a metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: str
    weight: float = Field(default=1.0, allow_inf_nan=False)
    options: Mapping[str, Any] = Field(default_factory=dict)


OnNone = Literal["unscored", "skip"]
"""What a counting reward that returns None does to the sum: it leaves the rollout without a score, or the rest is summed without it."""


class RubricSpec(BaseModel):
    """A rubric as it is written in files, with names instead of objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rewards: tuple[RewardChoice, ...] = Field(min_length=1)
    on_none: OnNone = "unscored"


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """A reward and its weight in the sum."""

    reward: Reward
    weight: float = 1.0


class Rubric:
    """Named rewards with weights.

    Args:
        on_none: what happens if a reward of nonzero weight abstains (returns None). With `unscored` the rollout has no score. With `skip`
            the weighted sum of the other rewards counts, as in TRL, and the rollout has no score only if all abstain. Scoring that fails
            (raises, takes too long) is not an abstention: the rollout then never has a score.

    Example:
        >>> import r1env
        >>> @r1env.reward(name="short")
        ... def short(completion: str) -> float:
        ...     return float(len(completion) < 200)
        >>> Rubric("mine", [WeightedReward(short, 0.5)]).combine([short.score(rollout)]).value  # doctest: +SKIP
        0.5

    Raises:
        UsageError: there is no reward, two rewards or parts have the same name, or a weight is not finite.
    """

    def __init__(self, name: str, rewards: Sequence[WeightedReward], on_none: OnNone = "unscored") -> None:
        if not rewards:
            raise UsageError(f"rubric {name!r} has no rewards")
        owner: dict[str, str] = {}
        for item in rewards:
            item.reward.check_complete()
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
        self.on_none = on_none

    @property
    def part_keys(self) -> tuple[str, ...]:
        """The keys of every score's parts, in the order of the rewards."""
        return tuple(key for item in self.rewards for key in item.reward.part_keys)

    def describe(self) -> list[dict[str, Any]]:
        """Return each reward with its weight, the value of every option, and the origin of its function, as a run's manifest records them."""
        return [
            {
                "reward": item.reward.name,
                "weight": item.weight,
                "isolation": str(item.reward.isolation),
                "scope": str(item.reward.scope),
                **item.reward.identity,
                "settings": to_jsonable_python(item.reward.settings, fallback=str),
            }
            for item in self.rewards
        ]

    def combine(self, scores: Sequence[Score]) -> Score:
        """Combine the scores of the rewards, given in the order of the rewards, into one score.

        The value is the weighted sum; `turns` is the weighted sum of the rewards with scope `turn`. If a reward of nonzero weight has no
        value, the result has none either, unless the reward abstained and `on_none` is `skip`. The status is that of the first failure,
        else that of the first reward with a value.
        """
        parts = dict.fromkeys(self.part_keys, math.nan)
        for score in scores:
            parts.update(score.parts)
        counting = [(item, score) for item, score in zip(self.rewards, scores, strict=True) if item.weight != 0]
        missing = [(item, score) for item, score in counting if score.value is None]
        if self.on_none == "skip" and len(missing) < len(counting):
            missing = [(item, score) for item, score in missing if score.failed]
        missing.sort(key=lambda pair: pair[1].status not in FAILURES)  # stable: failures first
        by_reward = {item.reward.name: score.seconds for item, score in zip(self.rewards, scores, strict=True)}
        seconds: dict[str, Any] = {"seconds": math.fsum(by_reward.values()), "seconds_by_reward": by_reward}
        by_turn = [(item.weight, score.turns) for item, score in counting if score.turns]
        turns = (
            tuple(math.fsum(weight * (of[place] or 0.0) for weight, of in by_turn) for place in range(len(by_turn[0][1])))
            if by_turn
            else ()
        )
        if missing:
            item, score = missing[0]
            return Score(value=None, parts=parts, status=score.status, reason=f"{item.reward.name}: {score.reason}", **seconds)
        value = math.fsum(item.weight * (score.value or 0.0) for item, score in counting)
        first = next((score for score in scores if score.value is not None), scores[0])
        status = first.status if first.status not in FAILURES else Status.OK
        reasons = (
            f"{item.reward.name}: {score.reason}" for item, score in zip(self.rewards, scores, strict=True) if score.reason
        )
        return Score(value=value, parts=parts, status=status, reason="; ".join(reasons), turns=turns, **seconds)


def needs_whole_groups(rubric: Rubric) -> bool:
    """Return whether a reward needs all completions of a task at once."""
    return any(item.reward.scope is Scope.GROUP for item in rubric.rewards)


def refuse_group_rewards(rubric: Rubric, who: str) -> None:
    """Raise UsageError for a rubric that needs whole groups, because responses are scored one at a time.

    Args:
        who: what scores the responses, for the message.

    Raises:
        UsageError: a reward has the scope `group`.
    """
    for item in rubric.rewards:
        if item.reward.scope is Scope.GROUP:
            raise UsageError(
                f"{who} scores one response at a time, and the reward {item.reward.name!r} needs all responses to a task "
                "(scope='group'); leave it out, or train with `r1env train` on this machine or with TRL"
            )


AnyRubric = Rubric | Reward | RubricSpec | Mapping[str, Any] | str
"""How a user may say what scores: objects, a rubric as a mapping, or a name; see `find_rubric` and `as_rubric`."""


def find_rubric(name: str, plugins: Plugins | None = None) -> RubricSpec | Rubric:
    """Return the rubric called `name`: a plugin's preset, a YAML file with `name:` and `rewards:`, or an object at `module:attribute`.

    Raises:
        UnknownNameError: there is no such rubric.
        UsageError: the file or the object is not a rubric; the message names the first error.
        PluginError: two plugins provide the name.

    Example:
        >>> find_rubric("zero").rewards[0].reward
        'accuracy'
    """
    plugins = plugins or installed()
    presets, path = plugins.provided("rubrics"), Path(name)
    if name in presets:
        return as_rubric(plugins.load(RubricPresetSpec, name), name)
    if path.is_file() and path.suffix != ".py":
        return validate(RubricSpec, load_yaml(path), where=name)
    if is_reference(name):
        return as_rubric(load_object(name, "rubric"), name)
    raise UnknownNameError(
        "rubric", name, presets, hint="(or give the path of a YAML file, module:attribute or file.py:attribute)"
    )


def as_rubric(found: Any, name: str) -> RubricSpec | Rubric:
    """Return the object found under `name` as a rubric.

    A mapping with the key `rewards` has the form of a rubric file; any other mapping gives weights by reward. A reward becomes a rubric
    with one entry. A function without parameters is called and must return one of these; any other function is a reward.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(found, Rubric | RubricSpec):
        return found
    if is_reward(found):
        made = as_reward(found, name)
        return Rubric(made.name, [WeightedReward(made)])
    if isinstance(found, Mapping):
        if "rewards" in found:
            return validate(RubricSpec, {"name": name, **found}, where=f"rubric {name!r}")
        choices = [{"reward": reward, "weight": weight} for reward, weight in found.items()]
        return validate(RubricSpec, {"name": name, "rewards": choices}, where=f"rubric {name!r}")
    if callable(found):
        return as_rubric(found(), name)
    raise UsageError(f"{name!r} is a {type(found).__name__}, not a rubric; see r1env.rubrics.as_rubric for what can be one")


def scorable(found: Any) -> Rubric | Reward:
    """Return a rubric or reward unchanged, a function as a reward, and for a name the reward of that name.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(found, Rubric | Reward):
        return found
    if isinstance(found, str):
        return installed().reward(found)
    if is_reward(found):
        return as_reward(found, getattr(found, "__name__", "reward"))
    raise UsageError(
        f"cannot score with a {type(found).__name__}; give a reward, a function, a reward's name, or an r1env.Rubric"
    )


def is_reward(found: Any) -> bool:
    """Return True for a reward, a class, and a function with parameters. A function without parameters returns a rubric instead."""
    return (
        isinstance(found, Reward) or inspect.isclass(found) or (callable(found) and bool(inspect.signature(found).parameters))
    )


def resolve_rubric(spec: RubricSpec | Rubric, find_reward: Callable[[str], Reward], accuracy: Reward | None = None) -> Rubric:
    """Replace the names in a rubric by the rewards. A `Rubric`, which has its rewards already, is returned unchanged.

    Args:
        spec: the rubric.
        find_reward: return the reward of a name, or raise `UnknownNameError`.
        accuracy: the reward that the name `accuracy` stands for.
    """
    if isinstance(spec, Rubric):
        return spec
    items = []
    for choice in spec.rewards:
        if choice.reward == ACCURACY and accuracy is None:
            raise UsageError(f"rubric {spec.name!r} asks for 'accuracy', which only an environment has; name a reward instead")
        base = accuracy if choice.reward == ACCURACY and accuracy is not None else find_reward(choice.reward)
        items.append(WeightedReward(base.with_options(**choice.options) if choice.options else base, choice.weight))
    return Rubric(spec.name, items, spec.on_none)


def with_options(spec: RubricSpec | Rubric, options: Mapping[str, Mapping[str, Any]]) -> RubricSpec | Rubric:
    """Return the rubric with some reward options changed. `options` maps the names of rewards in the rubric to their options.

    Raises:
        UnknownNameError: the rubric has no such reward.
    """
    if isinstance(spec, Rubric):
        _check_names(spec.name, options, [item.reward.name for item in spec.rewards])
        changed = (replace(item, reward=item.reward.with_options(**options.get(item.reward.name, {}))) for item in spec.rewards)
        return Rubric(spec.name, list(changed), spec.on_none) if options else spec
    _check_names(spec.name, options, [choice.reward for choice in spec.rewards])
    choices = (c.model_copy(update={"options": {**c.options, **options.get(c.reward, {})}}) for c in spec.rewards)
    return spec.model_copy(update={"rewards": tuple(choices)})


def name_accuracy(spec: RubricSpec | Rubric, accuracy: str) -> RubricSpec | Rubric:
    """Return the rubric with `accuracy` replaced by the name of a reward, for use without an environment."""
    if isinstance(spec, Rubric):
        return spec
    choices = (c.model_copy(update={"reward": accuracy}) if c.reward == ACCURACY else c for c in spec.rewards)
    return spec.model_copy(update={"rewards": tuple(choices)})


def _check_names(rubric: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise UnknownNameError(f"reward of rubric {rubric!r}:", name, known)
