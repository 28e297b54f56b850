"""The GRPO loop, top to bottom: sample, score, advantage, update, log. DeepSeekMath (arXiv 2402.03300), algorithm 1."""

from __future__ import annotations

import math
import time

from r1env.engines.base import Sampling
from r1env.envs.environment import Environment, make_environment
from r1env.errors import TrainingStoppedError
from r1env.evaluation import evaluate
from r1env.runs.run import Run
from r1env_trainers.checkpoints import save_model
from r1env_trainers.engine import TransformersEngine
from r1env_trainers.grpo.collect import Experience, check_single_turn, collect, training_tasks
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.metrics import failures, sample_rows, step_metrics
from r1env_trainers.grpo.update import update
from r1env_trainers.local import begin, check_local, checkpoint_when_due
from r1env_trainers.models.load import load_model


class GRPOTrainer:
    """The trainer plugin `grpo`, backend `local`: one process, a CPU or one GPU."""

    def check(self, config: GRPOConfig) -> None:
        check_local(config)
        environment = _environment(config)
        check_single_turn(environment)
        training_tasks(environment, step=0, count=1, seed=config.seed)
        if config.eval_every:
            _evaluation_environment(config).task(0)

    def train(self, config: GRPOConfig, run: Run) -> None:
        environment = _environment(config)
        run.note(rubric=environment.rubric.describe())
        session = begin(config, run)
        loaded = session.loaded
        reference = (
            load_model(config.model, device=loaded.device, seed=config.seed) if config.kl_coef or config.track_kl else None
        )
        engine = TransformersEngine(loaded)
        held_out = _evaluation_environment(config) if config.eval_every else None

        for step in range(session.first_step, config.steps):
            if held_out is not None and step % config.eval_every == 0:
                _evaluate(held_out, engine, config, run, step)
            experience = collect(environment, loaded, engine.sampler, config, step)
            _stop_when_scoring_fails(experience, config)
            start = time.perf_counter()
            metrics = update(loaded, session.optimizer, experience, config, step, reference)
            seconds = {**experience.seconds, "update": time.perf_counter() - start}
            tokens = float(experience.tokens.completion_mask.sum())
            run.log(
                step + 1,
                step_metrics(experience, _accuracy_part(environment))
                | metrics
                | {f"seconds/{phase}": value for phase, value in seconds.items()}
                | {"tokens_per_second": tokens / math.fsum(seconds.values())},
            )
            if step % config.samples_every == 0:
                run.log_rollouts(step + 1, sample_rows(experience))
            checkpoint_when_due(session, config, run, step + 1)
        if held_out is not None:
            _evaluate(held_out, engine, config, run, config.steps)
        save_model(run.model_dir(), loaded)


def _environment(config: GRPOConfig) -> Environment:
    return make_environment(
        config.env,
        rubric=config.rubric,
        template=config.template,
        **config.env_options,
    )


def _evaluation_environment(config: GRPOConfig) -> Environment:
    return make_environment(
        config.env, rubric="accuracy", template=config.template, **{**config.env_options, **config.eval_options}
    )


def _accuracy_part(environment: Environment) -> str | None:
    return environment.accuracy if environment.accuracy in environment.rubric.part_keys else None


def _evaluate(environment: Environment, engine: TransformersEngine, config: GRPOConfig, run: Run, step: int) -> None:
    """Greedy accuracy on the evaluation tasks, the same ones every time."""
    sampling = Sampling(temperature=0, max_new_tokens=config.max_new_tokens)
    evaluation = evaluate(environment, engine, sampling, limit=config.eval_limit, batch_size=config.eval_limit)
    run.log(
        step,
        {
            "eval/accuracy": math.nan if evaluation.accuracy is None else evaluation.accuracy,
            "eval/length": evaluation.mean_length,
            "eval/unscored": float(evaluation.unscored),
        },
    )
    shown = evaluation.rows[: config.eval_shown]
    run.log_rollouts(step, ({"kind": "eval", **row.model_dump(mode="json")} for row in shown))


def _stop_when_scoring_fails(experience: Experience, config: GRPOConfig) -> None:
    share, reason = failures(experience)
    if share > config.max_failed:
        raise TrainingStoppedError(
            f"scoring failed for {share:.0%} of the rollouts of a step (limit {config.max_failed:.0%}, setting max_failed); "
            f"the commonest reason: {reason}"
        )
