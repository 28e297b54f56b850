"""The frozen model that the KL is measured to, and its replacement by the policy (iterative GRPO; DeepSeek-R1: every 400 steps)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from r1env_trainers.models.load import LoadedModel, load_model


class Reference:
    """The starting model, until `replace`.

    Attributes:
        loaded: the model as it is now.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._replaced = False

    @classmethod
    def start(cls, model: str, like: LoadedModel, seed: int, state: Mapping[str, Any]) -> Reference:
        """The model called `model` on the device of `like`, or what `state` of a checkpoint holds."""
        reference = cls(load_model(model, device=like.device, seed=seed))
        if "weights" in state:
            reference.loaded.model.load_state_dict(state["weights"])
            reference._replaced = True
        return reference

    def replace(self, policy: LoadedModel) -> None:
        """Make a copy of the policy's weights the reference."""
        self.loaded.model.load_state_dict(policy.model.state_dict())
        self._replaced = True

    def state(self) -> dict[str, dict[str, Tensor]]:
        """For a checkpoint: the weights, where they are not those of the starting model."""
        return {"weights": self.loaded.model.state_dict()} if self._replaced else {}
