"""The rewards and the command that r1env-judge provides."""

from __future__ import annotations

from r1env import CommandSpec, RewardSpec, hookimpl


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("helpful", "r1env_judge.rewards:Helpful", "how helpful the final response is, by a reward model or a judge"),
        RewardSpec(
            "harmless", "r1env_judge.rewards:Harmless", "whether thinking and response are safe, by a reward model or a judge"
        ),
        RewardSpec("judge", "r1env_judge.rewards:Judge", "1 where a judge finds that the response gives the reference answer"),
    ]


@hookimpl
def r1env_commands() -> list[CommandSpec]:
    return [CommandSpec("label-pairs", "r1env_judge.label_pairs:label_pairs", "Let a judge choose between two responses.")]
