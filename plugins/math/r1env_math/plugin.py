"""What this distribution gives to r1env."""

from __future__ import annotations

import r1env


@r1env.hookimpl
def r1env_rewards() -> list[r1env.RewardSpec]:
    return [
        r1env.RewardSpec("math", "r1env_math.reward:Math", "1 where the final answer equals the reference"),
        r1env.RewardSpec("choice", "r1env_math.reward:Choice", "1 where the option that the reference names is picked"),
    ]
