"""The rewards, the environment and the commands that r1env-judge provides."""

from __future__ import annotations

from pathlib import Path

from r1env import CommandSpec, EnvironmentSpec, Fixture, RewardSpec, RubricPresetSpec, hookimpl

FIXTURES = Path(__file__).parent / "fixtures"


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("helpful", "r1env_judge.rewards:Helpful", "how helpful the final response is, by a reward model or a judge"),
        RewardSpec(
            "harmless", "r1env_judge.rewards:Harmless", "whether thinking and response are safe, by a reward model or a judge"
        ),
        RewardSpec(
            "safety", "r1env_judge.safety:SafetyVerdict", "0 if a judge finds the completion unsafe; rates by its parts"
        ),
        RewardSpec("judge", "r1env_judge.rewards:Judge", "1 if a judge finds that the response gives the reference answer"),
    ]


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        EnvironmentSpec(
            "safety",
            "r1env_judge.safety:safety_tasks",
            reward="safety",
            summary="questions by category, also through jailbreak templates, for a judge of safety",
            kind="chat",
            requires="data=FILE with question, category; judge.url and judge.model; jailbreaks=FILE with template, if any",
            fixture=Fixture({"data": str(FIXTURES / "safety.jsonl")}, needs="r1env_judge.rewards:missing_judge"),
        )
    ]


@hookimpl
def r1env_rubrics() -> list[RubricPresetSpec]:
    weights = {"helpful": 1.0, "format": 0.1, "language": 0.1}
    return [RubricPresetSpec("stage2", weights, "R1's rewards for general prompts (eq. 9); tasks with answers keep `stage1`")]


@hookimpl
def r1env_commands() -> list[CommandSpec]:
    return [
        CommandSpec("label-pairs", "r1env_judge.label_pairs:label_pairs", "Let a judge choose between two responses."),
        CommandSpec("safety", "r1env_judge.safety:safety", "Print how often models are unsafe or refuse, by category."),
    ]
