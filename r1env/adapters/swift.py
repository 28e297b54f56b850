"""Rewards for ms-swift's GRPO (`--external_plugins FILE.py --reward_funcs NAME`).

A score without a value becomes **None**, which ms-swift leaves out, as TRL does. The plugin file says

    from swift.rewards import orms
    from r1env.adapters.swift import reward_class

    orms["r1env"] = reward_class("zero")

ms-swift makes an object of the class and calls it with a batch of plain texts and the data set's columns. Columns are read by their
layout (see `r1env.adapters.core.task_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r1env.adapters.trl import RewardFunction, reward_function
from r1env.rubrics import AnyRubric

TESTED_WITH = ""
"""Not run: ms-swift brings its own torch and transformers. The call is restated in our tests from ms-swift 4.6."""


def reward_class(rubric: AnyRubric, *, accuracy: str = "math", answer_field: str | None = None) -> type:
    """Return a class for `swift.rewards.orms`.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        answer_field: the column of the reference answer, where its columns do not say it by themselves.

    Raises:
        UsageError: an unknown name, or a reward that cannot be sent to a worker.
    """
    made = reward_function(rubric, accuracy=accuracy, answer_field=answer_field)

    class R1EnvReward:
        """A rubric of r1env as an outcome reward model of ms-swift."""

        function: RewardFunction = made

        def __init__(self, args: Any = None, **_: Any) -> None:
            self.args = args

        def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
            messages = columns.pop("messages", None)
            return self.function(
                prompts=[""] * len(completions) if messages is None else [_prompt(one) for one in messages],
                completions=completions,
                **columns,
            )

    return R1EnvReward


def _prompt(messages: Sequence[Any]) -> Sequence[Any]:
    """Return a conversation without the answer that ms-swift has put at its end."""
    last = messages[-1] if messages else {}
    return messages[:-1] if isinstance(last, dict) and last.get("role") == "assistant" else messages
