"""What a machine can do, by its data sheet."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class GPU:
    """Dense bfloat16 operations a second, bytes a second from its memory, bytes of memory."""

    name: str
    flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True, slots=True)
class CPU:
    """Threads that compute. Their speed is one constant, see `step`: rates of processors differ by less than machines' loads do."""

    threads: int = 1


Hardware = GPU | CPU

GPUS = (
    GPU("H200", 989e12, 4.8e12, 141e9),
    GPU("H100", 989e12, 3.35e12, 80e9),
    GPU("A100", 312e12, 2.0e12, 80e9),
    GPU("L40S", 362e12, 0.86e12, 48e9),
    GPU("A10G", 70e12, 0.6e12, 24e9),
    GPU("4090", 165e12, 1.0e12, 24e9),
)
"""NVIDIA's data sheets: bfloat16 without sparsity. The name is a part of what the driver calls the device."""


def hardware_of(device: torch.device, threads: int | None) -> Hardware | None:
    """This machine's; None for a GPU that is not in the table."""
    if device.type != "cuda":
        return CPU(threads or torch.get_num_threads())
    name = torch.cuda.get_device_name(device)
    return next((gpu for gpu in GPUS if gpu.name in name), None)
