"""The reward `brevity`. Ask by name for what it needs: completion, answer, task, thinking, response, messages, rollout."""

from __future__ import annotations

import r1env


@r1env.reward(name="brevity", isolation="inline")
def brevity(response: str, *, limit: int = 200) -> float:
    """1 up to `limit` characters after the thinking, then falling to 0 at twice as many; 0 where there is no response."""
    if not response.strip():
        return 0.0
    return min(1.0, max(0.0, 2.0 - len(response) / limit))
