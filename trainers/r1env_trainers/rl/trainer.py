"""The trainer plugins `grpo` and `ppo`. The algorithm itself is `loop.py`."""

from __future__ import annotations

from r1env.envs.suite import Suite
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_trainers.generate.choose import check_engine
from r1env_trainers.model.load import check_model_name
from r1env_trainers.model.session import check_local
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.loop import train
from r1env_trainers.rl.losses import check_formulas
from r1env_trainers.rl.metrics import check_rewards_to_separate, check_verdicts_to_compare
from r1env_trainers.rl.rollouts import check_measured, draw_tasks, evaluation_suite, task_filter, training_suite


class GRPOTrainer:
    """On-policy RL in this process, on a CPU or one GPU. It leaves the policy; a critic is in the checkpoints only."""

    def check(self, config: GRPOConfig) -> None:
        for suite in check_rollouts(config):
            if config.algo.advantage == "gdpo":
                check_rewards_to_separate(suite)
        if config.critic.model is not None and not is_stage(config.critic.model):
            check_model_name(config.critic.model)

    def train(self, config: GRPOConfig, run: Run) -> None:
        train(config, run)


def check_rollouts(config: GRPOConfig) -> list[Suite]:
    """Refuse settings that could not be trained with; open the environments and load no model.

    Returns:
        The suite of the steps, and that of the late ones where there are any.
    """
    check_local(config)
    check_formulas(config.algo)
    check_engine(config.engine.name)
    suites = [training_suite(config, late=late) for late in (False, True)[: 2 if config.final_phase.steps else 1]]
    for suite in suites:
        draw_tasks(suite, 0, 1, config.seed)
        if config.filter.dynamic_sampling and config.filter.dynamic_sampling_metric == "accuracy":
            check_verdicts_to_compare(suite)
    if config.filter.pass_rates is not None and not is_stage(config.filter.pass_rates):
        check_measured(suites[0], config)
        draw_tasks(suites[0], 0, config.sampling.prompts_per_step, config.seed, task_filter(config))
    if config.eval.every:
        for environment in evaluation_suite(config).environments:
            environment.task(0)
    return suites
