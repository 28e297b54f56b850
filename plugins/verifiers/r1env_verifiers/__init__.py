"""Environments of r1env as a verifiers taskset, and the other way round.

`vf-eval r1env-verifiers` imports this module and takes its classes by `__all__`. They are in `taskset`, and verifiers is imported when one of
them is asked for: r1env lists its plugins without it.
"""

from typing import TYPE_CHECKING

from r1env.moved import lazy_exports

if TYPE_CHECKING:
    from r1env_verifiers.taskset import R1EnvEnv, R1EnvHarness, R1EnvTaskset

__version__ = "0.1.0"

__all__ = ["R1EnvEnv", "R1EnvHarness", "R1EnvTaskset"]

__getattr__ = lazy_exports(__name__, {"r1env_verifiers.taskset": ("R1EnvEnv", "R1EnvHarness", "R1EnvTaskset")})
