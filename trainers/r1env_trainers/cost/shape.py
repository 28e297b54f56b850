"""The sizes of a decoder that decide what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from r1env_trainers.models import tiny


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A Llama-shaped decoder; others are close enough to be reckoned as one.

    Attributes:
        tied: the head is the embedding.
    """

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = True

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
        )

    @property
    def kv_width(self) -> int:
        """Numbers in the keys of one token and layer; as many are in the values."""
        return self.kv_heads * (self.hidden // self.heads)

    @property
    def body(self) -> int:
        """Parameters of the layers: what every token is multiplied with."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_width
        return self.layers * (attention + 3 * self.hidden * self.feed_forward)

    @property
    def head(self) -> int:
        """Parameters of the head."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.body + self.head * (1 if self.tied else 2)


SMOLLM2_135M = ModelShape(hidden=576, feed_forward=1536, layers=30, heads=9, kv_heads=3, vocabulary=49_152)


def shape_of(name: str) -> ModelShape | None:
    """The shape of a model that `load_model` would take. Reads no weights and asks no hub; None where that does not suffice."""
    if name == "smollm2-135m":
        return SMOLLM2_135M
    if name in BUILT_HERE:
        return ModelShape.of(BUILT_HERE[name]()[0].config)
    if not Path(name).is_dir() and "/" not in name:
        return None
    try:
        return ModelShape.of(AutoConfig.from_pretrained(name, local_files_only=True))
    except (OSError, ValueError, AttributeError):  # not here; no configuration; of no decoder
        return None


BUILT_HERE = {"tiny": tiny.build, "tiny-1m": tiny.build_1m, "tiny-2m": tiny.build_2m, "tiny-gpt2": tiny.build_gpt2}
"""Made in milliseconds, so that their sizes need no second table."""
