"""What this distribution gives to r1env. Listing plugins imports this file, so keep it free of heavy imports."""

from __future__ import annotations

import r1env


@r1env.hookimpl
def r1env_rewards() -> list[r1env.RewardSpec]:
    return [r1env.RewardSpec("brevity", "r1env_example_reward.reward:brevity", "1 for a short response, less for a longer one")]
