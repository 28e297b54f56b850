"""Rows with the same prompt, packed so that it goes through the network once. Pure arithmetic on lengths."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from r1env_trainers.llama.attention import Packing


def pack_prompts_once(
    prompts: Sequence[int], completions: Sequence[int], numbers: Sequence[int], device: torch.device
) -> tuple[Packing, Tensor]:
    """The packing of rows whose completions go on from one copy of each prompt; a prompt of one row stays in one piece with its completion.

    Args:
        prompts, completions: tokens of each row's; a completion may be empty.
        numbers: of each row's prompt, alike where the prompts are.

    Returns:
        the packing, and [M] int64 the place in it of each of the M tokens of all rows, row by row: prompt, then completion.
    """
    rows = Counter(numbers)
    sequence_of: dict[int, int] = {}
    lengths: list[int] = []
    for prompt, completion, number in zip(prompts, completions, numbers, strict=True):
        if number not in sequence_of:
            sequence_of[number] = len(lengths)
            lengths.append(prompt + completion if rows[number] == 1 else prompt)
    *starts, end = itertools.accumulate(lengths, initial=0)
    going_on: list[tuple[int, int]] = []
    places: list[Tensor] = []
    for prompt, completion, number in zip(prompts, completions, numbers, strict=True):
        sequence = sequence_of[number]
        start = starts[sequence]
        if rows[number] == 1:
            places.append(torch.arange(start, start + prompt + completion))
            continue
        places += [torch.arange(start, start + prompt), torch.arange(end, end + completion)]
        end += completion
        if completion:
            going_on.append((sequence, completion))
    return Packing.of(lengths, device, going_on), torch.cat(places).to(device)
