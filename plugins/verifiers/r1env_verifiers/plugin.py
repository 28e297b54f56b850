"""What r1env-verifiers provides to r1env."""

from __future__ import annotations

from r1env import CommandSpec, EnvironmentSpec, hookimpl


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        EnvironmentSpec(
            name="verifiers",
            source="r1env_verifiers.play:VerifiersTasks",
            reward="environment",
            summary="a taskset of verifiers v1, played by our engine: --env verifiers:PACKAGE",
            max_turns=64,
            other="r1env_verifiers.play:VerifiersEpisode",
            kind="chat",
            requires="verifiers:PACKAGE, and r1env-verifiers[verifiers]",
            argument="package",
        )
    ]


@hookimpl
def r1env_commands() -> list[CommandSpec]:
    return [CommandSpec("verifiers", "r1env_verifiers.export:app", "Take environments to verifiers.")]
