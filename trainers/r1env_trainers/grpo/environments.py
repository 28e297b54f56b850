"""The environments that the settings name, for training, for the last steps, and for evaluation; and what each of them says."""

from __future__ import annotations

import math

import numpy as np

from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.rollout_config import RolloutConfig
from r1env_trainers.suites import open_suite


def training_suite(config: RolloutConfig, *, late: bool = False) -> Suite:
    """The tasks and rewards of the steps; `late` for those of the last `late_steps`."""
    if not late:
        return open_suite(config, config.rubric)
    shares = config.late_mixture or config.mixture
    if config.late_rubric is not None:
        shares = tuple(share.model_copy(update={"rubric": None}) for share in shares)
    rubric = config.rubric if config.late_rubric is None else config.late_rubric
    return open_suite(config.model_copy(update={"mixture": shares}), rubric)


def evaluation_suite(config: RolloutConfig) -> Suite:
    """The same environments, scored by their checkers alone, under `eval_options`."""
    shares = tuple(share.model_copy(update={"rubric": None}) for share in config.mixture)
    return open_suite(config.model_copy(update={"mixture": shares}), "accuracy", **config.eval_options)


def accuracy_part(environment: Environment) -> str | None:
    """The key of the environment's own checker in its scores, where its rubric has it."""
    return environment.accuracy if environment.accuracy in environment.rubric.part_keys else None


def check_rewards_to_separate(suite: Suite) -> None:
    """Refuse a suite in which no environment has two rewards that count: `gdpo` would be `group_std`.

    Raises:
        UsageError: there is none.
    """
    if all(sum(item.weight != 0 for item in environment.rubric.rewards) < 2 for environment in suite.environments):
        raise UsageError("advantage=gdpo normalises each reward by itself, and the rubric has one that counts; use group_std")


def environment_metrics(experience: Experience, suite: Suite) -> dict[str, float]:
    """`env/NAME/reward`, `env/NAME/accuracy` and the share of tasks of each environment of a suite.

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
        metrics[f"env/{name}/reward"] = _mean(experience.rewards.numpy()[prompts])
        metrics[f"env/{name}/accuracy"] = _mean(judged[np.repeat(prompts, n)])
    return metrics


def accuracies(experience: Experience, suite: Suite) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[P*n] what each environment's own checker gave, NaN where its rubric leaves it out or it has no value."""
    keys = {environment.name: accuracy_part(environment) for environment in suite.environments}
    n = experience.rewards.shape[1]
    rows = (keys[experience.environments[row // n]] for row in range(len(experience.scores)))
    return np.array([math.nan if key is None else score.parts[key] for key, score in zip(rows, experience.scores, strict=True)])


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def rubrics_of(suite: Suite) -> dict[str, object]:
    """What the run's manifest keeps about the rewards."""
    if len(suite.environments) == 1:
        return {"rubric": suite.environments[0].rubric.describe()}
    return {"rubrics": {environment.name: environment.rubric.describe() for environment in suite.environments}}
