"""What the command lines of OpenRLHF's trainers have in common. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from r1env.errors import UsageError
from r1env_trainers.settings import LocalConfig

SCHEDULES: Mapping[str, str] = {"constant": "constant_with_warmup", "cosine": "cosine_with_min_lr", "linear": "linear"}


MICRO_BATCH = 8
"""Sequences a forward pass where the settings leave it open. Mathematics does not depend on it."""


def is_cpu(config: LocalConfig) -> bool:
    """Whether the job runs without GPUs."""
    return config.device == "cpu"


def open_micro_batch(share: int, most: int = MICRO_BATCH) -> int:
    """Sequences a forward pass where the settings leave it open: the largest number up to `most` that divides a GPU's share of a batch."""
    share = max(1, share)
    return max(size for size in range(1, min(most, share) + 1) if share % size == 0)


def words_of(flags: Mapping[str, Any]) -> list[str]:
    """Flags as words of a command line: True is the bare flag, None and False nothing, a tuple several words."""
    return [word for name, value in flags.items() for word in _words(name, value)]


def optimizer_flags(config: LocalConfig, *, updates: int, prefix: str = "") -> dict[str, Any]:
    """The settings of the optimizer, which takes `updates` steps in all."""
    flags = {
        "adam.lr": config.optim.lr,
        "adam.betas": config.optim.betas,
        "adam.weight_decay": config.optim.weight_decay,
        "max_norm": config.optim.max_grad_norm,
        "lr_scheduler": SCHEDULES[config.optim.lr_schedule],
        "lr_warmup_ratio": config.optim.warmup_steps / updates,
        "min_lr_ratio": config.optim.min_lr_ratio,
    }
    return {prefix + name: value for name, value in flags.items()}


def refuse_settings(config: LocalConfig, names: Collection[str]) -> None:
    """Refuse settings that OpenRLHF cannot follow, unless they are left at their defaults, rather than leave them out.

    Raises:
        UsageError: names the setting.
    """
    for name in sorted(config.model_fields_set.intersection(names)):
        if getattr(config, name) != type(config).model_fields[name].get_default(call_default_factory=True):
            raise UsageError(f"backend=openrlhf has no counterpart of {name}; leave it out, or use backend=local")


def refuse_linear_floor(config: LocalConfig) -> None:
    """
    Raises:
        UsageError: a linear schedule shall end above 0.
    """
    if config.optim.lr_schedule == "linear" and config.optim.min_lr_ratio:
        raise UsageError("backend=openrlhf lets a linear schedule end at 0: use lr_floor=0, or lr_schedule=cosine")


def choose(known: Mapping[Any, str], value: Any, what: str) -> str:
    """OpenRLHF's name for a value.

    Raises:
        UsageError: it has none.
    """
    if value not in known:
        choices = ", ".join(map(str, known))
        raise UsageError(f"backend=openrlhf has no counterpart of {what}={value}; it has {choices}")
    return known[value]


def _words(name: str, value: Any) -> Sequence[str]:
    if value is None or value is False:
        return ()
    if value is True:
        return (f"--{name}",)
    values = value if isinstance(value, tuple) else (value,)
    return (f"--{name}", *map(str, values))
