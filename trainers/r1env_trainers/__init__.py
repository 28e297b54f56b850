"""The trainers of r1env: reinforcement learning (GRPO and its relatives, PPO), SFT, rejection sampling, distillation, reward models."""

from r1env.moved import redirect

__version__ = "0.1.0"

redirect(
    {
        "r1env_trainers.engine": "r1env_trainers.generate.engine",
        "r1env_trainers.experimental.engine_steps": "r1env_trainers.experimental.tree_search",
        "r1env_trainers.experimental.mcts": "r1env_trainers.experimental.tree_search",
        "r1env_trainers.experimental.process_advantages": "r1env_trainers.experimental.process_rewards",
        "r1env_trainers.experimental.process_reward_model": "r1env_trainers.experimental.process_rewards",
        "r1env_trainers.experimental.rerank": "r1env_trainers.experimental.process_rewards",
        "r1env_trainers.experimental.steps": "r1env_trainers.experimental.process_rewards",
        "r1env_trainers.grpo.config": "r1env_trainers.rl.config",
        "r1env_trainers.grpo.losses": "r1env_trainers.rl.losses",
        "r1env_trainers.grpo.advantages": "r1env_trainers.rl.advantages",
        "r1env_trainers.models.load": "r1env_trainers.model.load",
        "r1env_trainers.ppo.config": "r1env_trainers.rl.config",
    }
)
