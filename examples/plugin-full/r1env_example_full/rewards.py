"""A reward of each scope."""

from __future__ import annotations

import r1env


@r1env.reward(name="vault-opened")
def vault_opened(completion: str, answer: str) -> float:
    """1 where the last turn is the number and nothing else."""
    return float(completion.strip() == answer)


@r1env.reward(name="varied", scope="group")
def varied(completions: list[str]) -> list[float]:
    """The share of the task's other completions that differ from this one: a policy that collapses earns nothing."""
    others = max(1, len(completions) - 1)
    return [sum(other != text for other in completions) / others for text in completions]


@r1env.reward(name="terse", scope="turn")
def terse(completion: str) -> float:
    """1 for a turn of at most 40 characters, summed over the turns."""
    return float(len(completion) <= 40)
