"""The command that r1env-view provides."""

from __future__ import annotations

from r1env import CommandSpec, hookimpl


@hookimpl
def r1env_commands() -> list[CommandSpec]:
    return [CommandSpec("view", "r1env_view.command:view", "Show runs and evaluations in the browser, live.")]
