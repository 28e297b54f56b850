"""`JobSpec`: what crosses from our process to the one that runs OpenRLHF, which may have another interpreter."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class JobSpec(BaseModel):
    """An OpenRLHF command and where it runs.

    Attributes:
        module, arguments: of `python -m module arguments…`.
        environment: variables of the command and of every Ray worker.
        ray_address: of a running cluster; None starts one on this machine.
        logical_gpus: what the started cluster believes to have; None lets Ray look.
        logical_cpus: at least so many.
        object_store_bytes: of the started cluster; None for Ray's own choice.
        ranks: run the module in so many processes of torch's launcher instead, on this machine and without Ray.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    ray_address: str | None = None
    logical_gpus: int | None = None
    logical_cpus: int = 1
    object_store_bytes: int | None = None
    ranks: int | None = None
