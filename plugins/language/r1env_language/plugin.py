"""The reward that r1env-language provides."""

from __future__ import annotations

import r1env


@r1env.hookimpl
def r1env_rewards() -> list[r1env.RewardSpec]:
    return [
        r1env.RewardSpec("language", "r1env_language.reward:Language", "the share of target-language words in the thinking")
    ]


@r1env.hookimpl
def r1env_rubrics() -> list[r1env.RubricPresetSpec]:
    weights = {"accuracy": 1.0, "format": 0.1, "language": 0.1}
    return [r1env.RubricPresetSpec("stage1", weights, "R1's rewards for reasoning: those of `zero` and language consistency")]
