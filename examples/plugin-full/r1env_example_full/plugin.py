"""What this plugin provides. Imports nothing heavy: targets are import strings."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from r1env import (
    AdvantageSpec,
    EnvironmentSpec,
    KLEstimatorSpec,
    LossAggregationSpec,
    LossSpec,
    PolicyRatioSpec,
    RewardSpec,
    RubricPresetSpec,
    TemplateSpec,
    hookimpl,
)
from r1env.prompts import PromptTemplate
from r1env.types import Conversation, Task

HERE = "r1env_example_full"
logger = logging.getLogger(__name__)


def _please(task: Task) -> Conversation:
    return ({"role": "system", "content": "Answer briefly."}, *task.prompt)


PLEASE = PromptTemplate("please", _please)


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        EnvironmentSpec(
            "vault",
            f"{HERE}.vault:vault_tasks",
            reward="vault-opened",
            summary="find the number that opens a vault, with a tool that says higher or lower",
            other=f"{HERE}.vault:Vault",
            max_turns=8,
            kind="logic",
        )
    ]


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("vault-opened", f"{HERE}.rewards:vault_opened", "1 where the last turn is the number"),
        RewardSpec(
            "varied", f"{HERE}.rewards:varied", "the share of the task's other completions that differ (a group reward)"
        ),
        RewardSpec("terse", f"{HERE}.rewards:terse", "1 for each short turn (a turn reward)"),
    ]


@hookimpl
def r1env_rubrics() -> list[RubricPresetSpec]:
    weights = {"accuracy": 1.0, "environment": 0.5, "varied": 0.1, "terse": 0.1}
    return [RubricPresetSpec("vault", weights, "an open vault, few looks, and answers that differ")]


@hookimpl
def r1env_templates() -> list[TemplateSpec]:
    return [TemplateSpec("please", f"{HERE}.plugin:PLEASE", "asks for a brief answer")]


@hookimpl
def r1env_advantages() -> list[AdvantageSpec]:
    return [AdvantageSpec("rank", f"{HERE}.learning:rank_advantages", "the rank of a reward within its group")]


@hookimpl
def r1env_losses() -> list[LossSpec]:
    return [LossSpec("reinforce", f"{HERE}.learning:reinforce_loss", "REINFORCE without a ratio")]


@hookimpl
def r1env_policy_ratios() -> list[PolicyRatioSpec]:
    return [PolicyRatioSpec("smoothed", f"{HERE}.learning:smoothed_ratio", "the ratio to the mean of both policies")]


@hookimpl
def r1env_loss_aggregations() -> list[LossAggregationSpec]:
    return [
        LossAggregationSpec("root-length", f"{HERE}.learning:long_sequences", "sums over sequences by the root of their length")
    ]


@hookimpl
def r1env_kl_estimators() -> list[KLEstimatorSpec]:
    return [KLEstimatorSpec("absolute", f"{HERE}.learning:absolute_kl", "the absolute difference of the log-probs")]


@hookimpl
def r1env_step_end(stage: str, step: int, metrics: Mapping[str, float]) -> None:
    if "reward" in metrics:
        logger.info("%s, step %d: reward %.3f", stage, step, metrics["reward"])
