"""The two losses of reward models, on rewards as the scalar head gives them."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus


def pairwise_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """[B] -log σ(chosen - rejected - margin): Bradley-Terry (arXiv 2203.02155, eq. 1), with the margin of Llama 2 (2307.09288, eq. 2).

    Args:
        chosen, rejected: [B] rewards.
        margin: [B] by how much the chosen one must lead; 0 is the plain loss.
    """
    return softplus(-(chosen - rejected - margin))


def pointwise_loss(logits: Tensor, safe: Tensor) -> Tensor:
    """[B] binary cross-entropy; σ(logit) is the probability that a completion is safe.

    Args:
        logits: [B] rewards.
        safe: [B] 1 where the completion is safe, 0 where it is not.
    """
    return binary_cross_entropy_with_logits(logits, safe, reduction="none")
