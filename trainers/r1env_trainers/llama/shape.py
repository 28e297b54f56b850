"""The sizes of a Llama-shaped network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class Shape:
    """What the forward pass must know beside the weights. `eps` is that of all RMS norms."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float

    @classmethod
    def of(cls, config: PretrainedConfig) -> Shape:
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            heads=heads,
            kv_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            eps=config.rms_norm_eps,
        )

    @property
    def scale(self) -> float:
        """What attention scores are multiplied with."""
        return 1 / math.sqrt(self.head_dim)
