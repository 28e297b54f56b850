"""Accuracy while a model is being trained."""

from __future__ import annotations

import math
from statistics import fmean

from r1env.engines import Engine, Sampling
from r1env.envs.suite import Suite
from r1env.evaluation import evaluate
from r1env.runs.run import Run


def log_accuracy(
    suite: Suite, engine: Engine, sampling: Sampling, run: Run, step: int, *, limit: int, shown: int
) -> float | None:
    """Evaluate on the first `limit` tasks of each environment and log `eval/…` under `step`; the same tasks every time.

    Args:
        shown: answers of each environment that go into the run.

    Returns:
        the mean accuracy over the environments; None where nothing could be scored.
    """
    found = [evaluate(environment, engine, sampling, limit=limit, batch_size=limit) for environment in suite.environments]
    scored = [one.accuracy for one in found if one.accuracy is not None]
    accuracy = fmean(scored) if scored else None
    metrics = {
        "eval/accuracy": math.nan if accuracy is None else accuracy,
        "eval/length": fmean(one.mean_length for one in found),
        "eval/unscored": float(sum(one.unscored for one in found)),
    }
    if len(found) > 1:
        metrics |= {f"eval/{one.environment}/accuracy": math.nan if one.accuracy is None else one.accuracy for one in found}
    run.log(step, metrics)
    rows = [row for one in found for row in one.rows[:shown]]
    run.log_rollouts(step, ({"kind": "eval", **row.model_dump(mode="json")} for row in rows))
    return accuracy
