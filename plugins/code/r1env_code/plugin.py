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
            "python_tool",
            "r1env_code.agents:python_tasks",
            reward="",
            summary="questions to answer with a Python interpreter; tasks=ENVIRONMENT for those of another",
            options={"tasks": None},
            max_turns=8,
            other="r1env_code.agents:PythonTool",
        ),
        r1env.EnvironmentSpec(
            "code_retry",
            "r1env_code.agents:retry_tasks",
            reward="environment",
            summary="programs with the verdict as feedback and more attempts; tasks=ENVIRONMENT says which",
            options={"tasks": "bugfix", "attempts": 3},
            max_turns=10,
            other="r1env_code.agents:CodeRetry",
            kind="code",
        ),
        r1env.EnvironmentSpec(
            "harbor",
            "r1env_code.agents:harbor_tasks",
            reward="environment",
            summary="task folders in Harbor's layout, with a shell in a container; graded by their own tests",
            options={"path": None},
            max_turns=30,
            other="r1env_code.agents:HarborShell",
            step_seconds=1200.0,
            kind="code",
            requires="harbor:DIR, a task folder or a folder of them",
            argument="path",
        ),
        r1env.EnvironmentSpec(
            "bugfix_shell",
            "r1env_code.agents:shell_tasks",
            reward="environment",
            summary="small repositories with a bug, and a shell in a container; judged by tests that are not shown",
            options={"data": None},
            max_turns=20,
            other="r1env_code.agents:RepositoryShell",
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
