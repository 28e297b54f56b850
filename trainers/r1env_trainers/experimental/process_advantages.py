"""Process supervision in GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.3): a reward a step, an advantage a token."""

from __future__ import annotations

import torch
from torch import Tensor

from r1env_trainers.rl.advantages import FLAT


def process_advantages(rewards: Tensor, ends: Tensor, length: int) -> Tensor:
    """A_it = Σ_{j: index_i(j) >= t} (r_ij - mean(R)) / std(R), R all the step rewards of the group.

    The deviation is the sample's (n - 1), as in `grpo.advantages.group_std`; a group whose step rewards are all alike gets 0.

    Args:
        rewards: [n, K] of the steps of n completions of one prompt, NaN where a completion has fewer than K.
        ends: [n, K] int64, index_i(j): the place of each step's last token; ignored where there is no step.
        length: T, the tokens of the longest completion.

    Returns:
        [n, T]; 0 after a completion's last step.
    """
    present = rewards.isfinite()
    every = rewards[present]
    if len(every) < 2 or float(every.max() - every.min()) < FLAT:
        return torch.zeros(len(rewards), length, device=rewards.device)
    normalised = torch.where(present, (rewards - every.mean()) / every.std(), 0.0)
    at_ends = torch.zeros(len(rewards), length, device=rewards.device, dtype=rewards.dtype)
    at_ends.scatter_add_(1, torch.where(present, ends, 0), normalised)
    return at_ends.flip(1).cumsum(dim=1).flip(1)
