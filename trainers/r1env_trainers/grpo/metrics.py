"""What a step says about itself: pure functions from an experience to named numbers."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from r1env.envs.suite import Suite
from r1env.monitoring.rules import completion_metrics
from r1env_trainers.grpo.advantages import mixed
from r1env_trainers.grpo.environments import accuracies, environment_metrics
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.rollout_config import RolloutConfig


def step_metrics(experience: Experience, verdicts: Sequence[float]) -> dict[str, float]:
    """Reward, its parts, lengths, entropy, how much of the batch could teach anything, and `completion_metrics`.

    Args:
        verdicts: [P*n] what the environment's checker says of each rollout, NaN where it says nothing.

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
    if judged := [accuracy for accuracy in verdicts if math.isfinite(accuracy)]:
        metrics["accuracy"] = _mean(judged)
    return metrics | completion_metrics(experience.rollouts, verdicts, lengths.tolist())


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


def rollout_metrics(experience: Experience, suite: Suite, config: RolloutConfig, step: int) -> dict[str, float]:
    """The metrics of the rollouts; those of features that are off are left out."""
    metrics = step_metrics(experience, accuracies(experience, suite).tolist())
    metrics |= environment_metrics(experience, suite)
    if any(environment.max_turns > 1 for environment in suite.environments):
        metrics["turns"] = sum(rollout.turns for rollout in experience.rollouts) / len(experience.rollouts)
    if config.refill:
        metrics |= {"refill/prompts": float(len(experience.rewards)), "refill/batches": float(experience.refills)}
        metrics["refill/kept"] = float(experience.kept.sum())
    if config.length_schedule:
        metrics["max_new_tokens"] = float(config.max_new_tokens_at(step))
    if config.temperature_schedule:
        metrics["temperature"] = experience.temperature
    return metrics


def speed_metrics(experience: Experience, seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of each phase, and sampled tokens a second of all of them."""
    tokens = float(experience.tokens.completion_mask.sum())
    return {
        **{f"seconds/{phase}": value for phase, value in seconds.items()},
        "tokens/sampled": tokens,
        "tokens_per_second": tokens / math.fsum(seconds.values()),
        **memory_metrics(experience.tokens.completion_mask.device),
    }
