"""The PPO loop, top to bottom: sample, score, value, update, log. Its first half is GRPO's."""

from __future__ import annotations

import math
import time

from r1env.envs.suite import Suite
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.checkpoints import save_model
from r1env_trainers.engine import TransformersEngine
from r1env_trainers.grpo.collect import collect
from r1env_trainers.grpo.environments import accuracies, environment_metrics, evaluation_suite, training_suite
from r1env_trainers.grpo.held_out import evaluate_held_out
from r1env_trainers.grpo.loop import stop_when_scoring_fails, task_filter
from r1env_trainers.grpo.metrics import memory_metrics, sample_rows, step_metrics
from r1env_trainers.grpo.reference import Reference
from r1env_trainers.grpo.tasks import draw_tasks
from r1env_trainers.local import begin, check_local, checkpoint_when_due
from r1env_trainers.models.load import check_model_name
from r1env_trainers.ppo.config import PPOConfig
from r1env_trainers.ppo.critic import Critic
from r1env_trainers.ppo.update import update


class PPOTrainer:
    """The trainer plugin `ppo`. Leaves the policy; the critic is in the checkpoints only."""

    def check(self, config: PPOConfig) -> None:
        check_local(config)
        if config.critic_model is not None and not is_stage(config.critic_model):
            check_model_name(config.critic_model)
        keep_task = None if config.difficulty is None or is_stage(config.difficulty) else task_filter(config)
        for late in (False, True)[: 2 if config.late_steps else 1]:
            draw_tasks(training_suite(config, late=late), 0, 1, config.seed, keep_task)
        if config.eval_every:
            for environment in evaluation_suite(config).environments:
                environment.task(0)

    def train(self, config: PPOConfig, run: Run) -> None:
        suite = training_suite(config)
        late_suite = training_suite(config, late=True) if config.late_steps else suite
        run.note(rubrics=_rubrics(suite), **({"late": _rubrics(late_suite)} if config.late_steps else {}))
        keep_task = task_filter(config)
        held_out = evaluation_suite(config) if config.eval_every else None
        session = begin(config, run)
        policy = session.loaded
        critic = Critic.start(config, policy, session.extra.get("critic", {}))
        reference = Reference.start(config.model, policy, config.seed, {}).loaded if config.kl_coef > 0 else None
        engine = TransformersEngine(policy)
        position = session.extra.get("position", 0)

        for step in range(session.first_step, config.steps):
            if held_out is not None and step % config.eval_every == 0:
                evaluate_held_out(held_out, engine, config, run, step)
            if config.is_late(step):
                suite = late_suite
            experience = collect(suite, policy, engine.sampler, config, step, position=position, keep_task=keep_task)
            stop_when_scoring_fails(experience, config)
            position = experience.position
            start = time.perf_counter()
            metrics = update(policy, session.optimizer, critic, experience, config, step, reference)
            seconds = {**experience.seconds, "update": time.perf_counter() - start}
            tokens = float(experience.tokens.completion_mask.sum())
            told = step_metrics(experience, accuracies(experience, suite).tolist()) | environment_metrics(experience, suite)
            told |= {f"seconds/{phase}": value for phase, value in seconds.items()} | memory_metrics(policy.device)
            told |= {"tokens/sampled": tokens, "tokens_per_second": tokens / math.fsum(seconds.values())}
            run.log(step + 1, told | metrics)
            if step % config.samples_every == 0:
                run.log_rollouts(step + 1, sample_rows(experience))
            checkpoint_when_due(session, config, run, step + 1, {"position": position, "critic": critic.state()})
        if held_out is not None:
            evaluate_held_out(held_out, engine, config, run, config.steps)
        save_model(run.model_dir(), policy)


def _rubrics(suite: Suite) -> dict[str, object]:
    """What the run's manifest keeps about the rewards."""
    return {environment.name: environment.rubric.describe() for environment in suite.environments}
