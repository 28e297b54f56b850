"""The way in: `OpenRLHFBackend` hands a stage of `grpo` to `rl` and one of `sft` to `sft`."""

from __future__ import annotations

from r1env.runs.run import Run
from r1env.trainer import Estimate, TrainerConfig
from r1env_openrlhf import cost, rl, sft
from r1env_openrlhf.installation import diagnosis
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.sft.config import SFTConfig


class OpenRLHFBackend:
    """The backend as r1env's core drives it, see `r1env.trainer.Backend`."""

    def check(self, trainer: str, config: TrainerConfig) -> None:
        if isinstance(config, SFTConfig):
            sft.check(config)
        else:
            rl.check(_grpo(config))

    def train(self, trainer: str, config: TrainerConfig, run: Run) -> None:
        if isinstance(config, SFTConfig):
            sft.train(config, run)
        else:
            rl.train(_grpo(config), run)

    def estimate(self, trainer: str, config: TrainerConfig) -> Estimate | None:
        return cost.estimate(config)

    def diagnosis(self) -> tuple[bool, str]:
        return diagnosis()


def _grpo(config: TrainerConfig) -> GRPOConfig:
    assert isinstance(config, GRPOConfig)  # the core asks for the trainers of our spec only
    return config
