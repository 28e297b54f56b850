"""Metrics of a step: pure functions from an experience to named numbers; and the evaluation on held-out tasks."""

from __future__ import annotations

import math
import resource
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r1env.engines import Engine, SamplingParams
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.monitoring.rules import completion_metrics
from r1env.receipts import receipts
from r1env.runs.rollouts import RolloutRow, TokenData, stored_task
from r1env.runs.run import Run
from r1env.types import Score, Task
from r1env_trainers.evaluate import log_accuracy
from r1env_trainers.rl.advantages import mixed
from r1env_trainers.rl.config import RolloutConfig
from r1env_trainers.rl.rollouts import Experience
from r1env_trainers.rl.update import Batch


def step_metrics(experience: Experience, verdicts: Sequence[float]) -> dict[str, float]:
    """Return reward and parts, lengths, entropy, the share of useful groups, and `completion_metrics`.

    Args:
        verdicts: [P*n] of the environments' own checkers, NaN where there is none.

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
    metrics |= unscored_shares(experience.scores)
    for key in experience.scores[0].parts:
        values = [score.parts[key] for score in experience.scores]
        metrics[f"parts/{key}"] = _mean([value for value in values if math.isfinite(value)])
    metrics |= seconds_by_reward(experience.scores)
    if judged := [accuracy for accuracy in verdicts if math.isfinite(accuracy)]:
        metrics["accuracy"] = _mean(judged)
    return metrics | completion_metrics(experience.rollouts, verdicts, lengths.tolist())


def unscored_shares(scores: Sequence[Score]) -> dict[str, float]:
    """Return `unscored/share`, the share of rollouts without a score, and of it `unscored/REWARD/STATUS`, by what had none and why."""
    missing = Counter(f"{score.reason.partition(':')[0]}/{score.status}" for score in scores if score.value is None)
    return {
        "unscored/share": missing.total() / len(scores),
        **{f"unscored/{cause}": count / len(scores) for cause, count in sorted(missing.items())},
    }


def seconds_by_reward(scores: Sequence[Score]) -> dict[str, float]:
    """Return `seconds_by_reward/NAME/p50` and `…/p99`: quantiles over the rollouts of the seconds that each reward took."""
    metrics = {}
    for name in dict.fromkeys(name for score in scores for name in score.seconds_by_reward or ()):
        taken = [by[name] for score in scores if name in (by := score.seconds_by_reward or {})]
        for quantile in (50, 99):
            metrics[f"seconds_by_reward/{name}/p{quantile}"] = float(np.percentile(taken, quantile))
    return metrics


def memory_metrics(device: torch.device) -> dict[str, float]:
    """Return the peak memory of this process in GiB: `memory/rss`, and `memory/cuda` on a GPU."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    metrics = {"memory/rss": peak / 2**30}
    if device.type == "cuda":
        metrics["memory/cuda"] = torch.cuda.max_memory_allocated(device) / 2**30
    return metrics


def rollout_rows(
    experience: Experience,
    suite: Suite,
    step: int,
    advantages: Sequence[float | None] = (),
    by_token: Sequence[TokenData] = (),
) -> Iterator[RolloutRow]:
    """Yield all rollouts of a step as the run keeps them.

    Args:
        step: steps that the policy had taken when it sampled them.
        advantages: of each rollout; empty where the update was not reached.
        by_token: of each rollout; empty for a step whose tokens are not stored.
    """
    lengths = experience.tokens.completion_mask.sum(dim=1).int().tolist()
    truncated, verdicts = experience.truncated.tolist(), accuracies(experience, suite).tolist()
    task: str | None = None
    for row, (rollout, score) in enumerate(zip(experience.rollouts, experience.scores, strict=True)):
        group, sample = divmod(row, experience.rewards.shape[1])
        if sample == 0 or rollout.environment_reward is not None:  # the others of the group have the same task
            task = stored_task(rollout)
        yield RolloutRow.of(
            rollout,
            score,
            environment=experience.environments[group],
            group=group,
            sample=sample,
            tokens=lengths[row],
            correct=verdicts[row] >= 1 if math.isfinite(verdicts[row]) else None,
            advantage=advantages[row] if advantages else None,
            truncated=truncated[row],
            policy_version=step,
            task=task,
            by_token=by_token[row] if by_token else None,
        )


class TokenTexts(dict[int, str]):
    """Token → its text, decoded when it is first asked for: the rollouts of a run have few different tokens."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        self[token] = text = str(self._tokenizer.decode([token]))
        return text


def token_data(batch: Batch, texts: TokenTexts) -> list[TokenData]:
    """Return the tokens of each rollout, with what the update saw of them."""
    tokens = batch.experience.tokens
    ids, lengths = tokens.completion_ids.cpu().numpy(), tokens.present.sum(dim=1).tolist()
    trained, clipped = (tokens.completion_mask > 0).cpu().numpy(), batch.clipped.cpu().numpy()
    logprobs, gaps = _rounded(batch.sampled), _rounded(batch.gaps)
    advantages = _rounded(batch.advantages) if batch.advantages.dim() == 2 else None
    seen = (batch.gaps.isfinite() & (tokens.completion_mask > 0)).any(dim=1).tolist()
    return [
        TokenData(
            text=[texts[token] for token in ids[row, :length].tolist()],
            trained=None if (own := trained[row, :length]).all() else own.tolist(),
            advantage=None if advantages is None else advantages[row, :length].tolist(),
            logprob=logprobs[row, :length].tolist(),
            gap=gaps[row, :length].tolist() if seen[row] else None,
            clipped=cut.tolist() if (cut := clipped[row, :length]).any() else None,
        )
        for row, length in enumerate(lengths)
    ]


def _rounded(values: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the numbers with four decimals, which take half the space of all digits and say as much."""
    return values.cpu().numpy().astype(np.float64).round(4)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else math.nan


def rollout_metrics(experience: Experience, suite: Suite, config: RolloutConfig, step: int) -> dict[str, float]:
    """Return the metrics of the rollouts; features that are off add none."""
    metrics = step_metrics(experience, accuracies(experience, suite).tolist())
    metrics |= environment_metrics(experience, suite) | suite.metrics()
    if any(environment.max_turns > 1 for environment in suite.environments):
        metrics["turns"] = sum(len(rollout.turns) for rollout in experience.rollouts) / len(experience.rollouts)
    if config.filter.dynamic_sampling:
        metrics |= {"refill/prompts": float(len(experience.rewards)), "refill/batches": float(experience.refills)}
        metrics["refill/kept"] = float(experience.kept.sum())
    if config.sampling.length_schedule:
        metrics["max_new_tokens"] = float(config.sampling.max_new_tokens_at(step))
    if config.sampling.temperature_schedule:
        metrics["temperature"] = experience.temperature
    return metrics


def speed_metrics(experience: Experience, seconds: dict[str, float]) -> dict[str, float]:
    """Return the seconds of each phase, sampled tokens per second of the whole step, and peak memory."""
    tokens = float(experience.tokens.completion_mask.sum())
    return {
        **{f"seconds/{phase}": value for phase, value in seconds.items()},
        "tokens/sampled": tokens,
        "tokens_per_second": tokens / math.fsum(seconds.values()),
        **memory_metrics(experience.tokens.completion_mask.device),
    }


# Evaluation on held-out tasks, and per-environment metrics.


def evaluate_held_out(suite: Suite, engine: Engine, config: RolloutConfig, run: Run, step: int) -> None:
    """Log the greedy accuracy on the same held-out tasks every time; a completion may be as long as in the step before."""
    params = SamplingParams(temperature=0, max_new_tokens=config.sampling.max_new_tokens_at(max(0, step - 1)))
    log_accuracy(
        suite, engine, params, run, step, limit=config.eval.limit, shown=config.eval.samples, max_failed=config.max_failed
    )


def accuracy_part(environment: Environment) -> str | None:
    """Return the key of the environment's own checker in its scores, or None where its rubric leaves it out."""
    return environment.accuracy if environment.accuracy in environment.rubric.part_keys else None


def check_rewards_to_separate(suite: Suite) -> None:
    """Refuse `gdpo` for a suite in which no environment has two rewards with a weight: it would be `grpo`.

    Raises:
        UsageError: no environment has.
    """
    if all(sum(item.weight != 0 for item in environment.rubric.rewards) < 2 for environment in suite.environments):
        raise UsageError("advantage=gdpo normalises each reward by itself, and the rubric has one that counts; use grpo")


def check_verdicts_to_compare(suite: Suite) -> None:
    """Refuse `dynamic_sampling_metric=accuracy` where a rubric leaves the environment's own checker out.

    Raises:
        UsageError: naming the environment.
    """
    for environment in suite.environments:
        if accuracy_part(environment) is None:
            raise UsageError(
                f"filter.dynamic_sampling_metric=accuracy needs the reward 'accuracy', and the rubric {environment.rubric.name!r} of "
                f"{environment.name!r} leaves it out; add it (a weight of 0 will do), or compare the reward"
            )


def environment_metrics(experience: Experience, suite: Suite) -> dict[str, float]:
    """Return `env/NAME/reward`, `env/NAME/accuracy` and `env/NAME/share` (of the tasks) for each environment of a suite.

    Empty for a single environment, whose numbers are those of the step.
    """
    if len(suite.environments) == 1:
        return {}
    n = experience.rewards.shape[1]
    judged = accuracies(experience, suite)
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(environment.name for environment in suite.environments):
        prompts = np.array([found == name for found in experience.environments])
        metrics[f"env/{name}/share"] = float(prompts.mean())
        metrics[f"env/{name}/reward"] = _environments_mean(experience.rewards.numpy()[prompts])
        metrics[f"env/{name}/accuracy"] = _environments_mean(judged[np.repeat(prompts, n)])
    return metrics


def accuracies(experience: Experience, suite: Suite) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return [P*n], the value of each environment's own checker; NaN where its rubric leaves it out or it has no value."""
    keys = {environment.name: accuracy_part(environment) for environment in suite.environments}
    n = experience.rewards.shape[1]
    rows = (keys[experience.environments[row // n]] for row in range(len(experience.scores)))
    return np.array([math.nan if key is None else score.parts[key] for key, score in zip(rows, experience.scores, strict=True)])


def solved(experience: Experience, suite: Suite) -> Iterator[tuple[str, Task, float]]:
    """Yield (environment, task, verdict of the environment's own checker) of each rollout, as `Suite.observe` takes them."""
    n = experience.rewards.shape[1]
    for row, (rollout, verdict) in enumerate(zip(experience.rollouts, accuracies(experience, suite), strict=True)):
        yield experience.environments[row // n], rollout.task, float(verdict)


def _environments_mean(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def rubrics_of(suite: Suite) -> dict[str, object]:
    """Describe the rewards for the run's manifest: settings, what one that returns None does to the sum, and which code they are."""
    if len(suite.environments) == 1:
        (environment,) = suite.environments
        rubric = environment.rubric
        return {"rubric": rubric.describe(), "on_none": rubric.on_none, "receipts": receipts([rubric])}
    rubrics = {environment.name: environment.rubric for environment in suite.environments}
    return {
        "rubrics": {name: rubric.describe() for name, rubric in rubrics.items()},
        "on_none": {name: rubric.on_none for name, rubric in rubrics.items()},
        "receipts": receipts(list(rubrics.values())),
    }
