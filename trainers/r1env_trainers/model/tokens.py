"""Conversations to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1env.types import Conversation


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


SENTINEL = "r1env-turn"
"""Stands for the model's turn where a template is asked what it writes after one."""


def encode_reply(tokenizer: PreTrainedTokenizerBase, reply: str, *, chat: bool) -> list[int]:
    """Token ids of what stands between the model's turn and its next one: the end of its turn, the reply, the next turn's opening.

    To be appended to the tokens so far, which are never encoded again: the text that a model wrote need not come back as the tokens
    that it drew. Where the model drew the template's end-of-turn token itself, see `join_turns`.

    Args:
        chat: as in `encode_prompt`. A plain conversation goes on in a new line, and the model's next turn begins where the reply ends.
    """
    if chat and tokenizer.chat_template:
        # A short conversation will do: templates that cut the thinking out of earlier turns change what stands before this.
        messages = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": SENTINEL},
            {"role": "user", "content": reply},
        ]
        text = cast(str, tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        after = text[text.index(SENTINEL) + len(SENTINEL) :]
    else:
        after = f"\n{reply}"
    return cast(list[int], tokenizer(after, add_special_tokens=False)["input_ids"])


def join_turns(tokenizer: PreTrainedTokenizerBase, turn: Sequence[int], between: Sequence[int]) -> list[int]:
    """What to append after the model's turn: `between`, less the end-of-turn token that the turn already ends with."""
    ended = len(turn) > 0 and len(between) > 0 and turn[-1] == between[0] and turn[-1] in tokenizer.all_special_ids
    return list(between[1:] if ended else between)


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
