"""Dithers the float32 weights behind a model that OpenRLHF trains in bfloat16, see `r1env_trainers.model.dither`.

OpenRLHF reads a checkpoint in bfloat16, whatever it is stored in, and DeepSpeed makes its float32 weights of that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Generator

from r1env_trainers.model.dither import dithered
from r1env_trainers.openrlhf.after_import import Action

SEED = "R1ENV_OPENRLHF_DITHER"
"""Variable of the job's environment: the seed. Without it nothing is dithered."""

STRATEGY = "openrlhf.utils.deepspeed.deepspeed"


def environment(seed: int | None) -> dict[str, str]:
    """What tells the processes of a job to dither under a seed; nothing for None."""
    return {} if seed is None else {SEED: str(seed)}


def actions() -> Mapping[str, Action]:
    """For `after_import`, in a process that may train."""
    return {STRATEGY: _dither_when_prepared} if SEED in os.environ else {}


def _dither_when_prepared(module: ModuleType) -> None:
    original = module.DeepspeedStrategy._ds_init_train_model

    def init_train_model(self: Any, model: Any, cfg: dict[str, Any]) -> Any:
        model, optimizer, scheduler = original(self, model, cfg)
        engine = model.model if isinstance(model, module.Actor) else model
        if self.param_dtype == "bf16":
            dither_masters(engine, int(os.environ[SEED]))
        return model, optimizer, scheduler  # a checkpoint to resume from is read later, and brings float32 weights of its own

    module.DeepspeedStrategy._ds_init_train_model = init_train_model


def dither_masters(engine: Any, seed: int) -> None:
    """Dither the float32 weights of a DeepSpeed engine, at any stage of ZeRO. Every process has to call it."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param

    generator = None
    for parameter in engine.module.parameters():
        weights = safe_get_full_fp32_param(parameter) if parameter.requires_grad else None
        if weights is not None:
            # One seed on every GPU: each draws all of a weight, and keeps its own part.
            generator = generator or Generator(weights.device).manual_seed(seed)
            safe_set_full_fp32_param(parameter, dithered(weights, generator))
