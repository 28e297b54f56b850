"""The environment that has OpenRLHF, seen from ours: what is there, and whether it takes a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from r1env.errors import UsageError
from r1env_trainers.openrlhf import probe
from r1env_trainers.openrlhf.versions import Support, find_support

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
    """Ask an interpreter (None: that of R1ENV_OPENRLHF_PYTHON, or this one) what it has, and the parser of OpenRLHF's `module` about `arguments`.

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
    """For `r1env doctor`: whether the backend can run, and what was found."""
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
