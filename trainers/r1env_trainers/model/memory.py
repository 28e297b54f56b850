"""What training takes of a device's memory, before anything is loaded: the shape of a model, and the bytes of what has to be held at once.

`check_fits` refuses a training whose weights, gradients and moments alone are more than the device has. The rest of the arithmetic is for
`r1env_trainers.cost`, which predicts the peak.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from r1env.errors import UsageError
from r1env_trainers.model import tiny
from r1env_trainers.model.batching import activation_bytes, recomputed_bytes
from r1env_trainers.model.load import choose_device, usable_memory
from r1env_trainers.settings import LocalConfig, LoRA

FLOAT32 = 4
COUNTED = 100_000_000
"""Parameters from which they are counted, which takes a tenth of a second and more."""
TO_TAKE_LESS = "lora.rank=32 trains adapters only, and optim.name=adamw8bit keeps smaller moments"


def check_fits(config: LocalConfig) -> None:
    """Refuse to train a model that cannot fit, before it is loaded.

    Only what has to be there at once is counted, weights, gradients, moments and frozen copies, so a model that passes may still run out
    of memory. One whose size is not known beforehand passes.

    Raises:
        UsageError: with the sizes.
    """
    shape, device = shape_of(config.model), choose_device(config.device)
    if shape is None:
        return
    needed, limit = held_bytes(shape, config), memory_of(device, config.memory_gb)
    if config.model not in (*BUILT_HERE, *FROM_WHEELS) and shape.parameters > COUNTED:
        needed *= counted_parameters(config.model) / shape.parameters  # the shape reckons every model as a dense Llama
    if needed > limit:
        raise UsageError(
            f"{config.model} does not fit: its weights, gradients and moments take {needed / 1e9:.0f} GB, and of memory there are "
            f"{limit / 1e9:.0f} GB ({device.type}); {TO_TAKE_LESS}"
        )


def memory_of(device: torch.device, most: float | None = None) -> float:
    """Return the bytes of memory that this process can use on a device; of a CPU, all that the machine has.

    Args:
        most: gigabytes of a GPU that it may take; None for all.
    """
    if device.type == "cuda":
        return usable_memory(device) if most is None else min(usable_memory(device), most * 1e9)
    if not hasattr(os, "sysconf"):  # not on Windows
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def held_bytes(shape: ModelShape, config: LocalConfig) -> float:
    """Return the bytes of a model in training, and of frozen copies of it beside it (`config.frozen_copies`)."""
    return trained_bytes(shape, config) + FLOAT32 * shape.parameters * config.frozen_copies


def trained_bytes(shape: ModelShape, config: LocalConfig) -> float:
    """Return the bytes of the weights in float32, and of the gradients and moments of those that are trained."""
    moments = 8.0 if config.optim.name == "adamw" else 2.0
    if config.lora.rank:
        return FLOAT32 * shape.parameters + adapter_parameters(shape, config.lora) * (2 * FLOAT32 + moments)
    tables = shape.head * (8.0 - moments)  # the moments of embeddings stay in 32 bits
    return shape.parameters * (2 * FLOAT32 + moments) + tables


def adapter_parameters(shape: ModelShape, lora: LoRA) -> float:
    """Return the parameters of the adapters: `rank` times the inputs and outputs of each layer that has one.

    Of `target_modules` the usual names count; anything else is reckoned as all of them.
    """
    heads = shape.heads * shape.head_width
    sizes = {
        "q_proj": shape.hidden + heads,
        "k_proj": shape.hidden + shape.kv_width,
        "v_proj": shape.hidden + shape.kv_width,
        "o_proj": heads + shape.hidden,
        "gate_proj": shape.hidden + shape.feed_forward,
        "up_proj": shape.hidden + shape.feed_forward,
        "down_proj": shape.feed_forward + shape.hidden,
    }
    named = {lora.target_modules} if isinstance(lora.target_modules, str) else set(lora.target_modules)
    chosen = named if named <= sizes.keys() else sizes.keys()
    return lora.rank * shape.layers * sum(sizes[name] for name in chosen)


def token_bytes(shape: ModelShape, *, checkpointing: bool) -> float:
    """Return the bytes that a token keeps for the backward pass, in bfloat16; with checkpointing one layer's and the stream between."""
    if checkpointing:
        return recomputed_bytes(shape.layers, shape.hidden, shape.feed_forward)
    return activation_bytes(shape.layers, shape.hidden, shape.feed_forward)


# The sizes of a decoder that decide what it costs.


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A Llama-shaped decoder; others are close enough to be reckoned as one.

    Attributes:
        tied: the head is the embedding.
        head_dim: the numbers of an attention head; None for `hidden / heads`.
    """

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = True
    head_dim: int | None = None

    @classmethod
    def of(cls, config: PretrainedConfig) -> ModelShape:
        settings: Any = config
        return cls(
            hidden=settings.hidden_size,
            feed_forward=getattr(settings, "intermediate_size", None) or 4 * settings.hidden_size,
            layers=settings.num_hidden_layers,
            heads=settings.num_attention_heads,
            kv_heads=getattr(settings, "num_key_value_heads", None) or settings.num_attention_heads,
            vocabulary=settings.vocab_size,
            tied=bool(settings.tie_word_embeddings),
            head_dim=getattr(settings, "head_dim", None),
        )

    @property
    def kv_width(self) -> int:
        """The numbers in the keys of one token and layer, and in its values."""
        return self.kv_heads * self.head_width

    @property
    def head_width(self) -> int:
        return self.head_dim or self.hidden // self.heads

    @property
    def body(self) -> int:
        """The parameters of the layers, which every token is multiplied with."""
        attention = 2 * self.hidden * self.heads * self.head_width + 2 * self.hidden * self.kv_width
        return self.layers * (attention + 3 * self.hidden * self.feed_forward)

    @property
    def head(self) -> int:
        """The parameters of the head."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.body + self.head * (1 if self.tied else 2)


SMOLLM2_135M = ModelShape(hidden=576, feed_forward=1536, layers=30, heads=9, kv_heads=3, vocabulary=49_152)
GEMMA3_270M = ModelShape(hidden=640, feed_forward=2048, layers=18, heads=4, kv_heads=1, vocabulary=262_144, head_dim=256)
FROM_WHEELS = {"smollm2-135m": SMOLLM2_135M, "gemma3-270m": GEMMA3_270M}


def shape_of(name: str) -> ModelShape | None:
    """Return the shape of a model that `load_model` would take. Reads no weights and asks no hub; None where that does not suffice."""
    if name in FROM_WHEELS:
        return FROM_WHEELS[name]
    if name in BUILT_HERE:
        return ModelShape.of(BUILT_HERE[name]()[0].config)
    if not Path(name).is_dir() and "/" not in name:
        return None
    try:
        return ModelShape.of(AutoConfig.from_pretrained(name, local_files_only=True))
    except (OSError, ValueError, AttributeError):  # not here; no configuration; of no decoder
        return None


BUILT_HERE = {
    "tiny": tiny.build,
    "tiny-1m": tiny.build_1m,
    "tiny-2m": tiny.build_2m,
    "tiny-gpt2": tiny.build_gpt2,
    "tiny-tools": tiny.build_tools,
}
"""Made in milliseconds, so that their sizes need no second table."""


def counted_parameters(name: str) -> int:
    """Return the parameters of a model whose configuration is here, counted without making them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name, local_files_only=True))
    return sum(parameter.numel() for parameter in model.parameters())
