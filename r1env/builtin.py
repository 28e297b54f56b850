"""What the core itself provides, through the same hooks as everybody else."""

from __future__ import annotations

from r1env.hookspecs import EngineSpec, hookimpl


@hookimpl
def r1env_engines() -> list[EngineSpec]:
    return [EngineSpec("scripted", "r1env.engines.scripted:make_scripted", "answers one fixed text; needs no model")]
