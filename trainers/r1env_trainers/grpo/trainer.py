"""The trainer plugin `grpo`. DeepSeekMath (arXiv 2402.03300), algorithm 1; the algorithm itself is `loop.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1env.recipes import Estimate
from r1env.runs.run import Run
from r1env_trainers.cost.stages import estimate_grpo
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.environments import check_rewards_to_separate, training_suite
from r1env_trainers.grpo.experience import Experience
from r1env_trainers.grpo.loop import check_rollouts, train_on_rollouts
from r1env_trainers.grpo.reference import Reference
from r1env_trainers.grpo.update import update
from r1env_trainers.local import Session
from r1env_trainers.openrlhf import backend as openrlhf


class GRPOTrainer:
    """The backend `local` is here: one process, a CPU or one GPU; `openrlhf` is handed over."""

    def check(self, config: GRPOConfig) -> None:
        if config.backend == "openrlhf":
            openrlhf.check(config)
            return
        for suite in check_rollouts(config):
            if config.advantage == "gdpo":
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
        if config.needs_reference:
            reference = Reference.start(config.model, session.loaded, config.seed, session.extra.get("reference", {}))
        return cls(config, session, reference)

    def learn(self, experience: Experience, step: int) -> dict[str, float]:
        policy, every = self.session.loaded, self.config.reference_every
        if self.reference is None:
            return update(policy, self.session.optimizer, experience, self.config, step, None)
        metrics = update(policy, self.session.optimizer, experience, self.config, step, self.reference.loaded)
        if every and (step + 1) % every == 0:
            self.reference.replace(policy)
        return metrics

    def state(self) -> Mapping[str, Any]:
        return {} if self.reference is None else {"reference": self.reference.state()}
