"""The reward for AReaL's `RLVRWorkflow`: a function at a path, called in AReaL's own processes.

AReaL drops a sample only where the *workflow* returns None, which a reward cannot: a score without a value becomes **the number
R1ENV_UNSCORED (0.0 unless set)**, and is logged. The workflow's argument names the function:

    workflow_kwargs = dict(reward_fn="r1env.adapters.areal.reward_fn", ...)

It scores with the rubric that R1ENV_RUBRIC names, since AReaL passes no options. AReaL gives a reward 15 seconds, tries it three times and
then counts 0: scoring that may take longer belongs behind `r1env serve`. Rewards of scope `group` are refused.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from r1env.adapters.core import (
    conversation_of,
    rollout_of,
    rubric_from_environment,
    score_items,
    task_of,
    without_end_tokens,
)
from r1env.rubrics import Rubric, refuse_group_rewards
from r1env.types import Rollout

TESTED_WITH = ""
"""Not run: AReaL does not install without a GPU. The call is restated in our tests from AReaL 1.0.4."""


def reward_fn(
    prompt: Any,
    completions: str,
    prompt_ids: Sequence[int] = (),  # noqa: ARG001 - AReaL passes the tokens by position
    completion_ids: Sequence[int] = (),  # noqa: ARG001
    **row: Any,
) -> float:
    """Score one response, as AReaL calls it: text with special tokens, and the row's other columns by name.

    Raises:
        UsageError: R1ENV_RUBRIC names no rubric, or one with a reward of scope `group`.
    """
    rubric, unscored = _configured()
    (score,) = score_items([(prompt, completions, row)], _rollout, rubric)
    return unscored if score.value is None else score.value


def _rollout(item: tuple[Any, str, dict[str, Any]]) -> Rollout:
    prompt, completion, row = item
    shown = row.pop("messages", None) if isinstance(prompt, str) else None  # the prompt is rendered; the row may have it plain
    return rollout_of(task_of(prompt if shown is None else conversation_of(shown), row), without_end_tokens(completion))


@functools.cache
def _configured() -> tuple[Rubric, float]:
    rubric, unscored = rubric_from_environment()
    refuse_group_rewards(rubric, "AReaL")
    return rubric, unscored
