"""How good rewards are, on held-out data. Pure functions on numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def pair_accuracy(gaps: Sequence[float]) -> float:
    """The share of pairs whose chosen response has the higher reward; a tie counts half. NaN without pairs.

    Args:
        gaps: reward of the chosen minus reward of the rejected response.
    """
    return float(np.mean(np.sign(gaps) / 2 + 0.5)) if len(gaps) else math.nan


def auc(rewards: Sequence[float], positive: Sequence[bool]) -> float:
    """Area under the ROC curve: how likely a positive has the higher reward than a negative; a tie counts half (Mann-Whitney).

    NaN where all are of one kind.
    """
    values, labels = np.asarray(rewards, float), np.asarray(positive, bool)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return math.nan
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]  # from 1; those of a tie are their mean
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))
