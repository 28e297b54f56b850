"""The engine that r1env-openai provides."""

from __future__ import annotations

from r1env import EngineSpec, hookimpl


@hookimpl
def r1env_engines() -> list[EngineSpec]:
    return [EngineSpec("openai", "r1env_openai.engine:make_openai", "a model behind an OpenAI-compatible server")]
