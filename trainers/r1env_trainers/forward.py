"""Log-probabilities of given completions under a model: the forward pass of every trainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.devices import autocast


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Prompts and completions side by side: prompts padded on the left, completions on the right.

    Attributes:
        prompt_ids, prompt_mask: [B, L] int64.
        completion_ids: [B, T] int64.
        completion_mask: [B, T] float32, 1 on tokens that count.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor

    def __len__(self) -> int:
        return self.prompt_ids.shape[0]

    def select(self, rows: Tensor) -> TokenBatch:
        """Some rows, with columns that are padding in all of them cut away."""
        prompt_mask, completion_mask = self.prompt_mask[rows], self.completion_mask[rows]
        prompt = int(prompt_mask.sum(dim=1).max())
        used = (completion_mask > 0).any(dim=0).nonzero()
        completion = int(used.max()) + 1 if len(used) else 1
        return TokenBatch(
            self.prompt_ids[rows][:, self.prompt_ids.shape[1] - prompt :],
            prompt_mask[:, self.prompt_mask.shape[1] - prompt :],
            self.completion_ids[rows][:, :completion],
            completion_mask[:, :completion],
        )


def completion_logits(model: PreTrainedModel, batch: TokenBatch, temperature: float = 1.0) -> Tensor:
    """[B, T, V] float32 logits of the completion tokens, divided by the temperature they were sampled with."""
    length = batch.completion_ids.shape[1]
    mask = torch.cat([batch.prompt_mask, (batch.completion_mask > 0).long()], dim=1)
    with autocast(model.device):
        output = model(
            input_ids=torch.cat([batch.prompt_ids, batch.completion_ids], dim=1),
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            logits_to_keep=length + 1,
            use_cache=False,
        )
    logits: Tensor = output.logits[:, :-1].float()
    return logits / temperature


def token_logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """[B, T] natural-log probabilities of `ids` [B, T] under `logits` [B, T, V]."""
    return logits.log_softmax(dim=-1).gather(2, ids[:, :, None]).squeeze(2)
