"""Shared by all trainers in this process: settings of the optimizer, starting or resuming, one optimizer step."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import nn

from r1env.errors import RunError, TrainingStoppedError, UsageError
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_trainers.model.batching import checkpoint_layers, is_out_of_memory
from r1env_trainers.model.checkpoint import list_checkpoints, load_state, restore, save_checkpoint, save_model
from r1env_trainers.model.dither import dither_matrices
from r1env_trainers.model.guards import SKIPPED, SPIKE, Guard, is_spike, last_good, recent_norms
from r1env_trainers.model.llama import compute_dtype
from r1env_trainers.model.load import (
    LoadedModel,
    check_model_name,
    check_peft,
    choose_device,
    limit_memory,
    limit_threads,
    load_model,
)
from r1env_trainers.model.lora import adapted_layers, read_adapters, with_adapters
from r1env_trainers.model.memory import check_fits
from r1env_trainers.settings import LocalConfig, Schedule

logger = logging.getLogger(__name__)

# Learning rates are pure functions of the step, so that resuming needs no state.


def learning_rate(step: int, *, peak: float, warmup: int, total: int, schedule: Schedule, floor: float = 0.0) -> float:
    """Return the rate of update `step` (from 0): linear warm-up over `warmup` updates, then constant, or down towards `floor * peak`.

    The first update already has a rate (`peak / warmup`). After the warm-up the course is that of transformers' schedules: the floor
    lies one update behind the last of `total`, so that a floor of 0 wastes no batch of rollouts.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    shape = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (floor + (1 - floor) * shape)


@dataclass(frozen=True, slots=True)
class Session:
    """A model being trained.

    Attributes:
        guard: asked after every step, so that nothing that is not finite is learned from unseen.
        first_step: 0, or where the newest checkpoint left off.
        extra: what the trainer passed to `Checkpoints.step_done` for that checkpoint, tensors on the CPU; empty at the start.
    """

    loaded: LoadedModel
    optimizer: torch.optim.Optimizer
    guard: Guard
    first_step: int
    extra: Mapping[str, Any] = field(default_factory=dict)


def check_local(config: LocalConfig) -> None:
    """Refuse a device that does not exist and a name that cannot be a model; load nothing."""
    choose_device(config.device)
    if config.lora.rank:
        check_peft()
    check_optimizer(config)
    if not is_stage(config.model):
        check_model_name(config.model)


class Loader(Protocol):
    """Loads a model by name or from a folder, like `load_model`."""

    def __call__(self, name: str, *, device: torch.device, seed: int) -> LoadedModel: ...


def begin(config: LocalConfig, run: Run, load: Loader = load_model) -> Session:
    """Load the model, or the newest checkpoint of the stage, in which case the run's logs are cut back to it.

    Raises:
        UsageError: the model cannot be loaded, or does not fit into memory.
        RunError: the checkpoint cannot be read.
    """
    check_fits(config)
    checkpoint = next(reversed(list_checkpoints(run.checkpoint_dir)), None)
    start = str(config.model if checkpoint is None or config.lora.rank else checkpoint)
    device = choose_device(config.device)
    limit_memory(device, config.memory_gb)
    try:
        loaded = load(start, device=device, seed=config.seed)
    except UsageError as error:
        if checkpoint is None:
            raise
        raise RunError(f"{error}; delete the folder, so that --resume goes on from the checkpoint before") from error
    if config.lora.rank:
        loaded = with_adapters(loaded, config.lora, config.model, config.seed)
        dither_start(loaded, config)  # with the same seed in a resumed run, which reads the frozen weights anew
        if checkpoint is not None:
            read_adapters(loaded, checkpoint)
    limit_threads(loaded.parameters, config.threads)
    if config.gradient_checkpointing:
        checkpoint_layers(loaded.model)
    optimizer, guard = make_optimizer(loaded, config), Guard(run, config.optim.max_bad_steps)
    if checkpoint is None:
        if not config.lora.rank:
            dither_start(loaded, config)
        return Session(loaded, optimizer, guard, 0)
    state = load_state(checkpoint)
    dtype = state.get("dtype", "torch.float32").removeprefix(
        "torch."
    )  # a checkpoint is in float32 whatever the model is stored in
    loaded = replace(loaded, dtype=getattr(torch, dtype))
    run.rewind(state["position"])
    return Session(loaded, optimizer, guard, restore(state, optimizer), state["extra"])


def dither_start(loaded: LoadedModel, config: LocalConfig) -> None:
    """Dither a model that training starts from, if it computes in bfloat16 and the settings allow it.

    With adapters, the frozen weights that they are added to: completions are sampled from the sum, rounded, in which the adapters' first
    updates would vanish otherwise.
    """
    if config.optim.dither and compute_dtype(loaded.device) is torch.bfloat16:
        adapted = loaded.adapter is not None
        dither_matrices(nn.ModuleList(adapted_layers(loaded.model)) if adapted else loaded.model, config.seed)


def make_optimizer(loaded: LoadedModel, config: LocalConfig) -> torch.optim.Optimizer:
    """Return AdamW over all weights; the learning rate is set before every step."""
    return adamw(loaded.model, config, config.optim.lr)


def check_optimizer(config: LocalConfig) -> None:
    """Raise UsageError where the optimizer needs a package that is not installed."""
    if config.optim.name == "adamw8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("optim.name=adamw8bit needs the package bitsandbytes: pip install 'r1env-trainers[8bit]'")


def adamw(model: nn.Module, config: LocalConfig, lr: float) -> torch.optim.Optimizer:
    """Return AdamW over the weights of a model that are trained.

    With 8-bit moments (arXiv 2110.02861) those of embeddings stay in 32 bits, as its authors advise: the gradients of rare words
    are larger than the others of their block. So do those of tensors with fewer than 4,096 elements.
    """
    groups = parameter_groups(model, config.optim.weight_decay)
    if config.optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=config.optim.betas, fused=True)
    from bitsandbytes.optim.adamw import AdamW8bit
    from bitsandbytes.optim.optimizer import GlobalOptimManager

    manager = GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
    optimizer: torch.optim.Optimizer = AdamW8bit(groups, lr=lr, betas=config.optim.betas)
    return optimizer


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters to train, for an optimizer, with the decay of each group.

    Norms, biases and embeddings (a head that is tied to them too) are not decayed: they have no product whose size decay would bound,
    and the rows of words that do not occur would only fade.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weight_decay:
        return [{"params": trained, "weight_decay": 0.0}]
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed = [parameter for parameter in trained if parameter.dim() >= 2 and id(parameter) not in tables]
    known = set(map(id, decayed))
    others = [parameter for parameter in trained if id(parameter) not in known]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def optimizer_step(
    loaded: LoadedModel, optimizer: torch.optim.Optimizer, config: LocalConfig, index: int, total: int, *, loss: float
) -> dict[str, float]:
    """Clip the gradients, take optimizer step `index` of `total`, clear the gradients; a step that is not finite, or a spike, is skipped.

    Args:
        loss: whose gradients they are.

    Returns:
        `grad_norm` before clipping, `lr`, and `SKIPPED`: 1 if the weights are as before, because the loss or the norm is not finite, or
        the norm is a spike, which `SPIKE` then has too.
    """
    rate = scheduled_rate(config, config.optim.lr, index, total)
    norm = clip_gradients(loaded.model.parameters(), config)
    finite = math.isfinite(loss) and math.isfinite(norm)
    spike = finite and is_spike(recent_norms(optimizer), norm, config.optim.max_grad_ratio)
    apply_gradients(optimizer, rate, usable=finite and not spike)
    return {"grad_norm": norm, "lr": rate, SKIPPED: float(spike or not finite)} | ({SPIKE: norm} if spike else {})


def scheduled_rate(config: LocalConfig, peak: float, index: int, total: int) -> float:
    """Return the learning rate of optimizer step `index` of `total` by the settings' schedule."""
    return learning_rate(
        index,
        peak=peak,
        warmup=config.optim.warmup_steps,
        total=total,
        schedule=config.optim.lr_schedule,
        floor=config.optim.min_lr_ratio,
    )


def clip_gradients(parameters: Iterable[nn.Parameter], config: LocalConfig) -> float:
    """Clip gradients to the settings' norm; return the norm they had."""
    return float(nn.utils.clip_grad_norm_(parameters, config.optim.max_grad_norm))


def apply_gradients(optimizer: torch.optim.Optimizer, rate: float, *, usable: bool) -> None:
    """Take an optimizer step at a learning rate if the gradients are usable, and clear them either way."""
    if usable:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def save_result(session: Session, config: LocalConfig, run: Run) -> None:
    """Leave the model as the stage's result, in the format of the settings.

    Raises:
        TrainingStoppedError: nothing was learned, since no loss was finite; or the model is not finite.
    """
    session.guard.at_the_end()
    save_model(run.model_dir(), session.loaded, config.checkpoint.dtype, merge=config.lora.merge)


def device_fault(error: BaseException) -> str | None:
    """Return what a GPU said when it failed, out of the exception that torch makes of it; None for any other exception.

    Running out of memory is none: see `within_memory`.
    """
    known = isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and any(name in str(error) for name in ("CUDA error", "CUBLAS_STATUS", "NCCL error"))
    )
    return str(error).splitlines()[0][:200] if known and not is_out_of_memory(error) else None


DATA = "data"


def fingerprint(rows: Iterable[object]) -> dict[str, Any]:
    """Return the number of rows and a hash of them, by which a resumed run knows that it goes on with the same data."""
    count, digest = 0, hashlib.blake2b(digest_size=16)
    for row in rows:
        count += 1
        digest.update(repr(row).encode("utf-8", "surrogatepass"))
    return {"rows": count, "digest": digest.hexdigest()}


def check_same_data(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """Refuse to go on with other data: their order would be another too, and rows would be learned twice or never.

    Raises:
        RunError: the two fingerprints differ.
    """
    if then is not None and now is not None and dict(then) != dict(now):
        raise RunError(
            f"the data are not those that this run began with ({now['rows']:,} rows, {then['rows']:,} then); bring them back, or start a new "
            "run from the model of this one"
        )


class Checkpoints:
    """Writes the checkpoints of a training loop: every so many steps, after the last one, on SIGUSR1, and where Ctrl-C or SIGTERM ends it.

    A context manager around the loop. An interruption reaches the loop anywhere but between `hold`, called before weights change, and
    `step_done`, so that the last finished step is always there to be written; what was begun since is dropped and done again.

    Example:
        >>> with Checkpoints(session, config, run) as checkpoints:
        ...     for step in range(session.first_step, config.steps):
        ...         ...  # forward and backward passes
        ...         checkpoints.hold()
        ...         ...  # optimizer step, log
        ...         checkpoints.step_done(step + 1)
    """

    def __init__(self, session: Session, config: LocalConfig, run: Run, data: Mapping[str, Any] | None = None) -> None:
        """
        Args:
            data: `fingerprint` of what is learned from, which must be that of the resumed checkpoint.

        Raises:
            RunError: it is another.
        """
        check_same_data(session.extra.get(DATA), data)
        self._session, self._config, self._run, self._data = session, config, run, data
        self._done: int | None = None  # steps, since the start of this process
        self._written = session.first_step
        self._extra: Mapping[str, Any] = {}
        self._sizes: Mapping[str, int] = {}
        self._random = torch.get_rng_state()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signals = self._run.signals
        as_of_the_last_step = not signals.holding  # a listener may raise too, after weights have changed
        if error is None:
            return
        if (fault := device_fault(error)) is not None:  # nothing on the device can be read any more, the weights included
            raise TrainingStoppedError(
                f"the device failed after step {self._done or self._session.first_step}: {fault}; {last_good(self._run.checkpoint_dir)}; "
                "once it computes again (see nvidia-smi), go on with --resume"
            ) from error
        signals.hold()
        written = self._done is None or self._done == self._written
        if isinstance(error, KeyboardInterrupt) and as_of_the_last_step and not written and not self._session.guard.bad:
            self._write(int(self._done or 0))
            logger.warning("interrupted: step %d is in a checkpoint, and --resume goes on from it", self._done)

    def hold(self) -> None:
        """From here to `step_done` an interruption waits."""
        self._run.signals.hold()

    def step_done(self, steps_done: int, extra: Mapping[str, Any] | None = None) -> None:
        """Remember a finished step, which is logged, and write a checkpoint of it where one is due.

        Not after a bad step: nobody knows yet whether the weights, which it left as they were, are any good.

        Args:
            extra: becomes `Session.extra` of a resumed run.
        """
        self._done, self._extra, self._sizes = steps_done, extra or {}, self._run.sizes()
        self._random = torch.get_rng_state()
        every = self._config.checkpoint.every
        due = every and (steps_done % every == 0 or steps_done == self._config.steps)
        if (due or self._run.signals.checkpoint_wanted) and not self._session.guard.bad:
            self._run.signals.checkpoint_wanted = False
            self._write(steps_done)
        self._run.signals.release()

    def _write(self, steps_done: int) -> None:
        self._run.rewind(self._sizes)  # of a step that was begun, an evaluation may have been logged
        torch.set_rng_state(self._random)
        loaded, optimizer = self._session.loaded, self._session.optimizer
        extra = {**self._extra, **({} if self._data is None else {DATA: dict(self._data)})}
        save_checkpoint(self._run.checkpoint_dir, steps_done, loaded, optimizer, self._run.position(), extra=extra)
        self._written = steps_done
