"""The reward for torchtitan's `experiments/rl`: a coroutine that a `RewardFn` of yours calls.

torchtitan's rubric takes numbers and has `error_reward` for a reward that raises. A score without a value therefore **raises
`UnscoredError`**; set `error_reward`, or give `unscored=` a number, which is returned instead. In your configuration:

    from torchtitan.experiments.rl.rubrics import RewardFn
    from r1env.adapters.torchtitan import reward_coroutine

    score = reward_coroutine("zero")

    class R1Env(RewardFn):
        async def __call__(self, rollout, env_input):
            return await score(rollout, env_input)

torchtitan normalises the weights of its rewards to 1; give it one reward for the whole rubric.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from r1env.adapters.core import check_unscored, load_rubric, rollout_of, score_items, task_of
from r1env.errors import R1EnvError
from r1env.rubrics import AnyRubric
from r1env.types import Rollout

TESTED_WITH = ""
"""Not run: `experiments/rl` needs a GPU, and its modules move every few weeks. The call is restated in our tests."""


class UnscoredError(R1EnvError):
    """A rollout that could not be scored; the message says why."""


def reward_coroutine(
    rubric: AnyRubric, *, accuracy: str = "math", unscored: float | None = None
) -> Callable[[Any, Any], Awaitable[float]]:
    """Return a coroutine function of torchtitan's rollout and the row that it was sampled for.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        unscored: returned where there is no value; by default that raises.

    Raises:
        UsageError: an unknown name, a reward of scope `group`, or an `unscored` that is not finite.
    """
    loaded = load_rubric(rubric, accuracy=accuracy, one_by_one="torchtitan")
    fallback = None if unscored is None else check_unscored(unscored)

    async def score(rollout: Any, env_input: Any) -> float:
        """Score one rollout.

        Raises:
            UnscoredError: there is no score, and no number for that.
        """
        (found,) = await asyncio.to_thread(score_items, [(rollout, env_input)], _rollout, loaded)
        if found.value is not None:
            return found.value
        if fallback is None:
            raise UnscoredError(f"{found.status}: {found.reason}")
        return fallback

    return score


def _rollout(item: tuple[Any, Any]) -> Rollout:
    rollout, row = item
    said = [message for turn in rollout.turns if (message := turn.completion_message)]
    fields = _fields(row)
    return rollout_of(task_of(fields.pop("prompt", ""), fields), list(said))


def _fields(row: Any) -> dict[str, Any]:
    if isinstance(row, Mapping):
        return dict(row)
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    return dict(vars(row))
