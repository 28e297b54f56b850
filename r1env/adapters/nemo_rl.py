"""An environment for NeMo-RL: one turn, scored by a rubric.

NeMo-RL's rewards are a tensor of numbers: a score without a value becomes **the number `unscored` (0.0 unless set)**, and the metadata
of its sample gets `error` = 1. NeMo-RL makes the environment a Ray actor; a module of yours says

    import ray
    from r1env.adapters.nemo_rl import RubricEnvironment

    R1Env = ray.remote(RubricEnvironment)

and the configuration names it (`register_env("r1env", "mine.R1Env")`, `env: {r1env: {rubric: zero}}`). The metadata of a sample are the
fields of its row: write the row with `r1env.adapters.verl.row_of`, or have the reference answer in `ground_truth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from r1env.adapters.core import check_unscored, load_rubric, numbers, rollout_of, score_items, task_of
from r1env.types import Rollout

TESTED_WITH = ""
"""Not run: NeMo-RL needs a GPU. The call is restated in our tests from NeMo-RL 0.7."""


class EnvironmentReturn(NamedTuple):
    """What NeMo-RL reads from a step, under its names. `rewards` [B] float32 and `terminateds` [B] bool are tensors."""

    observations: list[dict[str, str]]
    metadata: list[dict[str, Any]]
    next_stop_strings: list[list[str] | None]
    rewards: Any
    terminateds: Any
    answers: list[str | None] | None


class RubricEnvironment:
    """Score the last turn of each conversation; every episode has one turn.

    Args:
        config: `rubric` (default `zero`), `accuracy` (`math`) and `unscored` (0.0).

    Raises:
        UsageError: an unknown name, or an `unscored` that is not finite.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        config = config or {}
        self._rubric = load_rubric(config.get("rubric", "zero"), accuracy=config.get("accuracy", "math"))
        self._unscored = check_unscored(config.get("unscored", 0.0))

    def step(
        self, message_log_batch: Sequence[Sequence[Mapping[str, Any]]], metadata: Sequence[Mapping[str, Any] | None]
    ) -> EnvironmentReturn:
        """Score a batch of conversations. They have tokens beside their texts, which are not looked at."""
        import torch  # NeMo-RL's; this module must be importable without it

        items = [(log, fields or {}) for log, fields in zip(message_log_batch, metadata, strict=True)]
        scores = score_items(items, _rollout, self._rubric)
        values = [self._unscored if score.value is None else score.value for score in scores]
        told = [numbers(score, self._rubric, self._unscored) for score in scores]
        return EnvironmentReturn(
            observations=[{"role": "environment", "content": ""} for _ in items],
            metadata=[{**fields, "r1env": one} for (_, fields), one in zip(items, told, strict=True)],
            next_stop_strings=[None] * len(items),
            rewards=torch.tensor(values, dtype=torch.float32),
            terminateds=torch.ones(len(items), dtype=torch.bool),
            answers=None,
        )

    def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Return the batch as it is; NeMo-RL computes the means of the rewards itself."""
        return batch, {}

    def shutdown(self) -> None:
        """Nothing to release: the workers end with the process."""


def _rollout(item: tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]) -> Rollout:
    log, fields = item
    first = next((place for place, message in enumerate(log) if message.get("role") == "assistant"), len(log))
    plain = [{"role": message.get("role"), "content": message.get("content")} for message in log]
    extra = fields.get("extra_info")
    columns = {**fields, **(extra if isinstance(extra, Mapping) else {})}
    return rollout_of(task_of(plain[:first], columns), plain[first:])
