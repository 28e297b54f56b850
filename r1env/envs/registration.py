"""Registers every installed environment with Gymnasium. Imports no environment, only its spec."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from r1env.plugins import Plugins, installed


def register_environments(plugins: Plugins | None = None) -> list[str]:
    """Make `gymnasium.make("r1env/<name>")` and `gymnasium.make_vec` work; returns the ids. Calling it again is harmless."""
    ids = []
    for name in (plugins or installed()).provided("environments"):
        env_id = f"r1env/{name}"
        if env_id not in registry:
            register(
                env_id,
                entry_point="r1env.envs.gym:make",
                vector_entry_point="r1env.envs.vector:make_vec",
                kwargs={"name": name},
            )
        ids.append(env_id)
    return ids
