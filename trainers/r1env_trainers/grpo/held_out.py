"""The evaluation within training: greedy accuracy on the same held-out tasks every time."""

from __future__ import annotations

from r1env.engines import Engine, Sampling
from r1env.envs.suite import Suite
from r1env.runs.run import Run
from r1env_trainers.evaluate.during import log_accuracy
from r1env_trainers.grpo.rollout_config import RolloutConfig


def evaluate_held_out(suite: Suite, engine: Engine, config: RolloutConfig, run: Run, step: int) -> None:
    """See `log_accuracy`; a completion may be as long as in the step before."""
    sampling = Sampling(temperature=0, max_new_tokens=config.max_new_tokens_at(max(0, step - 1)))
    log_accuracy(suite, engine, sampling, run, step, limit=config.eval_limit, shown=config.eval_shown)
