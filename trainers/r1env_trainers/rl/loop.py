"""On-policy RL training loop, for GRPO, its relatives and PPO: sample, score, learn, log, checkpoint.

Beside the papers: one iteration of `train` is one pass of the inner loop of DeepSeekMath's algorithm 1 (arXiv 2402.03300). What is
sampled and what it earns is in `rollouts`, its advantage in `advantages`, the loss in `losses`, and `update` puts the two together.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial

from r1env.preflight import Limits, check_suites
from r1env.rollout import stop_when_scoring_fails, stop_when_unscored
from r1env.runs.run import Run
from r1env_trainers.generate.choose import training_engine
from r1env_trainers.model.session import Checkpoints, begin, save_result
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.critic import Critic
from r1env_trainers.rl.metrics import (
    TokenTexts,
    evaluate_held_out,
    rollout_metrics,
    rollout_rows,
    rubrics_of,
    solved,
    speed_metrics,
    token_data,
)
from r1env_trainers.rl.rollouts import check_measured, collect, evaluation_suite, task_filter, training_suite
from r1env_trainers.rl.update import Batch, Reference, describe_rows_at_fault, row_advantages, update


def train(config: GRPOConfig, run: Run) -> None:
    """Train to the last step, from the newest checkpoint where there is one, and leave the policy as the run's model."""
    suite = training_suite(config)
    late_suite = training_suite(config, late=True) if config.final_phase.steps else suite
    run.note(**rubrics_of(suite), **({"late": rubrics_of(late_suite)} if config.final_phase.steps else {}))
    held_out = evaluation_suite(config) if config.eval.every else None

    session = begin(config, run)
    policy, state = session.loaded, session.extra  # of the checkpoint; empty at the start
    check_measured(suite, config)
    keep_task = task_filter(config, policy.tokenizer)
    reference = critic = None
    if config.algo.needs_reference:
        reference = Reference.start(config.model, policy, config.seed, state.get("reference", {}))
    if config.algo.advantage == "gae":
        critic = Critic.start(config, policy, state.get("critic", {}))
    texts = TokenTexts(policy.tokenizer)
    position = state.get("position", 0)  # in the endless stream of tasks
    suite.restore(state.get("suite", {}))

    with (
        contextlib.closing(
            training_engine(
                policy,
                config.engine.name,
                config.engine.vllm,
                config.seed,
                config.engine.max_num_seqs,
                model=config.model,
                options=config.engine.options,
            )
        ) as engine,
        Checkpoints(session, config, run) as checkpoints,
    ):
        limits = Limits(engine.tokenizer, config.filter.max_prompt_length, engine.max_length)
        check_suites([suite, late_suite], config.preflight, limits, seed=config.seed)
        if held_out is not None:
            check_suites([held_out], config.preflight, engine, count=config.eval.limit)
        for step in range(session.first_step, config.steps):
            if held_out is not None and step % config.eval.every == 0:
                evaluate_held_out(held_out, engine, config, run, step)

            # Sample and score: prompts_per_step * group_size episodes.
            if config.is_late(step) and suite is not late_suite:
                late_suite.restore(suite.state())
                suite = late_suite
            experience = collect(suite, policy, engine, config, step, position=position, keep_task=keep_task)
            stop_when_scoring_fails(experience.scores, config.max_failed, "the rollouts of a step")
            stop_when_unscored(experience.scores, config.max_unscored, "the rollouts of a step")
            position = experience.position
            suite.observe(solved(experience, suite))  # curricula follow it; most sources do not care

            # Learn: epochs * mini_batches optimizer steps.
            start = time.perf_counter()
            frozen = None if reference is None else reference.loaded
            batches: list[Batch] = []
            metrics = update(
                policy, session.optimizer, experience, config, step, frozen, critic, checkpoints.hold, batches.append
            )
            checkpoints.hold()
            if (
                reference is not None
                and config.algo.ref_model_sync_steps
                and (step + 1) % config.algo.ref_model_sync_steps == 0
            ):
                reference.replace(policy)
            seconds = {**experience.seconds, "update": time.perf_counter() - start}

            run.log(step + 1, rollout_metrics(experience, suite, config, step) | metrics | speed_metrics(experience, seconds))
            if step % config.log.samples_every == 0:
                advantages = [found for batch in batches for found in row_advantages(batch, config)]
                every = config.log.tokens_every
                kept = [found for batch in batches for found in token_data(batch, texts)] if every and step % every == 0 else []
                run.log_rollouts(step + 1, rollout_rows(experience, suite, step, advantages, kept))
            session.guard.after(
                step + 1,
                metrics,
                at_fault=partial(describe_rows_at_fault, policy, experience, config, step, frozen, critic),
            )
            state = {
                "position": position,
                "suite": suite.state(),
                **({} if reference is None else {"reference": reference.state()}),
                **({} if critic is None else {"critic": critic.state()}),
            }
            checkpoints.step_done(step + 1, state)
        if held_out is not None:
            evaluate_held_out(held_out, engine, config, run, config.steps)
    save_result(session, config, run)
