"""What this distribution gives to r1env."""

from __future__ import annotations

import r1env


@r1env.hookimpl
def r1env_rewards() -> list[r1env.RewardSpec]:
    return [r1env.RewardSpec("format", "r1env_format.reward:Format", "1 where thinking and answer stand as the template asks")]
