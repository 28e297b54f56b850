"""What this distribution gives to r1env."""

from __future__ import annotations

import r1env


@r1env.hookimpl
def r1env_rewards() -> list[r1env.RewardSpec]:
    return [r1env.RewardSpec("code", "r1env_code.reward:Code", "1 where the program in the last code block passes every test")]


@r1env.hookimpl
def r1env_environments() -> list[r1env.EnvironmentSpec]:
    return [
        r1env.EnvironmentSpec(
            "bugfix",
            "r1env_code.bugfix:bugfix",
            reward="code",
            summary="small repositories with a bug; judged in a sandbox by tests that are not shown",
            options={"data": None},
            kind="code",
        ),
        r1env.EnvironmentSpec(
            "swebench",
            "r1env_code.bugfix:swebench",
            reward="code",
            summary="bug fixes in SWE-bench's layout, of repositories in a local folder; judged in a sandbox",
            kind="code",
            requires="data=FILE in SWE-bench's layout, repositories=FOLDER with the checkouts",
        ),
    ]
