"""The evaluation within training: greedy accuracy on the same held-out tasks every time."""

from __future__ import annotations

import math

from r1env.engines.base import Sampling
from r1env.envs.suite import Suite
from r1env.evaluation import evaluate
from r1env.runs.run import Run
from r1env_trainers.engine import TransformersEngine
from r1env_trainers.grpo.rollout_config import RolloutConfig


def evaluate_held_out(suite: Suite, engine: TransformersEngine, config: RolloutConfig, run: Run, step: int) -> None:
    """Log `eval/accuracy`, the mean over the environments, and `eval/NAME/accuracy` where there are several; show completions."""
    sampling = Sampling(temperature=0, max_new_tokens=config.max_new_tokens_at(max(0, step - 1)))
    found = [
        evaluate(environment, engine, sampling, limit=config.eval_limit, batch_size=config.eval_limit)
        for environment in suite.environments
    ]
    accuracies = [math.nan if evaluation.accuracy is None else evaluation.accuracy for evaluation in found]
    metrics = {
        "eval/accuracy": sum(accuracies) / len(found),
        "eval/length": sum(evaluation.mean_length for evaluation in found) / len(found),
        "eval/unscored": float(sum(evaluation.unscored for evaluation in found)),
    }
    if len(found) > 1:
        names = (evaluation.environment for evaluation in found)
        metrics |= {f"eval/{name}/accuracy": accuracy for name, accuracy in zip(names, accuracies, strict=True)}
    run.log(step, metrics)
    shown = (row for evaluation in found for row in evaluation.rows[: config.eval_shown])
    run.log_rollouts(step, ({"kind": "eval", **row.model_dump(mode="json")} for row in shown))
