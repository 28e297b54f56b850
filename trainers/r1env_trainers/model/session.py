"""What the trainers of the `local` backend share: settings of the optimizer, starting or resuming, one optimizer step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from pydantic import Field

from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env.trainer import TrainerConfig
from r1env_trainers.model.checkpoint import list_checkpoints, load_state, restore, save_checkpoint
from r1env_trainers.model.dither import dither_matrices
from r1env_trainers.model.llama import compute_dtype
from r1env_trainers.model.load import Device, LoadedModel, check_model_name, choose_device, limit_threads, load_model

# Learning rates as pure functions of the step, so that resuming needs no state.

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate(step: int, *, peak: float, warmup: int, total: int, schedule: Schedule, floor: float = 0.0) -> float:
    """The rate of update `step` (from 0): linear warm-up over `warmup` updates, then constant, or down to `floor * peak`.

    The first update already moves (rate `peak / warmup`), and the last of `total` updates is at the floor.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    progress = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
    shape = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (floor + (1 - floor) * shape)


class LocalConfig(TrainerConfig):
    """Settings of every trainer that runs in one process.

    Attributes:
        steps: how long to train; a trainer says what a step is.
        micro_batch_size: sequences a forward pass; memory, not mathematics. None lets `micro_batches` choose.
        lr, lr_schedule, lr_floor, warmup_steps: the peak rate and its course over the optimizer steps, see `learning_rate`.
        betas, weight_decay, grad_clip: of AdamW; gradients are clipped to this norm.
        dither: where weights are read in bfloat16 and were stored in few bits, spread the float32 weights behind them, so that small
            updates tell from the first step on; see `r1env_trainers.model.dither`.
        checkpoint_every: in steps; 0 keeps only the final model.
        device, threads: see `devices`.
    """

    steps: int = Field(default=100, ge=1)
    micro_batch_size: int | None = Field(default=None, ge=1)
    lr: float = Field(default=1e-6, gt=0)
    lr_schedule: Schedule = "constant"
    lr_floor: float = Field(default=0.0, ge=0, le=1)
    warmup_steps: int = Field(default=10, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.0, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)
    dither: bool = True
    checkpoint_every: int = Field(default=50, ge=0)
    device: Device = "auto"
    threads: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A model being trained.

    Attributes:
        first_step: 0, or where the newest checkpoint left off.
        extra: what the trainer gave `checkpoint_when_due` for that checkpoint, tensors on the CPU; empty at the start.
    """

    loaded: LoadedModel
    optimizer: torch.optim.Optimizer
    first_step: int
    extra: Mapping[str, Any] = field(default_factory=dict)


def check_local(config: LocalConfig) -> None:
    """Refuse a device that is not there and a model that cannot be one; loads nothing."""
    choose_device(config.device)
    if not is_stage(config.model):
        check_model_name(config.model)


class Loader(Protocol):
    """Makes a model of a name or a folder, as `load_model` does."""

    def __call__(self, name: str, *, device: torch.device, seed: int) -> LoadedModel: ...


def begin(config: LocalConfig, run: Run, load: Loader = load_model) -> Session:
    """Load the model, or the newest checkpoint of the stage; in the latter case the run's logs are cut back to it."""
    checkpoint = next(reversed(list_checkpoints(run.checkpoint_dir)), None)
    loaded = load(str(checkpoint or config.model), device=choose_device(config.device), seed=config.seed)
    limit_threads(loaded.parameters, config.threads)
    optimizer = make_optimizer(loaded, config)
    if checkpoint is None:
        dither_start(loaded, config)
        return Session(loaded, optimizer, 0)
    state = load_state(checkpoint)
    run.rewind(state["position"])
    return Session(loaded, optimizer, restore(state, optimizer), state["extra"])


def dither_start(loaded: LoadedModel, config: LocalConfig) -> None:
    """Dither a model that training starts from, where it computes in bfloat16 and the settings do not say otherwise."""
    if config.dither and compute_dtype(loaded.device) is torch.bfloat16:
        dither_matrices(loaded.model, config.seed)


def make_optimizer(loaded: LoadedModel, config: LocalConfig) -> torch.optim.AdamW:
    """AdamW over all weights; the learning rate is set before every step."""
    return torch.optim.AdamW(
        loaded.model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


def optimizer_step(
    loaded: LoadedModel, optimizer: torch.optim.Optimizer, config: LocalConfig, index: int, total: int
) -> dict[str, float]:
    """Clip the gradients, take optimizer step `index` of `total`, clear the gradients.

    Returns:
        `grad_norm` before clipping, and `lr`.
    """
    rate = learning_rate(
        index, peak=config.lr, warmup=config.warmup_steps, total=total, schedule=config.lr_schedule, floor=config.lr_floor
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    norm = float(torch.nn.utils.clip_grad_norm_(loaded.model.parameters(), config.grad_clip))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"grad_norm": norm, "lr": rate}


def checkpoint_when_due(
    session: Session, config: LocalConfig, run: Run, steps_done: int, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint every `checkpoint_every` steps; not after the last one, whose model is the stage's result.

    Args:
        extra: what a resumed trainer shall find in `Session.extra`.
    """
    if config.checkpoint_every and steps_done % config.checkpoint_every == 0 and steps_done < config.steps:
        save_checkpoint(run.checkpoint_dir, steps_done, session.loaded, session.optimizer, run.position(), extra=extra)
