"""The PPO loop, top to bottom: sample, score, value, update, log. Its first half is GRPO's."""

from __future__ import annotations

import contextlib
import time

from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.checkpoints import save_model
from r1env_trainers.engines.training import check_engine, training_engine
from r1env_trainers.grpo.collect import collect
from r1env_trainers.grpo.environments import evaluation_suite, rubrics_of, training_suite
from r1env_trainers.grpo.held_out import evaluate_held_out
from r1env_trainers.grpo.loop import stop_when_scoring_fails, task_filter
from r1env_trainers.grpo.metrics import rollout_metrics, sample_rows, speed_metrics
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
        check_engine(config.engine)
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
        run.note(**rubrics_of(suite), **({"late": rubrics_of(late_suite)} if config.late_steps else {}))
        keep_task = task_filter(config)
        held_out = evaluation_suite(config) if config.eval_every else None
        session = begin(config, run)
        policy = session.loaded
        critic = Critic.start(config, policy, session.extra.get("critic", {}))
        reference = Reference.start(config.model, policy, config.seed, {}).loaded if config.kl_coef > 0 else None
        position = session.extra.get("position", 0)
        with contextlib.closing(training_engine(policy, config.engine, config.vllm, config.seed)) as engine:
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
                run.log(
                    step + 1, rollout_metrics(experience, suite, config, step) | metrics | speed_metrics(experience, seconds)
                )
                if step % config.samples_every == 0:
                    run.log_rollouts(step + 1, sample_rows(experience))
                checkpoint_when_due(session, config, run, step + 1, {"position": position, "critic": critic.state()})
            if held_out is not None:
                evaluate_held_out(held_out, engine, config, run, config.steps)
        save_model(run.model_dir(), policy)
