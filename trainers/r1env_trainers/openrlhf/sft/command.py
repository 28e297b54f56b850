"""An `SFTConfig` as the arguments of OpenRLHF's SFT trainer. Pure functions: settings in, words out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1env.errors import UsageError
from r1env_trainers.openrlhf.config import OpenRLHFOptions
from r1env_trainers.openrlhf.flags import open_micro_batch, optimizer_flags, refuse_linear_floor, refuse_settings, words_of
from r1env_trainers.sft.config import SFTConfig

MODULE = "openrlhf.cli.train_sft"

NO_COUNTERPART = frozenset({"eval_every", "held_out", "stop_accuracy", "micro_batch_tokens"})
"""Settings that OpenRLHF cannot follow, or would measure otherwise: refused unless they are left at their defaults."""

PROMPT, RESPONSE = "prompt", "response"
"""Fields of a row of the data file."""

SPARE_TOKENS = 3
"""OpenRLHF leaves a row out, and says nothing, when its prompt alone comes so close to the limit."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the job finds and leaves things.

    Attributes:
        model: the folder or hub name to start from.
        data: the file of demonstrations.
        checkpoints, result: folders that OpenRLHF writes.
    """

    model: str
    data: Path
    checkpoints: Path
    result: Path


def check_settings(config: SFTConfig, options: OpenRLHFOptions) -> None:
    """Refuse what OpenRLHF has no counterpart for, rather than leave it out.

    Raises:
        UsageError: names the setting.
    """
    refuse_settings(config, NO_COUNTERPART)
    refuse_linear_floor(config)
    if any("lora" in word for word in options.extra):
        raise UsageError(
            "with LoRA OpenRLHF leaves an adapter without a model, from which no later stage can start: train all weights"
        )
    if options.packing and options.attention != "flash_attention_2":
        raise UsageError("openrlhf.packing needs openrlhf.attention=flash_attention_2, and flash-attn installed")
    if options.nodes > 1 or options.ray_address is not None:
        raise UsageError(
            "backend=openrlhf of sft runs on the GPUs of one machine: leave openrlhf.nodes and openrlhf.ray_address out"
        )
    if config.optim.batch_size % (micro_batch(config) * options.gpus):
        raise UsageError(
            f"batches of {config.optim.batch_size} do not divide into micro-batches of {micro_batch(config)} on {options.gpus} GPUs; "
            "change batch_size or micro_batch_size"
        )


def micro_batch(config: SFTConfig) -> int:
    """Sequences a forward pass."""
    if config.optim.micro_batch_size is not None:
        return config.optim.micro_batch_size
    return open_micro_batch(config.optim.batch_size // config.openrlhf.gpus)


def arguments_of(
    config: SFTConfig, options: OpenRLHFOptions, files: Files, *, steps: int, longest: int, resume: bool
) -> list[str]:
    """The words after `python -m openrlhf.cli.train_sft`.

    Args:
        steps: optimizer steps; the data file has a batch for each.
        longest: of the demonstrations, in tokens.
        resume: go on from the newest checkpoint.
    """
    flags: dict[str, Any] = {
        "model.model_name_or_path": files.model,
        "model.gradient_checkpointing_enable": options.gradient_checkpointing,
        "data.dataset": files.data,
        "data.input_key": PROMPT,
        "data.output_key": RESPONSE,
        "data.input_template": "{}",
        "data.max_len": longest + SPARE_TOKENS,
        "data.max_samples": steps * config.optim.batch_size,
        "train.batch_size": config.optim.batch_size,
        "train.micro_batch_size": micro_batch(config),
        "train.max_epochs": 1,
        "train.seed": config.seed,
        **optimizer_flags(config, updates=steps),
        "ds.zero_stage": options.zero_stage,
        "ds.adam_offload": options.adam_offload,
        "ds.attn_implementation": options.attention,
        "ds.packing_samples": options.packing,
        "ckpt.path": files.checkpoints,
        "ckpt.output_dir": files.result,
        "ckpt.save_steps": config.checkpoint.every or -1,
        "ckpt.max_num": options.keep_checkpoints,
        "ckpt.load_enable": resume,
    }
    return [*words_of(flags), *options.extra]
