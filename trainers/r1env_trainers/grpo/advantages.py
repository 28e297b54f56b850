"""Advantages of a group of completions of one prompt. Pure functions on a [groups, n] matrix of rewards.

NaN marks a completion that could not be scored: it is left out of its group's mean and standard deviation and gets
advantage 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

AdvantageEstimator = Literal["group_mean", "group_std"]
FLAT = 1e-6
"""Rewards of a group that differ by less than this carry no preference: float noise, not signal."""


def group_mean(rewards: Tensor) -> Tensor:
    """A_i = r_i - mean(r): the group's mean as baseline, no division (Dr. GRPO, arXiv 2503.20783, eq. 3).

    Args:
        rewards: [G, n], NaN where unscored.

    Returns:
        [G, n]; 0 where unscored, and throughout a group whose rewards are all alike.
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    return torch.where(mixed(rewards)[:, None], centred, 0.0).nan_to_num(0.0)


def group_std(rewards: Tensor) -> Tensor:
    """A_i = (r_i - mean(r)) / std(r): DeepSeekMath section 4.1.2, DeepSeek-R1 eq. 3. The deviation is the sample's (n - 1).

    Args and result as `group_mean`. No epsilon is needed: groups without variance are 0 by rule.
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    count = rewards.isfinite().sum(dim=1, keepdim=True)
    deviation = (centred.square().nansum(dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    return torch.where(mixed(rewards)[:, None], centred / deviation, 0.0).nan_to_num(0.0)


def mixed(rewards: Tensor) -> Tensor:
    """[G] True where the scored rewards of a group differ by at least `FLAT`: only such a group has a gradient."""
    low = rewards.nan_to_num(torch.inf).amin(dim=1)
    high = rewards.nan_to_num(-torch.inf).amax(dim=1)
    return high - low >= FLAT


ESTIMATORS = {"group_mean": group_mean, "group_std": group_std}
