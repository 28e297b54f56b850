"""Conversations to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1env.tasks import Conversation


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Conversation, *, chat: bool) -> list[int]:
    """Token ids of a conversation up to where the model answers.

    Args:
        chat: use the tokenizer's chat template. Without one (a base model), and when False, the contents are joined as plain
            text, which is how R1-Zero's prompt is meant.
    """
    if chat and tokenizer.chat_template:
        text = tokenizer.apply_chat_template(
            cast(list[dict[str, str]], list(messages)), add_generation_prompt=True, tokenize=False
        )
        return cast(list[int], tokenizer(cast(str, text), add_special_tokens=False)["input_ids"])
    text = "\n".join(message["content"] for message in messages)
    return cast(list[int], tokenizer(text)["input_ids"])


def left_pad(sequences: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack sequences of unequal length, padded on the left.

    Returns:
        ids [B, L] (int64) and mask [B, L] (int64, 1 for real tokens).
    """
    length = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), length), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), length), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, length - len(sequence) :] = torch.tensor(sequence, dtype=torch.long)
        mask[row, length - len(sequence) :] = 1
    return ids.to(device), mask.to(device)
