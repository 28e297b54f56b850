"""The trainer plugin `grpo`. DeepSeekMath (arXiv 2402.03300), algorithm 1; the algorithm itself is `loop.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1env.recipes import Estimate
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.cost import estimate_grpo
from r1env_trainers.model.load import LoadedModel, check_model_name
from r1env_trainers.model.session import Session
from r1env_trainers.openrlhf import backend as openrlhf
from r1env_trainers.rl.config import GRPOConfig, PPOConfig
from r1env_trainers.rl.critic import Critic, update_with_critic
from r1env_trainers.rl.loop import check_rollouts, train_on_rollouts
from r1env_trainers.rl.metrics import check_rewards_to_separate, training_suite
from r1env_trainers.rl.rollouts import Experience
from r1env_trainers.rl.update import Reference, update


class GRPOTrainer:
    """The backend `local` is here: one process, a CPU or one GPU; `openrlhf` is handed over."""

    def check(self, config: GRPOConfig) -> None:
        if config.backend == "openrlhf":
            openrlhf.check(config)
            return
        for suite in check_rollouts(config):
            if config.algo.advantage == "gdpo":
                check_rewards_to_separate(suite)

    def estimate(self, config: GRPOConfig) -> Estimate | None:
        return estimate_grpo(config, training_suite(config))

    def train(self, config: GRPOConfig, run: Run) -> None:
        if config.backend == "openrlhf":
            openrlhf.train(config, run)
        else:
            train_on_rollouts(config, run, lambda session: GRPOLearner.start(config, session))


@dataclass(frozen=True, slots=True)
class GRPOLearner:
    """A policy, and the reference that its KL is measured to, where the settings ask for one."""

    config: GRPOConfig
    session: Session
    reference: Reference | None

    @classmethod
    def start(cls, config: GRPOConfig, session: Session) -> GRPOLearner:
        reference = None
        if config.algo.needs_reference:
            reference = Reference.start(config.model, session.loaded, config.seed, session.extra.get("reference", {}))
        return cls(config, session, reference)

    def learn(self, experience: Experience, step: int) -> dict[str, float]:
        policy, every = self.session.loaded, self.config.algo.ref_model_sync_steps
        if self.reference is None:
            return update(policy, self.session.optimizer, experience, self.config, step, None)
        metrics = update(policy, self.session.optimizer, experience, self.config, step, self.reference.loaded)
        if every and (step + 1) % every == 0:
            self.reference.replace(policy)
        return metrics

    def state(self) -> Mapping[str, Any]:
        return {} if self.reference is None else {"reference": self.reference.state()}


# The trainer plugin `ppo` (arXiv 1707.06347): GRPO's loop, whose second half values the rollouts and teaches a critic too.


class PPOTrainer:
    """Leaves the policy; the critic is in the checkpoints only."""

    def check(self, config: PPOConfig) -> None:
        check_rollouts(config)
        if config.critic.model is not None and not is_stage(config.critic.model):
            check_model_name(config.critic.model)

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
        reference = Reference.start(config.model, policy, config.seed, {}).loaded if config.algo.kl_coef > 0 else None
        return cls(config, session, critic, reference)

    def learn(self, experience: Experience, step: int) -> dict[str, float]:
        return update_with_critic(
            self.session.loaded, self.session.optimizer, self.critic, experience, self.config, step, self.reference
        )

    def state(self) -> Mapping[str, Any]:
        return {"critic": self.critic.state()}
