"""A model whose mistakes show: random weights are nearly uniform in what they predict, these are not."""

from __future__ import annotations

import torch

from r1env_trainers.model.load import LoadedModel, load_model


def sharp_tiny(device: str = "cpu") -> LoadedModel:
    """`tiny` with its weights tripled: probabilities differ, and rows end at different lengths. Sets torch to one thread."""
    torch.set_num_threads(1)
    loaded = load_model("tiny", seed=0, device=device)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.mul_(3.0)
    return loaded
