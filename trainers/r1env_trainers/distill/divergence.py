"""The reverse Kullback-Leibler divergence of a student from its teacher, token by token. Pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from r1env_trainers.model.logprobs import CHUNK_ELEMENTS, Predicted, logits_of


def reverse_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return [N] nats of KL(student || teacher) = Σ_v p_S(v) (log p_S(v) - log p_T(v)), from logits [N, V] of both.

    Agarwal et al. 2024 (GKD, arXiv 2306.13649), equation 1 with the student first: mode-seeking, so a small student drops what it
    cannot copy instead of spreading over it.

    Args:
        temperature: divides the logits of both.
    """
    log_student = (student / temperature).log_softmax(dim=-1)
    log_teacher = (teacher / temperature).log_softmax(dim=-1)
    return (log_student.exp() * (log_student - log_teacher)).sum(dim=-1)


def chunked_reverse_kl(student: Predicted, teacher: Predicted, temperature: float = 1.0) -> Tensor:
    """Return `reverse_kl` of N predicted tokens, a chunk of logits at a time, forward and backward. Gradients reach the student.

    Where one vocabulary is padded to a larger size, its further tokens are ignored: no text contains them.
    """
    vocabulary = min(student.vocabulary, teacher.vocabulary)
    rows = max(1, CHUNK_ELEMENTS[student.features.device.type] // vocabulary)
    parts = [
        checkpoint(_chunk, features, student.head, others, teacher.head, vocabulary, temperature, use_reentrant=False)
        for features, others in zip(student.features.split(rows), teacher.features.split(rows), strict=True)
    ]
    return torch.cat(parts)


def policy_gradient(logprobs: Tensor, teacher_logprobs: Tensor) -> Tensor:
    """Return [N] losses whose gradient is an unbiased estimate of that of the reverse KL of each token, given those before it.

    The advantage of a drawn token is log p_T - log p_S, without gradient (Lu and Thinking Machines Lab 2025, "On-Policy Distillation"); the
    ratio p_S / sg(p_S) is 1 and carries the gradient.

    Args:
        logprobs: [N] of the student, which drew the tokens.
        teacher_logprobs: [N] of the same tokens.
    """
    advantage = (teacher_logprobs - logprobs).detach()
    return -(logprobs - logprobs.detach()).exp() * advantage


def _chunk(
    features: Tensor, head: Tensor | None, others: Tensor, other_head: Tensor | None, vocabulary: int, temperature: float
) -> Tensor:
    return reverse_kl(_logits(features, head)[:, :vocabulary], _logits(others, other_head)[:, :vocabulary], temperature)


def _logits(features: Tensor, head: Tensor | None) -> Tensor:
    return features if head is None else logits_of(features, head.to(features.dtype))
