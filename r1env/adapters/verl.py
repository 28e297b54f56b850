"""The reward function for verl (`reward.custom_reward_function`).

verl cannot carry a missing score: one without a value becomes **the number `unscored` (0.0 unless set), with `error` = 1** beside it.
Name this module itself on the command line,

    reward.custom_reward_function.path=pkg://r1env.adapters.verl
    +reward.custom_reward_function.reward_kwargs.rubric=zero
    +reward.custom_reward_function.reward_kwargs.unscored=0.0

or a file of your own that says `compute_score = reward_function(...)`; `r1env export --to verl` writes one.

verl runs eight reward processes (`reward.num_workers`), each with scoring workers of its own: set R1ENV_WORKERS, two are plenty.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from r1env.adapters.core import (
    ERROR,
    TASK_FIELD,
    check_unscored,
    leading,
    load_rubric,
    numbers,
    rollout_of,
    score_items,
    task_field,
    task_of,
)
from r1env.rubrics import AnyRubric, Rubric
from r1env.types import Rollout, Score, Task

TESTED_WITH = "verl 0.9.1"

RESERVED = frozenset({"score", "acc", ERROR, "reward", "data_source", "reward_model", "extra_info", "uid", "index"})
"""Names in verl's batch. Each key of our result becomes one of them."""

PROMPT_FIELDS = ("prompt", "question")
"""Where `extra_info` may hold the prompt, which verl does not pass."""

ComputeScore = Callable[..., dict[str, float]]


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    rubric: str = "zero",
    accuracy: str = "math",
    unscored: float = 0.0,
    **kwargs: Any,
) -> dict[str, float]:
    """Score one response, as verl calls it. The last three named arguments are `reward_kwargs`; see `reward_function`."""
    compute = _made_once(rubric, accuracy, unscored)
    return compute(data_source, solution_str, ground_truth, extra_info, **kwargs)


def reward_function(rubric: AnyRubric, *, accuracy: str = "math", unscored: float = 0.0) -> ComputeScore:
    """Return a `compute_score` with the rubric bound: synchronous, from any thread.

    It returns `score` (the rubric's value), `acc` (its first reward, which verl takes as the accuracy: DAPO filters by it), `error` and
    every part: numbers, finite, under the same keys whatever happens. Parts are what `algorithm.gdpo_reward_keys` names.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        unscored: `score`, and any part, where there is no value.

    Raises:
        UsageError: an unknown name, a reward whose name verl has taken or whose scope is `group`, or an `unscored` that is not finite.
    """
    loaded, fallback = load_rubric(rubric, accuracy=accuracy, reserved=RESERVED, one_by_one="verl"), check_unscored(unscored)

    def compute(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
    ) -> dict[str, float]:
        """Score one response. What else verl may pass, a reward model's address and tokenizer, is not for rules."""
        item = (solution_str, {**(extra_info or {}), "data_source": data_source, "ground_truth": ground_truth})
        (score,) = score_items([item], rollout_of_solution, loaded)
        return answer(score, loaded, fallback)

    return compute


def answer(score: Score, rubric: Rubric, unscored: float) -> dict[str, float]:
    """Return what verl is told: `score`, `acc`, `error` and every part."""
    value = unscored if score.value is None else score.value
    return {"score": value, "acc": leading(score, rubric, unscored), **numbers(score, rubric, unscored)}


def rollout_of_solution(item: tuple[str, Mapping[str, Any]]) -> Rollout:
    """Return the rollout of a response and the fields of its row.

    Raises:
        TypeError, ValueError: the fields hold no task.
    """
    solution, fields = item
    prompt = next((fields[name] for name in PROMPT_FIELDS if fields.get(name) is not None), "")
    return rollout_of(task_of(prompt, fields), solution)


def row_of(task: Task, data_source: str = "r1env") -> dict[str, Any]:
    """Return a row of verl's parquet file that brings the task whole to the reward. `data_source` names the curve in its plots.

    To show the model another prompt (a template's rendering), replace `prompt`; the task keeps its own.
    """
    return {
        "data_source": data_source,
        "prompt": [dict(message) for message in task.prompt],
        "reward_model": {"style": "rule", "ground_truth": task.answer or ""},
        "extra_info": {"index": task.id, TASK_FIELD: task_field(task)},
    }


@functools.cache
def _made_once(rubric: str, accuracy: str, unscored: float) -> ComputeScore:
    return reward_function(rubric, accuracy=accuracy, unscored=unscored)
