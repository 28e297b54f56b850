"""Low-rank adapters (LoRA, arXiv 2106.09685) by PEFT: added to a model, written, read again, and switched off. `load` merges them.

PEFT puts its layers into the model itself, so everything that computes with the model computes with the adapters too.
"""

from __future__ import annotations

import contextlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from r1env.errors import UsageError
from r1env_trainers.model.load import LoadedModel, check_peft, fill_adapters, forget_forward_pass, tied_target
from r1env_trainers.settings import LoRA

WEIGHTS = "adapter_model.safetensors"


def with_adapters(loaded: LoadedModel, settings: LoRA, base: str, seed: int) -> LoadedModel:
    """Add untrained adapters to a model, whose own weights are frozen: it computes what it did. A reward model's head is trained too.

    Args:
        base: the model's name, which an adapter folder refers to.
        seed: of the adapters' weights; torch's global generator is unchanged.

    Raises:
        UsageError: PEFT is not installed, the model has none of the target modules, or one of them shares its weights with another layer.
    """
    check_peft()
    from peft import LoraConfig, get_peft_model

    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=targets,
        task_type="SEQ_CLS" if hasattr(loaded.model, "score") else "CAUSAL_LM",  # PEFT trains the head of a classifier as it is
        base_model_name_or_path=base,
    )
    loaded.model.name_or_path = base  # PEFT takes the name from here
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            adapter = get_peft_model(loaded.model, config)
    except ValueError as error:  # PEFT says so where no module has the name
        raise UsageError(f"lora.target_modules={settings.target_modules!r}: {str(error).splitlines()[0]}") from error
    if (tied := tied_target(loaded.model)) is not None:
        raise UsageError(f"lora.target_modules={settings.target_modules!r}: {tied}")
    adapter.eval()
    forget_forward_pass(loaded.model)
    return replace(loaded, adapter=adapter)


def read_adapters(loaded: LoadedModel, folder: Path) -> None:
    """Give the adapters of a model the weights that `write_adapters` left in a folder; see `fill_adapters`."""
    fill_adapters(loaded, load_file(folder / WEIGHTS), str(folder))


def write_adapters(loaded: LoadedModel, folder: Path) -> None:
    """Write the adapters alone, as PEFT does, with the name of the model that they belong to."""
    loaded.adapter.save_pretrained(folder)


def without_adapters(loaded: LoadedModel) -> contextlib.AbstractContextManager[Any]:
    """Switch the adapters off where `loaded` stands for the model they were added to (the reference of RL); else change nothing."""
    return loaded.adapter.disable_adapter() if loaded.base_only else nullcontext()
