"""The GRPO loop, top to bottom: sample, score, advantage, update, log. DeepSeekMath (arXiv 2402.03300), algorithm 1."""

from __future__ import annotations

import contextlib
import time

from r1env.errors import TrainingStoppedError
from r1env.estimates import Estimate
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.checkpoints import save_model
from r1env_trainers.cost.stages import estimate_grpo
from r1env_trainers.difficulty import read_pass_rates, within
from r1env_trainers.engines.training import check_engine, training_engine
from r1env_trainers.grpo.collect import collect
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.environments import (
    check_rewards_to_separate,
    evaluation_suite,
    rubrics_of,
    training_suite,
)
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.held_out import evaluate_held_out
from r1env_trainers.grpo.metrics import failures, rollout_metrics, sample_rows, speed_metrics
from r1env_trainers.grpo.reference import Reference
from r1env_trainers.grpo.rollout_config import RolloutConfig
from r1env_trainers.grpo.tasks import TaskFilter, draw_tasks
from r1env_trainers.grpo.update import update
from r1env_trainers.local import begin, check_local, checkpoint_when_due
from r1env_trainers.openrlhf import backend as openrlhf


class GRPOTrainer:
    """The trainer plugin `grpo`. The backend `local` is here: one process, a CPU or one GPU; `openrlhf` is handed over."""

    def check(self, config: GRPOConfig) -> None:
        if config.backend == "openrlhf":
            openrlhf.check(config)
            return
        check_local(config)
        check_engine(config.engine)
        suites = [training_suite(config, late=late) for late in (False, True)[: 2 if config.late_steps else 1]]
        for suite in suites:
            draw_tasks(suite, 0, 1, config.seed)
            if config.advantage == "gdpo":
                check_rewards_to_separate(suite)
        if config.difficulty is not None and not is_stage(config.difficulty):
            draw_tasks(suites[0], 0, config.prompts_per_step, config.seed, task_filter(config))
        if config.eval_every:
            for environment in evaluation_suite(config).environments:
                environment.task(0)

    def estimate(self, config: GRPOConfig) -> Estimate | None:
        return estimate_grpo(config, training_suite(config))

    def train(self, config: GRPOConfig, run: Run) -> None:
        if config.backend == "openrlhf":
            openrlhf.train(config, run)
            return
        suite = training_suite(config)
        late_suite = training_suite(config, late=True) if config.late_steps else suite
        run.note(**rubrics_of(suite), **({"late": rubrics_of(late_suite)} if config.late_steps else {}))
        keep_task = task_filter(config)
        held_out = evaluation_suite(config) if config.eval_every else None
        session = begin(config, run)
        loaded = session.loaded
        reference = (
            Reference.start(config.model, loaded, config.seed, session.extra.get("reference", {}))
            if config.needs_reference
            else None
        )
        position = session.extra.get("position", 0)
        with contextlib.closing(training_engine(loaded, config.engine, config.vllm, config.seed)) as engine:
            for step in range(session.first_step, config.steps):
                if held_out is not None and step % config.eval_every == 0:
                    evaluate_held_out(held_out, engine, config, run, step)
                if config.is_late(step):
                    suite = late_suite
                experience = collect(suite, loaded, engine.sampler, config, step, position=position, keep_task=keep_task)
                stop_when_scoring_fails(experience, config)
                position = experience.position
                start = time.perf_counter()
                metrics = update(loaded, session.optimizer, experience, config, step, reference.loaded if reference else None)
                seconds = {**experience.seconds, "update": time.perf_counter() - start}
                run.log(
                    step + 1, rollout_metrics(experience, suite, config, step) | metrics | speed_metrics(experience, seconds)
                )
                if step % config.samples_every == 0:
                    run.log_rollouts(step + 1, sample_rows(experience))
                if reference is not None and config.reference_every and (step + 1) % config.reference_every == 0:
                    reference.replace(loaded)
                extra = {"position": position, "reference": reference.state() if reference else {}}
                checkpoint_when_due(session, config, run, step + 1, extra)
            if held_out is not None:
                evaluate_held_out(held_out, engine, config, run, config.steps)
        save_model(run.model_dir(), loaded)


def task_filter(config: RolloutConfig) -> TaskFilter | None:
    """The filter by measured difficulty, where the settings ask for one."""
    if config.difficulty is None:
        return None
    return within(read_pass_rates(config.difficulty), config.difficulty_low, config.difficulty_high)


def stop_when_scoring_fails(experience: Experience, config: RolloutConfig) -> None:
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
