"""The trainer plugins `grpo` and `ppo`: checks, the estimate, and which backend trains. The algorithm itself is `loop.py`."""

from __future__ import annotations

from r1env.envs.suite import Suite
from r1env.recipes import Estimate
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.cost import estimate_grpo
from r1env_trainers.generate.choose import check_engine
from r1env_trainers.model.load import check_model_name
from r1env_trainers.model.session import check_local
from r1env_trainers.openrlhf import backend as openrlhf
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.loop import train
from r1env_trainers.rl.metrics import check_rewards_to_separate, evaluation_suite, training_suite
from r1env_trainers.rl.rollouts import draw_tasks, task_filter


class GRPOTrainer:
    """The backend `local` is here: one process, a CPU or one GPU; `openrlhf` is handed over."""

    def check(self, config: GRPOConfig) -> None:
        if config.backend == "openrlhf":
            openrlhf.check(config)
            return
        for suite in check_rollouts(config):
            if config.advantage == "gdpo":
                check_rewards_to_separate(suite)
        if config.critic_model is not None and not is_stage(config.critic_model):
            check_model_name(config.critic_model)

    def estimate(self, config: GRPOConfig) -> Estimate | None:
        """None for PPO: what its critic costs was never measured."""
        return None if config.advantage == "gae" else estimate_grpo(config, training_suite(config))

    def train(self, config: GRPOConfig, run: Run) -> None:
        if config.backend == "openrlhf":
            openrlhf.train(config, run)
        else:
            train(config, run)


def check_rollouts(config: GRPOConfig) -> list[Suite]:
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
        draw_tasks(suites[0], 0, config.prompts_per_step, config.seed, task_filter(config))
    if config.eval_every:
        for environment in evaluation_suite(config).environments:
            environment.task(0)
    return suites
