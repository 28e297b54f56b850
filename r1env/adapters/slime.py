"""The reward for slime (`--custom-rm-path`), and what the reward server answers to its `--rm-type remote_rm`.

slime asserts that a reward is a number, and a `remote_rm` that answers with an error ends the job after ten attempts: a score without a
value becomes **the number `unscored` (0.0 unless set), with `error` = 1** in `sample.metadata["r1env"]`. A file of yours says

    from r1env.adapters.slime import reward_function

    custom_rm = reward_function("zero")

and `--custom-rm-path` names it. The function is a coroutine, as slime asks, and scores in a thread, so that other samples go on. slime
calls it with one sample, or with a list of them (`--group-rm`): a reward of scope `group` works with the latter only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from r1env.adapters.core import (
    TASK_FIELD,
    check_unscored,
    load_rubric,
    numbers,
    rollout_of,
    score_items,
    task_of,
    without_end_tokens,
)
from r1env.prompts import END_TOKENS
from r1env.rubrics import AnyRubric
from r1env.types import FinishReason, Rollout

TESTED_WITH = ""
"""Not run: slime does not install without a GPU. The call is restated in our tests from slime 0.3.1."""

CustomRM = Callable[..., Awaitable[float | list[float]]]


def reward_function(
    rubric: AnyRubric, *, accuracy: str = "math", unscored: float = 0.0, end_tokens: Sequence[str] = END_TOKENS
) -> CustomRM:
    """Return a function for `--custom-rm-path`: a number for one sample, a list of them for a list.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        unscored: the reward where there is no value.
        end_tokens: what is taken off the end of a response.

    Raises:
        UsageError: an unknown name, or an `unscored` that is not finite.
    """
    loaded, fallback = load_rubric(rubric, accuracy=accuracy), check_unscored(unscored)

    def to_rollout(sample: Any) -> Rollout:
        fields = {**dict(getattr(sample, "metadata", None) or {}), "label": getattr(sample, "label", None)}
        cut = "truncated" in str(getattr(sample, "status", "")).lower()
        return rollout_of_sample((sample.prompt, sample.response, fields), end_tokens=end_tokens, cut=cut)

    async def custom_rm(_args: Any, sample: Any, **_kwargs: Any) -> float | list[float]:
        """Score a sample or a list of samples; the parts go to `metadata["r1env"]`."""
        samples = sample if isinstance(sample, list) else [sample]
        scores = await asyncio.to_thread(score_items, samples, to_rollout, loaded)
        for one, score in zip(samples, scores, strict=True):
            if isinstance(getattr(one, "metadata", None), dict):
                one.metadata["r1env"] = numbers(score, loaded, fallback)
        values = [fallback if score.value is None else score.value for score in scores]
        return values if isinstance(sample, list) else values[0]

    return custom_rm


def rollout_of_sample(
    item: tuple[Any, str, Mapping[str, Any]], *, end_tokens: Sequence[str] = END_TOKENS, cut: bool = False
) -> Rollout:
    """Return the rollout of a prompt (text or messages), a response, and the fields of its row.

    Raises:
        TypeError, ValueError: the prompt is neither text nor messages, or the label holds no task.
    """
    prompt, response, fields = item
    rollout = rollout_of(task_of(prompt, _unpacked(fields)), without_end_tokens(response, end_tokens))
    return rollout.model_copy(update={"finish_reason": FinishReason.LENGTH}) if cut else rollout


def _unpacked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields with those of a label that `r1env.adapters.openrlhf.label_of` wrote."""
    label = fields.get("label")
    if isinstance(label, str) and label.lstrip().startswith("{") and TASK_FIELD in label:
        return {**fields, **json.loads(label)}
    return fields
