"""`Experience`: a batch of scored rollouts as tensors; what every update learns from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from r1env.types import Rollout, Score
from r1env_trainers.forward import TokenBatch


@dataclass(frozen=True, slots=True)
class Experience:
    """A scored batch of P prompts with n episodes each, rows in prompt-major order.

    Attributes:
        tokens: [P*n] rows. All turns of an episode are one row, whose mask is 1 on what the model wrote.
        sampled_logprobs: [P*n, T] of the sampler; 0 where the mask is.
        rewards: [P, n], NaN where unscored.
        parts: [P, n, K] of the K rewards that count, NaN where one has no value or does not belong to the prompt's environment.
        part_weights: [P, K] of these rewards in the environment of each prompt.
        kept: [P] True for the prompts to learn from; without `refill`, all.
        truncated: [P*n] True where the token limit cut a turn off.
        temperature: they were sampled with.
        environments: names, one a prompt.
        rollouts, scores: one a row; the scores' parts have the same keys throughout, NaN where a part is not the environment's.
        position: in the stream of tasks after this batch.
        refills: how many more batches `refill` drew.
        seconds: wall seconds of each phase; `reward` is what was waited for when all had been generated.
    """

    tokens: TokenBatch
    sampled_logprobs: Tensor
    rewards: Tensor
    parts: Tensor
    part_weights: Tensor
    kept: Tensor
    truncated: Tensor
    temperature: float
    environments: list[str]
    rollouts: list[Rollout]
    scores: list[Score]
    position: int
    refills: int
    seconds: dict[str, float]
