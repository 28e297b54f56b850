"""`RewardModel`: a reward-model folder, ready to score. What the rewards `helpful` and `harmless` call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from r1env.types import Conversation
from r1env_trainers.devices import Device, choose_device, limit_threads
from r1env_trainers.micro_batches import micro_batches
from r1env_trainers.reward_model.model import encode, load_reward_model, rewards_of


class RewardModel:
    """Scores prompts with texts. Not safe to call from two threads at once.

    Args:
        folder: what the `reward_model` trainer left.

    Raises:
        UsageError: it cannot be loaded, or the device is not there.
    """

    def __init__(self, folder: str, device: Device = "auto") -> None:
        model = load_reward_model(folder, device=choose_device(device))
        self._loaded, self._record = model.loaded, model.record
        limit_threads(self._loaded.parameters, None)

    @property
    def reads(self) -> str:
        """What it was trained to see of a completion: `response` or `completion`."""
        return self._record.reads

    def score(self, items: Sequence[tuple[Conversation, str]]) -> list[float | None]:
        """A value in [0, 1] for each (prompt, text), in order; None where it is longer than the model was trained to read.

        Pointwise: the probability that the text is safe. Pairwise: σ of the reward, measured in standard deviations from the mean
        of the held-out data.
        """
        scale = self._record
        return [None if r is None else _sigmoid((r - scale.mean) / scale.std) for r in self.rewards(items)]

    @torch.inference_mode()
    def rewards(self, items: Sequence[tuple[Conversation, str]]) -> list[float | None]:
        """The rewards as the head gives them, on no scale."""
        limit = self._record.max_length
        encoded = [
            # No tokenizer makes more than one token of four bytes on average out of what is worth reading; this only keeps a
            # megabyte from being tokenised to be refused.
            encode(self._loaded.tokenizer, prompt, text) if len(text) <= MAX_CHARACTERS_PER_TOKEN * limit else None
            for prompt, text in items
        ]
        places = [place for place, ids in enumerate(encoded) if ids is not None and len(ids) <= limit]
        readable = [ids for ids in encoded if ids is not None and len(ids) <= limit]
        found: list[float | None] = [None] * len(items)
        # On a CPU one by one: batches gain nothing there, and a text's reward then does not depend on its company, to the last bit.
        rows = 1 if self._loaded.device.type == "cpu" else None
        for batch in micro_batches([len(ids) for ids in readable], self._loaded.model, rows):
            values = rewards_of(self._loaded, [readable[index] for index in batch]).tolist()
            for index, value in zip(batch, values, strict=True):
                found[places[index]] = value
        return found


MAX_CHARACTERS_PER_TOKEN = 64


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, x))))  # beyond 709 exp overflows
