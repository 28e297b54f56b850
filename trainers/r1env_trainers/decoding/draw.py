"""One token a row, out of logits."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token a row.

    Args:
        logits: [B, V] float32.
        temperature: 0 takes the likeliest token.
        top_p: keeps the smallest set of tokens whose probability reaches it.

    Returns:
        tokens [B] (int64), and their log-probs [B] under the distribution drawn from (the plain one where greedy).
    """
    if temperature == 0:
        token = logits.argmax(dim=-1)
        return token, logits.log_softmax(dim=-1).gather(1, token[:, None]).squeeze(1)
    logprobs = (logits / temperature).log_softmax(dim=-1)
    if top_p < 1:
        logprobs = nucleus(logprobs, top_p).log_softmax(dim=-1)
    # The Gumbel-max trick in its exponential form: argmax p/e with e ~ Exp(1) is a draw from p, and needs no CPU round trip.
    noise = torch.empty_like(logprobs).exponential_(generator=generator)
    token = (logprobs.exp() / noise).argmax(dim=-1)
    return token, logprobs.gather(1, token[:, None]).squeeze(1)


def nucleus(logprobs: Tensor, top_p: float | Tensor) -> Tensor:
    """[B, V] log-probs with -inf outside the smallest set of tokens whose probability reaches `top_p` (arXiv 1904.09751)."""
    ordered, order = logprobs.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()  # probability of all likelier tokens
    outside = torch.zeros_like(before, dtype=torch.bool).scatter(1, order, before >= top_p)
    return logprobs.masked_fill(outside, float("-inf"))
