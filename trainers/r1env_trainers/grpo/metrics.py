"""What a step says about itself: pure functions from an experience to named numbers."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from r1env.monitoring.completions import completion_metrics
from r1env_trainers.grpo.advantages import mixed
from r1env_trainers.grpo.experience import Experience


def step_metrics(experience: Experience, accuracies: Sequence[float]) -> dict[str, float]:
    """Reward, its parts, lengths, entropy, how much of the batch could teach anything, and `completion_metrics`.

    Args:
        accuracies: [P*n] what the environment's checker says of each rollout, NaN where it says nothing.

    `entropy` is the mean of -log p over the sampled tokens, an unbiased estimate for the distribution sampled from.
    `mixed_groups` is the share of groups whose rewards differ; `unscored` the number of rollouts without a score.
    """
    mask = experience.tokens.completion_mask
    lengths = mask.sum(dim=1).cpu().numpy()
    rewards = experience.rewards.numpy()
    scored = rewards[np.isfinite(rewards)]
    metrics = {
        "reward": _mean(scored),
        "reward/std": float(scored.std()) if scored.size else math.nan,
        "length/mean": float(lengths.mean()),
        "length/p95": float(np.quantile(lengths, 0.95)),
        "length/max": float(lengths.max()),
        "truncated": float(experience.truncated.float().mean()),
        "entropy": float(-(experience.sampled_logprobs * mask).sum() / mask.sum()),
        "mixed_groups": float(mixed(experience.rewards).float().mean()),
        "unscored": float(sum(score.value is None for score in experience.scores)),
    }
    for key in experience.scores[0].parts:
        values = [score.parts[key] for score in experience.scores]
        metrics[f"parts/{key}"] = _mean([value for value in values if math.isfinite(value)])
    if judged := [accuracy for accuracy in accuracies if math.isfinite(accuracy)]:
        metrics["accuracy"] = _mean(judged)
    return metrics | completion_metrics(experience.rollouts, accuracies, lengths.tolist())


def memory_metrics(device: torch.device) -> dict[str, float]:
    """The most memory that this process has held since it began, in GiB: `rss` of the machine's, `cuda` of the GPU's."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    metrics = {"memory/rss": peak / 2**30}
    if device.type == "cuda":
        metrics["memory/cuda"] = torch.cuda.max_memory_allocated(device) / 2**30
    return metrics


def sample_rows(experience: Experience, groups: int = 2, per_group: int = 4) -> Iterator[dict[str, Any]]:
    """Rows for `rollouts.jsonl.gz`: some completions of the first groups."""
    size = experience.rewards.shape[1]
    for group in range(min(groups, experience.rewards.shape[0])):
        for row in range(group * size, group * size + min(per_group, size)):
            rollout, score = experience.rollouts[row], experience.scores[row]
            yield {
                "kind": "train",
                "task_id": rollout.task.id,
                "prompt": rollout.messages[-2]["content"],
                "completion": rollout.completion,
                "answer": rollout.task.answer,
                "finish_reason": rollout.finish_reason,
                "score": score.model_dump(mode="json"),
            }


def failures(experience: Experience) -> tuple[float, str]:
    """The share of rollouts whose scoring failed, and the commonest reason."""
    reasons = [score.reason for score in experience.scores if score.failed]
    commonest = max(set(reasons), key=reasons.count) if reasons else ""
    return len(reasons) / len(experience.scores), commonest


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else math.nan
