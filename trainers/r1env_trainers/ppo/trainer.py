"""The trainer plugin `ppo` (arXiv 1707.06347): GRPO's loop, whose second half values the rollouts and teaches a critic too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.loop import check_rollouts, train_on_rollouts
from r1env_trainers.grpo.reference import Reference
from r1env_trainers.local import Session
from r1env_trainers.models.load import LoadedModel, check_model_name
from r1env_trainers.ppo.config import PPOConfig
from r1env_trainers.ppo.critic import Critic
from r1env_trainers.ppo.update import update


class PPOTrainer:
    """Leaves the policy; the critic is in the checkpoints only."""

    def check(self, config: PPOConfig) -> None:
        check_rollouts(config)
        if config.critic_model is not None and not is_stage(config.critic_model):
            check_model_name(config.critic_model)

    def train(self, config: PPOConfig, run: Run) -> None:
        train_on_rollouts(config, run, lambda session: PPOLearner.start(config, session))


@dataclass(frozen=True, slots=True)
class PPOLearner:
    """A policy, its critic, and the reference of the KL, where the settings ask for one."""

    config: PPOConfig
    session: Session
    critic: Critic
    reference: LoadedModel | None

    @classmethod
    def start(cls, config: PPOConfig, session: Session) -> PPOLearner:
        policy = session.loaded
        critic = Critic.start(config, policy, session.extra.get("critic", {}))
        reference = Reference.start(config.model, policy, config.seed, {}).loaded if config.kl_coef > 0 else None
        return cls(config, session, critic, reference)

    def learn(self, experience: Experience, step: int) -> dict[str, float]:
        return update(self.session.loaded, self.session.optimizer, self.critic, experience, self.config, step, self.reference)

    def state(self) -> Mapping[str, Any]:
        return {"critic": self.critic.state()}
