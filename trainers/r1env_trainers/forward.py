"""Log-probabilities of given completions under a model: the forward pass of every trainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env_trainers.devices import autocast
from r1env_trainers.llama.attention import Packing
from r1env_trainers.llama.forward import packed_hidden_states
from r1env_trainers.llama.support import is_llama
from r1env_trainers.logprobs import linear_logprobs


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


def completion_logprobs(model: PreTrainedModel, batch: TokenBatch, temperature: float = 1.0) -> Tensor:
    """[B, T] float32 natural-log probabilities of the completion tokens; 0 where the mask is.

    Args:
        temperature: the one they were sampled with; logits are divided by it.
    """
    if is_llama(model):
        return packed_logprobs(model, batch, temperature)
    return padded_logprobs(model, batch, temperature)


def packed_logprobs(model: PreTrainedModel, batch: TokenBatch, temperature: float) -> Tensor:
    """`completion_logprobs` of a Llama-shaped model: no padding, and logits a chunk at a time, of completion tokens only."""
    counts = batch.completion_mask > 0  # [B, T]
    real = torch.cat([batch.prompt_mask > 0, counts], dim=1)  # [B, L + T]
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)[real]  # [N]
    completion = torch.cat([torch.zeros_like(batch.prompt_mask, dtype=torch.bool), counts], dim=1)[real]  # [N]
    packing = Packing.of(real.sum(dim=1).tolist(), ids.device)
    hidden = packed_hidden_states(model, ids, packing)
    # The token before predicts a token, and it is the one before in the packing too: no prompt is empty.
    predictors = completion.nonzero().squeeze(1) - 1
    logprobs = linear_logprobs(hidden[predictors], model.get_output_embeddings().weight, ids[completion], temperature)
    return torch.zeros_like(batch.completion_mask).masked_scatter(counts, logprobs)


def padded_logprobs(model: PreTrainedModel, batch: TokenBatch, temperature: float) -> Tensor:
    """`completion_logprobs` of any model, through transformers' own forward pass; holds the logits of all completion tokens."""
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
    logits = output.logits[:, :-1].float() / temperature
    logprobs = logits.log_softmax(dim=-1).gather(2, batch.completion_ids[:, :, None]).squeeze(2)
    return torch.where(batch.completion_mask > 0, logprobs, 0.0)
