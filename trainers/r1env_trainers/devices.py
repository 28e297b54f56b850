"""Where to compute: devices, number formats and threads."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from r1env.errors import UsageError

Device = Literal["auto", "cpu", "cuda"]
SMALL_MODEL = 5_000_000  # parameters; below it a second thread costs more in waiting than it computes


def choose_device(wanted: Device) -> torch.device:
    """The device to use.

    Raises:
        UsageError: `cuda` was asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no GPU here; use --device cpu")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 arithmetic over float32 weights on a GPU; plain float32 on a CPU."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def has_triton() -> bool:
    """True where torch can compile for a GPU."""
    return importlib.util.find_spec("triton") is not None


def limit_threads(parameters: int, threads: int | None) -> None:
    """Set torch's CPU threads: `threads` if given, else one for a small model, else what torch chose."""
    if threads is not None:
        torch.set_num_threads(threads)
    elif parameters < SMALL_MODEL:
        torch.set_num_threads(1)
