"""The data file of OpenRLHF's SFT trainer: a demonstration a line, a batch for every step."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from r1env.errors import UsageError
from r1env_trainers.openrlhf.sft.command import PROMPT, RESPONSE
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import Demonstrations, encode


def write_rows(
    path: Path, config: SFTConfig, demonstrations: Demonstrations, steps: int, tokenizer: PreTrainedTokenizerBase
) -> int:
    """Write the demonstrations that the backend `local` would learn in so many steps; returns the longest, in tokens.

    Raises:
        UsageError: OpenRLHF would learn other tokens than these: it joins prompt and response before it cuts them into tokens.
    """
    if tokenizer.eos_token is None:
        raise UsageError("backend=openrlhf needs a tokenizer with an end-of-sequence token, which ends every response")
    longest = 0
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        for position in range(steps * config.optim.batch_size):
            demonstration = demonstrations.at(position)
            prompt_ids, response_ids = encode(demonstration, tokenizer, config.max_length)
            prompt, response = str(tokenizer.decode(prompt_ids)), demonstration.response + str(tokenizer.eos_token)
            joined = tokenizer(prompt + response, add_special_tokens=False)["input_ids"]
            if not prompt_ids or joined != [*prompt_ids, *response_ids]:
                raise UsageError(
                    f"OpenRLHF would cut a demonstration into other tokens where its prompt ends ({prompt[-40:]!r}) and its response "
                    f"begins ({response[:40]!r}): end prompts with a line break, or use backend=local"
                )
            longest = max(longest, len(joined))
            file.write(json.dumps({PROMPT: prompt, RESPONSE: response}) + "\n")
    partial.replace(path)
    return longest
