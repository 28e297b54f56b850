"""From a stack's items to scores, and what becomes of a score without a value where a stack knows only numbers."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from r1env.config import validate
from r1env.errors import UnknownNameError, UsageError
from r1env.plugins import Plugins, installed
from r1env.rewards import Isolation, Reward
from r1env.rollouts import Rollout
from r1env.rubrics import (
    PRESETS,
    RewardChoice,
    Rubric,
    RubricSpec,
    WeightedReward,
    load_rubric_spec,
    name_accuracy,
    resolve_rubric,
)
from r1env.scores import Score, Status
from r1env.scoring import score as score_rollouts
from r1env.scoring.jobs import pack_reward

logger = logging.getLogger(__name__)

T = TypeVar("T")

AnyRubric = Rubric | Reward | RubricSpec | Mapping[str, Any] | str
"""How a user may say what scores: objects, a rubric as a mapping, or a name (a preset, a YAML file, an installed reward, `module:attribute`)."""

ERROR = "error"
"""The metric that is 1 where there was no score, else 0."""


def rubric_spec(given: RubricSpec | Mapping[str, Any] | str) -> RubricSpec:
    """The rubric as names: of a preset, a YAML file or a single reward, or of the same as a mapping.

    Raises:
        UsageError: it is no rubric; the message names the first fault.
    """
    if isinstance(given, RubricSpec):
        return given
    if not isinstance(given, str):
        return validate(RubricSpec, given, where="rubric")
    if given in PRESETS or Path(given).is_file():
        return load_rubric_spec(given)
    return RubricSpec(name=given, rewards=(RewardChoice(reward=given),))


def load_rubric(
    given: AnyRubric, *, accuracy: str = "math", reserved: Collection[str] = (), plugins: Plugins | None = None
) -> Rubric:
    """What scores, checked as far as it can be before the first rollout.

    Args:
        given: see `AnyRubric`. A reward becomes a rubric of one.
        accuracy: the reward that `accuracy` stands for.
        reserved: names that the stack has for its own; no part may be called so.
        plugins: where names are looked up; by default what is installed.

    Raises:
        UsageError: an unknown name, a part with a reserved name, or a reward that cannot be sent to a worker.
    """
    if isinstance(given, Reward):
        rubric = Rubric(given.name, [WeightedReward(given)])
    elif isinstance(given, Rubric):
        rubric = given
    else:
        rubric = _resolve(given, accuracy, plugins or installed())
    for key in rubric.part_keys:
        if key in reserved:
            raise UsageError(f"a reward cannot be called {key!r} here: that name is taken; rename it")
    for item in rubric.rewards:
        if item.reward.isolation is Isolation.PROCESS:
            pack_reward(item.reward)  # raises now what would otherwise cost every rollout its score
    return rubric


def score_items(items: Sequence[T], to_rollout: Callable[[T], Rollout], rubric: Rubric) -> list[Score]:
    """A score for each item, in order, in one call of the rewards. Raises nothing on account of an item or of a reward.

    An item that makes no rollout gets a score without a value, as does everything when the scoring itself breaks down.
    """
    rollouts: list[Rollout] = []
    failures: dict[int, Score] = {}
    for place, item in enumerate(items):
        try:
            rollouts.append(to_rollout(item))
        except Exception as error:  # noqa: BLE001 - a row that cannot be read costs its own score, not the training job
            failures[place] = _failure(rubric, "cannot read the row", error)
    try:
        scores = iter(score_rollouts(rollouts, rubric))
    except Exception as error:  # noqa: BLE001 - the stack has no answer to an exception but to end the job
        scores = iter([_failure(rubric, "scoring broke down", error)] * len(rollouts))
    together = [failures[place] if place in failures else next(scores) for place in range(len(items))]
    _log_failures(together)
    return together


def numbers(score: Score, rubric: Rubric, unscored: float) -> dict[str, float]:
    """`error` and every part: finite numbers under the same keys, whatever happened. A part without a value becomes `unscored`."""
    parts = {key: score.parts.get(key, math.nan) for key in rubric.part_keys}
    return {
        ERROR: float(score.value is None),
        **{key: part if math.isfinite(part) else unscored for key, part in parts.items()},
    }


def leading(score: Score, rubric: Rubric, unscored: float) -> float:
    """How right the answer was, apart from its form: the part of the rubric's first reward, within 0 and 1.

    Stacks filter groups by it, and plot it as the accuracy.
    """
    part = score.parts.get(rubric.rewards[0].reward.name, math.nan)
    return min(1.0, max(0.0, part if math.isfinite(part) else unscored))


def check_unscored(unscored: float) -> float:
    """The number for a score without a value.

    Raises:
        UsageError: it is not finite.
    """
    if not math.isfinite(unscored):
        raise UsageError(f"unscored is {unscored}; it must be finite, for this stack cannot carry anything else")
    return float(unscored)


def _resolve(given: RubricSpec | Mapping[str, Any] | str, accuracy: str, plugins: Plugins) -> Rubric:
    spec = rubric_spec(given)
    try:
        return resolve_rubric(name_accuracy(spec, accuracy), plugins.reward)
    except UnknownNameError as error:
        if error.name == spec.name:  # a name alone, which may have been meant for either
            known = [*PRESETS, *plugins.provided("rewards")]
            raise UnknownNameError("rubric or reward", error.name, known, hint="(or give the path of a YAML file)") from error
        raise


def _failure(rubric: Rubric, what: str, error: Exception) -> Score:
    reason = f"{what}: {type(error).__name__}: {error}".splitlines()[0]
    return Score.failure(Status.ERROR, reason, parts=rubric.part_keys)


def _log_failures(scores: Sequence[Score]) -> None:
    failed = [score for score in scores if score.failed]
    if failed:
        counts = ", ".join(f"{count} {status}" for status, count in Counter(score.status.value for score in failed).items())
        logger.warning("no score for %d of %d rollouts (%s): %s", len(failed), len(scores), counts, failed[0].reason[:200])
