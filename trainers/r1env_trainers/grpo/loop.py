"""The loop of the trainers that learn from their own rollouts, top to bottom: sample, score, learn, log, checkpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from r1env.envs.suite import Suite
from r1env.errors import TrainingStoppedError
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.checkpoints import save_model
from r1env_trainers.difficulty import read_pass_rates, within
from r1env_trainers.engines.training import check_engine, training_engine
from r1env_trainers.grpo.collect import collect
from r1env_trainers.grpo.environments import evaluation_suite, rubrics_of, training_suite
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.held_out import evaluate_held_out
from r1env_trainers.grpo.metrics import failures, rollout_metrics, sample_rows, speed_metrics
from r1env_trainers.grpo.rollout_config import RolloutConfig
from r1env_trainers.grpo.tasks import TaskFilter, draw_tasks
from r1env_trainers.local import Session, begin, check_local, checkpoint_when_due


class Learner(Protocol):
    """What a method adds to the loop: the second half of a step, and what it needs beside the policy."""

    def learn(self, experience: Experience, step: int) -> dict[str, float]:
        """Improve the policy on the rollouts of a step; returns metrics."""

    def state(self) -> Mapping[str, Any]:
        """For a checkpoint, beside the policy and its optimizer: what `Session.extra` gives back on resuming."""


def check_rollouts(config: RolloutConfig) -> list[Suite]:
    """Refuse settings that could not be trained with; opens the environments and loads no model.

    Returns:
        The suite of the steps, and that of the late ones where there are any.
    """
    check_local(config)
    check_engine(config.engine)
    suites = [training_suite(config, late=late) for late in (False, True)[: 2 if config.late_steps else 1]]
    for suite in suites:
        draw_tasks(suite, 0, 1, config.seed)
    if config.difficulty is not None and not is_stage(config.difficulty):
        draw_tasks(suites[0], 0, config.prompts_per_step, config.seed, _task_filter(config))
    if config.eval_every:
        for environment in evaluation_suite(config).environments:
            environment.task(0)
    return suites


def train_on_rollouts(config: RolloutConfig, run: Run, learner_of: Callable[[Session], Learner]) -> None:
    """Train to the last step, from the newest checkpoint where there is one, and leave the policy."""
    suite = training_suite(config)
    late_suite = training_suite(config, late=True) if config.late_steps else suite
    run.note(**rubrics_of(suite), **({"late": rubrics_of(late_suite)} if config.late_steps else {}))
    keep_task = _task_filter(config)
    held_out = evaluation_suite(config) if config.eval_every else None
    session = begin(config, run)
    policy = session.loaded
    learner = learner_of(session)
    position = session.extra.get("position", 0)
    with contextlib.closing(training_engine(policy, config.engine, config.vllm, config.seed, config.max_rows)) as engine:
        for step in range(session.first_step, config.steps):
            if held_out is not None and step % config.eval_every == 0:
                evaluate_held_out(held_out, engine, config, run, step)
            if config.is_late(step):
                suite = late_suite
            experience = collect(suite, policy, engine.sampler, config, step, position=position, keep_task=keep_task)
            _stop_when_scoring_fails(experience, config)
            position = experience.position
            start = time.perf_counter()
            metrics = learner.learn(experience, step)
            seconds = {**experience.seconds, "update": time.perf_counter() - start}
            run.log(step + 1, rollout_metrics(experience, suite, config, step) | metrics | speed_metrics(experience, seconds))
            if step % config.samples_every == 0:
                run.log_rollouts(step + 1, sample_rows(experience))
            checkpoint_when_due(session, config, run, step + 1, {"position": position, **learner.state()})
        if held_out is not None:
            evaluate_held_out(held_out, engine, config, run, config.steps)
    save_model(run.model_dir(), policy)


def _task_filter(config: RolloutConfig) -> TaskFilter | None:
    """The filter by measured difficulty, where the settings ask for one."""
    if config.difficulty is None:
        return None
    return within(read_pass_rates(config.difficulty), config.difficulty_low, config.difficulty_high)


def _stop_when_scoring_fails(experience: Experience, config: RolloutConfig) -> None:
    """
    Raises:
        TrainingStoppedError: more than the share `max_failed` of the rollouts.
    """
    share, reason = failures(experience)
    if share > config.max_failed:
        raise TrainingStoppedError(
            f"scoring failed for {share:.0%} of the rollouts of a step (limit {config.max_failed:.0%}, setting max_failed); "
            f"the commonest reason: {reason}"
        )
