"""Rewards for TRL's GRPO and RLOO trainers.

A score without a value becomes **None**, which TRL takes as "this function does not apply": see `reward_function` and
`reward_functions` for what that means for the rollout.

    from trl import GRPOConfig, GRPOTrainer
    from r1env.adapters.trl import reward_function

    trainer = GRPOTrainer(model, reward_funcs=reward_function("zero"), train_dataset=dataset, args=GRPOConfig(...))

A reward of scope `group` gets all completions of a prompt that TRL hands over in one call. That is the whole group if
`per_device_train_batch_size` is a multiple of `num_generations`.

The data set's columns are read by their layout (see `r1env.adapters.core.task_of`); or write it with `row_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cloudpickle

from r1env.adapters.core import TASK_FIELD, load_rubric, rollout_of, score_items, task_field, task_of
from r1env.rubrics import AnyRubric, Rubric, WeightedReward
from r1env.types import Rollout, Score, Task

TESTED_WITH = "trl 1.16.0"

NOT_COLUMNS = frozenset({"trainer_state", "environments"})
"""Keywords TRL adds that say nothing about the task."""


class RewardFunction:
    """What TRL calls: a batch in keywords, one number or None a completion. Pickles, also when made in a script.

    Attributes:
        __name__: what TRL's metrics call it (`rewards/<name>/mean`).
        rubric: what scores.
        weight: for `GRPOConfig.reward_weights`.
        answer_field: the column of the reference answer, where its columns do not say it by themselves.
    """

    def __init__(self, rubric: Rubric, *, name: str, weight: float = 1.0, answer_field: str | None = None) -> None:
        self.__name__ = name
        self.rubric = rubric
        self.weight = weight
        self.answer_field = answer_field

    def __call__(
        self,
        *,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score the batch in one call, and log the parts (`parts/…`), the share without a value (`unscored/…`) and each verdict."""
        rows = list(_rows(prompts, completions, completion_ids, columns))
        scores = score_items(rows, self._rollout, self.rubric)
        if log_metric is not None and scores:
            for name, value in self._metrics(scores):
                log_metric(name, value)
        if log_extra is not None and scores:
            log_extra(
                f"{self.__name__}_verdict",
                [f"{score.status}: {score.reason}" if score.reason else str(score.status) for score in scores],
            )
        return [score.value for score in scores]

    def _rollout(self, row: tuple[Any, Any, Sequence[int] | None, Mapping[str, Any]]) -> Rollout:
        prompt, completion, token_ids, fields = row
        return rollout_of(task_of(prompt, fields, answer_field=self.answer_field), completion, token_ids)

    def _metrics(self, scores: Sequence[Score]) -> Iterator[tuple[str, float]]:
        yield f"unscored/{self.__name__}", sum(score.value is None for score in scores) / len(scores)
        for key in self.rubric.part_keys:
            values = [score.parts[key] for score in scores if not math.isnan(score.parts.get(key, math.nan))]
            if values and key != self.__name__:  # that one TRL logs itself; and a NaN would spoil the mean over processes
                yield f"parts/{key}", math.fsum(values) / len(values)

    def __reduce__(self) -> tuple[Any, ...]:
        state = cloudpickle.dumps((self.rubric, self.__name__, self.weight, self.answer_field))
        return (_unpickle, (state,))


def reward_function(rubric: AnyRubric, *, accuracy: str = "math", answer_field: str | None = None) -> RewardFunction:
    """Return one function for the whole rubric: its value is the weighted sum, its name the rubric's, its parts are logged.

    Where a reward that counts has no value, neither has the sum, and TRL leaves the completion out of its group. This is the faithful
    form, and the one for the asynchronous trainer, which ignores `reward_weights`.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        answer_field: the column of the reference answer; a dot leads into a mapping.

    Raises:
        UsageError: an unknown name, or a reward that cannot be sent to a worker.
    """
    loaded = load_rubric(rubric, accuracy=accuracy)
    return RewardFunction(loaded, name=loaded.name, answer_field=answer_field)


def reward_functions(rubric: AnyRubric, *, accuracy: str = "math", answer_field: str | None = None) -> list[RewardFunction]:
    """Return one function a reward, as TRL's own examples have them; give `[f.weight for f in functions]` as `reward_weights`.

    TRL adds up the functions that have a value for a completion: where `math` has none, `format` alone decides what it is
    worth. Use this form where TRL shall see the rewards apart (GDPO's `normalize_then_sum`), and `reward_function` otherwise.

    Args, Raises: as `reward_function`.
    """
    return [
        RewardFunction(
            Rubric(item.reward.name, [WeightedReward(item.reward)]),
            name=item.reward.name,
            weight=item.weight,
            answer_field=answer_field,
        )
        for item in load_rubric(rubric, accuracy=accuracy).rewards
    ]


def row_of(task: Task) -> dict[str, Any]:
    """Return a row of a conversational data set that brings the task whole to the reward.

    To show the model another prompt (a template's rendering), replace `prompt`; the task keeps its own.
    """
    return {"prompt": [dict(message) for message in task.prompt], TASK_FIELD: task_field(task)}


def _rows(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None,
    columns: Mapping[str, Any],
) -> Iterator[tuple[Any, Any, Sequence[int] | None, Mapping[str, Any]]]:
    """Columns to rows. What is no column of this batch's length is not about its rows."""
    fields = {
        key: values
        for key, values in columns.items()
        if key not in NOT_COLUMNS and isinstance(values, list) and len(values) == len(completions)
    }
    for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        token_ids = None if completion_ids is None else completion_ids[place]
        yield prompt, completion, token_ids, {key: values[place] for key, values in fields.items()}


def _unpickle(state: bytes) -> RewardFunction:
    rubric, name, weight, answer_field = cloudpickle.loads(state)
    return RewardFunction(rubric, name=name, weight=weight, answer_field=answer_field)
