"""Checkpoints. Each is written under a temporary name and renamed, so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase

from r1env.errors import RunError, TrainingStoppedError
from r1env_trainers.model.guards import TO_TRY, first_not_finite, last_good, why_unusable
from r1env_trainers.model.load import LoadedModel, merged
from r1env_trainers.model.lora import write_adapters

PREFIX = "step-"
STATE = "trainer.pt"
WRITE_ERRORS = (OSError, RuntimeError, ValueError, SafetensorError)
"""How Python, torch and safetensors report that a file could not be written, and transformers settings that it refuses to write."""


def save_checkpoint(
    folder: Path,
    step: int,
    loaded: LoadedModel,
    optimizer: torch.optim.Optimizer,
    position: Mapping[str, int],
    *,
    extra: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> Path:
    """Write `folder/step-000123` with weights, optimizer, random state and the position of the run's logs.

    Args:
        step: number of finished steps; resuming continues with this step.
        extra: other state of the trainer: tensors and plain values, nested in any way.
        keep: how many of the newest checkpoints to keep.

    Raises:
        RunError: it could not be written; older checkpoints are untouched.
        TrainingStoppedError: the model, the optimizer's state or a tensor in `extra` is not finite; older checkpoints are untouched.
    """
    _check_worth_saving(loaded, optimizer, folder, extra or {})
    target = folder / f"{PREFIX}{step:06d}"
    partial = folder / f".{target.name}.partial"
    state = {
        "step": step,
        "dtype": str(loaded.dtype),
        "optimizer": optimizer.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),
        "position": dict(position),
        "extra": dict(extra or {}),
    }
    try:
        shutil.rmtree(partial, ignore_errors=True)
        save_pretrained(partial, loaded)
        torch.save(state, partial / STATE)
        _replace(partial, target)
    except WRITE_ERRORS as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"cannot write the checkpoint {target}: {error}; older checkpoints are whole") from error
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def save_model(folder: Path, loaded: LoadedModel, dtype: str = "auto", *, merge: bool = True) -> None:
    """Write a model folder that `load_model` and transformers can read, replacing an older one as a whole.

    Low-rank adapters are merged into the model, which has none from then on, or written alone.

    Args:
        merge: merge adapters.
        dtype: number format of its weights, `float32`, `bfloat16` or `float16`; `auto` for that in which the model was loaded.

    Raises:
        RunError: it could not be written.
        TrainingStoppedError: the model is not finite; what was there is untouched.
    """
    _check_worth_saving(loaded, None, folder.parent, {})
    if loaded.adapter is not None and merge:
        loaded = merged(loaded)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        with _in_format(loaded, loaded.dtype if dtype == "auto" else getattr(torch, dtype)):
            save_pretrained(partial, loaded)
        shutil.rmtree(folder, ignore_errors=True)
        _replace(partial, folder)
    except (*WRITE_ERRORS, RunError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"cannot write the model {folder}: {error}; the last checkpoint is whole") from error


@contextlib.contextmanager
def _in_format(loaded: LoadedModel, dtype: torch.dtype) -> Iterator[None]:
    """Let the model's weights have another number format for as long as they are written; the old ones come back untouched."""
    weights = {weight: weight.data for weight in loaded.model.parameters() if weight.is_floating_point()}
    try:
        for weight, data in weights.items():
            weight.data = data.to(dtype)
        if (found := first_not_finite(loaded.model.named_parameters())) is not None:
            raise RunError(f"{found} has values that {dtype} cannot hold; set checkpoint.dtype=bfloat16 or float32")
        yield
    finally:
        for weight, data in weights.items():
            weight.data = data


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if (path / STATE).is_file())


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` stored beside the weights: tensors and plain values only.

    Raises:
        RunError: the file is torn.
    """
    try:
        state: dict[str, Any] = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:100]
        raise RunError(
            f"cannot read {checkpoint / STATE}: {reason}; delete the folder, so that --resume goes on from the checkpoint before"
        ) from error
    return state


def restore(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> int:
    """Restore optimizer and random state; return the step to continue with.

    Raises:
        RunError: the optimizer's state, or that of the trainer, is not finite.
    """
    optimizer.load_state_dict(state["optimizer"])
    for what, tensors in (("an optimizer", _moments(optimizer)), ("a trainer", _tensors(state["extra"]))):
        if (found := first_not_finite(tensors)) is not None:
            raise RunError(
                f"the checkpoint of step {state['step']} has {what} state that is not finite ({found}): its next step would make "
                "weights NaN; delete it, so that --resume goes on from the one before"
            )
    torch.set_rng_state(state["torch_rng"])
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return int(state["step"])


def save_pretrained(folder: Path, loaded: LoadedModel) -> None:
    """Write model and tokenizer in the format of transformers; of a model with adapters these alone, in PEFT's."""
    folder.mkdir(parents=True, exist_ok=True)
    if loaded.adapter is not None:
        write_adapters(loaded, folder)
    else:
        loaded.model.save_pretrained(folder)
    tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
    tokenizer.save_pretrained(folder)


def _check_worth_saving(
    loaded: LoadedModel, optimizer: torch.optim.Optimizer | None, folder: Path, extra: Mapping[str, Any]
) -> None:
    """Refuse to replace a good model or checkpoint by one that computes NaN."""
    reason = why_unusable(loaded.model)
    if reason is None and optimizer is not None and (found := first_not_finite(_moments(optimizer))) is not None:
        reason = f"the optimizer's state is not finite ({found})"
    if reason is None and (found := first_not_finite(_tensors(extra))) is not None:
        reason = f"the trainer's state is not finite ({found})"
    if reason is not None:
        raise TrainingStoppedError(f"the model is not saved: {reason}; {last_good(folder)}; try this: {TO_TRY}")


def _moments(optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.Tensor]]:
    return [
        (name, value)
        for of_parameter in optimizer.state.values()
        for name, value in of_parameter.items()
        if isinstance(value, torch.Tensor)
    ]


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in nested mappings and lists, with their dotted names."""
    if isinstance(state, torch.Tensor):
        yield name, state
    elif isinstance(state, Mapping | list | tuple):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def _replace(partial: Path, target: Path) -> None:
    """Make `partial` durable, then give it its name."""
    for path in sorted(partial.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
