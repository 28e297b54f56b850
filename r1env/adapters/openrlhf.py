"""The reward file for OpenRLHF (`--reward.remote_url FILE.py`).

OpenRLHF cannot carry a missing score, and an exception ends the job far from its cause: a score without a value becomes **the number
`unscored` (0.0 unless set), with `error` = 1** in `extra_logs`. The file says, and `r1env export --to openrlhf` writes it:

    from r1env.adapters.openrlhf import reward_function

    reward_func = reward_function("zero")

Of a data set's row OpenRLHF passes the label alone: write it with `label_of`, or let it be the plain reference answer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1env.adapters.core import (
    ERROR,
    TASK_FIELD,
    after_prompt,
    check_unscored,
    leading,
    load_rubric,
    numbers,
    rollout_of,
    score_items,
    task_field,
    task_of,
    without_end_tokens,
)
from r1env.prompts import END_TOKENS
from r1env.rubrics import AnyRubric, Rubric
from r1env.types import Rollout, Score, Task

TESTED_WITH = "openrlhf 0.11.2"

RESERVED = frozenset(
    {
        *(ERROR, "reward", "score", "return", "kl", "ppo_kl", "vllm_kl", "logprobs_diff", "policy_loss"),
        *("response_clip_ratio", "ppo_clip_ratio", "is_filter_ratio", "group_reward_std", "response_length", "total_length"),
    }
)
"""Names of OpenRLHF's own metrics, among which ours are put."""

REWARD_STEP = 2.0**-12
"""What OpenRLHF is told of a reward is a multiple of this, so that float32 adds up a group's without rounding. Its `group_norm` divides by the
deviation plus 1e-9: of a group that is all alike at 0.1, the mean is off by 7e-9, which would become an advantage of -7 for all of it.
"""

RewardFunc = Callable[[Sequence[str], Sequence[str], Sequence[Any]], dict[str, Any]]


def reward_function(
    rubric: AnyRubric, *, accuracy: str = "math", unscored: float = 0.0, end_tokens: Sequence[str] = END_TOKENS
) -> RewardFunc:
    """A `reward_func` with the rubric bound: synchronous, from any thread; it never raises, and a stuck reward costs only its own rollout.

    It returns `rewards` (the rubric's value, see `rounded_reward`), `scores` (its first reward within 0 and 1, by which dynamic filtering picks groups) and
    `extra_logs` (`error` and every part), numbers for one query, as OpenRLHF asks, and lists for any other count. All are finite, the keys
    always the same.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        unscored: the reward, and any part, where there is no value.
        end_tokens: what is taken off the end of a response; the query comes with special tokens.

    Raises:
        UsageError: an unknown name, a reward whose name OpenRLHF has taken or whose scope is `group`, or an `unscored` that is not finite.
    """
    loaded = load_rubric(rubric, accuracy=accuracy, reserved=RESERVED, one_by_one="OpenRLHF")
    fallback = check_unscored(unscored)
    to_rollout = functools.partial(rollout_of_query, end_tokens=end_tokens)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> dict[str, Any]:
        """Score responses. OpenRLHF passes one at a time, in lists."""
        return answer(score_items(list(zip(queries, prompts, labels, strict=True)), to_rollout, loaded), loaded, fallback)

    return reward_func


def rollout_of_query(item: tuple[str, str, Any], *, end_tokens: Sequence[str] = END_TOKENS) -> Rollout:
    """Return the rollout of a query, its prompt and its label.

    Raises:
        TypeError, ValueError: the query does not begin with the prompt, or the label holds no task.
    """
    query, prompt, label = item
    response = after_prompt(query, prompt)
    if response is None:
        raise ValueError("the query does not begin with its prompt, so the response cannot be told apart")
    return rollout_of(task_of(prompt, _fields_of_label(label)), without_end_tokens(response, end_tokens))


def answer(scores: Sequence[Score], rubric: Rubric, unscored: float) -> dict[str, Any]:
    """Return what OpenRLHF is told: numbers for one score, lists of numbers for any other count."""
    rewards = [rounded_reward(unscored if score.value is None else score.value) for score in scores]
    right = [leading(score, rubric, unscored) for score in scores]
    logs = [numbers(score, rubric, unscored) for score in scores]
    if len(scores) == 1:
        return {"rewards": rewards[0], "scores": right[0], "extra_logs": logs[0]}
    keys = (ERROR, *rubric.part_keys)
    return {"rewards": rewards, "scores": right, "extra_logs": {key: [log[key] for log in logs] for key in keys}}


def rounded_reward(value: float) -> float:
    """Return the nearest multiple of `REWARD_STEP`."""
    return round(value / REWARD_STEP) * REWARD_STEP


def label_of(task: Task) -> str:
    """Return the label (`--data.label_key`) that brings the task whole to the reward."""
    return f'{{"{TASK_FIELD}": {task_field(task)}}}'


def row_of(task: Task) -> dict[str, Any]:
    """Return a row of the prompt file, for `--data.input_key prompt --data.label_key label --data.apply_chat_template`.

    To show the model another prompt (a template's rendering), replace `prompt`; the task keeps its own.
    """
    return {"prompt": [dict(message) for message in task.prompt], "label": label_of(task)}


def _fields_of_label(label: Any) -> Mapping[str, Any]:
    """Return a label that `label_of` wrote, or a mapping (a column of structs), or else the reference answer itself."""
    if isinstance(label, str) and label.lstrip().startswith("{") and TASK_FIELD in label:
        label = json.loads(label)
    if isinstance(label, Mapping):
        return label
    return {"label": label} if label != "" else {}
