"""What this distribution gives to r1env."""

from __future__ import annotations

from r1env import EnvironmentSpec, RewardSpec, hookimpl


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("exact", "r1env_logic.answers:exact", "1 where the answer block holds the reference answer to the letter"),
        RewardSpec("integer", "r1env_logic.answers:integer", "1 where the final answer is the reference integer"),
        RewardSpec(
            "countdown", "r1env_logic.countdown:countdown", "1 where the expression uses the numbers and hits the target"
        ),
        RewardSpec(
            "reasoning-gym", "r1env_logic.gym_tasks:ReasoningGym", "1 where reasoning-gym's own scorer gives full marks"
        ),
    ]


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    sorting = [
        EnvironmentSpec(
            f"sort-{digits}",
            "r1env_logic.sorting:sorting_tasks",
            reward="exact",
            summary=f"sort {digits} digits",
            options={"digits": digits},
            kind="logic",
        )
        for digits in (4, 5)
    ]
    addition = [
        EnvironmentSpec(
            f"add-{digits}digit",
            "r1env_logic.arithmetic:addition_tasks",
            reward="integer",
            summary=f"add two numbers of {digits} digit{'s' if digits > 1 else ''}",
            options={"digits": digits},
            reward_options={"policy": "lenient"},
        )
        for digits in (1, 2, 3)
    ]
    return [
        *sorting,
        *addition,
        EnvironmentSpec(
            "column-addition",
            "r1env_logic.arithmetic:column_addition_tasks",
            reward="integer",
            summary="add two numbers of 2 to 4 digits, working it out",
            options={"fewest": 2, "most": 4},
            template="tagged",
        ),
        EnvironmentSpec(
            "countdown-3",
            "r1env_logic.countdown:countdown_tasks",
            reward="countdown",
            summary="reach a target with three numbers and + - *",
            options={"count": 3},
            kind="logic",
        ),
        EnvironmentSpec(
            "reasoning-gym",
            "r1env_logic.gym_tasks:reasoning_gym_tasks",
            reward="reasoning-gym",
            summary="any dataset of the library reasoning-gym: dataset=NAME",
            options={"dataset": "chain_sum"},
            template="tagged",
            kind="logic",
        ),
    ]
