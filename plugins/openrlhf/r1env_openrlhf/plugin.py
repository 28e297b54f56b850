"""What this distribution provides. Imports nothing heavy: every target is an import string."""

from __future__ import annotations

from r1env.hooks import BackendSpec, hookimpl


@hookimpl
def r1env_backends() -> list[BackendSpec]:
    return [
        BackendSpec(
            name="openrlhf",
            target="r1env_openrlhf.backend:OpenRLHFBackend",
            summary="OpenRLHF's trainers on Ray, vLLM and DeepSpeed: several GPUs, several machines",
            trainers=("grpo", "sft"),
        )
    ]
