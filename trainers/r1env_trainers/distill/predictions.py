"""What a model predicts for the tokens of completions, in the cheapest form that its forward pass has."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.forward import TokenBatch, packed_predictors, padded_logits
from r1env_trainers.llama.support import is_llama


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of N tokens.

    Attributes:
        features: [N, H] hidden states to be multiplied by `head`, or [N, V] logits where there is none.
        head: [V, H].
    """

    features: Tensor
    head: Tensor | None

    @property
    def vocabulary(self) -> int:
        return (self.features if self.head is None else self.head).shape[1 if self.head is None else 0]


def predictions(model: PreTrainedModel, batch: TokenBatch) -> Predictions:
    """For every completion token that counts, row by row."""
    if is_llama(model):
        hidden, _ = packed_predictors(model, batch)
        return Predictions(hidden, model.get_output_embeddings().weight)
    return Predictions(padded_logits(model, batch)[batch.completion_mask > 0], None)
